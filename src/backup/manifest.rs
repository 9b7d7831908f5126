//! What is known of a backup from its making.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::BackupId;
use crate::model::{ClusterId, ClusterName, Instance, MemberId};

/// The format of manifests that this version writes. Readers take all up to it.
pub const MANIFEST_FORMAT: u32 = 1;

/// Written last, once, beside the object that it describes: with it the backup exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub id: BackupId,
    pub kind: Kind,
    /// The backup that an increment continues; a full one has none.
    pub parent: Option<BackupId>,
    pub origin: Origin,
    pub cluster: ClusterName,
    /// etcd's own id of the cluster, by which a backup is known even when the cluster was renamed.
    pub cluster_id: ClusterId,
    pub source: Source,
    /// The source's revision right before the stream was opened; the database has it, and maybe later ones.
    pub revision: i64,
    /// Up to where the source was compacted then; 0 = not known.
    pub compact_revision: i64,
    /// The members of the cluster then, for whoever restores it.
    #[serde(default)]
    pub members: Vec<MemberAddress>,
    /// Keys alive at `revision`; `None` where the right to count them was missing.
    pub keys: Option<u64>,
    /// What members said of their data before the stream was opened: of the source first, then of one other. Empty where
    /// the right to ask was missing.
    pub hashes: Vec<RecordedHash>,
    /// Bytes that etcd sent: the database, and its 32 bytes of SHA-256.
    pub bytes: u64,
    /// Of all these bytes.
    pub sha256: Hex,
    /// etcd's own checksum at the end of the stream, which was found to be right while it passed by.
    pub trailer: Hex,
    pub object: StoredObject,
    /// ms since the epoch, UTC.
    pub started_ms: i64,
    pub finished_ms: i64,
    /// How long the stream waited so that the cluster would not feel it, ms.
    pub paused_ms: i64,
    /// Until when the store refuses to delete the object (S3 Object Lock), ms since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_until_ms: Option<i64>,
    /// Of etcd-monitor.
    pub tool_version: String,
}

/// Increments are reserved: no version writes them yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Full,
    Increment,
}

/// What a backup was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Schedule,
    Command,
}

/// The member that was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub instance: Instance,
    pub member_id: MemberId,
    /// Empty where it is not known.
    pub name: String,
    /// Of etcd, as in `3.5.30`.
    pub version: String,
    pub is_leader: bool,
}

/// Where a member listened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAddress {
    pub member_id: MemberId,
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    pub is_learner: bool,
}

/// HashKV of one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedHash {
    pub instance: Instance,
    pub member_id: MemberId,
    /// The hash is of what was there at this revision …
    pub revision: i64,
    /// … by a member that was compacted up to here.
    pub compact_revision: i64,
    pub hash: u32,
}

/// The object at the destination: zstd frames that can be read each by itself with the seek table of zstd's seekable
/// format after them, and all of it in age's format where it is encrypted. So `age --decrypt | zstd --decompress` gives
/// what etcd sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// The object's key below the destination's URL.
    pub key: String,
    pub bytes: u64,
    /// Of the object as it is stored.
    pub sha256: Hex,
    pub frames: u64,
    /// Absent where it is not encrypted on our side.
    pub encryption: Option<Encryption>,
}

/// Client-side encryption in the age format, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// The public keys of those who can read it.
    pub recipients: Vec<String>,
}

/// A SHA-256, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hex(pub [u8; 32]);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<Hex> for String {
    fn from(hex: Hex) -> Self {
        hex.to_string()
    }
}

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits: Option<Vec<u8>> = text
            .as_bytes()
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .collect();
        let bytes = digits.filter(|_| text.len() == 64).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| format!("{text:?} is no SHA-256"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_digits() {
        let hex = Hex([0xab; 32]);
        assert_eq!(Hex::try_from(hex.to_string()), Ok(hex));
        for text in ["", "ab", &"zz".repeat(32), &"ab".repeat(33), &"é".repeat(32)] {
            assert!(Hex::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
