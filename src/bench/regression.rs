//! Whether a benchmark got slower: runs of one kind in the order of time, each against those before it.
//!
//! Method. Figures are compared by their logarithms, so that a change is a ratio. What runs differ by when nothing has changed is
//! the standard deviation of those before. Two windows are looked at: the newest run, which sees what is large at once, and the
//! newest five, which see what is small; each by Student's t at such a level that all looks of one run together are wrong in less than 1 % of runs (Bonferroni). Beyond that a mean of five runs that is 15 % worse is a regression however the history
//! scatters.
//! What was found worse does not become what is usual; `bench baseline set` says that it is. What was found better does, at once.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::model::BenchRow;
use crate::model::unit::{human_seconds, three_digits};

/// With fewer runs before it nothing is said of one.
pub const HISTORY_MIN: usize = 5;
/// So many runs before the judged ones are what is usual.
const HISTORY_MAX: usize = 30;
/// The windows, newest runs.
const WINDOWS: [usize; 2] = [1, 5];
/// Worse by this much over the longer window is worse whatever the noise.
const ALWAYS: f64 = 0.15;
/// The normal quantile of a level of 0.0008: six looks of one run (two windows of three measures) come to less than 1 %, with a
/// reserve, because what was found worse is left out of what is usual, which then scatters a little less than runs do.
const Z: f64 = 3.15;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Good answers per second; more is better.
    Rate,
    /// Seconds; less is better.
    P50,
    P99,
}

impl Measure {
    pub const ALL: [Self; 3] = [Self::Rate, Self::P50, Self::P99];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::P50 => "p50",
            Self::P99 => "p99",
        }
    }
}

/// One figure of a run: of which of its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    pub part: String,
    pub measure: Measure,
    pub value: f64,
}

/// What is compared of a run, given its parts. Where the rate was given it says nothing.
pub fn figures(rows: &[BenchRow]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for row in rows.iter().filter(|row| row.is_conclusive()) {
        for measure in Measure::ALL {
            let value = match measure {
                Measure::Rate if row.is_paced => None,
                Measure::Rate => Some(row.rate),
                Measure::P50 => row.p50,
                Measure::P99 => row.p99,
            };
            if let Some(value) = value.filter(|value| *value > 0.0) {
                figures.push(Figure { part: row.part.clone(), measure, value });
            }
        }
    }
    figures
}

/// What is said of one figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    pub part: String,
    pub measure: Measure,
    /// The mean of the runs before, and of how many.
    pub before: f64,
    pub runs_before: usize,
    /// The mean of the judged runs, and of how many.
    pub after: f64,
    pub runs_after: usize,
    /// 0.1 is 10 % more.
    pub change: f64,
    /// How much worse it is, above zero; the same as a part of what was.
    pub worse: f64,
    /// Worse than this is more than noise; absent where the history is too short to tell.
    pub threshold: Option<f64>,
    /// `worse` by `threshold`.
    pub factor: Option<f64>,
    pub verdict: Verdict,
}

/// What a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// There is nothing to compare with yet.
    Unknown,
    /// No more than runs differ by.
    Same,
    Better,
    /// Worse by 15 % or more in fewer runs than it takes to be sure.
    Suspected,
    Regression,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Same => "same",
            Self::Better => "better",
            Self::Suspected => "suspected",
            Self::Regression => "regression",
        }
    }
}

/// A run, its parts, and what is said of its figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    pub rows: Vec<BenchRow>,
    pub comparisons: Vec<Comparison>,
}

impl Judged {
    pub fn id(&self) -> &str {
        self.rows.first().map_or("", |row| row.id.as_str())
    }

    /// The worst that is said.
    pub fn verdict(&self) -> Verdict {
        self.comparisons.iter().map(|comparison| comparison.verdict).max().unwrap_or(Verdict::Unknown)
    }
}

/// Judges all runs of a cluster, given the parts of all in the order of time; those of each kind against each other, from
/// its baseline on.
pub fn history(rows: &[BenchRow], since: &BTreeMap<String, String>) -> Vec<Judged> {
    let mut runs: Vec<Vec<BenchRow>> = Vec::new();
    for row in rows {
        match runs.last_mut().filter(|run| run.first().is_some_and(|first| first.id == row.id)) {
            Some(run) => run.push(row.clone()),
            None => runs.push(vec![row.clone()]),
        }
    }
    let signature = |run: &Vec<BenchRow>| run.first().map(|row| row.signature.clone()).unwrap_or_default();
    let mut judged: Vec<Judged> =
        runs.into_iter().map(|rows| Judged { rows, comparisons: Vec::new() }).collect();
    let kinds: BTreeSet<String> = judged.iter().map(|run| signature(&run.rows)).collect();
    for kind in kinds {
        let from = since.get(&kind).map_or("", String::as_str);
        let places: Vec<usize> = (0..judged.len())
            .filter(|at| judged.get(*at).is_some_and(|run| signature(&run.rows) == kind && run.id() >= from))
            .collect();
        let of_kind: Vec<Vec<BenchRow>> =
            places.iter().filter_map(|at| judged.get(*at)).map(|run| run.rows.clone()).collect();
        for (at, comparisons) in places.into_iter().zip(judge(&of_kind)) {
            if let Some(run) = judged.get_mut(at) {
                run.comparisons = comparisons;
            }
        }
    }
    judged
}

/// Judges every run of `runs`, which are of one kind and in the order of time.
pub fn judge(runs: &[Vec<BenchRow>]) -> Vec<Vec<Comparison>> {
    let figures: Vec<Vec<Figure>> = runs.iter().map(|run| figures(run)).collect();
    let mut verdicts: Vec<Vec<Comparison>> = vec![Vec::new(); runs.len()];
    let keys: BTreeSet<(String, Measure)> =
        figures.iter().flatten().map(|figure| (figure.part.clone(), figure.measure)).collect();
    for (part, measure) in keys {
        let value = |run: &Vec<Figure>| {
            let is_it = |figure: &&Figure| figure.part == part && figure.measure == measure;
            run.iter().find(is_it).map(|figure| figure.value)
        };
        let values: Vec<Option<f64>> = figures.iter().map(value).collect();
        for (verdict, judged) in verdicts.iter_mut().zip(judge_values(&values, measure)) {
            verdict.extend(judged.map(|judged| Comparison { part: part.clone(), ..judged }));
        }
    }
    verdicts
}

/// Judges a series of one measure.
fn judge_values(values: &[Option<f64>], measure: Measure) -> Vec<Option<Comparison>> {
    // What may be usual: not what was found worse.
    let mut usual: Vec<(usize, f64)> = Vec::new();
    let mut judged = Vec::new();
    for (at, value) in values.iter().enumerate() {
        let Some(value) = value else {
            judged.push(None);
            continue;
        };
        let windows = WINDOWS.map(|window| {
            let start = (at + 1).saturating_sub(window);
            let recent: Vec<f64> = values.iter().take(at + 1).skip(start).flatten().copied().collect();
            let before: Vec<f64> =
                usual.iter().filter(|(n, _)| *n < start).map(|(_, value)| *value).collect();
            (recent.len() == window).then(|| compare(&before, &recent, measure)).flatten()
        });
        let [one, five] = windows;
        // The window that says more; of two that say nothing the newest run.
        let best = match (one, five) {
            (Some(one), Some(five)) if five.verdict > one.verdict => Some(five),
            (one, five) => one.or(five),
        };
        let is_new_level =
            best.as_ref().is_some_and(|best| best.verdict == Verdict::Better && best.runs_after > 1);
        if is_new_level {
            usual.retain(|(n, _)| n + best.as_ref().map_or(0, |best| best.runs_after) > at);
        }
        // While there is too little to tell, everything is usual: one good day at the start must not condemn the rest.
        if usual.len() < HISTORY_MIN || best.as_ref().is_none_or(|best| best.verdict < Verdict::Regression) {
            usual.push((at, *value));
        }
        judged.push(best);
    }
    judged
}

impl PartialOrd for Verdict {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Verdict {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let rank = |verdict: &Self| match verdict {
            Self::Unknown => 0,
            Self::Same => 1,
            Self::Better => 2,
            Self::Suspected => 3,
            Self::Regression => 4,
        };
        rank(self).cmp(&rank(other))
    }
}

/// The mean of `after` against that of `before`, which is in the order of time. `None` without any.
pub fn compare(before: &[f64], after: &[f64], measure: Measure) -> Option<Comparison> {
    let skipped = before.len().saturating_sub(HISTORY_MAX);
    let logs = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<f64>>();
    let (then, now) = (logs(before.get(skipped..)?), logs(after));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    if then.is_empty() || now.is_empty() {
        return None;
    }
    let (was, is) = (mean(&then), mean(&now));
    let worse_log = if measure == Measure::Rate { was - is } else { is - was };
    let threshold = noise(&then).map(|(sigma, freedom)| {
        let error = sigma * (1.0 / then.len() as f64 + 1.0 / now.len() as f64).sqrt();
        (student(freedom) * error).exp_m1()
    });
    let worse = worse_log.exp_m1();
    let is_long = now.len() >= WINDOWS.into_iter().max().unwrap_or(1);
    let verdict = match threshold {
        Some(threshold) if worse > threshold => Verdict::Regression,
        Some(_) if is_long && worse > ALWAYS => Verdict::Regression,
        _ if worse > ALWAYS => Verdict::Suspected,
        None => Verdict::Unknown,
        Some(threshold) if (-worse_log).exp_m1() > threshold => Verdict::Better,
        Some(_) => Verdict::Same,
    };
    Some(Comparison {
        part: String::new(),
        measure,
        before: was.exp(),
        runs_before: then.len(),
        after: is.exp(),
        runs_after: now.len(),
        change: (is - was).exp_m1(),
        worse,
        threshold,
        factor: threshold.filter(|threshold| *threshold > 0.0).map(|threshold| worse / threshold),
        verdict,
    })
}

/// One run against another, where `noise` are runs of the kind.
pub fn pair(before: f64, after: f64, noise_of: &[f64], measure: Measure) -> Comparison {
    let logs: Vec<f64> = noise_of.iter().map(|value| value.ln()).collect();
    let change = after / before - 1.0;
    let worse = if measure == Measure::Rate { before / after - 1.0 } else { change };
    // Either of the two differs from what it stands for.
    let threshold = noise(&logs).map(|(sigma, freedom)| (student(freedom) * sigma * 2.0_f64.sqrt()).exp_m1());
    let verdict = match threshold {
        None if worse > ALWAYS => Verdict::Suspected,
        None => Verdict::Unknown,
        Some(threshold) if worse > threshold => Verdict::Regression,
        Some(threshold) if 1.0 / (1.0 + worse) - 1.0 > threshold => Verdict::Better,
        Some(_) => Verdict::Same,
    };
    let factor = threshold.filter(|threshold| *threshold > 0.0).map(|threshold| worse / threshold);
    let (runs_before, runs_after) = (1, 1);
    Comparison {
        part: String::new(),
        measure,
        before,
        runs_before,
        after,
        runs_after,
        change,
        worse,
        threshold,
        factor,
        verdict,
    }
}

/// One standard deviation of a run, and its degrees of freedom. `None` of too few.
fn noise(logs: &[f64]) -> Option<(f64, f64)> {
    if logs.len() < HISTORY_MIN {
        return None;
    }
    let n = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let variance = logs.iter().map(|log| (log - mean) * (log - mean)).sum::<f64>() / (n - 1.0);
    // No benchmark repeats itself to less than half a percent; equal runs are chance.
    Some((variance.sqrt().max(0.005), n - 1.0))
}

/// Student's t at the level of [`Z`] (Abramowitz and Stegun 26.7.5).
fn student(freedom: f64) -> f64 {
    let (z, v) = (Z, freedom);
    let (z3, z5, z7) = (z.powi(3), z.powi(5), z.powi(7));
    z + (z3 + z) / (4.0 * v)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * v.powi(2))
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * v.powi(3))
        + (79.0 * z.powi(9) + 776.0 * z7 + 1482.0 * z5 - 1920.0 * z3 - 945.0 * z) / (92_160.0 * v.powi(4))
}

/// A comparison in a sentence.
pub fn sentence(comparison: &Comparison) -> String {
    let Comparison { part, measure, before, after, change, threshold, factor, verdict, .. } = comparison;
    let value = |value: f64| match measure {
        Measure::Rate => format!("{}/s", three_digits(value)),
        _ => human_seconds(value),
    };
    let of = |runs: usize| if runs == 1 { String::new() } else { format!(" (mean of {runs})") };
    let noise = match (threshold, factor) {
        (Some(threshold), Some(factor)) => {
            format!("threshold {:.1} %, factor {factor:.1}", threshold * 100.0)
        }
        _ => format!("no threshold: fewer than {HISTORY_MIN} runs before"),
    };
    format!(
        "{part} {}: {}{} to {}{}, {:+.1} %; {noise}: {}",
        measure.as_str(),
        value(*before),
        of(comparison.runs_before),
        value(*after),
        of(comparison.runs_after),
        change * 100.0,
        verdict.as_str()
    )
}

#[cfg(test)]
mod tests;
