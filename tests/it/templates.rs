//! Templates of annotations beside a real Prometheus: the same rules, the same texts.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use etcd_monitor::model::{Labels, SeriesSet};
use etcd_monitor::rules::{self, EvalState, RuleOptions};

use crate::prometheus::{EXTERNAL_URL, Prometheus};

/// What the series of the test's alerts are: labels, and values with every kind of magnitude.
const VALUES: [&str; 26] = [
    "0",
    "1",
    "-1",
    "0.5",
    "3",
    "5",
    "12",
    "59.9999",
    "60",
    "61.5",
    "100",
    "999.95",
    "1000",
    "1234.5678",
    "12345.678",
    "99999.5",
    "123456",
    "1234567",
    "86399.9",
    "90061.5",
    "1.0e18",
    "1.5e-7",
    "0.0001",
    "-0.00002345",
    "NaN",
    "Inf",
];
const EXTERNAL_LABELS: [(&str, &str); 2] = [("site", "eu-1"), ("tier", "gold")];

/// Of a seeded sequence (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("small")
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// Expressions that give a number, a text or either, nested up to `depth`.
fn number(random: &mut Random, depth: usize) -> String {
    match random.below(if depth == 0 { 4 } else { 7 }) {
        0 | 1 => "$value".to_owned(),
        2 => random.one(&["0.0", "1.5", "-7.25", "1e6", "12345.678", "0.00012"]).to_owned(),
        3 => ".Value".to_owned(),
        4 => format!("(query {} | first | value)", query(random)),
        5 => format!("(len {})", text(random, depth - 1)),
        _ => format!("(parseDuration {})", random.one(&["\"5m\"", "\"1h30m\"", "\"soon\"", "`10ms`"])),
    }
}

fn query(random: &mut Random) -> String {
    random
        .one(&[
            "\"vector(42.5)\"",
            "`vector(1) > 2`",
            "\"label_replace(vector(7), `host`, `a.b:1`, ``, ``)\"",
            "(printf \"vector(%f)\" 3.5)",
        ])
        .to_owned()
}

fn text(random: &mut Random, depth: usize) -> String {
    match random.below(if depth == 0 { 5 } else { 14 }) {
        0 => "$labels.instance".to_owned(),
        1 => {
            random.one(&["$labels.nope", ".Labels.cluster", "$externalLabels.site", "externalURL"]).to_owned()
        }
        2 => random
            .one(&[
                "\"plain\"",
                "`a \"raw\" text`",
                "\"tab\\tand \\u00e9\"",
                "\"<b>&'x'\"",
                "\"10.0.0.1:2379\"",
            ])
            .to_owned(),
        3 => random.one(&["$externalURL", "pathPrefix", "\"two words\"", "\"\""]).to_owned(),
        4 => "$labels.cluster".to_owned(),
        5 | 6 => {
            let function = random.one(&[
                "humanize",
                "humanize1024",
                "humanizePercentage",
                "humanizeDuration",
                "humanizeTimestamp",
            ]);
            format!("({function} {})", number(random, depth - 1))
        }
        7 => {
            let function = random.one(&[
                "title",
                "toUpper",
                "toLower",
                "stripPort",
                "stripDomain",
                "graphLink",
                "tableLink",
                "html",
                "js",
                "urlquery",
            ]);
            format!("({function} {})", text(random, depth - 1))
        }
        8 => {
            let format = random.one(&[
                "%.2f", "%8.3f|", "%-9.1f|", "%+g", "%e", "%v", "%d", "%s", "%08.2f", "%%%v", "%q", "%5t",
                "%6v",
            ]);
            format!("(printf \"{format}\" {})", number(random, depth - 1))
        }
        9 => {
            let format = random.one(&["%s", "%q", "%10s|", "%-10s|", "%.3s", "%v", "%d", "%x", "%s %s"]);
            format!("(printf \"{format}\" {})", text(random, depth - 1))
        }
        10 => format!("(reReplaceAll \"(.)[0-9]+\" \"<${{1}}>\" {})", text(random, depth - 1)),
        11 => format!(
            "(print {} {} {})",
            any(random, depth - 1),
            any(random, depth - 1),
            any(random, depth - 1)
        ),
        12 => format!("(index $labels {})", text(random, depth - 1)),
        _ => format!("(query {} | first | label \"host\")", query(random)),
    }
}

fn any(random: &mut Random, depth: usize) -> String {
    if random.below(2) == 0 { number(random, depth) } else { text(random, depth) }
}

fn condition(random: &mut Random, depth: usize) -> String {
    match random.below(6) {
        0 => format!("gt {} {}", number(random, depth), number(random, depth)),
        1 => format!("le {} {}", number(random, depth), number(random, depth)),
        2 => format!("eq {} {}", any(random, depth), any(random, depth)),
        3 => format!("and ({}) {}", condition(random, 0), any(random, depth)),
        4 => format!("or (not {}) ({})", any(random, depth), condition(random, 0)),
        _ => format!("match \"^[a-m]\" {}", text(random, depth)),
    }
}

fn template(random: &mut Random, depth: usize) -> String {
    match random.below(if depth == 0 { 3 } else { 9 }) {
        0 => format!("{{{{ {} }}}}", any(random, 2)),
        1 => format!(
            "{{{{ {} | {} }}}}",
            number(random, 1),
            random.one(&["humanize", "humanizeDuration", "printf \"%.3g\"", "humanizePercentage | title"])
        ),
        2 => format!("x {{{{- {} -}}}} y", any(random, 1)),
        3 => format!(
            "{{{{ if {} }}}}{}{{{{ else }}}}{}{{{{ end }}}}",
            condition(random, 1),
            template(random, depth - 1),
            template(random, depth - 1)
        ),
        4 => format!(
            "{{{{ with {} }}}}[{{{{ . }}}}]{{{{ else }}}}{}{{{{ end }}}}",
            any(random, 1),
            template(random, depth - 1)
        ),
        5 => format!(
            "{{{{ range $i, $s := query {} }}}}{{{{ $i }}}}={{{{ $s.Value }}}}:{}{{{{ else }}}}none{{{{ end }}}}",
            query(random),
            template(random, depth - 1)
        ),
        6 => format!(
            "{{{{ range $k, $v := $labels }}}}{{{{ $k }}}}:{{{{ $v }}}},{}{{{{ end }}}}",
            template(random, depth - 1)
        ),
        7 => format!(
            "{{{{ $x := {} }}}}{{{{ if {} }}}}{{{{ $x = {} }}}}{{{{ end }}}}{{{{ $x }}}}",
            any(random, 1),
            condition(random, 0),
            any(random, 1)
        ),
        _ => format!("{} {{{{/* nothing */}}}}{}", template(random, depth - 1), template(random, depth - 1)),
    }
}

/// One rule for each value, with every template as an annotation.
fn rule_file(templates: &[String]) -> String {
    let mut text = "groups:\n- name: g\n  rules:\n".to_owned();
    for (n, value) in VALUES.iter().enumerate() {
        // Not every template with every value: texts would be most of the work.
        let annotations: String = templates
            .iter()
            .enumerate()
            .filter(|(at, _)| at % VALUES.len() == n || templates.len() - at <= WRITTEN)
            .map(|(at, template)| {
                format!("      a{at}: {}\n", serde_json::to_string(template).expect("JSON"))
            })
            .collect();
        let expr = format!(
            "label_replace(label_replace(vector({value}), 'instance', 'm{n}.example.com:2379', '', ''), 'cluster', 'prod eu', '', '')"
        );
        text += &format!("  - alert: A{n}\n    expr: \"{expr}\"\n    annotations:\n{annotations}");
    }
    text
}

/// The number of templates in `tests/data/rules/templates.txt`, which every value is put into.
const WRITTEN: usize = 86;

/// Texts by alert and annotation.
type Texts = BTreeMap<(String, String), String>;

fn theirs(rules: &str) -> Texts {
    let prometheus = Prometheus::evaluating(rules, &EXTERNAL_LABELS);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let alerts = prometheus.alerts();
        let alerts = alerts.as_array().expect("a list");
        if alerts.len() == VALUES.len() {
            let of = |alert: &serde_json::Value| {
                let name = alert["labels"]["alertname"].as_str().expect("a name").to_owned();
                let texts = alert["annotations"].as_object().expect("annotations").clone();
                let text = |text: serde_json::Value| text.as_str().expect("a text").to_owned();
                texts.into_iter().map(move |(key, value)| ((name.clone(), key), text(value)))
            };
            return alerts.iter().flat_map(of).collect();
        }
        assert!(Instant::now() < deadline, "prometheus has {} of {} alerts", alerts.len(), VALUES.len());
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn ours(rules: &str) -> Texts {
    let groups = rules::parse("rules.yaml", rules).unwrap_or_else(|errors| panic!("{:#?}", &errors[..1]));
    let options = RuleOptions {
        external_labels: Labels::from_pairs(EXTERNAL_LABELS),
        external_url: EXTERNAL_URL.to_owned(),
        ..RuleOptions::default()
    };
    let found = rules::evaluate(&groups[0], &SeriesSet::default(), 1_000, &EvalState::default(), &options);
    assert!(found.errors.is_empty(), "{:?}", found.errors);
    let of = |finding: etcd_monitor::model::Finding| {
        let alert = finding.alert.clone();
        finding.annotations.into_iter().map(move |(key, text)| ((alert.clone(), key), text))
    };
    found.findings.into_iter().flat_map(of).collect()
}

#[test]
fn annotations_read_as_prometheus_writes_them() {
    let generated: usize =
        std::env::var("ETCD_MONITOR_SOAK_TEMPLATES").map_or(4_000, |n| n.parse().expect("a number"));
    let seed =
        std::env::var("ETCD_MONITOR_SOAK_SEED").map_or(20_261_123, |seed| seed.parse().expect("a number"));
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut templates: Vec<String> = (0..generated).map(|_| template(&mut random, 2)).collect();
    let written = include_str!("../data/rules/templates.txt");
    let before = templates.len();
    templates
        .extend(written.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned));
    assert_eq!(templates.len() - before, WRITTEN);

    let rules = rule_file(&templates);
    let (theirs, ours) = (theirs(&rules), ours(&rules));
    assert_eq!(theirs.len(), ours.len());
    assert!(theirs.len() >= generated + WRITTEN * VALUES.len());
    const FAILED: &str = "<error expanding template: ";
    let mut differences = Vec::new();
    let (mut failed, mut plain) = (0, 0);
    for (key, text) in &theirs {
        let own = &ours[key];
        let same = if text.starts_with(FAILED) { own.starts_with(FAILED) } else { own == text };
        if text.starts_with(FAILED) {
            failed += 1;
        } else {
            plain += 1;
        }
        if !same {
            let at: usize = key.1[1..].parse().expect("a number");
            differences.push(format!("{} {}\n  theirs {text:?}\n  ours   {own:?}", key.0, templates[at]));
        }
    }
    println!("{plain} texts and {failed} errors compared");
    assert!(failed > 50 && plain > 5 * failed, "{failed} of {plain} tell an error: they compare little");
    assert!(
        differences.is_empty(),
        "{} differ:\n{}",
        differences.len(),
        differences[..differences.len().min(25)].join("\n")
    );
}

#[test]
fn what_prometheus_refuses_at_load_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    for (template, is_good) in [
        ("{{ $value }}", true),
        ("{{ with $x := $value }}{{ $x }}{{ end }}", true),
        ("{{ $labels.a }}{{- /* c */ -}} x", true),
        ("{{ block \"b\" . }}x{{ end }}", true),
        ("{{ $value", false),
        ("{{ $nope }}", false),
        ("{{ nope $value }}", false),
        ("{{ if $value }}", false),
        ("{{ end }}", false),
        ("{{ else }}", false),
        ("{{ }}", false),
        ("{{ \"open }}", false),
        ("{{ $value | 1 }}", false),
        ("{{ break }}", false),
        ("{{ template }}", false),
        ("{{ ($value }}", false),
        ("{{ $value) }}", false),
        ("{{ range }}{{ end }}", false),
        ("{{ $x := }}", false),
        ("{{ 1x }}", false),
        ("{{ if $value }}{{ else }}{{ else }}{{ end }}", false),
        ("{{ $x = 1 }}{{/* late for them */}}", true),
        ("{{ 'ab' }}", false),
        ("{{ \"a\\qb\" }}", false),
        ("{{ /* late */ }}", false),
        ("{{ $value | $value }}{{/* late for them */}}", true),
        ("{{ query \"nonsense(\" }}{{/* late for them */}}", true),
    ] {
        let text = serde_json::to_string(template).expect("JSON");
        let rules = format!(
            "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    annotations: {{a: {text}}}\n"
        );
        let file = folder.path().join("rules.yaml");
        std::fs::write(&file, &rules).expect("written");
        let told = Command::new("promtool").args(["check", "rules"]).arg(&file).output();
        let told = told.expect("promtool is installed: make test-deps");
        assert_eq!(
            told.status.success(),
            is_good,
            "promtool: {template}: {}",
            String::from_utf8_lossy(&told.stderr)
        );
        // Prometheus says these only in the texts of alerts.
        let is_good = is_good && !template.contains("late for them");
        assert_eq!(rules::parse("rules.yaml", &rules).is_ok(), is_good, "{template}");
    }
}
