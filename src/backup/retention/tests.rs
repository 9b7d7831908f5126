use proptest::prelude::*;

use super::*;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// A Monday, 2026-11-23, 00:00 UTC.
const NOW_MS: i64 = 1_795_392_000_000;

fn candidate(finished_ms: i64, state: Option<VerdictState>) -> Candidate {
    let id = BackupId::new(finished_ms, u128::from(finished_ms.unsigned_abs()));
    Candidate { id, finished_ms, state, parent: None, locked_until_ms: None }
}

/// Verified, one every `step_ms` back from now.
fn every(step_ms: i64, count: i64) -> Vec<Candidate> {
    (0..count).map(|n| candidate(NOW_MS - 1 - n * step_ms, Some(VerdictState::Verified))).collect()
}

fn none() -> RetentionConfig {
    let zero = ConfigDuration(Duration::ZERO);
    RetentionConfig {
        last: 0,
        within: zero,
        hourly: 0,
        daily: 0,
        weekly: 0,
        monthly: 0,
        yearly: 0,
        bad: zero,
        ..RetentionConfig::default()
    }
}

/// How many days before now the kept ones are.
fn kept_days(candidates: &[Candidate], policy: &RetentionConfig) -> Vec<i64> {
    let decided = decide(candidates, policy, NOW_MS);
    let kept = decided.iter().filter(|decision| decision.is_kept());
    kept.map(|decision| (NOW_MS - decision.id.started_ms()) / DAY_MS).collect()
}

#[test]
fn three_years_of_six_hourly_ones_are_about_forty() {
    let all = every(6 * HOUR_MS, 4 * 1_100);
    let kept = kept_days(&all, &RetentionConfig::default());
    // 8 of two days, 12 more days, the weeks, months and years that these do not cover yet.
    assert_eq!(kept.len(), 8 + 12 + 6 + 10 + 2, "{kept:?}");
    // The last day of the year before the last.
    assert_eq!(kept.first(), Some(&691), "{kept:?}");
}

#[test]
fn a_slot_is_of_the_calendar_and_its_newest_stays() {
    let all = every(DAY_MS, 40);
    // Sundays end weeks, and now is right after one.
    assert_eq!(kept_days(&all, &RetentionConfig { weekly: 3, ..none() }), [14, 7, 0]);
    // The last of October was 23 days ago.
    assert_eq!(kept_days(&all, &RetentionConfig { monthly: 2, ..none() }), [22, 0]);
    assert_eq!(kept_days(&all, &RetentionConfig { last: 2, ..none() }), [1, 0]);
    let within = ConfigDuration(DAY * 3);
    assert_eq!(kept_days(&all, &RetentionConfig { within, ..none() }), [2, 1, 0]);
    // Slots without a backup are not counted.
    let gaps = [every(HOUR_MS, 1), vec![candidate(NOW_MS - 400 * DAY_MS, None)]].concat();
    assert_eq!(kept_days(&gaps, &RetentionConfig { daily: 2, ..none() }), [400, 0]);
}

#[test]
fn a_verified_one_goes_before_a_newer_one_that_is_not() {
    let day = |hour: i64, state| candidate(NOW_MS - 10 * DAY_MS + hour * HOUR_MS, state);
    let all = [
        day(1, Some(VerdictState::Verified)),
        day(5, Some(VerdictState::Unverified)),
        day(9, None),
        every(HOUR_MS, 1).remove(0),
    ];
    let decided = decide(&all, &RetentionConfig { daily: 2, ..none() }, NOW_MS);
    let kept: Vec<bool> = decided.iter().map(Decision::is_kept).collect();
    assert_eq!(kept, [true, false, false, true]);
}

#[test]
fn bad_ones_take_no_place() {
    let mut all = every(HOUR_MS, 4);
    for at in [0, 1] {
        all[at].state = Some(VerdictState::Bad);
    }
    let decided = decide(&all, &RetentionConfig { last: 1, ..none() }, NOW_MS);
    let kept: Vec<String> = decided
        .iter()
        .map(|decision| decision.reasons.iter().map(Reason::to_string).collect::<Vec<_>>().join(", "))
        .collect();
    assert_eq!(kept, ["", "newest verified, newest, last 1", "", ""]);
    let decided = decide(&all, &RetentionConfig { bad: ConfigDuration(DAY), ..none() }, NOW_MS);
    assert_eq!(decided[3].reasons, [Reason::Bad]);
}

#[test]
fn a_chain_and_a_lock_are_kept() {
    let mut all = every(DAY_MS, 4);
    all[0].parent = Some(all[1].id.clone());
    all[1].parent = Some(all[2].id.clone());
    all[3].locked_until_ms = Some(NOW_MS + DAY_MS);
    let decided = decide(&all, &none(), NOW_MS);
    assert_eq!(decided[2].reasons, [Reason::ParentOf(all[0].id.clone())]);
    assert_eq!(decided[1].reasons, [Reason::ParentOf(all[1].id.clone())]);
    assert_eq!(decided[0].reasons[0].to_string(), "locked until 2026-11-24 00:00 UTC");
    let off = RetentionConfig { enabled: false, ..none() };
    assert!(decide(&every(DAY_MS, 9), &off, NOW_MS).iter().all(Decision::is_kept));
}

fn states() -> impl Strategy<Value = Option<VerdictState>> {
    prop_oneof![
        Just(None),
        Just(Some(VerdictState::Verified)),
        Just(Some(VerdictState::Unverified)),
        Just(Some(VerdictState::Bad)),
    ]
}

proptest! {
    /// Invariant I7, over any history and any policy; and deciding again over what was left changes nothing.
    #[test]
    fn the_newest_verified_one_never_goes(
        history in prop::collection::vec((0_i64..2_000 * DAY_MS, states()), 1..60),
        (last, hourly, daily, weekly) in (0_usize..5, 0_usize..5, 0_usize..9, 0_usize..5),
        within_days in 0_u64..10,
    ) {
        let mut all: Vec<Candidate> = history.into_iter().map(|(age_ms, state)| candidate(NOW_MS - age_ms, state)).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all.dedup_by(|a, b| a.id == b.id);
        let policy = RetentionConfig { last, hourly, daily, weekly, within: ConfigDuration(DAY * u32::try_from(within_days).unwrap_or(0)), ..none() };
        let decided = decide(&all, &policy, NOW_MS);
        let is_kept = |id: &BackupId| decided.iter().any(|decision| decision.id == *id && decision.is_kept());
        let newest = all.iter().filter(|it| it.is(VerdictState::Verified)).max_by_key(|it| (it.finished_ms, it.id.clone()));
        if let Some(newest) = newest {
            prop_assert!(is_kept(&newest.id));
        }
        let left: Vec<Candidate> = all.iter().filter(|it| is_kept(&it.id)).cloned().collect();
        prop_assert!(decide(&left, &policy, NOW_MS).iter().all(Decision::is_kept));
        // No good one that is younger than one that went for its age is missing from the last ones.
        let good = all.iter().filter(|it| !it.is(VerdictState::Bad)).count();
        let kept_good = left.iter().filter(|it| !it.is(VerdictState::Bad)).count();
        prop_assert!(kept_good >= last.min(good));
    }
}
