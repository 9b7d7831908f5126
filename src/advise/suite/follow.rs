//! What becomes of a recommendation over time.

use super::healthy::{Cluster, NOW_MS};
use super::{Scenario, scenarios};
use crate::advise::{Figured, compared, follow, told};
use crate::model::catalogue::Worse;
use crate::model::{Advice, AdviceState, EventKind, HelpVerdict};

const MINUTE_MS: i64 = 60_000;

fn of(rule: &str) -> Scenario {
    scenarios().into_iter().find(|scenario| scenario.rule == rule).expect("a scenario")
}

/// The advice a while after `before`.
fn later(before: &Advice, scenario: &Scenario, minutes: i64) -> Advice {
    let now_ms = before.made_ms + minutes * MINUTE_MS;
    follow(Some(before), &Cluster::of(scenario).judged_at(now_ms))
}

fn first(rule: &str) -> Advice {
    follow(None, &Cluster::of(&of(rule)).judged())
}

fn state(advice: &Advice, rule: &str) -> Option<AdviceState> {
    advice.item(rule).map(|item| item.state)
}

#[test]
fn it_is_open_until_its_evidence_is_gone_for_half_an_hour() {
    let rule = "backup-plain";
    let (bad, good) = (of(rule), Scenario::default());
    let open = first(rule);
    assert_eq!((open.items.len(), state(&open, rule)), (1, Some(AdviceState::Open)));
    assert_eq!(told(None, &open), [], "the first advice is no news");
    let same = later(&open, &bad, 15);
    let item = same.item(rule).expect("still there");
    assert_eq!((item.since_ms, item.seen_ms), (NOW_MS, NOW_MS + 15 * MINUTE_MS));
    let clear = later(&same, &good, 15);
    assert_eq!(state(&clear, rule), Some(AdviceState::Open));
    assert!(told(Some(&same), &clear).is_empty() && clear.score.value == Some(100));
    // It comes back: nothing has happened.
    let back = later(&clear, &bad, 15);
    assert_eq!(back.item(rule).and_then(|item| item.clear_since_ms), None);
    let clear = later(&back, &good, 15);
    let done = later(&clear, &good, 30);
    let item = done.item(rule).expect("remembered");
    assert_eq!((item.state, item.changed_ms), (AdviceState::Done, clear.made_ms));
    let help = item.help.as_ref().expect("what it was and is");
    assert_eq!((help.verdict, help.after.as_str()), (HelpVerdict::Helped, "the newest backup is encrypted"));
    let events = told(Some(&clear), &done);
    assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::AdviceClosed]);
    let again = later(&done, &bad, 15);
    assert_eq!(state(&again, rule), Some(AdviceState::Open));
    assert_eq!(told(Some(&done), &again).first().map(|event| event.kind), Some(EventKind::AdviceOpened));
    assert_eq!(later(&done, &good, 91 * 24 * 60).item(rule), None, "forgotten after three months");
}

#[test]
fn what_is_ignored_stays_so_and_costs_no_points() {
    let rule = "backup-plain";
    let bad = of(rule);
    let mut known = first(rule);
    let now_ms = known.made_ms;
    let item = &mut known.items[0];
    item.state = AdviceState::Ignored;
    item.until_ms = Some(now_ms + 60 * MINUTE_MS);
    let ignored = later(&known, &bad, 15);
    assert_eq!((state(&ignored, rule), ignored.score.value), (Some(AdviceState::Ignored), Some(100)));
    let over = later(&ignored, &bad, 60);
    assert_eq!(state(&over, rule), Some(AdviceState::Open), "its time is over");
    assert!(over.score.value < Some(100));
}

#[test]
fn what_somebody_called_done_is_open_again_when_it_is_still_there() {
    let rule = "fsync-slow";
    let bad = of(rule);
    let mut known = first(rule);
    let now_ms = known.made_ms;
    let item = known.items.iter_mut().find(|item| item.rule == rule).expect("open");
    (item.state, item.changed_ms, item.by) = (AdviceState::Done, now_ms, Some("ann".to_owned()));
    // Six hours of the old disk are in the figure still.
    let waits = later(&known, &bad, 5 * 60);
    assert_eq!(state(&waits, rule), Some(AdviceState::Done));
    let open = later(&waits, &bad, 2 * 60 + 1);
    let item = open.item(rule).expect("open");
    assert_eq!(item.state, AdviceState::Open);
    assert_eq!(item.note.as_deref(), Some("ann called it done, and it is still there"));
}

#[test]
fn what_nobody_can_judge_stays_as_it_was() {
    let known = first("snapshots-often");
    let blind = Scenario { settings_unknown: true, ..Scenario::default() };
    assert_eq!(state(&later(&known, &blind, 60), "snapshots-often"), Some(AdviceState::Open));
    assert_eq!(later(&known, &blind, 31 * 24 * 60).item("snapshots-often"), None);
}

#[test]
fn a_figure_is_compared_before_and_after_for_a_day() {
    let rule = "fsync-slow";
    let good = Scenario::default();
    let mut at = first(rule);
    at = later(&at, &good, 15);
    at = later(&at, &good, 45);
    assert_eq!(state(&at, rule), Some(AdviceState::Done));
    let due = compared(&at);
    let of_it = due.iter().find(|due| due.rule == rule).expect("due");
    assert_eq!(
        (of_it.measure.as_str(), of_it.span_ms, of_it.is_final),
        ("wal_fsync_p99", 45 * MINUTE_MS, false)
    );
    assert_eq!(of_it.before_end_ms, NOW_MS - 6 * 60 * MINUTE_MS, "before the window that showed it");
    let figured = Figured { title: "WAL fsync p99", worse: Worse::High, text: &|value| format!("{value} s") };
    for (before, after, verdict) in [
        (Some(0.030), Some(0.002), HelpVerdict::Helped),
        (Some(0.030), Some(0.029), HelpVerdict::NoDifference),
        (Some(0.030), Some(0.040), HelpVerdict::Worse),
        (None, Some(0.040), HelpVerdict::Unknown),
    ] {
        assert_eq!(of_it.help(&figured, before, after).verdict, verdict);
    }
    let item = at.items.iter_mut().find(|item| item.rule == rule).expect("done");
    item.help = Some(of_it.help(&figured, Some(0.03), Some(0.002)));
    let day = later(&at, &good, 24 * 60);
    let due = compared(&day);
    let of_it = due.iter().find(|due| due.rule == rule).expect("due");
    assert_eq!((of_it.span_ms, of_it.is_final), (86_400_000, true));
}
