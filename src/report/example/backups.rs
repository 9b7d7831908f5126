//! Backups of the example fleet.

use super::DATA_THROUGH_MS;
use crate::model::{BackupCopy, BackupStanding, BackupState, ClusterName};

const HOUR_MS: i64 = 3_600_000;

/// Of the `n`-th cluster: most are backed up; one has a bad copy, one none, one is late.
pub(super) fn backups(cluster: &ClusterName, n: usize, size: usize) -> Option<BackupState> {
    if size == 0 || n == 4 {
        return None;
    }
    let late_hours = if n == 3 { 11 } else { 0 };
    let copies = (0..14).map(|at| copy(n, at, late_hours)).collect();
    Some(BackupState {
        cluster: cluster.clone(),
        seen_ms: DATA_THROUGH_MS - 20 * 60_000,
        is_backed_up: true,
        next_due_ms: Some(DATA_THROUGH_MS + (4 - late_hours) * HOUR_MS),
        interval_ms: Some(6 * HOUR_MS),
        growth_bytes_per_day: Some(3.1e6),
        copies,
    })
}

fn copy(n: usize, at: i64, late_hours: i64) -> BackupCopy {
    let is_bad = n == 2 && at == 3;
    let state = match at {
        0 => BackupStanding::New,
        _ if is_bad => BackupStanding::Bad,
        5 => BackupStanding::Unverified,
        _ => BackupStanding::Verified,
    };
    let why = match state {
        BackupStanding::Bad => "it is not what was stored: its SHA-256 is not that of the manifest",
        BackupStanding::Unverified => "it is encrypted, and there is no identity here to read it with",
        BackupStanding::New | BackupStanding::Verified => "",
    };
    let finished_ms = DATA_THROUGH_MS - (2 + late_hours + 6 * at) * HOUR_MS;
    let second = chrono::DateTime::from_timestamp_millis(finished_ms).unwrap_or_default();
    BackupCopy {
        id: format!("{}-7QK3Z{at:X}", second.format("%Y%m%dT%H%M%S")),
        at: "offsite".to_owned(),
        is_external: false,
        finished_ms,
        bytes: 412_000_000 - 775_000 * at.unsigned_abs(),
        stored_bytes: Some(88_000_000),
        change: (at < 13).then_some(0.0019),
        revision: Some(1_204_417 - 3_600 * at),
        is_encrypted: true,
        is_condemned: at == 12,
        state,
        level: match state {
            BackupStanding::New | BackupStanding::Bad => None,
            BackupStanding::Unverified => Some("L0".to_owned()),
            BackupStanding::Verified if at == 9 => Some("L3".to_owned()),
            BackupStanding::Verified => Some("L2".to_owned()),
        },
        why: if why.is_empty() { Vec::new() } else { vec![why.to_owned()] },
        looked_ms: (at > 0).then_some(finished_ms + HOUR_MS / 3),
        recovery_ms: (at == 9).then_some(14_300),
    }
}
