//! A fleet's last day, to be advised on.

use std::path::Path;
use std::sync::Arc;

use etcd_monitor::advise;
use etcd_monitor::model::{Samples, SeriesList};
use etcd_monitor::store::compact;
use etcd_monitor::store::samples::{self, Block};
use etcd_monitor::store::{Writer, listing};

use crate::history::list_of;
use crate::ingest::{now_ms, open};
use crate::members::Member;

const INTERVAL_MS: i64 = 15_000;
const HOUR_MS: i64 = 3_600_000;
const MEMBERS: usize = 3;

/// Writes `hours` of `clusters` up to now into `dir/store`, of each member the metrics that rules read, merged as the job
/// `compact` leaves them; and a configuration of those clusters.
pub fn write(dir: &Path, clusters: usize, hours: i64) {
    crate::block_on(async {
        let store = open(&dir.join("store")).await;
        let now_ms = now_ms();
        let start_ms = now_ms - hours * HOUR_MS;
        let writer = Writer::new(start_ms, 1);
        let cluster = "c0".parse().unwrap();
        let read: Vec<String> =
            advise::questions(&cluster).unwrap().iter().flat_map(|(_, expr)| expr.metric_names()).collect();
        let kept = |series: &str| read.iter().any(|metric| series.split('{').next() == Some(metric));
        let mut members: Vec<Member> = (0..clusters * MEMBERS).map(|n| Member::new(n, 0.5)).collect();
        let lists: Vec<Arc<SeriesList>> = members.iter().map(|member| list_of(member, &kept)).collect();
        let names: Vec<String> = (0..clusters).map(|n| format!("c{n}")).collect();
        let instances: Vec<String> =
            (0..members.len()).map(|n| format!("10.0.{}.{}:2379", n / 200, n % 200 + 1)).collect();
        let mut total = 0;
        for hour in 0..hours {
            let mut scrapes = Vec::new();
            for step in 0..HOUR_MS / INTERVAL_MS {
                let ts_ms = start_ms + hour * HOUR_MS + step * INTERVAL_MS;
                for (n, member) in members.iter_mut().enumerate() {
                    let values: Vec<f64> =
                        member.lines.iter().filter(|line| kept(line.series)).map(|line| line.value).collect();
                    total += values.len();
                    scrapes.push((n, ts_ms, Samples::new(Arc::clone(&lists[n]), values)));
                    member.step();
                }
            }
            let blocks = scrapes.iter().map(|(n, ts_ms, samples)| Block {
                cluster: &names[n / MEMBERS],
                instance: &instances[*n],
                ts_ms: *ts_ms,
                samples,
            });
            let flush_ms = start_ms + (hour + 1) * HOUR_MS - 1;
            let n = u64::try_from(hour).unwrap();
            samples::write_blocks(&store, &writer, flush_ms, n, &blocks.collect::<Vec<_>>()).await.unwrap();
        }
        while compact::compact(&store, &compact::Plan::default(), now_ms, &|_| {}).await.unwrap().merged > 0 {
        }
        let config: String = names
            .iter()
            .enumerate()
            .map(|(n, name)| {
                format!("[[cluster]]\nname = '{name}'\nendpoints = ['http://{}']\n", instances[n * MEMBERS])
            })
            .collect();
        std::fs::write(dir.join("etcd-monitor.toml"), config).unwrap();
        let bytes: u64 = listing(&store).await.unwrap().values().map(|line| line.bytes).sum();
        println!(
            "samples={total} bytes={bytes} series={}",
            lists.iter().map(|list| list.len()).sum::<usize>()
        );
    });
}
