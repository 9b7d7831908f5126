//! Every key of the store: built here, taken apart here, written nowhere else.
//!
//! Text from outside (job names, group keys) is escaped into one path segment of `A-Z a-z 0-9 . -`, with
//! `_` as the escape, which every backend keeps as it is.

mod backups;
mod day;

use std::fmt;

use chrono::{DateTime, NaiveDateTime};
use ring::digest;
use serde::{Deserialize, Serialize};

pub use day::Day;
pub(super) use day::{DAY_MS, HOUR_MS};

pub use backups::{
    backup_manifest, backup_object, backup_object_named, backup_tombstone, backup_verdict, external_verdict,
};

/// The key of one object, relative to the store's root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(String);

impl Key {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A key as a listing of the store gave it.
    pub(super) fn listed(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The segments from the root on.
    pub fn segments(&self) -> Vec<&str> {
        self.0.split('/').collect()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A folder of keys, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Prefix(String);

impl Prefix {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn listed(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// All incidents: `state/incidents`.
    pub fn incidents() -> Self {
        Self("state/incidents".to_owned())
    }

    /// All notification groups: `state/groups`.
    pub fn groups() -> Self {
        Self("state/groups".to_owned())
    }

    /// All silences: `state/silences`.
    pub fn silences() -> Self {
        Self("state/silences".to_owned())
    }

    /// What inspections found, by cluster: `state/inspections`.
    pub fn inspections() -> Self {
        Self("state/inspections".to_owned())
    }

    /// What is advised, by cluster: `state/advice`.
    pub fn advice() -> Self {
        Self("state/advice".to_owned())
    }

    /// What local etcds are set to, by instance: `state/settings`.
    pub fn settings() -> Self {
        Self("state/settings".to_owned())
    }

    /// All evaluations of one rule group, named by slot.
    pub fn evaluations(group: &str) -> Self {
        Self(format!("state/eval/{}", segment(group)))
    }

    /// What benchmarks found, a folder per cluster: `state/bench`.
    pub fn bench_runs() -> Self {
        Self("state/bench".to_owned())
    }

    /// What benchmarks of one cluster found; sorts by time.
    pub fn bench_runs_of(cluster: &str) -> Self {
        Self(format!("state/bench/{}", segment(cluster)))
    }

    /// What disk checks of one machine found; sorts by time.
    pub fn disk_runs_of(host: &str) -> Self {
        Self(format!("state/disk/{}", segment(host)))
    }

    /// Receipts of one group's transition.
    pub fn receipts(group_key: &str, seq: u64) -> Self {
        Self(format!("state/receipts/{}/{seq:020}", segment(group_key)))
    }

    /// Claims on one group's transition.
    pub fn claims(group_key: &str, seq: u64) -> Self {
        Self(format!("state/claims/{}/{seq:020}", segment(group_key)))
    }

    /// The whole run ledger.
    pub fn runs() -> Self {
        Self("state/runs".to_owned())
    }

    pub(super) fn runs_of(job: &str, shard: &str, slot_ms: i64) -> Self {
        Self(format!("state/runs/{}/{}/{}", segment(job), segment(shard), instant(slot_ms)))
    }

    pub(super) fn watch(shard: &str) -> Self {
        Self(format!("state/watch/{}", segment(shard)))
    }

    /// The published report site.
    pub fn site() -> Self {
        Self("site".to_owned())
    }

    /// All table files.
    pub fn data() -> Self {
        Self("data".to_owned())
    }

    /// All state objects.
    pub fn state() -> Self {
        Self("state".to_owned())
    }
}

/// Below `state/`: what is kept as sequences. A key elsewhere is none, whatever its name looks like.
const SEQUENCES: [&str; 11] = [
    "advice",
    "disk-turns",
    "baselines",
    "incidents",
    "groups",
    "silences",
    "inspections",
    "backups",
    "settings",
    "configuration",
    "discovered",
];

/// Where a create-only sequence lives: its objects are `{sequence}/{number}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceKey(pub(super) Prefix);

impl SequenceKey {
    pub fn incident(fingerprint: &str) -> Self {
        Self(Prefix(format!("state/incidents/{}", segment(fingerprint))))
    }

    pub fn group(group_key: &str) -> Self {
        Self(Prefix(format!("state/groups/{}", segment(group_key))))
    }

    pub fn silence(id: &str) -> Self {
        Self(Prefix(format!("state/silences/{}", segment(id))))
    }

    pub fn inspection(cluster: &str) -> Self {
        Self(Prefix(format!("state/inspections/{}", segment(cluster))))
    }

    /// What is advised for a cluster.
    pub fn advice(cluster: &str) -> Self {
        Self(Prefix(format!("state/advice/{}", segment(cluster))))
    }

    /// Whose disk of a cluster is measured: one at a time.
    pub fn disk_turns(cluster: &str) -> Self {
        Self(Prefix(format!("state/disk-turns/{}", segment(cluster))))
    }

    /// What a cluster's benchmarks are compared with from now on.
    pub fn baselines(cluster: &str) -> Self {
        Self(Prefix(format!("state/baselines/{}", segment(cluster))))
    }

    /// The settings that a local etcd ran with, by its instance.
    pub fn settings(instance: &str) -> Self {
        Self(Prefix(format!("state/settings/{}", segment(instance))))
    }

    /// What the configuration said at the last start or reload.
    pub fn configuration() -> Self {
        Self(Prefix("state/configuration/daemon".to_owned()))
    }

    /// What a source of clusters named last.
    pub fn discovered(source: &str) -> Self {
        Self(Prefix(format!("state/discovered/{}", segment(source))))
    }

    /// The sequence of a group whose key is escaped already, as in the keys of its receipts.
    pub(super) fn of_group_segment(escaped: &str) -> Self {
        Self(Prefix(format!("state/groups/{escaped}")))
    }

    pub fn prefix(&self) -> &Prefix {
        &self.0
    }

    /// The last segment of the sequence's folder, escaped: the fingerprint of an incident.
    pub fn name(&self) -> &str {
        self.0.0.rsplit('/').next().unwrap_or(&self.0.0)
    }

    pub fn number(&self, number: u64) -> Key {
        Key(format!("{}/{number:020}", self.0.0))
    }

    /// The sequence and number of a listed key.
    pub(super) fn parse(key: &Key) -> Option<(Self, u64)> {
        let (folder, number) = key.0.rsplit_once('/')?;
        let segments: Vec<&str> = folder.split('/').collect();
        let is_sequence = matches!(segments.as_slice(), ["state", kind, _] if SEQUENCES.contains(kind));
        if !is_sequence || number.len() != 20 {
            return None;
        }
        Some((Self(Prefix(folder.to_owned())), number.parse().ok()?))
    }
}

/// The state of one rule group at one evaluation slot.
pub fn evaluation(group: &str, slot_ms: i64) -> Key {
    Key(format!("state/eval/{}/{}", segment(group), instant(slot_ms)))
}

/// The slot of an evaluation's key.
pub fn evaluation_slot_ms(key: &Key) -> Option<i64> {
    key.0.starts_with("state/eval/").then(|| parse_instant(key.name())).flatten()
}

/// A new run's id: sorts by time, and short enough to be typed. `unique` tells two of one moment apart.
pub fn run_id(now_ms: i64, unique: u128) -> String {
    let time = instant(now_ms);
    // Milliseconds: those of one second are in the order of their making.
    let moment = time.get(..18).unwrap_or(&time);
    let letters = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let tail: String = (0..4)
        .map(|n| {
            let digit = usize::try_from((unique >> (5 * n)) & 31).unwrap_or(0);
            letters.get(digit).map_or('0', |letter| char::from(*letter))
        })
        .collect();
    format!("{moment}-{tail}")
}

/// What one benchmark found.
pub fn bench_run(cluster: &str, id: &str) -> Key {
    Key(format!("{}/{}", Prefix::bench_runs_of(cluster).0, segment(id)))
}

/// What one disk check found.
pub fn disk_run(host: &str, id: &str) -> Key {
    Key(format!("{}/{}", Prefix::disk_runs_of(host).0, segment(id)))
}

/// What signs the links to acknowledge with, where no secret is configured. Never deleted.
pub fn ack_secret() -> Key {
    Key("state/secrets/ack".to_owned())
}

/// Proof that one notification of one group transition was accepted by a channel.
pub fn receipt(group_key: &str, seq: u64, channel: &str) -> Key {
    Key(format!("{}/{}", Prefix::receipts(group_key, seq).0, segment(channel)))
}

/// The right to try one send.
pub fn claim(group_key: &str, seq: u64, channel: &str, attempt: u32) -> Key {
    Key(format!("{}/{}/{attempt:06}", Prefix::claims(group_key, seq).0, segment(channel)))
}

/// Which half of a run a ledger object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMark {
    Start,
    Done,
}

pub(super) fn run(job: &str, shard: &str, slot_ms: i64, attempt: u32, mark: RunMark) -> Key {
    let mark = match mark {
        RunMark::Start => "start",
        RunMark::Done => "done",
    };
    Key(format!("{}/{attempt:06}.{mark}", Prefix::runs_of(job, shard, slot_ms).0))
}

/// Slot, attempt and mark of a ledger key.
pub(super) fn parse_run(key: &Key) -> Option<(i64, u32, RunMark)> {
    let segments = key.segments();
    let [.., slot, name] = segments.as_slice() else { return None };
    let (attempt, mark) = name.split_once('.')?;
    let mark = match mark {
        "start" => RunMark::Start,
        "done" => RunMark::Done,
        _ => return None,
    };
    Some((parse_instant(slot)?, attempt.parse().ok()?, mark))
}

pub(super) fn heartbeat(shard: &str, writer: &str, beat_ms: i64) -> Key {
    Key(format!("{}/{}/{}", Prefix::watch(shard).0, segment(writer), instant(beat_ms)))
}

/// Writer and instant of a heartbeat's key.
pub(super) fn parse_heartbeat(key: &Key) -> Option<(String, i64)> {
    let segments = key.segments();
    let ["state", "watch", _, writer, beat] = segments.as_slice() else { return None };
    Some(((*writer).to_owned(), parse_instant(beat)?))
}

/// A file of the published site. `path` is relative and has no empty, `.` or `..` segments.
pub(super) fn site(path: &str) -> Option<Key> {
    let clean = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    clean.then(|| Key(format!("site/{path}")))
}

const INSTANT: &str = "%Y%m%dT%H%M%S%3fZ";

/// `20261123T140512000Z`: fixed width, so that keys sort by time.
pub fn instant(ts_ms: i64) -> String {
    DateTime::from_timestamp_millis(ts_ms)
        .map_or_else(|| "00000000T000000000Z".to_owned(), |t| t.format(INSTANT).to_string())
}

/// The inverse of [`instant`].
pub fn parse_instant(text: &str) -> Option<i64> {
    // chrono's `%3f` needs the separate parse: seconds and milliseconds touch without a point.
    let (head, millis) = text.strip_suffix('Z')?.split_at_checked(15)?;
    let seconds = NaiveDateTime::parse_from_str(head, "%Y%m%dT%H%M%S").ok()?.and_utc().timestamp();
    let millis: i64 = (millis.len() == 3).then(|| millis.parse().ok())??;
    Some(seconds * 1000 + millis)
}

/// The longest escaped text kept whole; longer text is cut and told apart by a hash. File systems allow
/// 255 bytes in a name.
const SEGMENT_BYTES_MAX: usize = 120;

/// `text` as one path segment.
pub(super) fn segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || (byte == b'.' && !escaped.is_empty()) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("_{byte:02x}"));
        }
    }
    if escaped.is_empty() {
        return "_".to_owned();
    }
    if escaped.len() > SEGMENT_BYTES_MAX {
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        escaped.truncate(60);
        escaped.push_str("_-");
        escaped.extend(hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")));
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_as_documented() {
        let slot = 1_795_442_712_345;
        for (key, expected) in [
            (SequenceKey::incident("ab12").number(7), "state/incidents/ab12/00000000000000000007"),
            (evaluation("etcd rules", slot), "state/eval/etcd_20rules/20261123T140512345Z"),
            (receipt("g", 2, "slack/ops"), "state/receipts/g/00000000000000000002/slack_2fops"),
            (claim("g", 2, "c", 3), "state/claims/g/00000000000000000002/c/000003"),
            (run("watch", "0", slot, 1, RunMark::Done), "state/runs/watch/0/20261123T140512345Z/000001.done"),
            (heartbeat("0", "01AB", slot), "state/watch/0/01AB/20261123T140512345Z"),
        ] {
            assert_eq!(key.as_str(), expected);
        }
        assert_eq!(site("../x"), None);
        assert_eq!(site("api/v1//x"), None);
    }

    #[test]
    fn days_print_and_parse() {
        let day = Day::of(1_795_442_712_345);
        assert_eq!(day.to_string(), "2026-11-23");
        assert_eq!(Day::parse("2026-11-23"), Some(day));
        assert_eq!(Day::parse("2026-11-31"), None);
    }

    proptest! {
        #[test]
        fn instants_round_trip_and_sort(a in 0_i64..4_000_000_000_000, b in 0_i64..4_000_000_000_000) {
            prop_assert_eq!(parse_instant(&instant(a)), Some(a));
            prop_assert_eq!(a.cmp(&b), instant(a).cmp(&instant(b)));
        }

        #[test]
        fn segments_are_safe_and_tell_texts_apart(a in ".{0,80}", b in ".{0,80}") {
            let (one, two) = (segment(&a), segment(&b));
            prop_assert_eq!(a == b, one == two);
            prop_assert!(one.len() <= SEGMENT_BYTES_MAX && !one.is_empty() && !one.starts_with('.'));
            prop_assert!(one.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c)));
        }
    }
}
