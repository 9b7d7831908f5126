//! What a report reads like: the sections of the official tool, in its words and formats, then what it does not tell.

use std::fmt::Write as _;

use super::recorder::ten_steps;
use crate::model::unit::{human_bytes, human_seconds};
use crate::model::{BenchLatency, BenchOutcome, BenchPart, BenchRun, BenchSecond};

/// Of the longest bar of the histogram.
const BAR: u64 = 40;

/// How a report is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// All digits of every figure.
    pub precise: bool,
    /// What each second was like, too.
    pub sample: bool,
}

/// The report of `run`.
pub fn report(run: &BenchRun, style: Style) -> String {
    let mut out = String::new();
    match (run.operation.as_str(), run.options.get("consistency").map(String::as_str)) {
        ("range" | "txn-mixed", Some("l")) => out.push_str("bench with linearizable range\n"),
        ("range" | "txn-mixed", Some("s")) => out.push_str("bench with serializable range\n"),
        _ => {}
    }
    for part in &run.parts {
        out.push_str(&heading(&run.operation, part));
        summary(&mut out, part, run.started_ms, style);
        out.push('\n');
    }
    if let Some(hash) = &run.hash_kv {
        let size = hash.db_bytes.map_or("unknown".to_owned(), |bytes| human_bytes(bytes as f64));
        let _ = writeln!(out, "HashKV Summary:\n\tHashKV: {}\n\tEndpoint: {}", hash.hash, hash.endpoint);
        let _ = writeln!(out, "\tTime taken to get hashkv: {}", go_duration(hash.seconds));
        let _ = writeln!(out, "\tDB size: {size}\n");
    }
    cluster(&mut out, run);
    out
}

fn heading(operation: &str, part: &BenchPart) -> String {
    match (operation, part.name.as_str()) {
        (_, "reads") => format!("Total Read Ops: {}\nDetails:", part.ok + part.failed),
        (_, "writes") => format!("Total Write Ops: {}\nDetails:", part.ok + part.failed),
        ("watch", "creation") => "Watch creation summary:".to_owned(),
        ("watch", "events") => "Watch events received summary:".to_owned(),
        ("watch-latency", "creation") => "Watch creation summary:".to_owned(),
        ("watch-latency", "events") => "Watch events summary:".to_owned(),
        (_, "puts") => "Put summary:".to_owned(),
        ("watch-get", _) => "Get during watch summary:".to_owned(),
        _ => String::new(),
    }
}

fn summary(out: &mut String, part: &BenchPart, started_ms: i64, style: Style) {
    let secs = |seconds: f64| format!("{} secs", figure(seconds, style.precise));
    if part.ok > 0 {
        let BenchLatency { fastest, slowest, average, stddev, .. } = &part.latency;
        let _ = writeln!(out, "\nSummary:");
        for (name, seconds) in [
            ("Total", &part.seconds),
            ("Slowest", slowest),
            ("Fastest", fastest),
            ("Average", average),
            ("Stddev", stddev),
        ] {
            let _ = writeln!(out, "  {name}:\t{}.", secs(*seconds));
        }
        let _ = writeln!(out, "  Requests/sec:\t{}", figure(part.rate, style.precise));
        steps(out, part, style);
        let _ = writeln!(out, "\nLatency distribution:");
        distribution(out, &part.latency, style);
        if let Some(uncorrected) = &part.uncorrected {
            let _ = writeln!(out, "\nLatency distribution, from when the request was really sent:");
            distribution(out, uncorrected, style);
        }
        if style.sample {
            seconds(out, part, started_ms);
        }
    }
    if !part.errors.is_empty() {
        let _ = writeln!(out, "\nError distribution:");
        for error in &part.errors {
            let _ = writeln!(out, "  [{}]\t{}: {}", error.count, error.code, error.message);
        }
    }
}

fn steps(out: &mut String, part: &BenchPart, style: Style) {
    let Some(steps) = ten_steps(part) else { return };
    let most = steps.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let _ = writeln!(out, "\nResponse time histogram:");
    for (end, count) in steps {
        let bar = "∎".repeat(usize::try_from(count * BAR / most).unwrap_or(0));
        let _ = writeln!(out, "  {} [{count}]\t|{bar}", figure(end, style.precise));
    }
}

fn distribution(out: &mut String, latency: &BenchLatency, style: Style) {
    for (quantile, seconds) in &latency.quantiles {
        // The official tool ends at 99.9; more digits than a float can hold are no digits.
        let percent = (quantile * 1e6).round() / 1e4;
        let _ = writeln!(out, "  {percent}% in {} secs.", figure(*seconds, style.precise));
    }
}

fn seconds(out: &mut String, part: &BenchPart, started_ms: i64) {
    let _ = writeln!(out, "\nSample in one second (unix latency throughput):");
    let _ = writeln!(out, "UNIX-SECOND,MIN-LATENCY-MS,AVG-LATENCY-MS,MAX-LATENCY-MS,AVG-THROUGHPUT");
    for second in &part.by_second {
        let _ = writeln!(
            out,
            "{},{},{},{},{}",
            started_ms / 1_000 + i64::from(second.at),
            go_duration(second.fastest),
            go_duration(second.average),
            go_duration(second.slowest),
            second.ok
        );
    }
}

/// The seconds of all parts: what became of requests that were due in each.
pub fn csv(run: &BenchRun) -> String {
    let mut out = "part,second,ok,failed,min_seconds,mean_seconds,max_seconds\n".to_owned();
    for part in &run.parts {
        for second in &part.by_second {
            let BenchSecond { at, ok, failed, fastest, average, slowest } = second;
            let at = run.started_ms / 1_000 + i64::from(*at);
            let _ = writeln!(out, "{},{at},{ok},{failed},{fastest},{average},{slowest}", part.name);
        }
    }
    out
}

/// What the official tool does not tell.
fn cluster(out: &mut String, run: &BenchRun) {
    let _ = writeln!(out, "Run:");
    let outcome = match run.outcome {
        BenchOutcome::Complete => "complete",
        BenchOutcome::Truncated => "TRUNCATED: the time was over before all requests were sent",
        BenchOutcome::Stopped => "STOPPED for the cluster's sake",
        BenchOutcome::Interrupted => "interrupted",
    };
    let _ = writeln!(out, "  Id:\t{}, {outcome}", run.id);
    for note in &run.notes {
        let _ = writeln!(out, "  Note:\t{note}");
    }
    let _ = writeln!(out, "  Again:\t{}", run.command);
    if let Some(keys) = &run.keys {
        let _ = writeln!(
            out,
            "  Keys:\t{} of {} bytes, {} with the prefix {}",
            keys.space, keys.key_size, keys.total_key_size, keys.prefix
        );
    }
    let targets: Vec<&str> = run.targets.iter().map(|instance| instance.as_str()).collect();
    let version = run.server.version.as_deref().unwrap_or("of unknown version");
    let _ = writeln!(out, "  Asked:\t{} (etcd {version})", targets.join(", "));
    if run.server.leader_changes > 0 {
        let _ = writeln!(out, "  Leader changes:\t{}", run.server.leader_changes);
    }
    for member in &run.server.members {
        let role = if member.is_leader { "leader" } else { "follower" };
        let time = |p99: Option<f64>| p99.map_or("unknown".to_owned(), human_seconds);
        let size = |bytes: Option<u64>| bytes.map_or("?".to_owned(), |bytes| human_bytes(bytes as f64));
        let _ = writeln!(
            out,
            "  {} ({role}):\t{} fsyncs, p99 {}; {} commits, p99 {}; database {} to {}, in use {} to {}",
            member.instance,
            member.fsyncs,
            time(member.fsync_p99),
            member.commits,
            time(member.commit_p99),
            size(member.db_bytes_before),
            size(member.db_bytes_after),
            size(member.in_use_bytes_before),
            size(member.in_use_bytes_after),
        );
    }
    let here = if run.client.is_local { ", which etcd shares" } else { "" };
    if let Some(cpu) = run.client.cpu_seconds {
        let requests: u64 = run.parts.iter().map(|part| part.ok + part.failed).sum();
        let each = cpu * 1e6 / requests.max(1) as f64;
        let _ = writeln!(
            out,
            "  Load from:\t{} processor(s){here}; {cpu:.2} s of processor time, {each:.1} µs per request",
            run.client.cpus
        );
    }
    left(out, run);
}

/// What became of the keys.
fn left(out: &mut String, run: &BenchRun) {
    let clean = &run.clean_up;
    match &clean.problem {
        None if run.keys.is_some() => {
            let _ = writeln!(out, "  Cleaned up:\t{} key(s) deleted", clean.keys_deleted);
        }
        None => {}
        Some(problem) => {
            let _ = writeln!(
                out,
                "  NOT CLEANED UP:\t{problem}; the next run does, or: etcd-monitor bench clean"
            );
        }
    }
    if clean.leftovers_deleted > 0 {
        let _ = writeln!(out, "  Of earlier runs:\t{} key(s) deleted", clean.leftovers_deleted);
    }
    if let Some(revision) = clean.compacted_revision {
        let _ = writeln!(out, "  Compacted:\tto revision {revision}");
    }
}

/// As Go's `%4.4f`, or with all digits as its `%g`.
fn figure(value: f64, precise: bool) -> String {
    if !precise {
        return format!("{value:.4}");
    }
    if value != 0.0 && (value.abs() < 1e-4 || value.abs() >= 1e21) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        return format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    value.to_string()
}

/// As Go writes a duration: `387.987µs`, `15.070716ms`, `1.5s`.
fn go_duration(seconds: f64) -> String {
    let ns = (seconds * 1e9).round();
    let trimmed = |value: f64, digits: usize| {
        let text = format!("{value:.digits$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match ns {
        ns if ns < 1e3 => format!("{ns}ns"),
        ns if ns < 1e6 => format!("{}µs", trimmed(ns / 1e3, 3)),
        ns if ns < 1e9 => format!("{}ms", trimmed(ns / 1e6, 6)),
        ns if ns < 60e9 => format!("{}s", trimmed(ns / 1e9, 9)),
        ns => {
            let minutes = (ns / 60e9).floor();
            let rest = trimmed((ns - minutes * 60e9) / 1e9, 9);
            if minutes < 60.0 {
                format!("{minutes}m{rest}s")
            } else {
                let hours = (minutes / 60.0).floor();
                format!("{hours}h{}m{rest}s", minutes - hours * 60.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_go_writes_them() {
        // Of the official tool's own reports: `%4.4f`, `%g`, and time.Duration.
        for (value, usual, precise) in [
            (4.700668498, "4.7007", "4.700668498"),
            (0.00293235, "0.0029", "0.00293235"),
            (4254.713985576611, "4254.7140", "4254.713985576611"),
            (0.0000387, "0.0000", "3.87e-05"),
            (0.0, "0.0000", "0"),
        ] {
            assert_eq!((figure(value, false), figure(value, true)), (usual.to_owned(), precise.to_owned()));
        }
        for (seconds, text) in [
            (0.000387987, "387.987µs"),
            (0.015070716, "15.070716ms"),
            (0.00293235, "2.93235ms"),
            (1.5, "1.5s"),
            (0.000000012, "12ns"),
            (75.25, "1m15.25s"),
            (3_675.0, "1h1m15s"),
            (0.0, "0ns"),
        ] {
            assert_eq!(go_duration(seconds), text);
        }
    }
}
