//! What is known of all backups of a cluster, in one piece.

use super::{Foreign, Kept, Level, Listing, VerdictState};
use crate::model::{BackupCopy, BackupStanding, BackupState, ClusterName};

const DAY_MS: f64 = 86_400_000.0;
/// Growth is of so many days.
const GROWTH_MS: i64 = 30 * 86_400_000;
/// Less says nothing of a day.
const GROWTH_SPAN_MS: i64 = 3_600_000;

/// Puts together what `listing` and `foreign`, each sorted by time, have of one cluster. When it is to be made the caller says.
pub fn overview(cluster: &ClusterName, listing: &Listing, foreign: &[Foreign], seen_ms: i64) -> BackupState {
    let ours: Vec<&Kept> = listing.backups.iter().filter(|kept| kept.manifest.cluster == *cluster).collect();
    let mut copies: Vec<BackupCopy> = ours.iter().map(|kept| of_ours(kept)).collect();
    copies.extend(foreign.iter().filter(|file| file.cluster == *cluster).map(of_others));
    copies.sort_by(|a, b| (a.finished_ms, &a.id, &a.at).cmp(&(b.finished_ms, &b.id, &b.at)));
    for at in 0..copies.len() {
        let (before, rest) = copies.split_at_mut(at);
        let Some(copy) = rest.first_mut() else { continue };
        let before = before.iter().rev().find(|before| before.at == copy.at);
        copy.change = before.map(|before| copy.bytes as f64 / before.bytes.max(1) as f64 - 1.0);
    }
    let young = ours.iter().filter(|kept| kept.manifest.finished_ms >= seen_ms - GROWTH_MS);
    let (first, last) = (young.clone().next(), young.clone().next_back());
    let growth_bytes_per_day = first.zip(last).and_then(|(first, last)| {
        let span_ms = last.manifest.finished_ms - first.manifest.finished_ms;
        let grown = last.manifest.bytes as f64 - first.manifest.bytes as f64;
        (span_ms >= GROWTH_SPAN_MS).then_some(grown / (span_ms as f64 / DAY_MS))
    });
    copies.reverse();
    BackupState {
        cluster: cluster.clone(),
        seen_ms,
        is_backed_up: false,
        next_due_ms: None,
        interval_ms: None,
        growth_bytes_per_day,
        copies,
    }
}

fn standing(state: Option<VerdictState>) -> BackupStanding {
    match state {
        None => BackupStanding::New,
        Some(VerdictState::Verified) => BackupStanding::Verified,
        Some(VerdictState::Unverified) => BackupStanding::Unverified,
        Some(VerdictState::Bad) => BackupStanding::Bad,
    }
}

fn word(level: Option<Level>) -> Option<String> {
    level.map(|level| level.to_string())
}

fn of_ours(kept: &Kept) -> BackupCopy {
    let (manifest, verdict) = (&kept.manifest, kept.verdict.as_ref());
    let drill = verdict.and_then(|verdict| verdict.drill.as_ref());
    BackupCopy {
        id: manifest.id.to_string(),
        at: kept.destination.clone(),
        is_external: false,
        finished_ms: manifest.finished_ms,
        bytes: manifest.bytes,
        stored_bytes: Some(manifest.object.bytes),
        change: None,
        revision: Some(manifest.revision),
        is_encrypted: manifest.object.encryption.is_some(),
        is_condemned: kept.is_condemned(),
        state: standing(verdict.map(|verdict| verdict.state)),
        level: word(verdict.and_then(|verdict| verdict.level)),
        why: verdict.map(|verdict| verdict.why.clone()).unwrap_or_default(),
        looked_ms: verdict.map(|verdict| verdict.finished_ms),
        recovery_ms: drill.map(|drill| drill.recovery_ms),
    }
}

fn of_others(file: &Foreign) -> BackupCopy {
    let verdict = file.verdict.as_ref();
    BackupCopy {
        id: file.path.clone(),
        at: file.source.clone(),
        is_external: true,
        finished_ms: file.modified_ms,
        bytes: file.bytes,
        stored_bytes: None,
        change: None,
        revision: verdict.and_then(|verdict| verdict.found.as_ref()).map(|found| found.revision),
        is_encrypted: false,
        is_condemned: false,
        state: standing(verdict.map(|verdict| verdict.state)),
        level: word(verdict.and_then(|verdict| verdict.level)),
        why: verdict.map(|verdict| verdict.why.clone()).unwrap_or_default(),
        looked_ms: verdict.map(|verdict| verdict.finished_ms),
        recovery_ms: None,
    }
}
