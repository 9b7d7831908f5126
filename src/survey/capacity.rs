//! What the store tells of growth: the input of the forecasts.

use super::SurveyError;
use crate::capacity::{DAYS_MAX, Forecast, Resource, STEP_MS, forecast};
use crate::model::{ClusterName, Selection, Series};
use crate::promql::{self, EvalOptions, EvalRange, Expr};
use crate::store::{Store, samples};

/// What is used of a resource and how much there may be, in one unit. Both give series of the same labels.
struct Question {
    resource: Resource,
    used: &'static str,
    limit: &'static str,
}

/// The file systems of a node exporter that may hold etcd's data.
macro_rules! filesystem {
    ($what:literal) => {
        concat!(
            "max by (instance, mountpoint) (node_filesystem_",
            $what,
            "_bytes{cluster=\"$cluster\",mountpoint=~\"/|.*etcd.*\",fstype!~\"tmpfs|overlay|squashfs\"})"
        )
    };
}

const QUESTIONS: &[Question] = &[
    Question {
        resource: Resource::Quota,
        used: "max(etcd_mvcc_db_total_size_in_use_in_bytes{cluster=\"$cluster\"})",
        limit: "min(etcd_monitor_quota_bytes{cluster=\"$cluster\"} > 0) \
                or min(etcd_server_quota_backend_bytes{cluster=\"$cluster\"} > 0)",
    },
    Question {
        resource: Resource::Disk,
        used: concat!(
            "max by (instance) (etcd_monitor_host_disk_size_bytes{cluster=\"$cluster\"} \
             - etcd_monitor_host_disk_avail_bytes{cluster=\"$cluster\"}) or ",
            filesystem!("size"),
            " - ",
            filesystem!("avail")
        ),
        limit: concat!(
            "max by (instance) (etcd_monitor_host_disk_size_bytes{cluster=\"$cluster\"}) or ",
            filesystem!("size")
        ),
    },
    Question {
        resource: Resource::FileDescriptors,
        used: "max by (instance) (process_open_fds{cluster=\"$cluster\"})",
        limit: "min by (instance) (process_max_fds{cluster=\"$cluster\"})",
    },
];

/// A sample in five minutes, and one more for those that came late.
const LOOKBACK_MS: i64 = 660_000;

/// The forecasts of a cluster at `now_ms`; of what has no history, none.
///
/// # Errors
/// When the store cannot be read or an expression cannot be evaluated.
pub async fn forecasts(
    store: &Store,
    options: EvalOptions,
    cluster: &ClusterName,
    now_ms: i64,
) -> Result<Vec<Forecast>, SurveyError> {
    let options = EvalOptions { lookback_ms: LOOKBACK_MS, ..options };
    // Steps end now, so that the newest day is a whole one.
    let range = EvalRange { start_ms: now_ms - DAYS_MAX * 86_400_000, end_ms: now_ms, step_ms: STEP_MS };
    let mut asked: Vec<(&Question, Expr, Expr)> = Vec::new();
    for question in QUESTIONS {
        let parse = |text: &str| {
            let text = text.replace("$cluster", cluster.as_str());
            promql::parse(&text)
                .map_err(|source| SurveyError::Parse { panel: question.resource.as_str().to_owned(), source })
        };
        asked.push((question, parse(question.used)?, parse(question.limit)?));
    }
    let history = asked.iter().flat_map(|(_, used, _)| promql::selections(used, &range, &options));
    let at_now = EvalRange::instant(now_ms);
    let limits = asked.iter().flat_map(|(_, _, limit)| promql::selections(limit, &at_now, &options));
    let wanted: Vec<Selection> = history.chain(limits).collect();
    let loaded = samples::load_coarse(store, &wanted, options.max_samples).await?;
    let mut found = Vec::new();
    for (question, used, limit) in &asked {
        let evaluate = |expr: &Expr, range: &EvalRange| {
            promql::eval_range(expr, &loaded.series, range, &options).map_err(|source| SurveyError::Eval {
                panel: question.resource.as_str().to_owned(),
                cluster: cluster.clone(),
                source,
            })
        };
        let limits = evaluate(limit, &at_now)?;
        for used in evaluate(used, &range)? {
            let of_it = limits.iter().find(|limit| limit.labels == used.labels);
            let limit = of_it.and_then(|limit| limit.values.last().copied());
            let Some(limit) = limit.filter(|limit| *limit > 0.0) else { continue };
            found.extend(forecast(question.resource, place(&used), &used, limit, now_ms));
        }
    }
    Ok(found)
}

/// The member, and the mount point where there may be several.
fn place(series: &Series) -> Option<String> {
    let instance = series.labels.get("instance")?;
    Some(match series.labels.get("mountpoint") {
        Some(mountpoint) => format!("{instance} {mountpoint}"),
        None => instance.to_owned(),
    })
}
