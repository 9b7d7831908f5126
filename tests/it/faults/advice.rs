//! What is advised while a recorded fault lasts, over nothing but what was read.

use etcd_monitor::advise::{Judged, Sources, judge};
use etcd_monitor::model::{ClusterName, METRIC_NAME, Reading, ReadingRow, SeriesSet};
use etcd_monitor::probe::derived;
use etcd_monitor::promql::EvalOptions;

use super::recording::Recording;
use super::scenario::Scenario;

/// What was read up to `now_ms`.
fn judged(recording: &Recording, now_ms: i64) -> Judged {
    let until: Vec<&Reading> = recording.readings.iter().filter(|reading| reading.ts_ms <= now_ms).collect();
    let cluster: ClusterName = recording.readings[0].cluster.clone();
    let mut series = SeriesSet::default();
    for reading in &until {
        for (instance, (labels, value)) in derived::derived(reading) {
            let mut labels = labels.with("cluster", cluster.as_str()).with("job", "etcd");
            if let Some(instance) = &instance {
                labels = labels.with("instance", instance.as_str());
            }
            series.push(&labels, reading.ts_ms, value);
        }
        let scraped = reading.members.iter().filter_map(|member| Some((member, member.scrape.as_ref()?)));
        for (member, scrape) in scraped {
            for (labels, value) in scrape.samples.iter() {
                // Of the others no rule reads anything; they are most.
                let metric = labels.metric_name();
                let is_read = [
                    "etcd_disk_",
                    "etcd_server_",
                    "etcd_network_",
                    "etcd_debugging_mvcc_",
                    "process_",
                    "grpc_server_handled",
                ];
                if is_read.iter().any(|beginning| metric.starts_with(beginning)) {
                    let labels =
                        labels.with("cluster", cluster.as_str()).with("instance", member.instance.as_str());
                    series.push(&labels.with("job", "etcd"), scrape.ts_ms, value);
                }
            }
        }
    }
    for inspection in recording.inspections.iter().filter(|inspection| inspection.ts_ms <= now_ms) {
        for (labels, value) in inspection.series() {
            assert!(labels.get(METRIC_NAME).is_some());
            series.push(&labels, inspection.ts_ms, value);
        }
    }
    // A reading of statuses alone has no scrape, and rows need none.
    let rows: Vec<ReadingRow> = until.last().map(|reading| reading.rows()).unwrap_or_default();
    let sources = Sources { rows: &rows, ..Sources::default() };
    let options = EvalOptions { lookback_ms: 660_000, ..EvalOptions::default() };
    judge(&cluster, &sources, &series, now_ms, &options).expect("evaluates")
}

/// What nothing else explains, the most important first.
fn roots(judged: &Judged) -> Vec<&'static str> {
    let found = judged.found().into_iter().filter(|(_, found)| found.caused_by.is_none());
    found.map(|(rule, _)| rule.id.as_str()).collect()
}

/// What is wrong with the advice on a recorded fault: it is what it was before the fault, and what the scenario says first.
pub fn problems(scenario: &Scenario, recording: &Recording) -> Vec<String> {
    let start_ms = recording.start_ms();
    let before_ms = recording.steps.first().copied().unwrap_or(start_ms);
    let before = roots(&judged(recording, before_ms));
    let ms = |duration: std::time::Duration| i64::try_from(duration.as_millis()).expect("short");
    let new = |at_ms: i64| -> Vec<&'static str> {
        roots(&judged(recording, at_ms)).into_iter().filter(|rule| !before.contains(rule)).collect()
    };
    let wrong = |at_ms: i64, first: Option<&str>| {
        let found = new(at_ms);
        (found.first().copied() != first)
            .then(|| format!("{}: {first:?} is to come first, and there is {found:?}", scenario.name))
    };
    let said =
        scenario.advise.iter().filter_map(|advised| wrong(start_ms + ms(advised.at.0), Some(&advised.first)));
    let mut all: Vec<String> = said.collect();
    if scenario.advise.is_empty() {
        all.extend(wrong(start_ms + ms(scenario.lasts.0), None));
    }
    all
}
