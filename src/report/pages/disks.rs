//! The disks of a cluster's members: the section, the JSON twin.

use serde::Serialize;
use serde_json::{Value, json};

use super::Badge;
use crate::model::unit::{human_bytes, human_seconds, rfc3339};
use crate::model::{Check, DiskRun, DiskStanding, DiskVerdict, Level};
use crate::report::chart::{BOX_WIDTH, Spark, evenly};
use crate::report::facts::Facts;
use crate::report::text::clock;

/// The ends of the ruler, seconds.
const RULER: (f64, f64) = (0.000_05, 0.2);
/// Below the first a disk is production ready, above the second critical, seconds.
const LIMITS: (f64, f64) = (0.010, 0.020);

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct DiskSection {
    pub(crate) rows: Vec<Row>,
    /// Where the limits are on the rulers, 0 to 1000.
    pub(crate) ready_x: f64,
    pub(crate) critical_x: f64,
    pub(crate) note: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) member: String,
    pub(crate) directory: String,
    pub(crate) device: String,
    pub(crate) made: String,
    pub(crate) time: String,
    pub(crate) badge: Badge,
    pub(crate) p99: String,
    /// Where the figure is on the ruler, 0 to 1000; absent when nothing was measured.
    pub(crate) x: Option<f64>,
    pub(crate) label: String,
    /// p99 of the checks before, by their order.
    pub(crate) spark: Option<Spark>,
    /// What is not as it should be, and what to do.
    pub(crate) findings: Vec<(String, String)>,
}

pub(crate) fn section(facts: &Facts<'_>) -> Option<DiskSection> {
    let standings = &facts.input.disks;
    if standings.is_empty() {
        return None;
    }
    Some(DiskSection {
        rows: standings.iter().map(|standing| row(facts, standing)).collect(),
        ready_x: place(LIMITS.0),
        critical_x: place(LIMITS.1),
        note: "the newest check of each disk; p99 of fdatasync on a logarithmic ruler from 50 µs to 200 ms with limits at 10 and 20 ms".to_owned(),
    })
}

/// Where a time is on the ruler, 0 to 1000, to a whole step.
fn place(seconds: f64) -> f64 {
    let (low, high) = RULER;
    let share = (seconds.clamp(low, high) / low).ln() / (high / low).ln();
    (share * BOX_WIDTH).round()
}

fn row(facts: &Facts<'_>, standing: &DiskStanding) -> Row {
    let run = &standing.newest;
    let instance = run.instance.as_ref().map_or("", |instance| instance.as_str());
    let host = if facts.shows_addresses() { format!("{}:", run.host) } else { String::new() };
    let p99 = run.fsync_p99.map_or_else(|| "–".to_owned(), human_seconds);
    Row {
        member: facts.name_of_instance(instance),
        directory: facts.clean(&format!("{host}{}", run.directory)),
        device: facts.clean(&device(run)),
        made: clock(run.started_ms, facts.now_ms),
        time: rfc3339(run.started_ms),
        badge: badge(run.verdict),
        label: format!("{p99}; the limit is 10 ms"),
        p99,
        x: run.fsync_p99.map(place),
        spark: line(standing),
        findings: run
            .findings
            .iter()
            .filter(|finding| is_bad(finding))
            .map(|finding| said(facts, finding))
            .collect(),
    }
}

fn is_bad(finding: &Check) -> bool {
    finding.level >= Level::Warning
}

fn said(facts: &Facts<'_>, finding: &Check) -> (String, String) {
    let found = format!("{} (rule: {}; {})", finding.found, finding.rule, finding.source);
    (facts.clean(&found), facts.clean(&finding.advice))
}

/// `nvme0n1 (nvme), ext4, none, 80 GiB free`.
fn device(run: &DiskRun) -> String {
    let device = &run.device;
    let disks = if device.disks.is_empty() {
        device.kind.as_str().to_owned()
    } else {
        format!("{} ({})", device.disks.join(", "), device.kind.as_str())
    };
    let scheduler =
        device.scheduler.as_ref().map_or(String::new(), |scheduler| format!(", scheduler {scheduler}"));
    format!("{disks}, {}{scheduler}, {} free", device.filesystem, human_bytes(device.free_bytes as f64))
}

fn badge(verdict: DiskVerdict) -> Badge {
    match verdict {
        DiskVerdict::ProductionReady => Badge::new("ok", "Production ready"),
        DiskVerdict::Warning => Badge::new("warn", "Warning"),
        DiskVerdict::Critical => Badge::new("crit", "Critical"),
        DiskVerdict::Unknown => Badge::new("unknown", "Unknown"),
    }
}

/// p99 of all checks, evenly spread, with the limit where it is near.
fn line(standing: &DiskStanding) -> Option<Spark> {
    let values: Vec<_> = standing.history.iter().map(|(_, p99, _)| *p99).filter(Option::is_some).collect();
    evenly(&values, Some(LIMITS.0))
}

/// `api/v1/clusters/<id>/disks.json`.
pub(crate) fn to_json(facts: &Facts<'_>) -> Value {
    let finding = |finding: &Check| {
        json!({
            "id": finding.id, "level": finding.level, "found": facts.clean(&finding.found), "rule": finding.rule,
            "source": finding.source, "advice": facts.clean(&finding.advice),
        })
    };
    let standing = |standing: &DiskStanding| {
        let run = &standing.newest;
        json!({
            "id": run.id, "host": facts.shows_addresses().then(|| facts.clean(&run.host)), "directory": facts.clean(&run.directory),
            "instance": run.instance.as_ref().filter(|_| facts.shows_addresses()),
            "member": facts.name_of_instance(run.instance.as_ref().map_or("", |instance| instance.as_str())), "at": rfc3339(run.started_ms), "verdict": run.verdict,
            "fsync_p99_seconds": run.fsync_p99, "device": {
                "kind": run.device.kind, "disks": run.device.disks, "model": run.device.model.as_deref().map(|model| facts.clean(model)),
                "scheduler": run.device.scheduler, "filesystem": run.device.filesystem, "free_bytes": run.device.free_bytes,
            },
            "findings": run.findings.iter().map(finding).collect::<Vec<_>>(),
            "history": standing.history.iter().map(|(ts_ms, p99, verdict)| json!({
                "at": rfc3339(*ts_ms), "fsync_p99_seconds": p99, "verdict": verdict,
            })).collect::<Vec<_>>(),
        })
    };
    json!({ "disks": facts.input.disks.iter().map(standing).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ruler_is_logarithmic_and_has_ends() {
        assert_eq!((place(0.000_01), place(RULER.0), place(RULER.1), place(9.0)), (0.0, 0.0, 1000.0, 1000.0));
        let halves = place(0.001) - place(0.0005);
        assert!((place(0.1) - place(0.05) - halves).abs() <= 1.0, "a doubling is as long everywhere");
        assert!(place(LIMITS.0) < place(LIMITS.1));
    }
}
