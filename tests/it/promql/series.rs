//! Seeded series for the comparison: counters with resets, gauges with NaN, Inf and gaps, histograms, and
//! the metrics the etcd mixin asks for.

use etcd_monitor::model::{Labels, METRIC_NAME, SeriesSet};

/// The first sample's time; a multiple of no step in use.
pub const START_MS: i64 = 1_700_000_007_000;
/// Two and a half hours.
pub const SPAN_MS: i64 = 9_000_000;
const SCRAPE_MS: i64 = 15_000;

/// A small generator (SplitMix64) whose output is fixed by its seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// In 0..1.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn chance(&mut self, share: f64) -> bool {
        self.share() < share
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len() as u64) as usize]
    }
}

struct Writer {
    random: Random,
    set: SeriesSet,
}

impl Writer {
    /// Samples of one target: jittered, with lost scrapes and a gap longer than the look-back.
    fn series(&mut self, name: &str, labels: &[(&str, &str)], mut value: impl FnMut(&mut Random) -> f64) {
        let labels = Labels::from_pairs([(METRIC_NAME, name)].iter().chain(labels).copied());
        let starts_late = self.random.chance(0.2);
        let gap = self.random.chance(0.3).then(|| self.random.below(400) as i64);
        for index in 0..SPAN_MS / SCRAPE_MS {
            let next = value(&mut self.random);
            let in_gap = gap.is_some_and(|gap| (gap..gap + 30).contains(&index));
            let lost = in_gap || self.random.chance(0.02) || starts_late && index < 120;
            if !lost {
                let jitter_ms = self.random.below(8) as i64 * 125;
                self.set.push(&labels, START_MS + index * SCRAPE_MS + jitter_ms, next);
            }
        }
    }

    fn counter(&mut self, name: &str, labels: &[(&str, &str)], pace: f64) {
        let mut total = self.random.share() * 100.0;
        self.series(name, labels, move |random| {
            total = if random.chance(0.005) { 0.0 } else { total + random.share() * pace };
            if random.chance(0.1) { total } else { total.floor() }
        });
    }

    fn gauge(&mut self, name: &str, labels: &[(&str, &str)], low: f64, high: f64) {
        self.series(name, labels, move |random| low + random.share() * (high - low));
    }

    /// A gauge that changes rarely and takes few values.
    fn state(&mut self, name: &str, labels: &[(&str, &str)], changes: f64) {
        let mut state = 1.0;
        self.series(name, labels, move |random| {
            if random.chance(changes) {
                state = 1.0 - state;
            }
            state
        });
    }

    /// Buckets that grow together; scrapes of single buckets are lost, so counts are not always monotonic.
    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], bounds: &[&str]) {
        let observed: Vec<u64> = (0..SPAN_MS / SCRAPE_MS).map(|_| self.random.below(300)).collect();
        for (index, bound) in bounds.iter().enumerate() {
            let share = (index + 1) as f64 / bounds.len() as f64;
            let (mut total, mut observed) = (0.0, observed.iter());
            let with_bound = [labels, &[("le", *bound)]].concat();
            self.series(&format!("{name}_bucket"), &with_bound, |_| {
                let observed = *observed.next().expect("one for each scrape");
                total = if observed == 299 { 0.0 } else { total + ((observed % 20) as f64 * share).floor() };
                total
            });
        }
    }
}

/// All series of a seed.
pub fn series(seed: u64) -> SeriesSet {
    let mut to = Writer { random: Random(seed), set: SeriesSet::default() };
    generic(&mut to);
    etcd(&mut to);
    to.set
}

fn generic(to: &mut Writer) {
    for (instance, zone) in [("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")] {
        let labels = [("instance", instance), ("zone", zone)];
        to.counter("c_total", &labels, 9.0);
        to.counter("d_total", &labels, 0.4);
        to.gauge("g", &labels, -50.0, 50.0);
        to.gauge("m", &labels, 1.0, 2.0);
        to.state("s", &labels, 0.05);
        to.series("wild", &labels, |random| match random.below(12) {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => f64::NEG_INFINITY,
            3 => 0.0,
            _ => random.share() * 8.0 - 4.0,
        });
        to.series("few", &labels, |random| random.below(4) as f64);
        to.series("flat", &labels, |_| 7.0);
        to.histogram("h", &labels, &["0.1", "0.5", "1", "5", "+Inf"]);
    }
    for zone in ["x", "y", "z"] {
        to.gauge("zone_weight", &[("zone", zone), ("owner", &format!("team-{zone}"))], 1.0, 5.0);
    }
    to.histogram("open", &[("instance", "a")], &["-1", "0", "2"]);
    to.gauge("lonely", &[], 0.0, 1.0);
    for text in ["a\nb", "a\\b", "\"", "é", "é\n", " ", "a.b", "$1"] {
        to.series("odd", &[("text", text)], |_| 1.0);
    }
}

fn etcd(to: &mut Writer) {
    for instance in ["10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"] {
        let own = [("job", "etcd"), ("instance", instance), ("endpoint", "metrics")];
        let with = |more: &[(&'static str, &'static str)]| [own.to_vec(), more.to_vec()].concat();
        to.state("up", &own, 0.03);
        to.state("etcd_server_has_leader", &own, 0.02);
        to.state("etcd_server_is_leader", &own, 0.05);
        to.counter("etcd_server_leader_changes_seen_total", &own, 1.1);
        to.counter("etcd_server_proposals_failed_total", &own, 200.0);
        to.counter("etcd_server_proposals_committed_total", &own, 900.0);
        to.gauge("etcd_server_quota_backend_bytes", &own, 2e9, 2.2e9);
        to.gauge("etcd_mvcc_db_total_size_in_bytes", &own, 1e9, 2.5e9);
        to.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", &own, 0.9e8, 1e9);
        to.gauge("process_open_fds", &own, 100.0, 1000.0);
        for peer in ["p1", "p2"] {
            to.counter("etcd_network_peer_sent_failures_total", &with(&[("To", peer)]), 0.5);
            let bounds = ["0.0001", "0.01", "0.1", "0.5", "+Inf"];
            to.histogram("etcd_network_peer_round_trip_time_seconds", &with(&[("To", peer)]), &bounds);
        }
        for code in ["OK", "Unavailable", "Internal"] {
            let labels = [("grpc_code", code), ("grpc_type", "unary"), ("grpc_method", "Range")];
            to.counter("grpc_server_handled_total", &with(&labels), 30.0);
        }
        for method in ["Range", "Txn", "Defragment"] {
            let labels = [("grpc_type", "unary"), ("grpc_method", method)];
            to.histogram("grpc_server_handling_seconds", &with(&labels), &["0.005", "0.1", "0.5", "+Inf"]);
        }
        for name in ["etcd_disk_wal_fsync_duration_seconds", "etcd_disk_backend_commit_duration_seconds"] {
            to.histogram(name, &own, &["0.001", "0.008", "0.128", "0.5", "2", "+Inf"]);
        }
    }
}
