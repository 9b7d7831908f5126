//! Commit and sweep over a real store, with the clock as an argument and a channel that does as it is told.

use std::collections::VecDeque;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::*;
use crate::alert::AlertConfig;
use crate::model::{Finding, FindingState, IncidentState, Labels};
use crate::rules::{Completeness, EvalState, Evaluation, RuleGroup, Scope, parse};

const START_MS: i64 = 1_764_000_000_000;

/// Answers in the given order, then accepts; remembers what it accepted.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<SendError>>,
    accepted: Mutex<Vec<(String, String)>>,
}

impl Channel for Script {
    fn send<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<Reference, SendError>> {
        async {
            match lock(&self.answers).pop_front() {
                Some(error) => Err(error),
                None => {
                    let told = (message.subject(), message.idempotency_key.to_owned());
                    lock(&self.accepted).push(told);
                    Ok(None)
                }
            }
        }
        .boxed()
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(5)
    }
}

impl Script {
    fn failing(errors: impl IntoIterator<Item = SendError>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(errors.into_iter().collect()), ..Self::default() })
    }

    fn subjects(&self) -> Vec<String> {
        lock(&self.accepted).iter().map(|(subject, _)| subject.clone()).collect()
    }
}

fn transient() -> SendError {
    SendError::Transient { reason: "busy".to_owned(), retry_after: None }
}

fn rules() -> RuleGroup {
    let text =
        "groups:\n- name: etcd\n  rules:\n  - {alert: EtcdMemberDown, expr: etcd_monitor_member_up == 0}\n";
    parse("g.yaml", text).expect("valid").remove(0)
}

fn down() -> Evaluation {
    let labels = Labels::from_pairs([
        ("alertname", "EtcdMemberDown"),
        ("cluster", "prod-eu-1"),
        ("instance", "m1:2379"),
        ("severity", "critical"),
    ]);
    let finding = Finding {
        group: "etcd".to_owned(),
        alert: "EtcdMemberDown".to_owned(),
        labels,
        annotations: BTreeMap::new(),
        value: 0.0,
        state: FindingState::Firing,
        active_since_ms: START_MS,
    };
    Evaluation { findings: vec![finding], state: EvalState::default(), ..Evaluation::default() }
}

fn deliverer(store: &Store, channels: &[(&str, &Arc<Script>)], extra: &str) -> Deliverer {
    let names: Vec<String> = channels.iter().map(|(name, _)| (*name).to_owned()).collect();
    let config: AlertConfig = toml::from_str(extra).expect("valid");
    let channels = channels
        .iter()
        .map(|(name, script)| ((*name).to_owned(), Arc::clone(script) as Arc<dyn Channel>))
        .collect();
    let writer = Writer::new(START_MS, rand_like(store));
    Deliverer::new(store.clone(), writer, channels, Routes::new(&config, &names).expect("valid"))
}

/// Writers of one test differ.
fn rand_like(store: &Store) -> u128 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let _ = store;
    u128::from(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

fn scope() -> Scope {
    Scope::from([("prod-eu-1".parse().expect("a name"), None)])
}

async fn commit(deliverer: &Deliverer, evaluation: &Evaluation, now_ms: i64) -> Committed {
    let committed = deliverer.commit(&rules(), evaluation, &Completeness::default(), &scope(), now_ms).await;
    assert!(committed.errors.is_empty(), "{:?}", committed.errors);
    committed
}

async fn removed(deliverer: &Deliverer, now_ms: i64) -> Committed {
    let gone = Scope::new();
    deliverer.commit(&rules(), &Evaluation::default(), &Completeness::default(), &gone, now_ms).await
}

#[tokio::test(start_paused = true)]
async fn a_story_is_told_once_however_often_it_is_seen() {
    let (store, mail) = (Store::in_memory(), Script::failing([]));
    let (one, two) = (deliverer(&store, &[("mail", &mail)], ""), deliverer(&store, &[("mail", &mail)], ""));
    for (turn, deliverer) in [&one, &two, &one, &two].into_iter().enumerate() {
        let committed = commit(deliverer, &down(), START_MS).await;
        assert_eq!(committed.transitions.len(), usize::from(turn == 0));
        assert_eq!(committed.events.len(), usize::from(turn == 0));
        let report = deliverer.sweep(START_MS).await;
        assert!(report.errors.is_empty(), "{:?}", report.errors);
    }
    assert_eq!(mail.subjects(), ["[FIRING:1] EtcdMemberDown prod-eu-1 (critical)"]);

    // Nobody saw the member: the incident is unknown, and nobody is told that it is over.
    let unknown = commit(&one, &Evaluation::default(), START_MS + 300_000).await;
    assert_eq!(unknown.transitions[0].state, IncidentState::Unknown);
    one.sweep(START_MS + 300_000).await;
    assert_eq!(mail.subjects().len(), 1);

    let over = removed(&two, START_MS + 600_000).await;
    assert_eq!(over.transitions[0].reason.as_deref(), Some("cluster prod-eu-1 removed"));
    two.sweep(START_MS + 600_000).await;
    one.sweep(START_MS + 600_000).await;
    assert_eq!(mail.subjects()[1..], ["[RESOLVED] EtcdMemberDown prod-eu-1 (critical)"]);
}

#[tokio::test]
async fn what_came_before_is_part_of_the_incident_and_of_its_end() {
    let store = Store::in_memory();
    let deliverer = deliverer(&store, &[], "");
    let cluster: crate::model::ClusterName = "prod-eu-1".parse().expect("a name");
    let kind = crate::model::EventKind::MemberRestarted;
    let event = Event {
        id: Event::id_of(&cluster, kind, "m1:2379", "7"),
        cluster,
        ts_ms: START_MS - 61_000,
        kind,
        severity: crate::model::Severity::Warning,
        subject: "m1:2379".to_owned(),
        actor: None,
        text: "the process of member m1 started anew".to_owned(),
        details: serde_json::Value::Null,
    };
    deliverer.remember_events(&[event]);
    let fired = commit(&deliverer, &down(), START_MS + 60_000).await.transitions;
    let over = removed(&deliverer, START_MS + 240_000).await.transitions;
    for incident in [&fired[0], &over[0]] {
        let before = incident.annotations.get("before").map(String::as_str);
        assert_eq!(before, Some("1 min before: the process of member m1 started anew"), "{incident:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_the_two_creates_loses_nothing() {
    let (store, mail) = (Store::in_memory(), Script::failing([]));
    // The incident is committed and its group is not: the state that a crash in between leaves.
    let incident =
        crate::alert::incident::step(None, &crate::alert::Observation::Found(&down().findings[0]), START_MS)
            .expect("fires");
    let sequence = crate::store::key::SequenceKey::incident(&incident.fingerprint);
    let writer = Writer::new(START_MS, 99);
    crate::store::sequence::append(&store, &sequence, 1, &incident, &writer).await.expect("in memory");
    let report = deliverer(&store, &[("mail", &mail)], "").sweep(START_MS + 60_000).await;
    assert_eq!((report.accepted.len(), report.undelivered), (1, 0));
    assert_eq!(mail.subjects().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn passing_failures_are_retried_and_order_is_kept() {
    let (store, mail) = (Store::in_memory(), Script::failing((0..5).map(|_| transient())));
    let deliverer = deliverer(&store, &[("mail", &mail)], "");
    commit(&deliverer, &down(), START_MS).await;
    let first = deliverer.sweep(START_MS).await;
    assert_eq!((first.failures.len(), first.undelivered), (1, 1), "three tries failed");
    removed(&deliverer, START_MS + 1_000).await;
    let early = deliverer.sweep(START_MS + 2_000).await;
    assert_eq!((early.failures.len(), early.accepted.len()), (0, 0), "the claim is still alive");
    let late = deliverer.sweep(START_MS + 61_000).await;
    assert_eq!(late.accepted.len(), 2, "{late:?}");
    assert_eq!(
        mail.subjects(),
        ["[FIRING:1] EtcdMemberDown prod-eu-1 (critical)", "[RESOLVED] EtcdMemberDown prod-eu-1 (critical)"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_critical_notification_fails_over_at_once() {
    let refused = || SendError::Permanent { reason: "gone".to_owned() };
    for errors in [vec![refused()], vec![transient(), transient(), transient()]] {
        let store = Store::in_memory();
        let (pager, mail) = (Script::failing(errors), Script::failing([]));
        let route = "[[route]]\nchannels = [\"pager\"]\nfailover = [\"mail\"]";
        let deliverer = deliverer(&store, &[("pager", &pager), ("mail", &mail)], route);
        commit(&deliverer, &down(), START_MS).await;
        deliverer.sweep(START_MS).await;
        deliverer.sweep(START_MS + 1_000).await;
        assert_eq!((pager.subjects().len(), mail.subjects().len()), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_acknowledged_incident_is_found_by_the_start_of_its_id() {
    let (store, mail) = (Store::in_memory(), Script::failing([]));
    let deliverer = deliverer(&store, &[("mail", &mail)], "");
    let fired = commit(&deliverer, &down(), START_MS).await.transitions.remove(0);
    let short = &fired.fingerprint[..8];
    let acked =
        deliverer.by_person(short, Person::Acknowledges, "ann", START_MS + 1).await.expect("in memory");
    assert_eq!(acked.map(|incident| incident.state), Some(IncidentState::Acked));
    assert!(
        deliverer
            .by_person("zz", Person::Acknowledges, "ann", START_MS + 2)
            .await
            .expect("in memory")
            .is_none()
    );
}

/// One person's silence is seen by every deliverer, and nothing is lost under it.
#[tokio::test(start_paused = true)]
async fn a_silenced_incident_is_told_once_the_silence_is_over() {
    let (store, mail) = (Store::in_memory(), Script::failing([]));
    let deliverers = [deliverer(&store, &[("mail", &mail)], ""), deliverer(&store, &[("mail", &mail)], "")];
    let silence = crate::alert::Silence {
        id: "1".to_owned(),
        matchers: vec!["cluster=~\"prod-.*\"".to_owned()],
        starts_ms: START_MS,
        ends_ms: START_MS + 600_000,
        author: "ann".to_owned(),
        comment: String::new(),
    };
    let person = Writer::new(START_MS, rand_like(&store));
    put_silence(&store, &person, &silence).await.expect("in memory");
    assert!(put_silence(&store, &person, &silence).await.is_err(), "the id is taken");
    for deliverer in &deliverers {
        commit(deliverer, &down(), START_MS + 1_000).await;
        deliverer.sweep(START_MS + 1_000).await;
    }
    assert!(mail.subjects().is_empty());
    let over = expire_silence(&store, &person, "1", START_MS + 2_000).await.expect("in memory");
    assert_eq!(over.map(|silence| silence.ends_ms), Some(START_MS + 2_000));
    for deliverer in &deliverers {
        deliverer.sweep(START_MS + 3_000).await;
    }
    assert_eq!(mail.subjects().len(), 1);
    assert!(expire_silence(&store, &person, "2", START_MS).await.expect("in memory").is_none());
}

/// Never answers.
struct Hanging;

impl Channel for Hanging {
    fn send<'a>(&'a self, _: &'a Message<'a>) -> BoxFuture<'a, Result<Reference, SendError>> {
        futures::future::pending().boxed()
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// Takes its time, accepts, and knows when it was asked and for which alert.
#[derive(Default)]
struct Timed {
    takes: Duration,
    asked: Mutex<Vec<(String, tokio::time::Instant)>>,
}

impl Channel for Timed {
    fn send<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<Reference, SendError>> {
        lock(&self.asked).push((message.subject(), tokio::time::Instant::now()));
        let takes = self.takes;
        async move {
            tokio::time::sleep(takes).await;
            Ok(None)
        }
        .boxed()
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn width(&self) -> usize {
        3
    }
}

/// [`down`], and `more` alerts of other groups.
fn many_down(more: usize) -> Evaluation {
    let mut evaluation = down();
    for n in 0..more {
        let mut finding = evaluation.findings[0].clone();
        let (alert, cluster) = (format!("Alert{n}"), format!("prod-{n}"));
        let labels = [("alertname", alert.as_str()), ("cluster", &cluster), ("severity", "critical")];
        finding.labels = Labels::from_pairs(labels);
        evaluation.findings.push(finding);
    }
    evaluation
}

#[tokio::test(start_paused = true)]
async fn a_slow_send_holds_up_its_group_and_no_other() {
    let slow = Arc::new(Timed { takes: Duration::from_secs(4), ..Timed::default() });
    let channels = BTreeMap::from([("slow".to_owned(), Arc::clone(&slow) as Arc<dyn Channel>)]);
    let routes = Routes::new(&AlertConfig::default(), &["slow".to_owned()]).expect("valid");
    let deliverer = Deliverer::new(Store::in_memory(), Writer::new(START_MS, 7), channels, routes);
    commit(&deliverer, &many_down(6), START_MS).await;
    // One group has two things to tell: that it began, and that it is over.
    let mut without_first = many_down(6);
    without_first.findings.remove(0);
    let gone = Scope::from_iter((0..6).map(|n| (format!("prod-{n}").parse().expect("a name"), None)));
    deliverer.commit(&rules(), &without_first, &Completeness::default(), &gone, START_MS + 600_000).await;
    let began = tokio::time::Instant::now();
    let report = deliverer.sweep(START_MS + 600_000).await;
    assert_eq!((report.accepted.len(), report.undelivered), (8, 0), "{report:?}");
    assert!(began.elapsed() <= Duration::from_secs(16), "{:?} for 8 of 4 s, three at once", began.elapsed());
    let asked = lock(&slow.asked).clone();
    let at_once = asked.iter().filter(|(_, at)| *at == asked[0].1).count();
    assert_eq!(at_once, 3, "{asked:?}");
    let story: Vec<_> = asked.iter().filter(|(subject, _)| subject.contains("EtcdMemberDown")).collect();
    assert!(story[0].0.starts_with("[FIRING") && story[1].0.starts_with("[RESOLVED"), "{story:?}");
    assert!(story[1].1.duration_since(story[0].1) >= slow.takes, "one after the other: {story:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_hanging_channel_does_not_take_fails_over_within_20_s_and_opens_its_breaker() {
    let timed = Arc::new(Timed::default());
    let channels: BTreeMap<String, Arc<dyn Channel>> = BTreeMap::from([
        ("pager".to_owned(), Arc::new(Hanging) as Arc<dyn Channel>),
        ("mail".to_owned(), Arc::clone(&timed) as Arc<dyn Channel>),
    ]);
    let config = "[[route]]\nchannels = [\"pager\"]\nfailover = [\"mail\"]";
    let names = ["pager".to_owned(), "mail".to_owned()];
    let routes = Routes::new(&toml::from_str(config).expect("valid"), &names).expect("valid");
    let deliverer = Deliverer::new(Store::in_memory(), Writer::new(START_MS, 7), channels, routes);
    commit(&deliverer, &many_down(30), START_MS).await;
    let began = tokio::time::Instant::now();
    let report = deliverer.sweep(START_MS).await;
    let asked = lock(&timed.asked).clone();
    assert_eq!((asked.len(), report.accepted.len()), (31, 31), "{report:?}");
    let last = asked.iter().map(|(_, at)| at.duration_since(began)).max();
    assert!(last.is_some_and(|last| last <= Duration::from_secs(20)), "{last:?}");
    assert!(report.failures.len() <= 8, "the breaker spares the rest: {report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_hangs_delays_no_other_and_has_an_end() {
    let timed = Arc::new(Timed::default());
    let names = ["a-hangs".to_owned(), "b-works".to_owned()];
    let channels: BTreeMap<String, Arc<dyn Channel>> = BTreeMap::from([
        (names[0].clone(), Arc::new(Hanging) as Arc<dyn Channel>),
        (names[1].clone(), Arc::clone(&timed) as Arc<dyn Channel>),
    ]);
    let routes = Routes::new(&AlertConfig::default(), &names).expect("valid");
    let deliverer = Deliverer::new(Store::in_memory(), Writer::new(START_MS, 7), channels, routes);
    // Many groups, each with a message to both.
    commit(&deliverer, &many_down(20), START_MS).await;
    let began = tokio::time::Instant::now();
    let report = deliverer.sweep(START_MS).await;
    let sent = lock(&timed.asked).clone();
    assert_eq!((sent.len(), report.accepted.len(), report.undelivered), (21, 21, 21));
    assert!(sent.iter().all(|(_, at)| at.duration_since(began) < Duration::from_secs(1)), "{sent:?}");
    assert!(began.elapsed() < Duration::from_secs(110), "{:?} are too long for one channel", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_to_be_told_is_given_up_in_the_open_and_once() {
    let (store, mail) = (Store::in_memory(), Script::failing((0..3).map(|_| transient())));
    let deliverer = deliverer(&store, &[("mail", &mail)], "");
    let fired = commit(&deliverer, &down(), START_MS).await.transitions.remove(0);
    assert_eq!(deliverer.sweep(START_MS).await.undelivered, 1);
    // A day without anybody who sweeps.
    removed(&deliverer, START_MS + 86_400_000 + 60_000).await;
    let late = deliverer.sweep(START_MS + 86_400_000 + 60_000).await;
    let told: Vec<_> = late.failures.iter().map(|failure| failure.error.to_string()).collect();
    assert_eq!(told, ["given up: no try was accepted within 24 h"], "{late:?}");
    assert_eq!(mail.subjects(), ["[RESOLVED] EtcdMemberDown prod-eu-1 (critical)"], "news is told");
    let routes = Routes::new(&AlertConfig::default(), &["mail".to_owned()]).expect("valid");
    let group = routes.of(&fired.labels)[0].group_key(&fired);
    let receipt = store.get(&crate::store::key::receipt(&group, 1, "mail")).await.expect("reads");
    let receipt: Receipt = serde_json::from_slice(&receipt.expect("there")).expect("a receipt");
    assert_eq!(receipt.outcome, ReceiptOutcome::Expired);
    assert!(receipt.reason.is_some_and(|reason| reason.contains("24 h")));
    let again = deliverer.sweep(START_MS + 86_400_000 + 120_000).await;
    assert!(again.failures.is_empty() && again.undelivered == 0, "{again:?}");
}
