//! The name of a backup.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime};
use serde::{Deserialize, Serialize};

/// `20261123T180000-7QK3ZD`: when it was started (UTC), and what tells it from another of that second. Sorts by time, and
/// is safe in file names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

/// As in ULIDs: no letters that look like digits.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const RANDOM_CHARS: usize = 6;
const SECOND: &str = "%Y%m%dT%H%M%S";

impl BackupId {
    /// Of `random` the lowest 30 bits are used.
    pub fn new(started_ms: i64, random: u128) -> Self {
        let second = DateTime::from_timestamp_millis(started_ms).unwrap_or_default().format(SECOND);
        let tail = (0..RANDOM_CHARS).filter_map(|n| {
            let at = usize::try_from((random >> (5 * n)) & 31).ok()?;
            LETTERS.get(at).map(|letter| char::from(*letter))
        });
        Self(format!("{second}-{}", tail.collect::<String>()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When the backup was started, ms since the epoch, UTC; whole seconds.
    pub fn started_ms(&self) -> i64 {
        let second = self.0.get(..15).unwrap_or_default();
        NaiveDateTime::parse_from_str(second, SECOND).map_or(0, |at| at.and_utc().timestamp_millis())
    }
}

/// A text that is no [`BackupId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the id of a backup, which looks like 20261123T180000-7QK3ZD")]
pub struct NotABackupId(String);

impl FromStr for BackupId {
    type Err = NotABackupId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('-');
        let is_id = parts.is_some_and(|(second, tail)| {
            NaiveDateTime::parse_from_str(second, SECOND).is_ok()
                && second.len() == 15
                && tail.len() == RANDOM_CHARS
                && tail.bytes().all(|byte| LETTERS.contains(&byte))
        });
        if is_id { Ok(Self(text.to_owned())) } else { Err(NotABackupId(text.to_owned())) }
    }
}

impl TryFrom<String> for BackupId {
    type Error = NotABackupId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> Self {
        id.0
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_its_second_and_six_letters() {
        let id = BackupId::new(1_795_442_712_345, 0b00001_00010_00011_00100_00101_00110);
        assert_eq!(id.as_str(), "20261123T140512-654321");
        assert_eq!(id.started_ms(), 1_795_442_712_000);
        for text in [
            "",
            "x",
            "20261123T140512",
            "20261123T140512-65432",
            "20261123T140512-65432I",
            "20261323T140512-654321",
        ] {
            assert!(text.parse::<BackupId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn ids_are_read_as_they_are_written(ms in 0_i64..4_000_000_000_000, random: u128) {
            let id = BackupId::new(ms, random);
            prop_assert_eq!(id.as_str().parse(), Ok(id.clone()));
            prop_assert_eq!(id.started_ms(), ms / 1000 * 1000);
        }
    }
}
