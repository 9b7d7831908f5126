//! What the node exporter on a member's machine says: the few families that rules, figures and forecasts read.

use std::sync::Arc;

use super::fetch::{Body, fetch};
use super::member::{Limits, error};
use super::targets::Target;
use crate::etcd::Member;
use crate::model::{ErrorKind, Label, Labels, NodeScrape, ReadingError, Samples, SeriesList, TargetSeries};

/// As its own configuration calls it by custom; etcd's metrics of the same member have another.
const JOB: &str = "node";

const FAMILIES: &[&str] = &[
    "node_cpu_seconds_total",
    "node_load1",
    "node_memory_MemAvailable_bytes",
    "node_memory_MemTotal_bytes",
    "node_filesystem_avail_bytes",
    "node_filesystem_size_bytes",
    "node_disk_reads_completed_total",
    "node_disk_writes_completed_total",
    "node_disk_read_bytes_total",
    "node_disk_written_bytes_total",
    "node_disk_io_time_seconds_total",
    "node_disk_io_time_weighted_seconds_total",
    "node_network_receive_bytes_total",
    "node_network_transmit_bytes_total",
    "node_network_receive_errs_total",
    "node_network_transmit_errs_total",
    "node_timex_offset_seconds",
    "node_timex_sync_status",
];

/// One scrape, or why there is none.
pub(super) type Fetched = Result<NodeScrape, ReadingError>;

/// Scrapes `url` with the limits of the member's own scrape.
pub(super) async fn scrape(
    target: &Target,
    member: &Member,
    url: &str,
    ts_ms: i64,
    limits: &Limits,
) -> Fetched {
    let Body { bytes, .. } =
        fetch(member, url, "node-exporter", limits.timeout, limits.max_body_bytes).await?;
    let mut cache = target.node_cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let taken = cache
        .read(&bytes, &limits.keep)
        .map_err(|e| error(ErrorKind::Malformed, "node-exporter", format!("node-exporter at {url}: {e}")))?;
    let wanted = taken.samples.iter().filter(|(labels, _)| FAMILIES.contains(&labels.metric_name()));
    let (series, values): (Vec<_>, Vec<f64>) = wanted
        .map(|(labels, value)| {
            let named = labels.iter().cloned().chain([Label::new("job", JOB)]);
            (Arc::new(TargetSeries::recorded(Labels::new(named.collect()))), value)
        })
        .unzip();
    if series.is_empty() {
        let message = format!("node-exporter at {url}: the answer is none of a node exporter");
        return Err(error(ErrorKind::Malformed, "node-exporter", message));
    }
    Ok(NodeScrape { ts_ms, samples: Samples::new(Arc::new(SeriesList::new(series)), values) })
}
