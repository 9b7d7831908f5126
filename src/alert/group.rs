//! Groups: incidents that are told together. A group's transition is the outbox: it names the notifications
//! to send and carries everything they say, so that sending needs nothing else.

use std::collections::BTreeMap;

use ring::digest;
use serde::{Deserialize, Serialize};

use super::inhibit::Speakers;
use super::route::{Level, Route};
use super::silence::Silences;
use crate::model::{Incident, IncidentState, Labels, Severity};

/// Why a notification is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Something is new: an incident fired, or one of several resolved.
    Firing,
    /// Nothing in the group fires any more.
    Resolved,
    /// Nothing changed for the repeat interval.
    Repeat,
    /// Nobody took it on: the next level is told, see [`Group::level`].
    Escalated,
    /// Somebody took an incident on, or gave it back: only for channels that keep book of it.
    Taken,
    /// Many groups in one message; never committed.
    Storm,
}

/// One message to one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    pub channel: String,
    /// The same for every attempt, another one for every transition.
    pub idempotency_key: String,
}

/// What people were told of an incident last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub episode: u64,
    /// Set once its end was told, too; ms since the epoch.
    pub resolved_ms: Option<i64>,
    /// When its beginning was told; ms since the epoch.
    #[serde(default)]
    pub told_ms: i64,
    /// Whether somebody had it in hand, as far as channels know that follow this.
    #[serde(default)]
    pub acked: bool,
}

/// One state of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub key: String,
    /// Its place in the group's sequence, from 1.
    pub number: u64,
    /// Counts the stories from the first firing to all resolved: messages of one story thread together.
    pub thread: u64,
    /// The labels that all members share by `group-by`.
    pub labels: Labels,
    pub kind: Kind,
    pub severity: Severity,
    /// What the notifications say: the incidents that fire, then those whose end is told.
    pub incidents: Vec<Incident>,
    pub notifications: Vec<Notification>,
    /// Tried in order when a critical notification cannot be given to its channel.
    pub failover: Vec<String>,
    /// How many levels of the route's escalation this story has reached.
    #[serde(default)]
    pub level: usize,
    /// By fingerprint.
    pub told: BTreeMap<String, Told>,
    /// When this state was entered, ms since the epoch.
    pub changed_ms: i64,
}

impl Group {
    /// Stable over a story; for mail threads and deduplication at the provider.
    pub fn thread_key(&self) -> String {
        format!("{}-{}", short_hash(&self.key), self.thread)
    }

    /// Whether it tells of something critical that is new.
    pub fn is_urgent(&self) -> bool {
        self.severity == Severity::Critical && matches!(self.kind, Kind::Firing | Kind::Escalated)
    }

    /// How long the longest-told of its incidents that nobody took on has been told, ms.
    pub fn unheeded_ms(&self) -> i64 {
        let waiting = self.incidents.iter().filter(|incident| incident.awaits_somebody());
        let told = waiting.filter_map(|incident| self.told.get(&incident.fingerprint));
        told.map(|told| self.changed_ms.saturating_sub(told.told_ms)).max().unwrap_or_default()
    }

    /// The incidents of the message that still fire.
    pub fn firing(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.iter().filter(|incident| incident.state.is_active())
    }

    fn tells_of(&self, fingerprint: &str) -> Option<&Told> {
        self.told.get(fingerprint).filter(|told| told.resolved_ms.is_none())
    }
}

/// How long a told end is remembered, against readers that see an older state of the incident.
const REMEMBER_MS: i64 = 7 * 86_400_000;

/// What may keep an incident from being told.
#[derive(Clone, Copy)]
pub struct Quiet<'a> {
    pub speakers: &'a Speakers<'a>,
    pub silences: &'a Silences,
}

/// The next state of a group, or `None` when nobody has to be told anything now.
///
/// `members` are the newest states of the group's incidents. Told is each episode's beginning and each told episode's end, once; an incident that resolved
/// before it was told is never mentioned. Critical news does not wait for `group-wait` or `group-interval`.
/// What is silenced is not told: its end neither, until the silence is over. What still fires when a silence
/// ends is told again. While the route is muted everything waits. A level of escalation is told to its own
/// channels alone, and then hears all the rest.
pub fn step<'a>(
    previous: Option<&Group>,
    route: &Route,
    members: &'a [&'a Incident],
    quiet: Quiet<'_>,
    now_ms: i64,
) -> Option<Group> {
    let first = members.first().filter(|_| !route.is_muted(now_ms))?;
    let told = |incident: &Incident| previous.and_then(|group| group.told.get(&incident.fingerprint));
    let is_new = |incident: &Incident| {
        incident.state.is_active() && told(incident).is_none_or(|told| told.episode < incident.episode)
    };
    let silenced = |incident: &Incident| quiet.silences.silencer(&incident.labels, now_ms).is_some();
    let speaks = |incident: &Incident| !silenced(incident) && quiet.speakers.inhibitor(incident).is_none();
    let is_told = |incident: &Incident| {
        told(incident).is_some_and(|told| told.episode == incident.episode && told.resolved_ms.is_none())
    };

    let fresh: Vec<&Incident> = members.iter().copied().filter(|i| is_new(i) && speaks(i)).collect();
    let ended: Vec<&Incident> =
        members.iter().copied().filter(|i| !i.state.is_active() && is_told(i) && !silenced(i)).collect();
    let lasting: Vec<&Incident> =
        members.iter().copied().filter(|i| i.state.is_active() && is_told(i)).collect();

    let since_ms = previous.map(|group| now_ms.saturating_sub(group.changed_ms));
    let is_open = previous.is_some_and(|group| group.firing().next().is_some());
    let level = previous.filter(|_| is_open).map_or(0, |group| group.level);
    let (kind, level, mut channels) = if fresh.is_empty() && ended.is_empty() {
        let loud: Vec<&Incident> =
            lasting.iter().copied().filter(|i| i.state != IncidentState::Acked && speaks(i)).collect();
        reminder(previous?, route, &lasting, &loud, quiet.silences, level, now_ms)?
    } else {
        let urgent = fresh.iter().any(|incident| incident.severity == Severity::Critical);
        if !urgent && !is_due(route, &fresh, since_ms, is_open, now_ms) {
            return None;
        }
        let over = fresh.is_empty() && lasting.is_empty();
        (if over { Kind::Resolved } else { Kind::Firing }, level, channels_of(route, level))
    };

    let mut incidents: Vec<Incident> =
        lasting.iter().chain(&fresh).chain(&ended).map(|i| (*i).clone()).collect();
    // The worst first; what is cut for length is what matters least.
    incidents.sort_by_key(|incident| (!incident.state.is_active(), std::cmp::Reverse(incident.severity)));
    let number = previous.map_or(0, |group| group.number).saturating_add(1);
    let mut told = remembered(previous, now_ms);
    for incident in &incidents {
        let resolved_ms = (!incident.state.is_active()).then_some(now_ms);
        let before = told.get(&incident.fingerprint).filter(|told| told.episode == incident.episode);
        let told_ms = before.map_or(now_ms, |told| told.told_ms);
        let acked = incident.state == IncidentState::Acked;
        let now_told = Told { episode: incident.episode, resolved_ms, told_ms, acked };
        told.insert(incident.fingerprint.clone(), now_told);
    }
    let key = route.group_key(first);
    let idempotency_key = format!("{}-{number}", short_hash(&key));
    if kind == Kind::Resolved && !route.send_resolved {
        channels.clear();
    }
    let notify = |channel| Notification { channel, idempotency_key: idempotency_key.clone() };
    let notifications = channels.into_iter().map(notify).collect();
    Some(Group {
        key,
        number,
        thread: previous.map_or(0, |group| group.thread).saturating_add(u64::from(!is_open)),
        labels: route.group_labels(first),
        kind,
        severity: incidents.iter().map(|incident| incident.severity).max().unwrap_or(Severity::Warning),
        incidents,
        notifications,
        failover: route.failover.clone(),
        level,
        told,
        changed_ms: now_ms,
    })
}

/// What is said although nothing began or ended: to whom, and on which level of escalation from now on. `loud`
/// are those of the `lasting` incidents that people should hear of.
fn reminder(
    group: &Group,
    route: &Route,
    lasting: &[&Incident],
    loud: &[&Incident],
    silences: &Silences,
    level: usize,
    now_ms: i64,
) -> Option<(Kind, usize, Vec<String>)> {
    if let Some(next) = escalates(group, route, loud, level, now_ms) {
        return Some((Kind::Escalated, level.saturating_add(1), next.channels.clone()));
    }
    if is_repeated(group, route, loud, silences, now_ms) {
        return Some((Kind::Repeat, level, channels_of(route, level)));
    }
    let turned = |incident: &&&Incident| {
        let acked = incident.state == IncidentState::Acked;
        group.told.get(&incident.fingerprint).is_some_and(|told| told.acked != acked)
    };
    lasting.iter().find(turned)?;
    let followers = channels_of(route, level).into_iter().filter(|name| route.followers.contains(name));
    let followers: Vec<String> = followers.collect();
    (!followers.is_empty()).then_some((Kind::Taken, level, followers))
}

/// The level that is due: somebody was told of one of these incidents for its time, and nobody took it on.
fn escalates<'a>(
    group: &Group,
    route: &'a Route,
    loud: &[&Incident],
    level: usize,
    now_ms: i64,
) -> Option<&'a Level> {
    let told = loud.iter().filter_map(|incident| group.told.get(&incident.fingerprint));
    let unheeded_ms = told.map(|told| now_ms.saturating_sub(told.told_ms)).max()?;
    route.escalation.get(level).filter(|next| unheeded_ms >= next.after_ms)
}

/// Whether these incidents are told again: the repeat interval or a silence of one of them is over.
fn is_repeated(group: &Group, route: &Route, loud: &[&Incident], silences: &Silences, now_ms: i64) -> bool {
    let is_due = now_ms.saturating_sub(group.changed_ms) >= route.repeat_interval_ms;
    loud.iter().any(|i| is_due || silences.lifted_since(&i.labels, group.changed_ms, now_ms))
}

/// The channels of a story that has reached `level`, each once.
fn channels_of(route: &Route, level: usize) -> Vec<String> {
    let mut channels = route.channels.clone();
    for channel in route.escalation.iter().take(level).flat_map(|level| &level.channels) {
        if !channels.contains(channel) {
            channels.push(channel.clone());
        }
    }
    channels
}

/// Whether the group may speak again. A clock that went backwards makes it speak rather than be silent:
/// what was told is in the state, so nothing is told twice for it.
fn is_due(route: &Route, fresh: &[&Incident], since_ms: Option<i64>, is_open: bool, now_ms: i64) -> bool {
    let rested = since_ms.is_none_or(|since_ms| since_ms < 0 || since_ms >= route.group_interval_ms);
    let first_ms = fresh.iter().map(|incident| incident.fired_ms).min().unwrap_or(now_ms);
    let waited_ms = now_ms.saturating_sub(first_ms);
    let gathered = is_open || fresh.is_empty() || waited_ms < 0 || waited_ms >= route.group_wait_ms;
    rested && gathered
}

fn remembered(previous: Option<&Group>, now_ms: i64) -> BTreeMap<String, Told> {
    let mut told = previous.map(|group| group.told.clone()).unwrap_or_default();
    told.retain(|_, told| told.resolved_ms.is_none_or(|ms| now_ms.saturating_sub(ms) < REMEMBER_MS));
    told
}

/// Whether the newest state of the group does not yet reflect this incident: what a sweep looks for.
pub fn has_news(group: Option<&Group>, incident: &Incident) -> bool {
    match (incident.state.is_active(), group) {
        (true, None) => true,
        (false, None) => false,
        (true, Some(group)) => {
            group.told.get(&incident.fingerprint).is_none_or(|told| told.episode < incident.episode)
        }
        (false, Some(group)) => group.tells_of(&incident.fingerprint).is_some(),
    }
}

/// 16 hexadecimal digits.
pub fn short_hash(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
