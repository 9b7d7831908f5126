//! Delivery against real receivers: what every channel must do, on an HTTP server that records and on a real
//! mail server.

mod acks;
pub mod alertmanager;
mod escalation;
pub mod exec;
mod failing_receivers;
pub mod http;
pub mod providers;
pub mod simulation;
pub mod smtp;

use std::collections::BTreeMap;
use std::sync::Arc;

use etcd_monitor::alert::{AlertConfig, Routes};
use etcd_monitor::deliver::{AckSource, ChannelConfig, Deliverer, Person, SendError, SweepReport, open};
use etcd_monitor::model::{Finding, FindingState, Labels, SecretRef};
use etcd_monitor::rules::{Completeness, Evaluation, RuleGroup, Scope, parse};
use etcd_monitor::store::{Store, Writer};
use secrecy::SecretString;

pub const START_MS: i64 = 1_764_000_000_000;
const HOUR_MS: i64 = 3_600_000;

/// A deliverer with the one channel `way`, and the rule it watches.
pub struct Story {
    deliverer: Deliverer,
    rules: RuleGroup,
}

impl Story {
    pub fn new(channel: ChannelConfig) -> Self {
        let resolve = |reference: &SecretRef| match reference {
            // A secret that is a URL stands for itself.
            SecretRef::Env(url) if url.starts_with("http") => Ok(SecretString::from(url.clone())),
            SecretRef::Env(name) => Ok(SecretString::from(format!("secret of {name}"))),
            SecretRef::File(_) => Err("no files here".to_owned()),
        };
        let channels =
            open(&BTreeMap::from([("way".to_owned(), channel)]), &resolve).expect("a valid channel");
        let routes = Routes::new(&AlertConfig::default(), &["way".to_owned()]).expect("valid");
        let text =
            "groups:\n- name: g\n  rules:\n  - {alert: EtcdMemberDown, expr: etcd_monitor_member_up == 0}\n";
        let rules = parse("g.yaml", text).expect("valid").remove(0);
        let deliverer = Deliverer::new(Store::in_memory(), Writer::new(START_MS, 1), channels, routes)
            .with_external_url(Some("https://status.example.com/etcd".to_owned()))
            .with_ack_links(Some(AckSource {
                base: "https://status.example.com/etcd".to_owned(),
                secret: Some(SecretString::from("the secret of the links")),
            }));
        Self { deliverer, rules }
    }

    /// The member is down at `now_ms`; everything due is sent.
    pub async fn down(&self, now_ms: i64) -> SweepReport {
        let labels = [
            ("alertname", "EtcdMemberDown"),
            ("cluster", "prod-eu-1"),
            ("instance", "10.0.0.1:2379"),
            ("severity", "critical"),
        ];
        self.fires(&labels, now_ms).await
    }

    /// An alert with these labels fires at `now_ms`; everything due is sent.
    pub async fn fires(&self, labels: &[(&str, &str)], now_ms: i64) -> SweepReport {
        let finding = Self::finding(labels, "member 10.0.0.1:2379 is <down>");
        self.find(vec![finding], now_ms).await
    }

    /// These and no others fire at `now_ms`; everything due is sent.
    pub async fn find(&self, findings: Vec<Finding>, now_ms: i64) -> SweepReport {
        self.sweep(Evaluation { findings, ..Evaluation::default() }, true, now_ms).await
    }

    pub fn finding(labels: &[(&str, &str)], summary: &str) -> Finding {
        Finding {
            group: "g".to_owned(),
            alert: "EtcdMemberDown".to_owned(),
            labels: Labels::from_pairs(labels.iter().copied()),
            annotations: BTreeMap::from([
                ("summary".to_owned(), summary.to_owned()),
                ("description".to_owned(), "It has not answered for 1 minute.".to_owned()),
                ("runbook".to_owned(), "docs/runbooks/EtcdMemberDown.md".to_owned()),
            ]),
            value: 0.0,
            state: FindingState::Firing,
            active_since_ms: START_MS - 60_000,
        }
    }

    /// Somebody does this to the only incident; everything due is sent.
    pub async fn person(&self, person: Person, now_ms: i64) -> SweepReport {
        let done = self.deliverer.by_person("", person, "ann", now_ms).await;
        assert!(done.expect("in memory").is_some(), "one incident is active");
        self.deliverer.sweep(now_ms).await
    }

    /// The cluster is no longer configured.
    pub async fn removed(&self, now_ms: i64) -> SweepReport {
        self.sweep(Evaluation::default(), false, now_ms).await
    }

    async fn sweep(&self, evaluation: Evaluation, configured: bool, now_ms: i64) -> SweepReport {
        let mut scope = Scope::new();
        if configured {
            scope.insert("prod-eu-1".parse().expect("a name"), None);
        }
        let seen = Completeness::default();
        let committed = self.deliverer.commit(&self.rules, &evaluation, &seen, &scope, now_ms).await;
        assert!(committed.errors.is_empty(), "{:?}", committed.errors);
        let report = self.deliverer.sweep(now_ms).await;
        assert!(report.errors.is_empty(), "{:?}", report.errors);
        report
    }
}

/// What a test's receiver does with the next messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answer {
    Accept,
    /// Try again, in that many seconds if it says so.
    Busy(Option<u64>),
    Refuse,
    Hang,
    /// Something that is not HTTP.
    Garbage,
    Unauthorized,
    Redirect,
}

/// A receiver that answers as told and counts what it accepted.
pub trait Receiver: Sized {
    fn start(answers: &[Answer]) -> impl Future<Output = Self>;
    /// The channel to this receiver, as configuration writes it.
    fn toml(&self) -> String;
    fn config(&self) -> ChannelConfig {
        toml::from_str(&self.toml()).expect("a valid channel")
    }
    /// Accepted messages, oldest first.
    fn accepted(&self) -> Vec<String>;
}

/// What every channel must do.
async fn conforms<R: Receiver>() {
    let receiver = Arc::new(R::start(&[]).await);
    let story = Story::new(receiver.config());
    assert_eq!(story.down(START_MS).await.accepted.len(), 1, "fires");
    assert_eq!(story.down(START_MS + HOUR_MS).await.accepted.len(), 0, "is told once");
    assert_eq!(story.down(START_MS + 4 * HOUR_MS).await.accepted.len(), 1, "repeats");
    assert_eq!(story.removed(START_MS + 5 * HOUR_MS).await.accepted.len(), 1, "resolves");
    assert_eq!(receiver.accepted().len(), 3);

    for (name, answers, accepted, refused) in [
        ("busy, then ok", &[Answer::Busy(None), Answer::Accept][..], 1, false),
        ("refused for good", &[Answer::Refuse], 0, true),
        ("hangs", &[Answer::Hang, Answer::Accept], 1, false),
    ] {
        let receiver = R::start(answers).await;
        let report = Story::new(receiver.config()).down(START_MS).await;
        assert_eq!(
            (report.accepted.len(), receiver.accepted().len()),
            (accepted, accepted),
            "{name}: {report:?}"
        );
        let permanent =
            report.failures.iter().any(|failure| matches!(failure.error, SendError::Permanent { .. }));
        assert_eq!(permanent, refused, "{name}: {report:?}");
        assert_eq!(report.undelivered, 0, "{name}");
    }
}

#[tokio::test]
async fn webhook_conforms() {
    conforms::<http::Hook>().await;
}

#[tokio::test]
async fn smtp_conforms() {
    conforms::<smtp::MailServer>().await;
}
