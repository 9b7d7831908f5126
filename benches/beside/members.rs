//! Members made from recorded `/metrics` texts: from one step to the next every series moves as its kind
//! does, the same for the same seed.
//!
//! Counters and histograms only grow, a histogram's `_count` is its `+Inf` bucket, gauges wander around what
//! was recorded.

use std::fmt::Write as _;

/// Recorded texts of three members of one cluster.
const RECORDED: [&str; 3] = [
    include_str!("../../tests/data/store/metrics/member-13100.txt"),
    include_str!("../../tests/data/store/metrics/member-13102.txt"),
    include_str!("../../tests/data/store/metrics/member-13104.txt"),
];

/// The recorded values were reached in about ten minutes: that many steps of 15 s.
const RECORDED_STEPS: f64 = 40.0;

/// xorshift64*, enough for a replay that must be the same everywhere.
struct Seeded(u64);

impl Seeded {
    /// 0 to 1.
    fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// One series of a member.
pub struct Line {
    /// `name{labels}` as in the text.
    pub series: &'static str,
    pub value: f64,
}

/// How lines move.
enum Motion {
    /// Whole events.
    Counter { line: usize, pace: f64 },
    /// Cumulative seconds.
    Seconds { line: usize, pace: f64 },
    /// Around its recorded value.
    Gauge { line: usize, recorded: f64 },
    /// Lines `first..=inf` are the buckets, then `_sum` and `_count`.
    Histogram { first: usize, inf: usize, pace: f64, mean: f64, weights: Vec<f64> },
}

/// One member at one step.
pub struct Member {
    pub lines: Vec<Line>,
    motions: Vec<Motion>,
    seeded: Seeded,
}

impl Member {
    /// Member `n`. `moving` is the share, 0 to 1, of the counters and histograms recorded as zero that move
    /// all the same, each at its own pace; 0 is a cluster as idle as the recorded one.
    pub fn new(n: usize, moving: f64) -> Self {
        let mut seeded = Seeded(0x5eed_0000_0000_0001 + n as u64 * 0x9e37_79b9);
        let recorded = RECORDED.iter().cycle().nth(n).unwrap();
        let samples = recorded.lines().filter(|line| !line.starts_with('#'));
        let lines: Vec<Line> = samples
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(series, value)| Line { series, value: value.parse().unwrap() })
            .collect();
        let mut motions = Vec::new();
        let mut at = 0;
        while let Some(line) = lines.get(at) {
            let name = line.series.split('{').next().unwrap_or_default();
            if name.ends_with("_bucket") {
                let inf = (at..lines.len()).find(|i| lines[*i].series.contains("le=\"+Inf\"")).unwrap();
                motions.extend(histogram(&lines, at, inf, moving, &mut seeded));
                at = inf + 3;
                continue;
            }
            let still = line.value == 0.0 && seeded.fraction() >= moving;
            if name.ends_with("_seconds_total") && !still {
                motions.push(Motion::Seconds { line: at, pace: pace(line.value, &mut seeded) });
            } else if (name.ends_with("_total") || name.ends_with("_sum") || name.ends_with("_count"))
                && !still
            {
                motions.push(Motion::Counter { line: at, pace: pace(line.value, &mut seeded) });
            } else if line.value > 10.0 && !name.contains("start_time") && !name.contains("quota") {
                motions.push(Motion::Gauge { line: at, recorded: line.value });
            }
            at += 1;
        }
        Self { lines, motions, seeded }
    }

    /// One scrape interval later.
    pub fn step(&mut self) {
        let Self { lines, motions, seeded } = self;
        for motion in motions {
            match motion {
                Motion::Counter { line, pace } => {
                    lines[*line].value += (seeded.fraction() * 2.0 * *pace).round()
                }
                Motion::Seconds { line, pace } => lines[*line].value += seeded.fraction() * 2.0 * *pace,
                Motion::Gauge { line, recorded } => {
                    lines[*line].value = (*recorded * (0.95 + 0.1 * seeded.fraction())).round();
                }
                Motion::Histogram { first, inf, pace, mean, weights } => {
                    let events = (seeded.fraction() * 2.0 * *pace).round();
                    // Above this the events go in equal parts, so that a step costs the same at any pace.
                    let parts = events.min(64.0);
                    for _ in 0..parts as usize {
                        let drawn = seeded.fraction();
                        let bucket = weights.iter().position(|upto| drawn <= *upto).unwrap_or(*inf - *first);
                        for line in &mut lines[*first + bucket..=*inf] {
                            line.value += (events / parts).round();
                        }
                    }
                    lines[*inf + 2].value = lines[*inf].value;
                    lines[*inf + 1].value += events * *mean * (0.5 + seeded.fraction());
                }
            }
        }
    }

    /// The member as a `/metrics` text.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(192 << 10);
        for line in &self.lines {
            writeln!(text, "{} {}", line.series, line.value).unwrap();
        }
        text
    }
}

/// Mean increase per step: what led to the recorded value, or something between one in ten steps and
/// thousands in one.
fn pace(recorded: f64, seeded: &mut Seeded) -> f64 {
    if recorded > 0.0 { recorded / RECORDED_STEPS } else { 10_f64.powf(seeded.fraction() * 5.0 - 1.0) }
}

fn histogram(lines: &[Line], first: usize, inf: usize, moving: f64, seeded: &mut Seeded) -> Option<Motion> {
    let total = lines[inf].value;
    if total == 0.0 && seeded.fraction() >= moving {
        return None;
    }
    let buckets = (inf - first + 1) as f64;
    let (weights, mean) = if total > 0.0 {
        let shares = lines[first..=inf].iter().map(|line| line.value / total);
        (shares.collect(), lines[inf + 1].value / total)
    } else {
        // A latency distribution's shape: most in the lower third.
        ((1..=inf - first + 1).map(|n| 1.0 - (-4.0 * n as f64 / buckets).exp()).collect(), 0.003)
    };
    Some(Motion::Histogram { first, inf, pace: pace(total, seeded), mean, weights })
}
