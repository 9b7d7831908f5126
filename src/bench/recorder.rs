//! How long answers took, kept in little: histograms, sums, seconds, errors. One recorder per thread; they are added up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use tonic::Status;

use super::BenchError;
use crate::model::{BenchFailure, BenchLatency, BenchPart, BenchSecond};

/// Of every value so many digits are kept: an error of 0.1 % at most.
const DIGITS: u8 = 3;

/// What is told of all latencies.
pub const QUANTILES: [f64; 9] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999];

/// So many ways to fail are told apart; the rest is one.
const ERRORS_MAX: usize = 20;

/// When a request was to be sent, was sent, and was over.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub intended: Instant,
    pub sent: Instant,
    pub over: Instant,
}

/// Latencies of one kind, ns.
#[derive(Debug, Clone)]
struct Latencies {
    histogram: Histogram<u64>,
    sum: f64,
    sum_of_squares: f64,
    fastest: u64,
    slowest: u64,
}

impl Latencies {
    fn new() -> Result<Self, BenchError> {
        let histogram = Histogram::new(DIGITS).map_err(|_| BenchError::Bug("a histogram of 3 digits"))?;
        Ok(Self { histogram, sum: 0.0, sum_of_squares: 0.0, fastest: u64::MAX, slowest: 0 })
    }

    fn record(&mut self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // It grows by itself as far as values go: nothing is left out.
        let _ = self.histogram.record(ns.max(1));
        let seconds = took.as_secs_f64();
        self.sum += seconds;
        self.sum_of_squares += seconds * seconds;
        self.fastest = self.fastest.min(ns);
        self.slowest = self.slowest.max(ns);
    }

    fn add(&mut self, other: &Self) {
        // The other one has as many digits, and this one grows.
        let _ = self.histogram.add(&other.histogram);
        self.sum += other.sum;
        self.sum_of_squares += other.sum_of_squares;
        self.fastest = self.fastest.min(other.fastest);
        self.slowest = self.slowest.max(other.slowest);
    }

    fn summary(&self) -> BenchLatency {
        let count = self.histogram.len() as f64;
        if count == 0.0 {
            let quantiles = Vec::new();
            return BenchLatency { fastest: 0.0, slowest: 0.0, average: 0.0, stddev: 0.0, quantiles };
        }
        let average = self.sum / count;
        let variance = (self.sum_of_squares / count - average * average).max(0.0);
        let (fastest, slowest) = (self.fastest as f64 / 1e9, self.slowest as f64 / 1e9);
        let quantiles = QUANTILES
            .iter()
            .filter(|quantile| {
                // Of 100 answers none tells of the slowest thousandth.
                count * (1.0 - **quantile) >= 0.999 || **quantile <= 0.5
            })
            .map(|quantile| {
                let ns = self.histogram.value_at_quantile(*quantile) as f64;
                (*quantile, (ns / 1e9).clamp(fastest, slowest))
            })
            .collect();
        BenchLatency { fastest, slowest, average, stddev: variance.sqrt(), quantiles }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Second {
    ok: u64,
    failed: u64,
    sum: f64,
    fastest: f64,
    slowest: f64,
}

/// Requests of one kind.
#[derive(Debug, Clone)]
struct Part {
    start: Option<Instant>,
    latencies: Latencies,
    uncorrected: Option<Latencies>,
    ok: u64,
    failed: u64,
    seconds: Vec<Second>,
    errors: BTreeMap<(String, String), u64>,
    /// Since the start.
    end: Duration,
}

/// Everything that one thread met.
#[derive(Debug, Clone)]
pub struct Recorder {
    parts: Vec<Part>,
}

impl Recorder {
    /// For `parts` kinds of requests, from `start` on; each from its first request where it is absent. `is_paced`: when a
    /// request is sent may differ from when it should be.
    ///
    /// # Errors
    /// Never in practice: see [`BenchError::Bug`].
    pub fn new(start: Option<Instant>, parts: usize, is_paced: bool) -> Result<Self, BenchError> {
        let part = Part {
            start,
            latencies: Latencies::new()?,
            uncorrected: is_paced.then(Latencies::new).transpose()?,
            ok: 0,
            failed: 0,
            seconds: Vec::new(),
            errors: BTreeMap::new(),
            end: Duration::ZERO,
        };
        Ok(Self { parts: vec![part; parts] })
    }

    /// Takes one request down: its kind, or with what it failed (then it counts for the first kind, or the one that is named).
    pub fn record(&mut self, outcome: Result<usize, (usize, Status)>, times: Times) {
        let (index, failure) = match outcome {
            Ok(index) => (index, None),
            Err((index, status)) => (index, Some(status)),
        };
        let Some(part) = self.parts.get_mut(index) else { return };
        let start = *part.start.get_or_insert(times.intended);
        part.end = part.end.max(times.over.saturating_duration_since(start));
        let at = times.intended.saturating_duration_since(start).as_secs();
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(86_400);
        if part.seconds.len() <= at {
            part.seconds.resize(at + 1, Second::default());
        }
        let second = part.seconds.get_mut(at);
        let took = times.over.saturating_duration_since(times.intended);
        match failure {
            Some(status) => {
                part.failed += 1;
                if let Some(second) = second {
                    second.failed += 1;
                }
                let code = format!("{:?}", status.code());
                let key = (code, status.message().to_owned());
                if part.errors.len() < ERRORS_MAX || part.errors.contains_key(&key) {
                    *part.errors.entry(key).or_default() += 1;
                } else {
                    *part.errors.entry((key.0, "(others)".to_owned())).or_default() += 1;
                }
            }
            None => {
                part.ok += 1;
                part.latencies.record(took);
                if let Some(uncorrected) = &mut part.uncorrected {
                    uncorrected.record(times.over.saturating_duration_since(times.sent));
                }
                if let Some(second) = second {
                    let seconds = took.as_secs_f64();
                    second.fastest = if second.ok == 0 { seconds } else { second.fastest.min(seconds) };
                    second.slowest = second.slowest.max(seconds);
                    second.sum += seconds;
                    second.ok += 1;
                }
            }
        }
    }

    /// Adds what another thread met since the same start.
    pub fn add(&mut self, other: &Self) {
        for (part, more) in self.parts.iter_mut().zip(&other.parts) {
            part.latencies.add(&more.latencies);
            if let (Some(part), Some(more)) = (&mut part.uncorrected, &more.uncorrected) {
                part.add(more);
            }
            part.ok += more.ok;
            part.failed += more.failed;
            part.end = part.end.max(more.end);
            if part.seconds.len() < more.seconds.len() {
                part.seconds.resize(more.seconds.len(), Second::default());
            }
            for (second, more) in part.seconds.iter_mut().zip(&more.seconds) {
                let both = second.ok > 0 && more.ok > 0;
                second.fastest =
                    if both { second.fastest.min(more.fastest) } else { second.fastest.max(more.fastest) };
                second.slowest = second.slowest.max(more.slowest);
                second.sum += more.sum;
                second.ok += more.ok;
                second.failed += more.failed;
            }
            for (key, count) in &more.errors {
                *part.errors.entry(key.clone()).or_default() += count;
            }
        }
    }

    /// What was measured, the kinds named `names`.
    ///
    /// # Errors
    /// When a histogram cannot be written.
    pub fn finish(self, names: &[&str]) -> Result<Vec<BenchPart>, BenchError> {
        self.parts.into_iter().zip(names).map(|(part, name)| part.finish(name)).collect()
    }
}

impl Part {
    fn finish(self, name: &str) -> Result<BenchPart, BenchError> {
        let seconds = self.end.as_secs_f64();
        let by_second = self.seconds.iter().zip(0_u32..).filter(|(second, _)| second.ok + second.failed > 0);
        let by_second = by_second.map(|(second, at)| BenchSecond {
            at,
            ok: second.ok,
            failed: second.failed,
            fastest: second.fastest,
            average: if second.ok == 0 { 0.0 } else { second.sum / second.ok as f64 },
            slowest: second.slowest,
        });
        let errors = self.errors.into_iter();
        let errors = errors.map(|((code, message), count)| BenchFailure { code, message, count });
        Ok(BenchPart {
            name: name.to_owned(),
            ok: self.ok,
            failed: self.failed,
            seconds,
            rate: if seconds > 0.0 { self.ok as f64 / seconds } else { 0.0 },
            latency: self.latencies.summary(),
            uncorrected: self.uncorrected.map(|latencies| latencies.summary()),
            histogram: encode(&self.latencies.histogram)?,
            by_second: by_second.collect(),
            errors: errors.collect(),
        })
    }
}

fn encode(histogram: &Histogram<u64>) -> Result<String, BenchError> {
    let mut bytes = Vec::new();
    let written = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
    written.map_err(|_| BenchError::Bug("a histogram in memory"))?;
    Ok(STANDARD.encode(bytes))
}

/// How many of `part`'s answers fall into each of ten equal steps from the fastest to the slowest, with the upper end of each
/// in seconds, the fastest itself first. `None` when the histogram is none.
pub fn ten_steps(part: &BenchPart) -> Option<Vec<(f64, u64)>> {
    let bytes = STANDARD.decode(&part.histogram).ok()?;
    let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).ok()?;
    let (low, high) = (part.latency.fastest, part.latency.slowest);
    let mut steps: Vec<(f64, u64)> =
        (0..=10).map(|step| (low + (high - low) * f64::from(step) / 10.0, 0)).collect();
    if let Some(last) = steps.last_mut() {
        last.0 = high;
    }
    for value in histogram.iter_recorded() {
        let seconds = (value.value_iterated_to() as f64 / 1e9).clamp(low, high);
        let step = steps.iter_mut().find(|(end, _)| seconds <= *end * (1.0 + 1e-9));
        if let Some((_, count)) = step {
            *count += value.count_at_value();
        }
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, intended: u64, sent: u64, over: u64) -> Times {
        let ms = |ms| start + Duration::from_millis(ms);
        Times { intended: ms(intended), sent: ms(sent), over: ms(over) }
    }

    #[test]
    fn a_request_counts_from_when_it_was_to_be_sent() {
        let start = Instant::now();
        let mut recorder = Recorder::new(Some(start), 1, true).expect("a recorder");
        for n in 0..100 {
            // The last twenty wait for an answer that took half a second.
            let late = if n >= 80 { 500 } else { 0 };
            recorder.record(Ok(0), at(start, n * 10, n * 10 + late, n * 10 + late + 2));
        }
        let part = recorder.finish(&["put"]).expect("parts").remove(0);
        assert_eq!((part.ok, part.failed), (100, 0));
        let p99 = part.latency.quantile(0.99).expect("of 100");
        assert!((0.5..0.51).contains(&p99), "{p99}");
        let closed = part.uncorrected.expect("was paced").quantile(0.99).expect("of 100");
        assert!((0.002..0.0021).contains(&closed), "{closed}");
        assert_eq!(part.by_second.len(), 1);
        assert!((part.latency.average - (0.002 + 0.2 * 0.5)).abs() < 1e-9);
    }

    #[test]
    fn threads_add_up_to_what_one_would_have_recorded() {
        let start = Instant::now();
        let (mut whole, mut halves) = (
            Recorder::new(Some(start), 2, false).expect("a recorder"),
            [0, 1].map(|_| Recorder::new(Some(start), 2, false).expect("a recorder")),
        );
        for n in 0..1_000_u64 {
            let outcome = || match n % 7 {
                0 => Err((0, Status::resource_exhausted("database space exceeded"))),
                n => Ok(usize::from(n > 3)),
            };
            let times = at(start, n * 5, n * 5, n * 5 + 1 + n % 13);
            whole.record(outcome(), times);
            halves[usize::from(n % 3 == 0)].record(outcome(), times);
        }
        let [mut sum, other] = halves;
        sum.add(&other);
        let (whole, sum) =
            (whole.finish(&["a", "b"]).expect("parts"), sum.finish(&["a", "b"]).expect("parts"));
        for (whole, sum) in whole.iter().zip(&sum) {
            assert_eq!((whole.ok, whole.failed, &whole.errors), (sum.ok, sum.failed, &sum.errors));
            assert_eq!(whole.latency.quantiles, sum.latency.quantiles);
            assert_eq!(whole.by_second.len(), sum.by_second.len());
            assert!((whole.latency.stddev - sum.latency.stddev).abs() < 1e-9);
            assert_eq!(ten_steps(whole), ten_steps(sum));
        }
        assert_eq!(whole[0].errors[0].code, "ResourceExhausted");
    }

    #[test]
    fn the_steps_hold_every_answer() {
        let start = Instant::now();
        let mut recorder = Recorder::new(Some(start), 1, false).expect("a recorder");
        for n in 0..5_000_u64 {
            recorder.record(Ok(0), at(start, n, n, n + 1 + (n * n) % 977));
        }
        let part = recorder.finish(&["put"]).expect("parts").remove(0);
        let steps = ten_steps(&part).expect("a histogram");
        assert_eq!(steps.len(), 11);
        assert_eq!(steps.iter().map(|(_, count)| count).sum::<u64>(), 5_000);
        assert!(part.histogram.starts_with("HISTFAAA"), "as other tools know it: {}", part.histogram);
    }

    #[test]
    fn nothing_is_told_of_a_tail_that_was_not_seen() {
        let start = Instant::now();
        let mut recorder = Recorder::new(Some(start), 1, false).expect("a recorder");
        for n in 0..100 {
            recorder.record(Ok(0), at(start, n, n, n + 1));
        }
        let latency = recorder.finish(&["put"]).expect("parts").remove(0).latency;
        assert!(latency.quantile(0.99).is_some());
        assert_eq!(latency.quantile(0.999), None);
        let empty =
            Recorder::new(Some(start), 1, false).expect("a recorder").finish(&["put"]).expect("parts");
        assert_eq!((empty[0].rate, empty[0].latency.quantiles.len()), (0.0, 0));
    }
}
