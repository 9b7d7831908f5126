//! Each shipped rule fires, holds back and resolves on series as the probe writes them.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::model::{FindingState, Labels, SeriesSet};
use crate::rules::{EvalState, Owner, Rule, RuleKind, RuleOptions, evaluate, owner};

const MINUTE_MS: i64 = 60_000;
const STEP_MS: i64 = 15_000;
/// Long enough for the longest range of the pack to be full.
const NOW_MS: i64 = 2 * 3_600_000;

/// Adds samples of one series every 15 s up to `NOW_MS`; `value` gets the minutes before it.
fn push(set: &mut SeriesSet, name: &str, labels: &[(&str, &str)], value: impl Fn(f64) -> f64) {
    let every = [("__name__", name), ("cluster", "a"), ("job", "etcd")];
    let labels = Labels::from_pairs(every.iter().chain(labels).copied());
    for ts_ms in (0..=NOW_MS).step_by(15_000) {
        set.push(&labels, ts_ms, value((NOW_MS - ts_ms) as f64 / MINUTE_MS as f64));
    }
}

/// What fires at `NOW_MS` after `minutes` of evaluations: (alert, severity, value), in rule order.
fn firing(set: &SeriesSet, minutes: i64) -> Vec<(String, String, f64)> {
    let options = RuleOptions::default();
    let mut found = Vec::new();
    for group in default_pack().expect("the shipped pack is valid") {
        let mut state = EvalState::default();
        let mut last = Vec::new();
        for at_ms in (NOW_MS - minutes * MINUTE_MS..=NOW_MS).step_by(STEP_MS as usize) {
            let evaluation = evaluate(&group, set, at_ms, &state, &options);
            assert!(evaluation.errors.is_empty(), "{:?}", evaluation.errors);
            (state, last) = (evaluation.state, evaluation.findings);
        }
        for finding in last.into_iter().filter(|finding| finding.state == FindingState::Firing) {
            assert_eq!(finding.labels.get("cluster"), Some("a"), "every incident has its cluster");
            let severity = finding.labels.get("severity").unwrap_or("").to_owned();
            found.push((finding.alert, severity, finding.value));
        }
    }
    found
}

fn names(found: &[(String, String, f64)]) -> Vec<(&str, &str)> {
    found.iter().map(|(alert, severity, _)| (alert.as_str(), severity.as_str())).collect()
}

#[test]
fn a_dead_member_is_one_incident_after_a_minute() {
    let mut set = SeriesSet::default();
    for instance in ["m1", "m2", "m3"] {
        let up = if instance == "m3" { 0.0 } else { 1.0 };
        push(&mut set, "etcd_monitor_member_up", &[("instance", instance)], |_| up);
    }
    push(&mut set, "etcd_monitor_has_quorum", &[], |_| 1.0);
    assert!(firing(&set, 0).is_empty(), "held back for a minute");
    assert_eq!(names(&firing(&set, 2)), [("EtcdMemberDown", "critical")]);
}

#[test]
fn a_lost_quorum_speaks_before_what_it_explains() {
    let mut set = SeriesSet::default();
    for instance in ["m1", "m2", "m3"] {
        let lost = if instance == "m1" { 1.0 } else { 0.0 };
        push(&mut set, "etcd_monitor_member_up", &[("instance", instance)], |_| lost);
    }
    push(&mut set, "etcd_server_has_leader", &[("instance", "m1")], |_| 0.0);
    push(&mut set, "etcd_monitor_has_quorum", &[], |back| if back > 0.5 { 1.0 } else { 0.0 });
    let found = firing(&set, 3);
    let found = names(&found);
    assert!(found.contains(&("EtcdQuorumLost", "critical")), "{found:?}");
    assert!(found.contains(&("EtcdNoLeader", "critical")), "{found:?}");
    assert_eq!(found.iter().filter(|(alert, _)| *alert == "EtcdMemberDown").count(), 2);
}

#[test]
fn the_number_of_members_without_a_leader_is_the_value() {
    let mut set = SeriesSet::default();
    for (instance, has) in [("m1", 1.0), ("m2", 0.0), ("m3", 0.0)] {
        push(&mut set, "etcd_server_has_leader", &[("instance", instance)], |_| has);
    }
    assert_eq!(firing(&set, 2), [("EtcdNoLeader".to_owned(), "critical".to_owned(), 2.0)]);
    assert!(firing(&set, 0).is_empty());
}

#[test]
fn leader_changes_count_over_an_hour() {
    for (per_hour, fires) in [(3.0, false), (6.0, true)] {
        let mut set = SeriesSet::default();
        let grows = |back: f64| ((120.0 - back) / 60.0 * per_hour).floor();
        push(&mut set, "etcd_server_leader_changes_seen_total", &[("instance", "m1")], grows);
        assert_eq!(!firing(&set, 2).is_empty(), fires, "{per_hour} per hour");
    }
}

#[test]
fn an_alarm_fires_at_once_and_names_itself() {
    let mut set = SeriesSet::default();
    push(&mut set, "etcd_monitor_alarm", &[("instance", "m1"), ("alarm", "NOSPACE")], |_| 1.0);
    push(&mut set, "etcd_monitor_alarm", &[("instance", "m1"), ("alarm", "CORRUPT")], |_| 0.0);
    assert_eq!(names(&firing(&set, 0)), [("EtcdAlarmActive", "critical")]);
}

#[test]
fn disk_limits_have_two_steps() {
    // Observations per second by upper bound of their bucket, and what fires.
    for (metric, alert, quick, slow, very_slow) in [
        ("etcd_disk_wal_fsync_duration_seconds_bucket", "EtcdWalFsyncSlow", "0.008", "0.064", "0.256"),
        (
            "etcd_disk_backend_commit_duration_seconds_bucket",
            "EtcdBackendCommitSlow",
            "0.016",
            "0.128",
            "0.512",
        ),
    ] {
        for (reached, expected) in [(0, vec![]), (1, vec!["warning"]), (2, vec!["warning", "critical"])] {
            let mut set = SeriesSet::default();
            for (at, le) in [quick, slow, very_slow, "+Inf"].into_iter().enumerate() {
                let count = move |back: f64| if at >= reached { (120.0 - back) * 60.0 } else { 0.0 };
                push(&mut set, metric, &[("instance", "m1"), ("le", le)], count);
            }
            let found = firing(&set, 6);
            let expected: Vec<_> = expected.iter().map(|severity| (alert, *severity)).collect();
            assert_eq!(names(&found), expected, "{metric} {reached}");
        }
    }
}

#[test]
fn the_database_has_two_limits() {
    for (used, expected) in [(0.79, vec![]), (0.85, vec!["warning"]), (0.95, vec!["warning", "critical"])] {
        let mut set = SeriesSet::default();
        push(&mut set, "etcd_monitor_db_size_bytes", &[("instance", "m1")], |_| used * 2_147_483_648.0);
        push(&mut set, "etcd_monitor_quota_bytes", &[("instance", "m1")], |_| 2_147_483_648.0);
        let expected: Vec<_> = expected.iter().map(|severity| ("EtcdDatabaseNearQuota", *severity)).collect();
        assert_eq!(names(&firing(&set, 2)), expected, "{used}");
    }
}

#[test]
fn what_is_urgent_belongs_to_the_live_watch() {
    for (group, expected) in
        [("etcd-availability", Owner::Watch), ("etcd-trends", Owner::Evaluate), ("etcd-disk", Owner::Watch)]
    {
        let pack = default_pack().expect("valid");
        let found = pack.iter().find(|there| there.name == group).expect(group);
        assert_eq!(owner(found, true), expected, "{group}");
        assert_eq!(owner(found, false), Owner::Evaluate);
    }
}

/// Where an alert's runbook is. Those of the mixin have a folder of their own: some file systems cannot tell
/// `etcdNoLeader.md` from `EtcdNoLeader.md`.
fn page(alert: &str) -> String {
    let folder = if is_alert(alert) { "docs/runbooks" } else { "docs/runbooks/mixin" };
    format!("{folder}/{alert}.md")
}

/// The alerts of both packs.
fn shipped() -> Vec<Rule> {
    alerts([default_pack().expect("valid"), mixin_pack().expect("valid")].concat())
}

fn alerts(pack: Vec<RuleGroup>) -> Vec<Rule> {
    pack.into_iter().flat_map(|group| group.rules).collect()
}

#[test]
fn every_alert_says_what_to_do() {
    for rule in shipped() {
        let RuleKind::Alert { annotations, .. } = &rule.kind else { panic!("{} is no alert", rule.name) };
        let keys: BTreeSet<&str> = annotations.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(keys, BTreeSet::from(["description", "runbook", "summary"]), "{}", rule.name);
        let runbook = annotations.iter().find(|(name, _)| name == "runbook").expect("has one");
        let path = page(&rule.name);
        assert_eq!(runbook.1.constant(), Some(path.as_str()));
    }
}

#[test]
fn every_alert_has_its_runbook_and_every_runbook_its_alert() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut alerts: BTreeSet<String> = shipped().into_iter().map(|rule| rule.name).collect();
    // What the program makes itself.
    let made = [
        crate::rules::slo::BURN_ALERT,
        crate::rules::SERIES_LIMIT_ALERT,
        crate::rules::baseline::BASELINE_ALERT,
    ];
    alerts.extend(made.map(str::to_owned));
    let mut pages = BTreeSet::new();
    for folder in ["docs/runbooks", "docs/runbooks/mixin"] {
        for entry in std::fs::read_dir(root.join(folder)).expect(folder) {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                pages.insert(path.file_stem().expect("a name").to_string_lossy().into_owned());
            }
        }
    }
    assert_eq!(alerts, pages);
    for name in pages {
        let text = std::fs::read_to_string(root.join(page(&name))).expect(&name);
        assert!(text.starts_with(&format!("# {name}\n")), "{name}");
        for part in ["## Cause", "## Check", "## Fix", "## Silence", "etcdctl"] {
            assert!(text.contains(part), "{name} has no {part}");
        }
        // A page that sends the reader to another alert names one that exists.
        for other in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| is_alert(word)) {
            assert!(alerts.contains(other), "{name} speaks of {other}, which is no alert");
        }
    }
}

/// The shipped inhibitions speak of shipped alerts.
#[test]
fn what_explains_and_what_is_explained_is_shipped() {
    let mut alerts: BTreeSet<String> =
        alerts(default_pack().expect("valid")).into_iter().map(|rule| rule.name).collect();
    alerts.insert(crate::rules::slo::BURN_ALERT.to_owned());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/alert/inhibit.rs");
    let text = std::fs::read_to_string(path).expect("readable");
    let named: Vec<&str> =
        text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| is_alert(word)).collect();
    assert!(named.len() > 10 && named.iter().all(|name| alerts.contains(*name)), "{named:?}");
}

fn is_alert(word: &str) -> bool {
    word.strip_prefix("Etcd").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
}

/// A threshold that is passed for one evaluation is no fault. What has no `for` is a fact, not a threshold.
#[test]
fn every_threshold_is_held() {
    for rule in alerts(default_pack().expect("valid")) {
        let RuleKind::Alert { for_ms, .. } = rule.kind else { continue };
        let is_fact = ["EtcdAlarmActive", "EtcdHashMismatch"].contains(&rule.name.as_str());
        assert_eq!(for_ms == 0, is_fact, "{}", rule.name);
    }
}

/// The rule and the charts read the same sources in the same order.
#[test]
fn slow_requests_are_looked_for_along_the_catalogues_chain() {
    let chain = &crate::model::catalogue::catalogue().get("put_latency").expect("listed").queries;
    for rule in alerts(default_pack().expect("valid")).iter().filter(|rule| rule.name == "EtcdRequestsSlow") {
        let places: Vec<usize> =
            chain.iter().map(|query| rule.expr_text.find(&query.source).expect(&query.source)).collect();
        assert!(places.is_sorted() && places.len() == 4, "{places:?}");
    }
}

/// The packs can both be on: no incident of one is taken for one of the other.
#[test]
fn the_packs_share_no_name() {
    let names = |pack: Vec<RuleGroup>| -> BTreeSet<String> {
        pack.into_iter()
            .flat_map(|group| group.rules.into_iter().map(|r| r.name).chain([group.name]))
            .collect()
    };
    let (default, mixin) = (names(default_pack().expect("valid")), names(mixin_pack().expect("valid")));
    assert!(default.is_disjoint(&mixin));
    let rules = mixin_pack().expect("valid");
    assert_eq!(rules.first().map(|group| (group.name.as_str(), group.rules.len())), Some(("etcd", 15)));
}
