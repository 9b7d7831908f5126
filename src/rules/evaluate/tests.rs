use super::*;
use crate::model::SeriesSet;
use crate::rules::parse;

const STEP_MS: i64 = 30_000;

fn group(rule: &str) -> RuleGroup {
    let text = format!("groups:\n- name: g\n  rules:\n  - {rule}\n");
    parse("g.yaml", &text).expect("valid").remove(0)
}

/// Samples of `up` for one instance at every step; NaN stands for none.
fn up(values: &[f64]) -> SeriesSet {
    let mut set = SeriesSet::default();
    let labels = Labels::from_pairs([("__name__", "up"), ("cluster", "a"), ("instance", "m1")]);
    for (step, value) in (0..).zip(values) {
        set.push(&labels, step * STEP_MS, *value);
    }
    set
}

/// P for pending, F for firing, - for nothing, one letter per step.
fn story(group: &RuleGroup, set: &SeriesSet, steps: i64) -> String {
    let mut state = EvalState::default();
    let mut story = String::new();
    for step in 0..steps {
        let evaluation = evaluate(group, set, step * STEP_MS, &state, &RuleOptions::default());
        assert!(evaluation.errors.is_empty(), "{:?}", evaluation.errors);
        // As the store keeps it.
        let text = serde_json::to_string(&evaluation.state).expect("serialises");
        state = serde_json::from_str(&text).expect("reads back");
        story.push(match evaluation.findings.first().map(|finding| finding.state) {
            None => '-',
            Some(FindingState::Pending) => 'P',
            Some(FindingState::Firing) => 'F',
        });
    }
    story
}

#[test]
fn for_and_keep_firing_for_over_time() {
    let down = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0];
    for (extra, expected) in [
        ("", "-FFF---F-"),
        (", for: 1m", "-PPF---P-"),
        (", for: 2m", "-PPP---P-"),
        (", for: 1m, keep_firing_for: 1m", "-PPFFF-P-"),
        (", keep_firing_for: 1m", "-FFFFF-FF"),
    ] {
        let group = group(&format!("{{alert: Down, expr: up == 0{extra}}}"));
        assert_eq!(story(&group, &up(&down), 9), expected, "{extra}");
    }
}

#[test]
fn labels_and_annotations_are_templated_each_time() {
    let rule = "{alert: Down, expr: up < 1, labels: {severity: critical, who: '{{ $labels.instance }}', cluster: ''}, \
        annotations: {summary: 'at {{ $value }}'}}";
    let (group, set) = (group(rule), up(&[0.0, 0.5]));
    let one = evaluate(&group, &set, 0, &EvalState::default(), &RuleOptions::default());
    let two = evaluate(&group, &set, STEP_MS, &one.state, &RuleOptions::default());
    let expected = Labels::from_pairs([
        ("alertname", "Down"),
        ("instance", "m1"),
        ("severity", "critical"),
        ("who", "m1"),
    ]);
    assert_eq!(one.findings[0].labels, expected);
    assert_eq!(one.findings[0].annotations["summary"], "at 0");
    assert_eq!(
        (two.findings[0].annotations["summary"].as_str(), two.findings[0].active_since_ms),
        ("at 0.5", 0)
    );
}

#[test]
fn a_failed_rule_keeps_its_state_and_leaves_the_others() {
    let (both, mut set) = (group("{alert: Down, expr: up == 0, for: 1m}"), up(&[0.0; 4]));
    let one = evaluate(&both, &set, 0, &EvalState::default(), &RuleOptions::default());
    let twins = group("{alert: Twin, expr: 'up == 0', labels: {instance: same}}");
    set.push(&Labels::from_pairs([("__name__", "up"), ("cluster", "a"), ("instance", "m2")]), 0, 0.0);
    let failed = evaluate(&twins, &set, 0, &one.state, &RuleOptions::default());
    assert!(failed.is_partial("Twin") && !failed.is_partial("Down"), "{:?}", failed.errors);
}

/// `down` members of 1,100 are down.
fn members(down: usize) -> SeriesSet {
    let mut set = SeriesSet::default();
    for n in 0..1_100 {
        let instance = format!("m{n}");
        let labels = Labels::from_pairs([("__name__", "up"), ("instance", instance.as_str())]);
        set.push(&labels, 0, if n < down { 0.0 } else { 1.0 });
    }
    set
}

#[test]
fn too_many_series_are_one_finding_that_ends() {
    let group = group("{alert: Down, expr: up == 0, labels: {severity: critical}}");
    let options = RuleOptions::default();
    let limit = |evaluation: &Evaluation| {
        evaluation.findings.iter().find(|finding| finding.alert == SERIES_LIMIT_ALERT).cloned()
    };
    let full = evaluate(&group, &members(ACTIVE_SERIES_MAX), 0, &EvalState::default(), &options);
    assert_eq!((full.findings.len(), limit(&full)), (ACTIVE_SERIES_MAX, None));

    let over = evaluate(&group, &members(1_042), STEP_MS, &full.state, &options);
    assert_eq!(over.findings.len(), ACTIVE_SERIES_MAX + 1);
    assert!(over.errors.is_empty() && over.is_partial("Down"));
    let said = limit(&over).expect("one finding says so");
    assert_eq!((said.labels.get("rule"), said.labels.get("severity")), (Some("Down"), Some("critical")));
    assert_eq!((said.value, said.state, said.active_since_ms), (1_042.0, FindingState::Firing, STEP_MS));
    assert!(said.annotations["summary"].contains("Down has 1042 active series"), "{said:?}");

    let still = evaluate(&group, &members(1_050), 2 * STEP_MS, &over.state, &options);
    let again = limit(&still).expect("still");
    assert_eq!((again.fingerprint(), again.active_since_ms), (said.fingerprint(), STEP_MS));

    let below = evaluate(&group, &members(3), 3 * STEP_MS, &still.state, &options);
    assert_eq!((below.findings.len(), limit(&below)), (3, None));
    let incident = crate::model::Incident {
        fingerprint: said.fingerprint(),
        episode: 1,
        state: crate::model::IncidentState::Firing,
        group: said.group.clone(),
        alert: said.alert.clone(),
        severity: said.severity(),
        labels: said.labels.clone(),
        annotations: said.annotations,
        value: said.value,
        active_since_ms: 0,
        fired_ms: 0,
        changed_ms: 0,
        reason: None,
        silenced_by: None,
    };
    let nobody = crate::rules::Completeness::default();
    let absent = crate::rules::absence(&incident, &group, &below, &nobody, &crate::rules::Scope::new());
    assert_eq!(absent, crate::rules::Absence::Clear, "it resolves as its rule was evaluated");
}

#[test]
fn a_recording_rule_names_its_result() {
    let evaluation = evaluate(
        &group("{record: 'cluster:up:sum', expr: sum by (cluster) (up), labels: {team: db}}"),
        &up(&[1.0]),
        0,
        &EvalState::default(),
        &RuleOptions::default(),
    );
    let labels = Labels::from_pairs([("__name__", "cluster:up:sum"), ("cluster", "a"), ("team", "db")]);
    assert_eq!(evaluation.recorded, [(labels, 1.0)]);
}

#[test]
fn what_is_recorded_is_seen_by_later_rules_and_ends_when_it_is_gone() {
    let text = "groups:\n- name: g\n  rules:\n  - {record: 'c:down', expr: 'count by (cluster) (up == 0)'}\n  \
        - {alert: Down, expr: 'c:down > 0'}\n  - {record: 'c:all', expr: 'count(c:down)'}\n";
    let group = parse("g.yaml", text).expect("valid").remove(0);
    let set = up(&[0.0, 1.0, 0.0]);
    let mut state = EvalState::default();
    let mut story = Vec::new();
    for step in 0..3 {
        let found = evaluate(&group, &set, step * STEP_MS, &state, &RuleOptions::default());
        assert_eq!(found.errors, []);
        let ended = found.recorded.iter().filter(|(_, value)| crate::model::is_stale_marker(*value)).count();
        story.push((found.findings.len(), found.recorded.len() - ended, ended));
        // As a store keeps it.
        state = serde_json::from_slice(&serde_json::to_vec(&found.state).expect("JSON")).expect("reads back");
    }
    assert_eq!(story, [(1, 2, 0), (0, 0, 2), (1, 2, 0)]);
}
