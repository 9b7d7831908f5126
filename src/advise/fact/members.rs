//! Facts of the cluster and its members: how many, where, which versions, which alarms, which URLs.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fact, Known, Listed};
use crate::model::{Instance, ReadingRow};

/// The newest patch release of each minor one, as this program knows them (August 2026).
const NEWEST: [(u64, u64, u64); 4] = [(3, 4, 45), (3, 5, 33), (3, 6, 14), (3, 7, 1)];

/// From which patch on the next minor release is safe to go to, by the upgrade guides.
const UPGRADE_FLOORS: [(u64, u64, u64); 2] = [(3, 5, 26), (3, 6, 11)];

/// Older minor releases get no fixes.
const MAINTAINED_FROM: (u64, u64) = (3, 5);

const STATUS: &str = "etcdctl endpoint status --cluster -w table";
const LIST: &str = "etcdctl member list -w table";

pub(super) fn facts(known: &Known<'_>) -> Vec<Fact> {
    let mut facts = size(known);
    facts.extend(alarms(known));
    facts.extend(versions(known));
    facts.extend(urls(known));
    facts.extend(known.sources.channels.map(|channels| {
        let said = format!("{channels} channel(s) are configured to tell people of alerts");
        Fact::number(
            "monitor.channels",
            known.cluster.as_str(),
            channels as f64,
            said,
            "etcd-monitor config check",
        )
    }));
    facts
}

fn size(known: &Known<'_>) -> Vec<Fact> {
    let rows = known.sources.rows;
    if rows.is_empty() {
        return Vec::new();
    }
    let cluster = known.cluster.as_str();
    let voters = rows.iter().filter(|row| row.is_learner != Some(true)).count();
    let said = format!("the cluster has {voters} voting member(s)");
    let word = if voters % 2 == 0 { "even" } else { "odd" };
    let survives = voters.saturating_sub(1) / 2;
    let mut facts = vec![
        Fact::number("cluster.voters", cluster, voters as f64, said.clone(), LIST),
        Fact::word(
            "cluster.voters-even",
            cluster,
            word,
            format!("{said}, and survives the loss of {survives}"),
            LIST,
        ),
    ];
    // Where members talk to each other is where they are; instances may be those of a tunnel.
    let listed: Vec<String> = known
        .sources
        .listed
        .iter()
        .filter_map(|member| Instance::of_endpoint(member.peer_urls.first()?).ok())
        .map(|peer| peer.host().to_owned())
        .collect();
    let hosts = if listed.is_empty() {
        rows.iter().map(|row| row.instance.host().to_owned()).collect()
    } else {
        listed
    };
    let mut by_host: BTreeMap<String, usize> = BTreeMap::new();
    for host in hosts {
        *by_host.entry(host).or_default() += 1;
    }
    if let Some((host, most)) = by_host.into_iter().max_by_key(|(_, count)| *count) {
        let said = format!("{most} member(s) are on {host}");
        facts.push(Fact::number("cluster.members-per-host", cluster, most as f64, said, LIST));
    }
    facts
}

fn alarms(known: &Known<'_>) -> Vec<Fact> {
    let rows = known.sources.rows;
    if !rows.iter().any(|row| row.reachable) {
        return Vec::new();
    }
    let fact = |key: &str, kind: &str| {
        let raised = |row: &&ReadingRow| row.alarms.iter().any(|alarm| alarm == kind);
        let by: Vec<&str> = rows.iter().filter(raised).map(|row| row.instance.as_str()).collect();
        let (word, said) = match by.as_slice() {
            [] => ("none", format!("no alarm {kind} is active")),
            by => ("active", format!("the alarm {kind} is active, of {}", by.join(", "))),
        };
        Fact::word(key, known.cluster.as_str(), word, said, "etcdctl alarm list")
    };
    vec![fact("alarm.nospace", "NOSPACE"), fact("alarm.corrupt", "CORRUPT")]
}

/// `3.5.30`, without what may stand behind it.
pub(super) fn version(text: &str) -> Option<(u64, u64, u64)> {
    let mut numbers = text.split(['.', '-', '+']);
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?, next()?))
}

fn shown((major, minor, patch): (u64, u64, u64)) -> String {
    format!("{major}.{minor}.{patch}")
}

fn newest_of((major, minor, _): (u64, u64, u64)) -> Option<(u64, u64, u64)> {
    NEWEST.into_iter().find(|newest| (newest.0, newest.1) == (major, minor))
}

fn versions(known: &Known<'_>) -> Vec<Fact> {
    let members: Vec<(&str, (u64, u64, u64))> = known
        .sources
        .rows
        .iter()
        .filter_map(|row| Some((row.instance.as_str(), version(row.version.as_deref()?)?)))
        .collect();
    if members.is_empty() {
        return Vec::new();
    }
    let different: BTreeSet<String> = members.iter().map(|(_, version)| shown(*version)).collect();
    let all: Vec<String> = different.iter().cloned().collect();
    let mut facts = vec![Fact::number(
        "version.different",
        known.cluster.as_str(),
        different.len() as f64,
        format!("the members run {}", all.join(" and ")),
        STATUS,
    )];
    for (instance, version) in members {
        facts.extend(of_version(instance, version));
    }
    facts
}

fn of_version(instance: &str, version: (u64, u64, u64)) -> Vec<Fact> {
    let yes = |is: bool| if is { "yes" } else { "no" };
    let runs = format!("{instance} runs {}", shown(version));
    let fact = |key: &str, word: &str, more: String| {
        Fact::word(key, instance, word, format!("{runs}{more}"), STATUS)
    };
    let corrupts = (version.0, version.1) == (3, 5) && version.2 <= 2;
    let maintained = (version.0, version.1) >= MAINTAINED_FROM;
    let mut facts = vec![
        fact("version.corrupts", yes(corrupts), String::new()),
        fact(
            "version.maintained",
            yes(maintained),
            if maintained { String::new() } else { "; releases before 3.5 get no fixes".to_owned() },
        ),
    ];
    if let Some(newest) = newest_of(version) {
        let behind = newest.2.saturating_sub(version.2);
        let said = format!("{runs}, {behind} patch release(s) behind {}", shown(newest));
        let fact = Fact::number("version.patches-behind", instance, behind as f64, said, STATUS);
        facts.push(fact.suggest(format!("etcd {}", shown(newest))));
    }
    // Of a release without a known floor any patch will do.
    let floor = UPGRADE_FLOORS.into_iter().find(|floor| (floor.0, floor.1) == (version.0, version.1));
    let below = floor.filter(|floor| version.2 < floor.2);
    let more = below.map_or(String::new(), |floor| {
        format!("; {}.{} may be gone to from {} on", floor.0, floor.1 + 1, shown(floor))
    });
    let suggested =
        below.and_then(newest_of).map_or(String::new(), |newest| format!("etcd {}", shown(newest)));
    facts.push(fact("version.below-upgrade-floor", yes(below.is_some()), more).suggest(suggested));
    facts
}

fn urls(known: &Known<'_>) -> Vec<Fact> {
    let listed = &known.sources.listed;
    if listed.is_empty() {
        return Vec::new();
    }
    // What only the machine itself reaches nobody listens to.
    let is_plain = |url: &String| {
        url.starts_with("http://") && Instance::of_endpoint(url).is_ok_and(|at| !at.is_loopback())
    };
    let fact = |key: &str, what: &str, urls: fn(&Listed) -> &Vec<String>| {
        let plain: Vec<&String> =
            listed.iter().filter_map(|member| urls(member).iter().find(|url| is_plain(url))).collect();
        let said = match plain.first() {
            None => format!("no member is reached by {what} without TLS"),
            Some(url) => {
                format!("{} member(s) are reached by {what} without TLS, at {url} for one", plain.len())
            }
        };
        Fact::number(key, known.cluster.as_str(), plain.len() as f64, said, LIST)
    };
    vec![
        fact("url.client-plain", "clients", |member| &member.client_urls),
        fact("url.peer-plain", "their peers", |member| &member.peer_urls),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_judged_by_what_is_known_of_them() {
        let words = |text: &str| -> Vec<(String, String)> {
            let version = version(text).expect("a version");
            let value = |fact: Fact| fact.number.map_or(fact.word, |number| number.to_string());
            of_version("m", version).into_iter().map(|fact| (fact.key.clone(), value(fact))).collect()
        };
        let of = |text: &str, key: &str| {
            words(text).into_iter().find(|(found, _)| found == key).map(|(_, value)| value)
        };
        for (version, key, value) in [
            ("3.5.2", "version.corrupts", Some("yes")),
            ("3.5.3", "version.corrupts", Some("no")),
            ("3.4.2", "version.corrupts", Some("no")),
            ("3.4.45", "version.maintained", Some("no")),
            ("3.5.0", "version.maintained", Some("yes")),
            ("3.6.14", "version.patches-behind", Some("0")),
            ("3.6.0-rc.1", "version.patches-behind", Some("14")),
            ("3.8.0", "version.patches-behind", None),
            ("3.5.25", "version.below-upgrade-floor", Some("yes")),
            ("3.5.26", "version.below-upgrade-floor", Some("no")),
            ("3.6.10", "version.below-upgrade-floor", Some("yes")),
            ("3.7.0", "version.below-upgrade-floor", Some("no")),
        ] {
            assert_eq!(of(version, key).as_deref(), value, "{version} {key}");
        }
        assert_eq!(version("unknown"), None);
    }
}
