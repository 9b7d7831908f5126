mod timers;

use proptest::prelude::*;

use super::super::incident::{self, Observation, tests::finding};
use super::super::route::{AlertConfig, Routes};
use super::*;

const MINUTE_MS: i64 = 60_000;

fn routes(extra: &str) -> Routes {
    let text = format!("[[route]]\nchannels = [\"mail\"]\ngroup-by = [\"cluster\"]\n{extra}");
    let config: AlertConfig = toml::from_str(&text).expect("valid");
    Routes::new(&config, &["mail".to_owned()]).expect("valid")
}

fn fired(instance: &str, severity: &str, at_ms: i64) -> Incident {
    let finding = finding("EtcdMemberDown", "a", instance, severity);
    incident::step(None, &Observation::Found(&finding), at_ms).expect("fires")
}

fn resolved(incident: &Incident, at_ms: i64) -> Incident {
    incident::step(Some(incident), &Observation::Clear, at_ms).expect("resolves")
}

fn next(routes: &Routes, previous: Option<&Group>, members: &[&Incident], now_ms: i64) -> Option<Group> {
    next_with(routes, &Silences::default(), previous, members, now_ms)
}

fn next_with(
    routes: &Routes,
    silences: &Silences,
    previous: Option<&Group>,
    members: &[&Incident],
    now_ms: i64,
) -> Option<Group> {
    let route = routes.of(&members[0].labels)[0];
    let speakers = Speakers::new(&routes.inhibit, members, now_ms);
    step(previous, route, members, Quiet { speakers: &speakers, silences }, now_ms)
}

#[test]
fn a_story_is_told_from_its_beginning_to_its_end() {
    let routes = routes("");
    let down = fired("m1", "critical", 0);
    let one = next(&routes, None, &[&down], 0).expect("told at once");
    assert_eq!((one.kind, one.number, one.thread, one.notifications.len()), (Kind::Firing, 1, 1, 1));
    assert!(next(&routes, Some(&one), &[&down], 3 * 3_600_000).is_none(), "nothing new");
    let two = next(&routes, Some(&one), &[&down], 4 * 3_600_000).expect("repeats");
    assert_eq!((two.kind, two.thread), (Kind::Repeat, 1));
    assert_ne!(one.notifications[0].idempotency_key, two.notifications[0].idempotency_key);

    let up = resolved(&down, 5 * 3_600_000);
    let three = next(&routes, Some(&two), &[&up], 5 * 3_600_000).expect("its end is told");
    assert_eq!((three.kind, three.thread, three.firing().count()), (Kind::Resolved, 1, 0));
    assert!(next(&routes, Some(&three), &[&up], 10 * 3_600_000).is_none(), "told once");
    assert!(next(&routes, Some(&three), &[&down], 10 * 3_600_000).is_none(), "an older state is not news");

    let finding = finding("EtcdMemberDown", "a", "m1", "critical");
    let again = incident::step(Some(&up), &Observation::Found(&finding), 6 * 3_600_000).expect("fires again");
    let four = next(&routes, Some(&three), &[&again], 6 * 3_600_000).expect("a new episode");
    assert_eq!((four.kind, four.number, four.thread), (Kind::Firing, 4, 2));
}

#[test]
fn only_critical_news_does_not_wait() {
    let waiting = routes("group-wait = \"30s\"\ngroup-interval = \"5m\"");
    let warning = fired("m1", "warning", 0);
    assert!(next(&waiting, None, &[&warning], 29_000).is_none());
    let one = next(&waiting, None, &[&warning], 30_000).expect("waited");
    let second = fired("m2", "warning", MINUTE_MS);
    assert!(next(&waiting, Some(&one), &[&warning, &second], 2 * MINUTE_MS).is_none(), "group interval");
    let critical = fired("m3", "critical", MINUTE_MS);
    let two = next(&waiting, Some(&one), &[&warning, &second, &critical], MINUTE_MS).expect("at once");
    assert_eq!((two.incidents.len(), two.severity), (3, Severity::Critical));

    let over = resolved(&fired("m1", "warning", 0), 1_000);
    assert!(next(&waiting, None, &[&over], MINUTE_MS).is_none(), "over before it was told");
    assert!(next(&waiting, Some(&one), &[&second], 0).is_some(), "a clock that went back does not silence");
}

#[test]
fn the_inhibited_the_acknowledged_and_the_unwanted_ends_are_silent() {
    let plain = routes("");
    let (warning, critical) = (fired("m1", "warning", 0), fired("m1", "critical", 0));
    let one = next(&plain, None, &[&warning, &critical], 0).expect("the critical one");
    assert_eq!(one.incidents.iter().map(|i| i.severity).collect::<Vec<_>>(), [Severity::Critical]);
    let over = resolved(&critical, 2 * MINUTE_MS);
    let two = next(&plain, Some(&one), &[&warning, &over], 2 * MINUTE_MS).expect("the end");
    assert_eq!(
        (two.kind, two.incidents.len()),
        (Kind::Resolved, 1),
        "its range may just still hold the cause"
    );
    let three = next(&plain, Some(&two), &[&warning, &over], 13 * MINUTE_MS).expect("the warning speaks now");
    assert_eq!((three.kind, three.incidents.len()), (Kind::Firing, 1));

    let ack = incident::step(Some(&critical), &Observation::Acknowledged("ann".into()), 1).expect("acked");
    assert!(next(&plain, Some(&one), &[&ack], 5 * 3_600_000).is_none(), "no repeat");

    let quiet = routes("send-resolved = false");
    let one = next(&quiet, None, &[&critical], 0).expect("told");
    let two = next(&quiet, Some(&one), &[&over], 2 * MINUTE_MS).expect("a transition");
    assert!(two.notifications.is_empty());
}

#[test]
fn unknown_is_neither_an_end_nor_news() {
    let routes = routes("");
    let down = fired("m1", "critical", 0);
    let one = next(&routes, None, &[&down], 0).expect("told");
    let unknown =
        incident::step(Some(&down), &Observation::Incomplete("no data".into()), 1).expect("unknown");
    assert!(next(&routes, Some(&one), &[&unknown], 10 * MINUTE_MS).is_none());
    assert!(!has_news(Some(&one), &unknown) && has_news(None, &unknown));
}

#[test]
fn a_silenced_incident_is_told_when_the_silence_is_over() {
    use super::super::Silence;
    let routes = routes("");
    let silences = Silences::new([Silence {
        id: "1".to_owned(),
        matchers: vec!["cluster=a".to_owned()],
        starts_ms: MINUTE_MS,
        ends_ms: 10 * MINUTE_MS,
        author: String::new(),
        comment: String::new(),
    }]);
    let next = |previous: Option<&Group>, members: &[&Incident], now_ms: i64| {
        next_with(&routes, &silences, previous, members, now_ms)
    };
    let late = fired("m1", "critical", 2 * MINUTE_MS);
    assert!(next(None, &[&late], 9 * MINUTE_MS).is_none(), "silenced");
    let told = next(None, &[&late], 10 * MINUTE_MS).expect("the silence is over");
    assert_eq!(told.kind, Kind::Firing);

    let early = fired("m1", "critical", 0);
    let one = next(None, &[&early], 0).expect("told before the silence");
    assert!(next(Some(&one), &[&early], 9 * MINUTE_MS).is_none(), "no repeat");
    let again = next(Some(&one), &[&early], 10 * MINUTE_MS).expect("still fires");
    assert_eq!((again.kind, again.thread), (Kind::Repeat, 1));
    assert!(next(Some(&again), &[&early], 11 * MINUTE_MS).is_none(), "once");
    let acked = incident::step(Some(&early), &Observation::Acknowledged("ann".into()), 1).expect("acked");
    assert!(next(Some(&one), &[&acked], 10 * MINUTE_MS).is_none(), "somebody has it in hand");

    let over = resolved(&early, 2 * MINUTE_MS);
    assert!(next(Some(&one), &[&over], 5 * MINUTE_MS).is_none(), "its end waits, too");
    let end = next(Some(&one), &[&over], 10 * MINUTE_MS).expect("its end");
    assert_eq!(end.kind, Kind::Resolved);
    assert!(next(None, &[&resolved(&late, 3 * MINUTE_MS)], 10 * MINUTE_MS).is_none(), "never told");
}

#[test]
fn a_muted_route_waits() {
    let text = "[[time-interval]]\nname = 'night'\n\
                intervals = [{ times = [{ start-time = '00:00', end-time = '06:00' }] }]\n\
                [[route]]\nchannels = ['mail']\n";
    // Muted at the first instant, not at the second.
    for (extra, muted_ms, free_ms) in [
        ("mute-time-intervals = ['night']", 5 * 3_600_000, 6 * 3_600_000),
        ("active-time-intervals = ['night']", 23 * 3_600_000, 24 * 3_600_000),
    ] {
        let config: AlertConfig = toml::from_str(&format!("{text}{extra}")).expect("valid");
        let routes = Routes::new(&config, &["mail".to_owned()]).expect("valid");
        let down = fired("m1", "critical", 0);
        assert!(next(&routes, None, &[&down], muted_ms).is_none(), "{extra}");
        let told = next(&routes, None, &[&down], free_ms).expect("still fires");
        let over = resolved(&down, 86_400_000);
        let (muted_ms, free_ms) = (86_400_000 + muted_ms, 86_400_000 + free_ms);
        assert!(next(&routes, Some(&told), &[&over], muted_ms).is_none(), "its end waits, too: {extra}");
        assert!(next(&routes, Some(&told), &[&over], free_ms).is_some(), "{extra}");
    }
    let unknown: AlertConfig =
        toml::from_str("[[route]]\nchannels = ['mail']\nmute-time-intervals = ['day']").expect("parses");
    let errors = Routes::new(&unknown, &["mail".to_owned()]).expect_err("no such interval");
    assert!(errors[0].to_string().contains("\"day\""), "{}", errors[0]);
}

#[test]
fn what_nobody_takes_on_escalates_level_by_level() {
    let text = "[[route]]\nchannels = ['mail']\n[[route.escalation]]\nafter = '10m'\nchannels = ['pager']\n\
                [[route.escalation]]\nafter = '30m'\nchannels = ['boss']";
    let config: AlertConfig = toml::from_str(text).expect("valid");
    let routes = Routes::new(&config, &["mail", "pager", "boss"].map(str::to_owned)).expect("valid");
    let told = |group: &Group| -> Vec<String> {
        group.notifications.iter().map(|notification| notification.channel.clone()).collect()
    };
    let down = fired("m1", "critical", 0);
    let acked =
        incident::step(Some(&down), &Observation::Acknowledged("ann".into()), 5).expect("acknowledged");
    let one = next(&routes, None, &[&down], 0).expect("told at once");
    assert_eq!(told(&one), ["mail"]);
    assert!(next(&routes, Some(&one), &[&down], 10 * MINUTE_MS - 1).is_none(), "not yet");
    assert!(next(&routes, Some(&one), &[&acked], 10 * MINUTE_MS).is_none(), "somebody has it in hand");
    let two = next(&routes, Some(&one), &[&down], 10 * MINUTE_MS).expect("level 1");
    assert_eq!((two.kind, told(&two), two.level), (Kind::Escalated, vec!["pager".to_owned()], 1));
    assert_eq!(two.unheeded_ms(), 10 * MINUTE_MS);
    assert!(next(&routes, Some(&two), &[&down], 11 * MINUTE_MS).is_none(), "each level once");
    let three = next(&routes, Some(&two), &[&down], 30 * MINUTE_MS).expect("level 2");
    assert_eq!((told(&three), three.level), (vec!["boss".to_owned()], 2));
    assert!(next(&routes, Some(&three), &[&down], 60 * MINUTE_MS).is_none(), "there is no level 3");
    let four = next(&routes, Some(&three), &[&resolved(&down, 3_600_000)], 3_600_000).expect("its end");
    assert_eq!(told(&four), ["mail", "pager", "boss"], "who heard of it hears of its end");

    let finding = finding("EtcdMemberDown", "a", "m1", "critical");
    let over = resolved(&down, 3_600_000);
    let again = incident::step(Some(&over), &Observation::Found(&finding), 4_000_000).expect("fires again");
    let five = next(&routes, Some(&four), &[&again], 4_000_000).expect("a new story");
    assert_eq!((told(&five), five.level), (vec!["mail".to_owned()], 0));
}

#[test]
fn channels_that_keep_book_hear_who_has_it_in_hand() {
    let text =
        "[[route]]\nchannels = ['mail', 'pager']\n[[route.escalation]]\nafter = '10m'\nchannels = ['boss']";
    let config: AlertConfig = toml::from_str(text).expect("valid");
    let routes = Routes::new(&config, &["mail", "pager", "boss"].map(str::to_owned)).expect("valid");
    let plain = routes.clone();
    let routes = routes.with_followers(&["pager".to_owned(), "boss".to_owned()]);
    let down = fired("m1", "critical", 0);
    let say = |incident: &Incident, observation: Observation<'_>, at_ms: i64| {
        incident::step(Some(incident), &observation, at_ms).expect("a change")
    };
    let acked = say(&down, Observation::Acknowledged("ann".into()), MINUTE_MS);
    let back = say(&acked, Observation::GivenBack("ann".into()), 5 * MINUTE_MS);
    let told = |group: &Group| -> Vec<String> {
        group.notifications.iter().map(|notification| notification.channel.clone()).collect()
    };
    let one = next(&routes, None, &[&down], 0).expect("told at once");
    let two = next(&routes, Some(&one), &[&acked], MINUTE_MS).expect("who has it");
    assert_eq!((two.kind, told(&two), two.thread), (Kind::Taken, vec!["pager".to_owned()], 1));
    assert!(next(&routes, Some(&two), &[&acked], 2 * MINUTE_MS).is_none(), "once");
    let three = next(&routes, Some(&two), &[&back], 5 * MINUTE_MS).expect("that nobody has it");
    assert_eq!(three.kind, Kind::Taken);
    let four = next(&routes, Some(&three), &[&back], 10 * MINUTE_MS).expect("nobody took it on since");
    assert_eq!((four.kind, told(&four)), (Kind::Escalated, vec!["boss".to_owned()]));
    let again = say(&back, Observation::Acknowledged("bob".into()), 12 * MINUTE_MS);
    let five = next(&routes, Some(&four), &[&again], 12 * MINUTE_MS).expect("who has it now");
    assert_eq!(told(&five), ["pager", "boss"], "who heard of it hears of this");
    let plain_one = next(&plain, None, &[&down], 0).expect("told at once");
    assert!(next(&plain, Some(&plain_one), &[&acked], MINUTE_MS).is_none(), "mail keeps no book");
    let over = resolved(&again, 20 * MINUTE_MS);
    assert_eq!(next(&routes, Some(&five), &[&over], 20 * MINUTE_MS).expect("its end").kind, Kind::Resolved);
}

proptest! {
    /// Whatever order the states of two incidents are seen in, stale views and repetitions included, each
    /// episode's beginning and end is told at most once, and an end only after its beginning.
    #[test]
    fn nothing_is_told_twice(seen in prop::collection::vec((0_usize..6, 0_usize..6, 0_i64..20), 1..60)) {
        let routes = routes("group-interval = \"0\"\nrepeat-interval = \"10y\"");
        let story = |instance: &str| {
            let finding = finding("EtcdMemberDown", "a", instance, "warning");
            let mut states: Vec<Incident> = Vec::new();
            for turn in 0..6 {
                let observation =
                    if turn % 2 == 0 { Observation::Found(&finding) } else { Observation::Clear };
                states.push(incident::step(states.last(), &observation, turn * 200_000).expect("alternates"));
            }
            states
        };
        let (a, b) = (story("m1"), story("m2"));
        let mut group: Option<Group> = None;
        let mut told: BTreeMap<(String, u64, bool), u32> = BTreeMap::new();
        for (i, j, minute) in seen {
            let members = [&a[i], &b[j]];
            let Some(next) = next(&routes, group.as_ref(), &members, minute * MINUTE_MS) else { continue };
            for incident in &next.incidents {
                let before = group.as_ref().and_then(|g| g.told.get(&incident.fingerprint));
                let lasting = before.is_some_and(|t| t.episode == incident.episode && t.resolved_ms.is_none());
                let ends = !incident.state.is_active();
                prop_assert!(!ends || lasting, "an end without a beginning");
                if ends || !lasting {
                    let count = told.entry((incident.fingerprint.clone(), incident.episode, ends)).or_default();
                    *count += 1;
                    prop_assert_eq!(*count, 1);
                }
            }
            group = Some(next);
        }
    }
}
