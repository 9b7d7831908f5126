//! The loads and verdicts of `etcdctl check` (etcd 3.4 to 3.7), from what a run measured.

use serde::Serialize;

use crate::model::{BenchOutcome, BenchRun};

/// Bytes, of a key of `check perf` after our prefix, of one of `check datascale`, and of both values.
pub const PERF_KEY_SIZE: usize = 256;
pub const SCALE_KEY_SIZE: usize = 16;
pub const VALUE_SIZE: usize = 1_024;

/// One of etcdctl's four.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Of `check perf`: puts per second for a minute.
    pub rate: f64,
    /// Of `check datascale`.
    pub keys: u64,
    pub clients: usize,
}

impl Load {
    pub const SMALL: Self = Self { rate: 150.0, keys: 10_000, clients: 50 };
    pub const MEDIUM: Self = Self { rate: 1_000.0, keys: 100_000, clients: 200 };
    pub const LARGE: Self = Self { rate: 8_000.0, keys: 1_000_000, clients: 500 };
    pub const EXTRA_LARGE: Self = Self { rate: 15_000.0, keys: 3_000_000, clients: 1_000 };
}

/// One verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub passed: bool,
    pub text: String,
}

fn line(passed: bool, text: String) -> Line {
    Line { passed, text }
}

/// What stands in the way of any verdict.
fn whole(run: &BenchRun) -> Option<Line> {
    let failed: u64 = run.parts.iter().map(|part| part.failed).sum();
    if failed > 0 {
        let first = run.parts.iter().flat_map(|part| &part.errors).next();
        let first = first.map_or(String::new(), |error| format!(": {}: {}", error.code, error.message));
        return Some(line(false, format!("too many errors: {failed}{first}")));
    }
    match run.outcome {
        BenchOutcome::Complete => None,
        outcome => Some(line(false, format!("it was {}", outcome.as_str()))),
    }
}

/// As `check perf`: at least nine tenths of the rate, nothing slower than half a second, a deviation of at most a tenth. As there,
/// latencies count from when a request was really sent.
pub fn perf(run: &BenchRun, load: Load) -> Vec<Line> {
    if let Some(line) = whole(run) {
        return vec![line];
    }
    let Some(part) = run.parts.first() else { return vec![line(false, "nothing was measured".to_owned())] };
    let latency = part.uncorrected.as_ref().unwrap_or(&part.latency);
    let writes = part.rate.floor();
    let (slowest, stddev) = (latency.slowest, latency.stddev);
    vec![
        match part.rate / load.rate > 0.9 {
            true => line(true, format!("Throughput is {writes} writes/s")),
            false => line(false, format!("Throughput too low: {writes} writes/s")),
        },
        match slowest <= 0.5 {
            true => line(true, format!("Slowest request took {slowest:.6}s")),
            false => line(false, format!("Slowest request took too long: {slowest:.6}s")),
        },
        match stddev <= 0.1 {
            true => line(true, format!("Stddev is {stddev:.6}s")),
            false => line(false, format!("Stddev too high: {stddev:.6}s")),
        },
    ]
}

/// As `check datascale`: that all keys were put, and how much memory the members took for them.
pub fn datascale(run: &BenchRun) -> Vec<Line> {
    if let Some(line) = whole(run) {
        return vec![line];
    }
    let grown = run.server.members.iter().filter_map(|member| {
        let (before, after) = (member.memory_bytes_before?, member.memory_bytes_after?);
        Some(after.saturating_sub(before) as f64 / (1024.0 * 1024.0))
    });
    let grown: Vec<f64> = grown.collect();
    if grown.is_empty() {
        return vec![line(
            false,
            "no member told how much memory it uses (its metrics were not there)".to_owned(),
        )];
    }
    let sum: f64 = grown.iter().sum();
    vec![line(true, format!("Approximate system memory used : {sum:.2} MB."))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tests::example;
    use crate::model::BenchFailure;

    #[test]
    fn verdicts_are_those_of_etcdctl() {
        let mut run = example("put", 150.0, 0.02);
        let passed =
            |run: &BenchRun| perf(run, Load::SMALL).iter().map(|line| line.passed).collect::<Vec<_>>();
        assert_eq!(passed(&run), [true, true, true]);
        assert_eq!(perf(&run, Load::SMALL)[0].text, "Throughput is 150 writes/s");
        run.parts[0].rate = 135.0;
        run.parts[0].latency.slowest = 0.501;
        run.parts[0].latency.stddev = 0.11;
        assert_eq!(passed(&run), [false, false, false]);
        assert_eq!(perf(&run, Load::SMALL)[0].text, "Throughput too low: 135 writes/s");
        run.parts[0].failed = 1;
        let error = BenchFailure { code: "Unavailable".to_owned(), message: "gone".to_owned(), count: 1 };
        run.parts[0].errors.push(error);
        assert_eq!(
            perf(&run, Load::SMALL),
            [line(false, "too many errors: 1: Unavailable: gone".to_owned())]
        );
    }

    #[test]
    fn memory_is_what_the_members_grew_by() {
        let mut run = example("put", 150.0, 0.02);
        assert_eq!(datascale(&run), [line(true, "Approximate system memory used : 10.00 MB.".to_owned())]);
        run.server.members[0].memory_bytes_after = None;
        assert!(!datascale(&run)[0].passed);
    }
}
