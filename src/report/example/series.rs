//! Invented series that look like a day of etcd.

use std::collections::BTreeMap;

use super::DATA_THROUGH_MS;
use crate::model::{Labels, ReadingRow, Series};

const STEP_MS: i64 = 300_000;
const STEPS: i64 = 288;

/// Numbers that look random and are the same at every call (splitmix64, Steele et al. 2014).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not give one stream, shifted.
        Self(Self(seed ^ 0x5851_f42d_4c95_7f2d).next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The panels of one cluster. `slow` is the place of the member whose disk gets slow; `gap` leaves out an
/// hour, as when the monitor itself was down.
pub(super) fn panels(
    rows: &[ReadingRow],
    slow: Option<usize>,
    gap: bool,
    dice: &mut Dice,
) -> BTreeMap<String, Vec<Series>> {
    let mut panels: BTreeMap<String, Vec<Series>> = BTreeMap::new();
    if rows.is_empty() {
        return panels;
    }
    let put = [("p50", 0.001_9), ("p95", 0.004_5), ("p99", 0.007)].map(|(quantile, base)| {
        let labels = Labels::from_pairs([("quantile", quantile), ("source", "grpc_server_handling_seconds")]);
        let rise = if slow.is_some() { 15.0 } else { 0.0 };
        wave(labels, base, rise, gap, dice)
    });
    panels.insert("put_latency".to_owned(), put.into());
    let db_bytes = rows.iter().filter_map(|row| row.db_size_bytes).max().unwrap_or(1 << 30) as f64;
    panels.insert("db_size".to_owned(), vec![growing(db_bytes, gap)]);
    panels.insert("db_in_use".to_owned(), vec![growing(db_bytes * 0.6, gap)]);
    for (m, row) in rows.iter().enumerate() {
        let own =
            |name: &str| Labels::from_pairs([("instance", row.instance.as_str())]).with("quantile", name);
        let is_slow = slow == Some(m);
        let rise = if is_slow { 8.0 } else { 0.0 };
        let per_member = [
            ("wal_fsync", wave(own(""), 0.003, rise, gap, dice)),
            ("backend_commit", wave(own(""), 0.006, rise / 3.0, gap, dice)),
            ("cpu", wave(own(""), 0.17, 0.0, gap, dice)),
            ("memory", wave(own(""), 1.9e9, 0.0, gap, dice)),
        ];
        for (id, series) in per_member {
            panels.entry(id.to_owned()).or_default().push(series);
        }
        for peer in rows.iter().filter(|peer| peer.instance != row.instance) {
            let to = peer.member_id.map(|id| id.to_string()).unwrap_or_default();
            let series = wave(own("").with("To", &to), 0.001_2, 0.0, gap, dice);
            panels.entry("peer_rtt".to_owned()).or_default().push(series);
        }
        panels.entry("wal_fsync_buckets".to_owned()).or_default().extend(buckets(&own(""), is_slow, dice));
    }
    panels
}

/// A noisy level with rare spikes; `rise` times the level is added over the last five hours.
fn wave(labels: Labels, base: f64, rise: f64, gap: bool, dice: &mut Dice) -> Series {
    let mut series = Series::new(labels);
    for step in 0..=STEPS {
        if gap && (60..72).contains(&step) {
            continue;
        }
        let spike = if dice.below(90) == 0 { 0.8 } else { 0.0 };
        let late = ((step - 228).max(0)) as f64 / 60.0;
        let value = base * (0.85 + 0.3 * dice.share() + spike + rise * late * (0.85 + 0.15 * dice.share()));
        series.push(DATA_THROUGH_MS - (STEPS - step) * STEP_MS, value);
    }
    series
}

fn growing(end: f64, gap: bool) -> Series {
    let mut series = Series::new(Labels::default());
    for step in (0..=STEPS).filter(|step| !(gap && (60..72).contains(step))) {
        series.push(
            DATA_THROUGH_MS - (STEPS - step) * STEP_MS,
            (end * (0.94 + 0.06 * step as f64 / STEPS as f64)).round(),
        );
    }
    series
}

/// Calls per half hour in etcd's fsync buckets, cumulative.
fn buckets(labels: &Labels, is_slow: bool, dice: &mut Dice) -> Vec<Series> {
    let bounds = ["0.001", "0.002", "0.004", "0.008", "0.016", "0.032", "0.064", "0.128", "+Inf"];
    let mut all: Vec<Series> = bounds.iter().map(|le| Series::new(labels.with("le", le))).collect();
    for column in 1..=48_i64 {
        let late = is_slow && column > 38;
        let weights = if late { [0, 2, 8, 30, 48, 10, 2, 0, 0] } else { [4, 25, 55, 14, 2, 0, 0, 0, 0] };
        let mut below = 0.0;
        for (series, weight) in all.iter_mut().zip(weights) {
            below += f64::from(weight) * (0.7 + 0.6 * dice.share());
            series.push(DATA_THROUGH_MS - (48 - column) * 1_800_000, below);
        }
    }
    all
}
