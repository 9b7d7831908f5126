//! What a check reads like.

use std::fmt::Write as _;

use crate::model::unit::{human_bytes, human_seconds, three_digits};
use crate::model::{DiskDevice, DiskFlow, DiskLatency, DiskPattern, DiskRun, DiskTest, DiskVerdict, Level};

/// A verdict as people say it.
pub fn words(verdict: DiskVerdict) -> &'static str {
    match verdict {
        DiskVerdict::ProductionReady => "production ready",
        DiskVerdict::Warning => "warning",
        DiskVerdict::Critical => "critical",
        DiskVerdict::Unknown => "unknown",
    }
}

/// The verdict in a sentence, with its figure.
pub fn sentence(run: &DiskRun) -> String {
    let verdict = words(run.verdict);
    let figure =
        run.findings.iter().find(|finding| finding.id == "fsync").map(|finding| finding.found.as_str());
    format!("{}: {verdict}: {}", run.directory, figure.unwrap_or("nothing was measured"))
}

/// The report of `run`.
pub fn report(run: &DiskRun) -> String {
    let verdict = words(run.verdict).to_uppercase();
    let mut out = format!("{verdict}: {}\n", run.directory);
    if let Some(rule) = run.findings.iter().find(|finding| finding.id == "fsync") {
        let _ = writeln!(out, "  {}\n  rule: {}\n  from: {}", rule.found, rule.rule, rule.source);
    }
    if let (Some(cluster), Some(instance)) = (&run.cluster, &run.instance) {
        let _ = writeln!(out, "It holds the data of {instance} of cluster {cluster}.");
    }
    device(&mut out, &run.device);
    if let Some(pattern) = &run.pattern {
        activity(&mut out, pattern);
    }
    for test in &run.tests {
        one_test(&mut out, test);
    }
    let _ = writeln!(out, "\nFindings:");
    for finding in &run.findings {
        let mark = match finding.level {
            Level::Pass => "pass",
            Level::Warning => "WARNING",
            Level::Critical => "CRITICAL",
            Level::Unknown => "unknown",
        };
        let _ = writeln!(out, "  {mark:<8}  {:<14}  {}", finding.id, finding.found);
        if finding.level != Level::Pass {
            let _ = writeln!(out, "{:28}rule: {} ({})", "", finding.rule, finding.source);
            if !finding.advice.is_empty() {
                let _ = writeln!(out, "{:28}do:   {}", "", finding.advice);
            }
        }
    }
    for note in &run.notes {
        let _ = writeln!(out, "\nNote: {note}");
    }
    out
}

fn device(out: &mut String, device: &DiskDevice) {
    let _ = writeln!(out, "\nDevice:");
    let mut line = |what: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(out, "  {what:<14}{value}");
        }
    };
    let mappings = if device.mappings.is_empty() {
        String::new()
    } else {
        format!(" through {}", device.mappings.join(", "))
    };
    let disks = device.disks.join(", ");
    line(
        "disk",
        &if disks.is_empty() {
            String::new()
        } else {
            format!("{disks} ({}){mappings}", device.kind.as_str())
        },
    );
    line("model", device.model.as_deref().unwrap_or_default());
    line("scheduler", device.scheduler.as_deref().unwrap_or_default());
    line("write cache", device.write_cache.as_deref().unwrap_or_default());
    line(
        "file system",
        &format!("{} on {} ({})", device.filesystem, device.mount_point, device.mount_options.join(",")),
    );
    line(
        "space",
        &format!(
            "{} of {} free",
            human_bytes(device.free_bytes as f64),
            human_bytes(device.size_bytes as f64)
        ),
    );
    line("also mounted", &device.also_mounted.join(", "));
}

fn activity(out: &mut String, pattern: &DiskPattern) {
    let _ = writeln!(out, "\nBefore anything was measured, for {}:", human_seconds(pattern.seconds));
    let size = |size: Option<f64>| size.map_or_else(|| "–".to_owned(), human_bytes);
    let wait = |wait: Option<f64>| wait.map_or_else(|| "–".to_owned(), human_seconds);
    let _ = writeln!(
        out,
        "  reads         {:.1}/s, {}/s, {} each, {} to wait",
        pattern.reads_per_second,
        human_bytes(pattern.read_bytes_per_second),
        size(pattern.read_size),
        wait(pattern.read_wait),
    );
    let _ = writeln!(
        out,
        "  writes        {:.1}/s, {}/s, {} each, {} to wait",
        pattern.writes_per_second,
        human_bytes(pattern.written_bytes_per_second),
        size(pattern.write_size),
        wait(pattern.write_wait),
    );
    let _ = writeln!(
        out,
        "  queue depth   {:.2}, busy {:.0} % of the time",
        pattern.queue_depth,
        pattern.busy * 100.0
    );
    let rates = [
        ("flushes", pattern.flushes_per_second),
        ("WAL fsyncs", pattern.etcd_fsyncs_per_second),
        ("DB commits", pattern.etcd_commits_per_second),
    ];
    for (what, rate) in rates {
        if let Some(rate) = rate {
            let _ = writeln!(out, "  {what:<14}{rate:.1}/s");
        }
    }
    if let Some(rate) = pattern.etcd_written_bytes_per_second {
        let _ = writeln!(out, "  etcd writes   {}/s", human_bytes(rate));
    }
    for (name, rate) in &pattern.writers {
        let _ = writeln!(out, "  also writes   {name}: {}/s", human_bytes(*rate));
    }
}

fn one_test(out: &mut String, test: &DiskTest) {
    let cut = if test.is_truncated { ", until its time was over" } else { "" };
    let _ = writeln!(out, "\n{} ({}, {}{cut}):", test.name, test.tool, human_seconds(test.seconds));
    let _ = writeln!(out, "  {}", test.command);
    let _ = writeln!(
        out,
        "  {:<10}{:>10}{:>12}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "", "IOPS", "bandwidth", "p50", "p95", "p99", "p99.9", "slowest"
    );
    for (what, flow) in [("read", &test.read), ("write", &test.write)] {
        if let Some(flow) = flow {
            row(out, what, Some(flow), &flow.latency);
        }
    }
    if let Some(sync) = &test.sync {
        row(out, "fdatasync", None, sync);
    }
}

fn row(out: &mut String, what: &str, flow: Option<&DiskFlow>, latency: &DiskLatency) {
    let iops = flow.map_or(String::new(), |flow| three_digits(flow.iops));
    let bandwidth = flow.map_or(String::new(), |flow| format!("{}/s", human_bytes(flow.bytes_per_second)));
    let _ = write!(out, "  {what:<10}{iops:>10}{bandwidth:>12}");
    for quantile in [0.5, 0.95, 0.99, 0.999] {
        let value = latency.quantile(quantile).map_or_else(|| "–".to_owned(), human_seconds);
        let _ = write!(out, "{value:>10}");
    }
    let _ = writeln!(out, "{:>10}", human_seconds(latency.slowest));
}
