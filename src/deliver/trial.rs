//! A test of one channel: a marked story that no rule told.
//!
//! It takes the path of every notification (claim, tries, breaker, receipt). Its groups are not committed, so
//! no sweep repeats them and no page shows them.

use std::collections::BTreeMap;

use super::attempt::{Attempt, Proof};
use super::sweep::{Failure, SweepClock, SweepReport};
use super::{DeliverError, Deliverer, Receipt, receipts};
use crate::alert::{Group, Kind, Notification};
use crate::model::{Incident, IncidentState, Labels, Severity};

/// What came of a test.
#[derive(Debug, Default)]
pub struct Trial {
    /// Of the beginning and the end, as far as they got one.
    pub receipts: Vec<Receipt>,
    pub failures: Vec<Failure>,
    pub errors: Vec<DeliverError>,
}

impl Deliverer {
    /// Sends a test that fires, and then its end, so that nothing stays open at the other side.
    pub async fn test(&self, channel: &str, now_ms: i64) -> Trial {
        let mut report = SweepReport::default();
        let mut receipts = Vec::new();
        for kind in [Kind::Firing, Kind::Resolved] {
            let group = group(kind, channel, now_ms);
            for notification in &group.notifications {
                let attempt = self
                    .attempt(
                        &group,
                        notification,
                        channel,
                        (Proof::Store, SweepClock::starting(now_ms)),
                        &mut report,
                    )
                    .await;
                receipts.extend(receipts::get(&self.store, &group.key, group.number, channel).await);
                if attempt != Attempt::Done {
                    let SweepReport { failures, errors, .. } = report;
                    return Trial { receipts, failures, errors };
                }
            }
        }
        let SweepReport { failures, errors, .. } = report;
        Trial { receipts, failures, errors }
    }
}

pub(super) fn group(kind: Kind, channel: &str, now_ms: i64) -> Group {
    let labels =
        Labels::from_pairs([("alertname", "EtcdMonitorTest"), ("severity", "info"), ("test", "true")]);
    let thread = u64::try_from(now_ms).unwrap_or_default();
    let (state, number) = match kind {
        Kind::Resolved => (IncidentState::Resolved, 2),
        Kind::Firing | Kind::Repeat | Kind::Escalated | Kind::Taken | Kind::Storm => {
            (IncidentState::Firing, 1)
        }
    };
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let incident = Incident {
        fingerprint: format!("test-{thread}"),
        episode: 1,
        state,
        group: "test".to_owned(),
        alert: "EtcdMonitorTest".to_owned(),
        severity: Severity::Info,
        labels: labels.clone(),
        annotations: BTreeMap::from([
            text("summary", "TEST: this is a test of etcd-monitor"),
            text(
                "description",
                "Somebody ran `etcd-monitor alert test`. Nothing is wrong, nothing is to be done.",
            ),
        ]),
        value: 1.0,
        active_since_ms: now_ms,
        fired_ms: now_ms,
        changed_ms: now_ms,
        reason: None,
        silenced_by: None,
    };
    let notification =
        Notification { channel: channel.to_owned(), idempotency_key: format!("test-{thread}-{number}") };
    Group {
        key: format!("test:{thread}"),
        number,
        thread,
        labels,
        kind,
        severity: Severity::Info,
        incidents: vec![incident],
        notifications: vec![notification],
        failover: Vec::new(),
        told: BTreeMap::new(),
        level: 0,
        changed_ms: now_ms,
    }
}
