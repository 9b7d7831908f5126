//! Where backups lie at a destination, a folder per cluster.

use super::{Key, Prefix, SequenceKey, instant, segment};

impl Prefix {
    /// What is known of backups, by cluster: `state/backups`.
    pub fn backup_states() -> Self {
        Self("state/backups".to_owned())
    }

    /// All backups of a destination, a folder per cluster: `backups`.
    pub fn backups() -> Self {
        Self("backups".to_owned())
    }

    /// All backups of one cluster.
    pub fn backups_of(cluster: &str) -> Self {
        Self(format!("backups/{}", segment(cluster)))
    }

    /// The saved databases of one cluster.
    pub fn backup_objects(cluster: &str) -> Self {
        Self(format!("backups/{}/data", segment(cluster)))
    }

    /// The manifests of one cluster, which sort by time.
    pub fn backup_manifests(cluster: &str) -> Self {
        Self(format!("backups/{}/manifests", segment(cluster)))
    }

    /// All verifications of one backup.
    pub fn backup_verdicts(cluster: &str, id: &str) -> Self {
        Self(format!("backups/{}/verdicts/{}", segment(cluster), segment(id)))
    }

    /// What was found of others' backups of one cluster at one place.
    pub fn external_verdicts(cluster: &str, source: &str) -> Self {
        Self(format!("backups/{}/external/{}", segment(cluster), segment(source)))
    }

    /// All of a store; of stores that are not ours.
    pub fn everything() -> Self {
        Self(String::new())
    }

    /// Which backups of one cluster are being deleted.
    pub fn backup_tombstones(cluster: &str) -> Self {
        Self(format!("backups/{}/tombstones", segment(cluster)))
    }
}

impl SequenceKey {
    /// What is known of the backups of one cluster.
    pub fn backups(cluster: &str) -> Self {
        Self(Prefix(format!("state/backups/{}", segment(cluster))))
    }
}

/// A backup's object at a destination; `extension` says its form: `db.zst`, `db.zst.age`.
pub fn backup_object(cluster: &str, id: &str, extension: &str) -> Key {
    Key(format!("{}/{}.{extension}", Prefix::backup_objects(cluster).0, segment(id)))
}

/// A backup's object as its manifest names it.
pub fn backup_object_named(key: &str) -> Key {
    Key(key.to_owned())
}

/// A backup's manifest at a destination.
pub fn backup_manifest(cluster: &str, id: &str) -> Key {
    Key(format!("{}/{}.json", Prefix::backup_manifests(cluster).0, segment(id)))
}

/// One verification of a backup at a destination; the newest sorts last.
pub fn backup_verdict(cluster: &str, id: &str, finished_ms: i64, writer: &str) -> Key {
    let folder = Prefix::backup_verdicts(cluster, id);
    Key(format!("{}/{}-{}.json", folder.0, instant(finished_ms), segment(writer)))
}

/// What was found of a backup of others.
pub fn external_verdict(cluster: &str, source: &str, finished_ms: i64, writer: &str) -> Key {
    let folder = Prefix::external_verdicts(cluster, source);
    Key(format!("{}/{}-{writer}.json", folder.0, instant(finished_ms)))
}

/// The decision to delete a backup; its object goes a day later at the earliest.
pub fn backup_tombstone(cluster: &str, id: &str) -> Key {
    Key(format!("{}/{}.json", Prefix::backup_tombstones(cluster).0, segment(id)))
}
