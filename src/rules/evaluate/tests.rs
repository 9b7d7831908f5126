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

#[test]
fn too_many_series_are_cut_and_named() {
    let mut set = SeriesSet::default();
    for n in 0..=ACTIVE_SERIES_MAX {
        let instance = format!("m{n}");
        set.push(&Labels::from_pairs([("__name__", "up"), ("instance", instance.as_str())]), 0, 0.0);
    }
    let group = group("{alert: Down, expr: up == 0}");
    let evaluation = evaluate(&group, &set, 0, &EvalState::default(), &RuleOptions::default());
    assert_eq!(
        (evaluation.findings.len(), evaluation.cut.as_slice()),
        (ACTIVE_SERIES_MAX, &["Down".to_owned()][..])
    );
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
