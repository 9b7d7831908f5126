//! Alertmanager's timers, mute times and inhibition as a table: what happens when, and what is told when, in virtual
//! time. Where we differ from Alertmanager on purpose the row says so.

use std::collections::BTreeMap;

use super::super::super::Silences;
use super::super::super::incident::{self, Observation, tests::finding};
use super::super::super::route::{AlertConfig, Routes};
use super::super::{Group, Kind, Quiet, Speakers, step};
use crate::model::{Incident, IncidentState};

/// `+a` begins, `-a` ends, `!a` is acknowledged, at that second; `+a*` is critical, `+a@c` of cluster c.
type Script<'a> = &'a [(i64, &'a str)];

/// Plays the script second by second until `end`; gives what was told, like `30 firing a b | c`, where those behind
/// the bar have ended.
fn play(section: &str, script: Script<'_>, end: i64) -> Vec<String> {
    let config: AlertConfig = toml::from_str(section).unwrap_or_else(|error| panic!("{section}: {error}"));
    let routes = Routes::new(&config, &["mail".to_owned(), "pager".to_owned()]).expect("valid");
    let mut incidents: BTreeMap<String, Incident> = BTreeMap::new();
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut told = Vec::new();
    for second in 0..=end {
        let now_ms = second * 1000;
        for (_, what) in script.iter().filter(|(at, _)| *at == second) {
            let (sign, name) = what.split_at(1);
            let severity = if name.ends_with('*') { "critical" } else { "warning" };
            let name = name.trim_end_matches('*');
            let (instance, cluster) = name.split_once('@').unwrap_or((name, "c"));
            let found = finding("Alert", cluster, instance, severity);
            let observation = match sign {
                "+" => Observation::Found(&found),
                "-" => Observation::Clear,
                _ => Observation::Acknowledged("ann".to_owned()),
            };
            let next =
                incident::step(incidents.get(name), &observation, now_ms).expect("the script says changes");
            incidents.insert(name.to_owned(), next);
        }
        let all: Vec<&Incident> = incidents.values().collect();
        let mut members: BTreeMap<String, Vec<&Incident>> = BTreeMap::new();
        for incident in &all {
            let route = routes.of(&incident.labels)[0];
            members.entry(route.group_key(incident)).or_default().push(incident);
        }
        let speakers = Speakers::new(&routes.inhibit, &all, now_ms);
        for (key, members) in members {
            let route = routes.of(&members[0].labels)[0];
            let quiet = Quiet { speakers: &speakers, silences: &Silences::default() };
            let Some(next) = step(groups.get(&key), route, &members, quiet, now_ms) else { continue };
            if !next.notifications.is_empty() {
                told.push(format!("{second} {}", said(&next)));
            }
            groups.insert(key, next);
        }
    }
    told
}

fn said(group: &Group) -> String {
    let kind = match group.kind {
        Kind::Firing => "firing",
        Kind::Resolved => "resolved",
        Kind::Repeat => "repeat",
        Kind::Escalated => "escalated",
        Kind::Taken => "taken",
        Kind::Storm => "storm",
    };
    let of = |over: bool| {
        let mut names: Vec<&str> = group
            .incidents
            .iter()
            .filter(|incident| (incident.state == IncidentState::Resolved) == over)
            .filter_map(|incident| incident.labels.get("instance"))
            .collect();
        names.sort_unstable();
        names.join(" ")
    };
    let text = format!("{kind} {} | {}", of(false), of(true));
    text.trim_end_matches([' ', '|']).replace("  ", " ")
}

const ROUTE: &str = "[[route]]\nchannels = ['mail']\ngroup-by = ['cluster']\n";

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_timers_are_alertmanagers() {
    for (what, extra, script, end, expected) in [
        (
            "group_wait gathers",
            "group-wait = '30s'",
            &[(0, "+a"), (10, "+b")][..],
            60,
            &["30 firing a b"][..],
        ),
        (
            "group_wait is the first one's",
            "group-wait = '30s'",
            &[(5, "+a"), (34, "+b")],
            60,
            &["35 firing a b"],
        ),
        ("over before group_wait", "group-wait = '30s'", &[(0, "+a"), (20, "-a")], 700, &[]),
        (
            "one over, one left: it waits for itself (Alertmanager: 30)",
            "group-wait = '30s'",
            &[(0, "+a"), (1, "+b"), (20, "-a")],
            60,
            &["31 firing b"],
        ),
        (
            "critical does not wait (ours)",
            "group-wait = '30s'",
            &[(0, "+a"), (10, "+b*")],
            60,
            &["10 firing a b"],
        ),
        (
            "group_interval holds news back",
            "group-interval = '5m'",
            &[(0, "+a"), (60, "+b"), (120, "+c")],
            700,
            &["0 firing a", "300 firing a b c"],
        ),
        (
            "a rested group speaks at once (Alertmanager: at its next tick, 600)",
            "group-interval = '5m'",
            &[(0, "+a"), (400, "+b")],
            700,
            &["0 firing a", "400 firing a b"],
        ),
        (
            "an end waits for group_interval",
            "group-interval = '5m'",
            &[(0, "+a"), (60, "-a")],
            700,
            &["0 firing a", "300 resolved | a"],
        ),
        (
            "one of two ends",
            "group-interval = '5m'",
            &[(0, "+a"), (0, "+b"), (60, "-a"), (400, "-b")],
            700,
            &["0 firing a b", "300 firing b | a", "600 resolved | b"],
        ),
        (
            "back within group_interval: a new episode is told (Alertmanager: nothing)",
            "group-interval = '5m'",
            &[(0, "+a"), (60, "-a"), (200, "+a")],
            700,
            &["0 firing a", "300 firing a"],
        ),
        ("resolved by default", "", &[(0, "+a"), (60, "-a")], 100, &["0 firing a", "60 resolved | a"]),
        (
            "send_resolved = false",
            "send-resolved = false",
            &[(0, "+a"), (60, "-a"), (300, "+a")],
            400,
            &["0 firing a", "300 firing a"],
        ),
        (
            "repeat_interval",
            "repeat-interval = '10m'",
            &[(0, "+a")],
            1300,
            &["0 firing a", "600 repeat a", "1200 repeat a"],
        ),
        (
            "news begin the repeat_interval anew",
            "repeat-interval = '10m'",
            &[(0, "+a"), (500, "+b")],
            1200,
            &["0 firing a", "500 firing a b", "1100 repeat a b"],
        ),
        (
            "what is acknowledged is not repeated",
            "repeat-interval = '10m'",
            &[(0, "+a"), (100, "!a")],
            1300,
            &["0 firing a"],
        ),
        (
            "one of two acknowledged: the other is",
            "repeat-interval = '10m'",
            &[(0, "+a"), (0, "+b"), (100, "!a")],
            700,
            &["0 firing a b", "600 repeat a b"],
        ),
        (
            "an acknowledged one's end is told",
            "",
            &[(0, "+a"), (100, "!a"), (200, "-a")],
            700,
            &["0 firing a", "200 resolved | a"],
        ),
        (
            "groups are apart",
            "group-interval = '5m'",
            &[(0, "+a"), (60, "+b@d")],
            400,
            &["0 firing a", "60 firing b"],
        ),
        (
            "escalation counts from what was told, not from the firing",
            "group-wait = '30s'\nescalation = [{ after = '5m', channels = ['pager'] }]",
            &[(0, "+a")],
            700,
            &["30 firing a", "330 escalated a"],
        ),
        (
            "an acknowledgement just in time",
            "escalation = [{ after = '5m', channels = ['pager'] }]",
            &[(0, "+a"), (299, "!a")],
            700,
            &["0 firing a"],
        ),
    ] {
        assert_eq!(play(&format!("{ROUTE}{extra}"), script, end), expected, "{what}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn inhibition_and_mute_times_are_alertmanagers() {
    let rule = |equal: &str| {
        format!(
            "[[inhibit]]\nsource = ['instance=s']\ntarget = ['instance=~\"t.*\"']\nequal = [{equal}]\n{ROUTE}"
        )
    };
    // 1970 began on a Thursday.
    let muted = |how: &str, from: &str, to: &str| {
        format!(
            "[[time-interval]]\nname = 'x'\nintervals = [{{ times = [{{ start-time = '{from}', end-time = '{to}' }}] }}]\n\
             {ROUTE}{how} = ['x']\nrepeat-interval = '10m'"
        )
    };
    for (what, section, script, end, expected) in [
        (
            "a source keeps its target silent",
            rule("'cluster'"),
            &[(0, "+s"), (1, "+t")][..],
            100,
            &["0 firing s"][..],
        ),
        (
            "until it is over",
            rule("'cluster'"),
            &[(0, "+s"), (1, "+t"), (90, "-s")],
            200,
            &["0 firing s", "90 firing t | s"],
        ),
        (
            "not in another cluster",
            rule("'cluster'"),
            &[(0, "+s"), (0, "+t@d")],
            100,
            &["0 firing s", "0 firing t"],
        ),
        ("without equal: everywhere", rule(""), &[(0, "+s"), (0, "+t@d")], 100, &["0 firing s"]),
        ("a label that both lack is equal", rule("'zone'"), &[(0, "+s"), (0, "+t@d")], 100, &["0 firing s"]),
        (
            "what was told before its source: its end is told",
            rule("'cluster'"),
            &[(0, "+t"), (60, "+s"), (120, "-t")],
            200,
            &["0 firing t", "60 firing s t", "120 firing s | t"],
        ),
        (
            "muted: told when that is over",
            muted("mute-time-intervals", "00:00", "00:05"),
            &[(10, "+a")],
            400,
            &["300 firing a"],
        ),
        (
            "over while muted: never told",
            muted("mute-time-intervals", "00:00", "00:05"),
            &[(10, "+a"), (200, "-a")],
            400,
            &[],
        ),
        (
            "an end waits, too",
            muted("mute-time-intervals", "00:01", "00:05"),
            &[(10, "+a"), (100, "-a")],
            400,
            &["10 firing a", "300 resolved | a"],
        ),
        (
            "a repeat waits, too",
            muted("mute-time-intervals", "00:05", "00:20"),
            &[(10, "+a")],
            1300,
            &["10 firing a", "1200 repeat a"],
        ),
        (
            "only within active times",
            muted("active-time-intervals", "00:05", "00:10"),
            &[(10, "+a"), (700, "-a")],
            1300,
            &["300 firing a"],
        ),
        (
            "critical is muted as the rest",
            muted("mute-time-intervals", "00:00", "00:05"),
            &[(10, "+a*")],
            400,
            &["300 firing a"],
        ),
    ] {
        assert_eq!(play(&section, script, end), expected, "{what}");
    }
}
