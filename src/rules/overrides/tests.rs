use super::super::book::RuleBook;
use super::*;
use crate::model::{Labels, SeriesSet};
use crate::rules::{EvalState, Evaluation, RuleOptions, evaluate, parse};

const RULES: &str = "groups:\n- name: g\n  rules:\n  - alert: Slow\n    expr: max by (cluster, instance) (x_seconds) > 0.01\n    \
    for: 1m\n    labels: {severity: warning}\n    annotations: {description: 'limit {{ 0.01 | humanizeDuration }}.'}\n  \
    - alert: Slow\n    expr: max by (cluster, instance) (x_seconds) > 0.1\n    labels: {severity: critical}\n    \
    annotations: {description: 'too slow.'}\n  - alert: Down\n    expr: up == 0\n    labels: {severity: critical}\n";

fn groups() -> Vec<RuleGroup> {
    parse("r.yaml", RULES).expect("valid")
}

fn fleet() -> Fleet {
    let tags = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    [
        ("dev-a", tags(&[("env", "dev"), ("team", "x")])),
        ("dev-b", tags(&[("env", "dev")])),
        ("prod", tags(&[])),
    ]
    .into_iter()
    .map(|(name, tags)| (name.parse().expect("a name"), tags))
    .collect()
}

#[derive(serde::Deserialize)]
struct File {
    o: Vec<OverrideConfig>,
}

fn overrides(text: &str) -> Vec<Override> {
    let file: File = toml::from_str(text).expect(text);
    (1..).zip(file.o).map(|(line, config)| Override { line: Some(line), config }).collect()
}

fn book(text: &str) -> RuleBook {
    let overrides = overrides(text);
    assert_eq!(problems(&groups(), &overrides, &fleet()), []);
    let mut book = RuleBook::default();
    book.add("default", groups(), &overrides, &fleet());
    book
}

/// The threshold and `for` in effect for each cluster, and for one that nobody configured.
fn effective(book: &RuleBook) -> Vec<String> {
    let entry = &book.chapters[0].entries[0];
    ["dev-a", "dev-b", "prod", "gone"]
        .iter()
        .map(|cluster| {
            let listed = entry.of_cluster(cluster).expect("every cluster has one");
            let RuleKind::Alert { for_ms, .. } = &listed.rule.kind else { panic!("an alert") };
            let off = if listed.enabled { "" } else { " off" };
            format!("{} {for_ms}{off}", Threshold::of(&listed.rule.expr).expect("has one"))
        })
        .collect()
}

#[test]
fn the_most_specific_override_wins_setting_by_setting() {
    let slow = "alert = 'Slow'\nseverity = 'warning'\n";
    let one = |body: &str| format!("[[o]]\n{slow}{body}\n");
    let all = "threshold = '20ms'";
    let dev = "tags = { env = 'dev' }\nthreshold = '30ms'\nfor = '5m'";
    let team = "tags = { env = 'dev', team = 'x' }\nthreshold = 0.04";
    let cluster = "cluster = 'dev-a'\nfor = '9m'";
    for (text, expected) in [
        (one(all), ["20ms 60000"; 4]),
        (one(all) + &one(dev), ["30ms 300000", "30ms 300000", "20ms 60000", "20ms 60000"]),
        (one(team) + &one(dev) + &one(all), ["40ms 300000", "30ms 300000", "20ms 60000", "20ms 60000"]),
        (one(cluster) + &one(team), ["40ms 540000", "10ms 60000", "10ms 60000", "10ms 60000"]),
        (one(all) + &one("threshold = '50ms'"), ["50ms 60000"; 4]),
        (
            one("enabled = false") + &one("cluster = 'prod'\nenabled = true"),
            ["10ms 60000 off", "10ms 60000 off", "10ms 60000", "10ms 60000 off"],
        ),
    ] {
        assert_eq!(effective(&book(&text)), expected, "{text}");
    }
}

fn found(group: &RuleGroup, state: &EvalState, at_ms: i64) -> Evaluation {
    let mut set = SeriesSet::default();
    for cluster in ["dev-a", "prod"] {
        let labels = [("__name__", "x_seconds"), ("cluster", cluster), ("instance", "m1")];
        set.push(&Labels::from_pairs(labels), at_ms, 0.015);
    }
    let evaluation = evaluate(group, &set, at_ms, state, &RuleOptions::default());
    assert!(evaluation.errors.is_empty(), "{:?}", evaluation.errors);
    evaluation
}

#[test]
fn an_override_moves_the_limit_and_not_the_incident() {
    let plain = &groups()[0];
    let first = found(plain, &EvalState::default(), 0);
    let raised =
        "[[o]]\nalert = 'Slow'\nseverity = 'warning'\ncluster = 'dev-a'\nthreshold = '12ms'\nfor = '2m'\n";
    let overridden = &book(raised).groups()[0];
    let then = found(overridden, &first.state, 90_000);
    let identities = |evaluation: &Evaluation| {
        evaluation.findings.iter().map(|f| (f.fingerprint(), f.active_since_ms)).collect::<BTreeSet<_>>()
    };
    assert_eq!(identities(&first), identities(&then), "the same conditions since the same time");
    let said: BTreeMap<&str, (&str, crate::model::FindingState)> = then
        .findings
        .iter()
        .map(|f| (f.labels.get("cluster").expect("set"), (f.annotations["description"].as_str(), f.state)))
        .collect();
    use crate::model::FindingState::{Firing, Pending};
    assert_eq!(said["prod"], ("limit 10ms.", Firing));
    assert_eq!(said["dev-a"], ("limit 12ms. Told after 2m here.", Pending));
    let off = "[[o]]\nalert = 'Slow'\ncluster = 'dev-a'\nenabled = false\n";
    let then = found(&book(off).groups()[0], &first.state, 90_000);
    assert_eq!(then.findings.len(), 1);
    assert_eq!(then.findings[0].labels.get("cluster"), Some("prod"));
}

#[test]
fn what_no_literal_says_is_added_and_the_severity_moves() {
    let text = "[[o]]\nalert = 'Slow'\nseverity = 'critical'\nthreshold = '10ms'\nset-severity = 'info'\n";
    let groups = book(text).groups();
    let findings = found(&groups[0], &EvalState::default(), 0).findings;
    let info: Vec<_> = findings.iter().filter(|f| f.labels.get("severity") == Some("info")).collect();
    assert_eq!(info.len(), 2);
    assert_eq!(info[0].annotations["description"], "too slow. The limit in effect is 10ms.");
    assert_eq!(book(text).alerts_total(), 3);
}

#[test]
fn a_bad_override_is_refused_in_one_sentence() {
    for (body, key, says) in [
        ("alert = 'Slo'\nenabled = false", "alert", "did you mean Slow?"),
        ("alert = 'Nothing'\nenabled = false", "alert", "shipped alert \"Nothing\"; `rules list`"),
        ("alert = 'Slow'\nseverity = 'info'\nfor = '1m'", "severity", "it has warning, critical"),
        ("alert = 'Slow'\ncluster = 'b'\nfor = '1m'", "cluster", "there are dev-a, dev-b, prod"),
        ("alert = 'Slow'\nthreshold = '1s'", "severity", "say which"),
        ("alert = 'Slow'\nseverity = 'critical'\nthreshold = '1MiB'", "threshold", "compares seconds"),
        ("alert = 'Down'\nthreshold = 1", "threshold", "has no threshold"),
        ("alert = 'Down'", "alert", "changes nothing"),
        ("alert = 'Slow'\ncluster = 'prod'\ntags = { a = 'b' }\nenabled = false", "tags", "not for both"),
        ("alert = 'Slow'\nseverity = 'critical'\nset-severity = 'warning'", "set-severity", "already"),
    ] {
        let errors = problems(&groups(), &overrides(&format!("[[o]]\n{body}\n")), &fleet());
        let [error] = errors.as_slice() else { panic!("{body}: {errors:?}") };
        assert!(error.key == key && error.message.contains(says), "{body}: {error:?}");
        assert_eq!(error.line, Some(1));
    }
}

#[test]
fn letters_are_counted() {
    for (from, to, apart) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("Slwo", "Slow", 2)] {
        assert_eq!(letters_apart(from, to), apart, "{from} {to}");
    }
}

/// The pack says its limits as number literals, so that an override changes the text where it stands.
#[test]
fn shipped_texts_say_the_limit_in_effect() {
    let groups = crate::rules::default_pack().expect("the shipped pack is valid");
    let mut seen = 0;
    for rule in groups.iter().flat_map(|group| &group.rules) {
        let Some(threshold) = Threshold::of(&rule.expr) else { continue };
        let RuleKind::Alert { annotations, .. } = &rule.kind else { continue };
        let text = |annotations: &[(String, Template)]| format!("{annotations:?}");
        if !text(annotations).contains("the limit is") {
            continue;
        }
        seen += 1;
        let own = format!(
            "[[o]]\nalert = '{}'\nseverity = '{}'\nthreshold = {:?}\n",
            rule.name,
            rule.severity(),
            threshold.value * 2.0
        );
        let changed = entry(rule, &overrides(&own), &fleet());
        let RuleKind::Alert { annotations, .. } = &changed.variants[0].rule.kind else { panic!("an alert") };
        assert!(!text(annotations).contains("limit in effect"), "{}: {}", rule.name, text(annotations));
    }
    assert!(seen >= 15, "{seen}");
}
