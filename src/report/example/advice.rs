//! Advice of the example fleet.

use super::DATA_THROUGH_MS;
use crate::model::{
    ADVICE_FORMAT, Advice, AdviceArea, AdviceState, ClusterName, Confidence, Effort, Evidence, HealthScore,
    Help, HelpVerdict, LostPoints, PassedRule, ReadingRow, Recommendation, ScoreTerm, UnknownRule,
};

const DAY_MS: i64 = 86_400_000;

/// Of the `n`-th cluster: the one with the slow disk is told so, some others have less to do.
pub(super) fn advice(cluster: &ClusterName, rows: &[ReadingRow], n: usize) -> Option<Advice> {
    let member = rows.get(1).or_else(|| rows.first())?.instance.as_str();
    let mut items = Vec::new();
    if n == 2 {
        items.extend(slow_disk(cluster, member));
    }
    if n.is_multiple_of(3) {
        items.push(unproved(cluster));
    }
    let lost = |rule: &str, points: u32| {
        let item = items
            .iter()
            .find(|item: &&Recommendation| item.rule == rule && item.state == AdviceState::Open)?;
        let text = item.evidence.first().map(|evidence| evidence.text.clone())?;
        Some(LostPoints { rule: rule.to_owned(), points, text })
    };
    let terms = [
        ("availability", 25, vec![]),
        ("latency", 15, vec![]),
        ("disk", 15, vec![lost("fsync-slow", 8), lost("commit-slow", 5)]),
        ("capacity", 15, vec![]),
        ("backups", 15, vec![lost("backup-unproved", 4)]),
        ("upkeep", 15, vec![]),
    ];
    let term = |(name, most, lost): (&str, u32, Vec<Option<LostPoints>>)| {
        let lost: Vec<LostPoints> = lost.into_iter().flatten().collect();
        let points = most - lost.iter().map(|lost| lost.points).sum::<u32>();
        ScoreTerm { name: name.to_owned(), most, points: Some(points), judged: 12, rules: 16, lost }
    };
    let terms: Vec<ScoreTerm> = terms.into_iter().map(term).collect();
    let value = Some(terms.iter().filter_map(|term| term.points).sum());
    let passed = PassedRule {
        rule: "round-trip-long".to_owned(),
        title: "Shorten the round trips between members".to_owned(),
        area: AdviceArea::Hardware,
        text: "nine of ten round trips to a peer take up to 1.4 ms".to_owned(),
    };
    let unknown = UnknownRule {
        rule: "swap-on".to_owned(),
        title: "Switch swap off".to_owned(),
        area: AdviceArea::OperatingSystem,
        needs: "the member to run on the machine of a monitor".to_owned(),
    };
    Some(Advice {
        format: ADVICE_FORMAT,
        cluster: cluster.clone(),
        made_ms: DATA_THROUGH_MS,
        items,
        passed: vec![passed],
        unknown: vec![unknown],
        score: HealthScore { value, terms, cap: None },
    })
}

fn slow_disk(cluster: &ClusterName, member: &str) -> [Recommendation; 3] {
    let fsync = Evidence {
        subject: member.to_owned(),
        text: "99 % of WAL fsyncs take up to 28.4 ms; etcd wants them below 10 ms".to_owned(),
        value: Some(0.0284),
        shown_by: format!(
            "(histogram_quantile(0.99, sum by (instance, le) (rate(etcd_disk_wal_fsync_duration_seconds_bucket{{cluster=\"{cluster}\"}}[6h])))) > 0.01"
        ),
    };
    let commit = Evidence {
        text: "99 % of the database's commits take up to 41 ms; etcd wants them below 25 ms".to_owned(),
        value: Some(0.041),
        ..fsync.clone()
    };
    let quota = Evidence {
        subject: cluster.to_string(),
        text: "the database has reached 62 % of a quota of no more than 2 GiB".to_owned(),
        value: Some(0.62),
        shown_by: "max(etcd_monitor_db_size_bytes)".to_owned(),
    };
    let first = Recommendation {
        weight: 70,
        commands: vec![
            "etcd-monitor disk check --directory /var/lib/etcd".to_owned(),
            "iostat -x 5".to_owned(),
        ],
        ..recommendation("fsync-slow", "Give etcd a faster disk", fsync)
    };
    let second = Recommendation {
        caused_by: Some("fsync-slow".to_owned()),
        ..recommendation("commit-slow", "Shorten the commits of the database", commit)
    };
    let done = Recommendation {
        state: AdviceState::Done,
        changed_ms: DATA_THROUGH_MS - 5 * DAY_MS,
        by: Some("ann".to_owned()),
        note: Some("quota is 8 GiB now".to_owned()),
        help: Some(Help {
            what: "Database share of the quota".to_owned(),
            before: "62 %".to_owned(),
            after: "15.5 %".to_owned(),
            span_ms: DAY_MS,
            is_final: true,
            verdict: HelpVerdict::Helped,
        }),
        ..recommendation("quota-default", "Raise the quota above its default", quota)
    };
    [first, second, done]
}

fn unproved(cluster: &ClusterName) -> Recommendation {
    let evidence = Evidence {
        subject: cluster.to_string(),
        text: "no backup that is kept was ever restored on trial".to_owned(),
        value: None,
        shown_by: format!("etcd-monitor backup list {cluster}"),
    };
    Recommendation {
        area: AdviceArea::Practice,
        effort: Effort::Low,
        weight: 47,
        commands: vec!["etcd-monitor backup drill latest".to_owned()],
        link: "docs/backup.md".to_owned(),
        why: "A restore that was never tried takes longest on the day it is needed.".to_owned(),
        gain: "A known time to recovery".to_owned(),
        ..recommendation("backup-unproved", "Restore a backup on trial", evidence)
    }
}

fn recommendation(rule: &str, title: &str, evidence: Evidence) -> Recommendation {
    Recommendation {
        rule: rule.to_owned(),
        title: title.to_owned(),
        area: AdviceArea::Hardware,
        state: AdviceState::Open,
        since_ms: DATA_THROUGH_MS - 2 * DAY_MS,
        seen_ms: DATA_THROUGH_MS,
        clear_since_ms: None,
        changed_ms: DATA_THROUGH_MS - 2 * DAY_MS,
        by: None,
        note: None,
        until_ms: None,
        caused_by: None,
        weight: 62,
        evidence: vec![evidence],
        why: "Every write waits until a majority of members has made it durable.".to_owned(),
        commands: vec!["etcd-monitor disk history".to_owned()],
        gain: "Puts are answered faster by what fsync takes less".to_owned(),
        effort: Effort::High,
        confidence: Confidence::High,
        link: "https://etcd.io/docs/v3.6/op-guide/hardware/#disks".to_owned(),
        help: None,
    }
}
