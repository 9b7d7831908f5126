//! `docs/compatibility.md`: which feature is tested with which version of etcd, read from the tests themselves.

use std::fmt::Write as _;
use std::path::Path;

use etcd_monitor::model::support::{MINORS, Support};

/// What people use, and the tests that show it: file and function.
const FEATURES: &[(&str, &[(&str, &str)])] = &[
    (
        "Polls: status, members, alarms, reads, metrics",
        &[
            ("tests/it/etcd_probe.rs", "three_members_are_read_whole_and_discovered_from_one_endpoint"),
            ("tests/it/etcd_probe.rs", "etcd_3_4_is_read_as_well"),
        ],
    ),
    (
        "The text of /metrics",
        &[("src/probe/exposition/tests.rs", "real_outputs_of_three_versions_read_whole_and_again")],
    ),
    (
        "The figures of the catalogue, with basic and extensive metrics",
        &[
            ("tests/it/catalogue.rs", "figures_are_what_was_done_on_every_version_in_both_metrics_modes"),
            ("tests/it/catalogue.rs", "figures_find_their_families_in_what_3_6_exported"),
        ],
    ),
    (
        "The shipped rules, or why one cannot speak",
        &[("tests/it/rules.rs", "each_version_hears_all_rules_but_those_that_say_what_they_lack")],
    ),
    (
        "TLS and client certificates",
        &[("tests/it/etcd_probe.rs", "mutual_tls_works_and_each_mistake_is_named")],
    ),
    (
        "Users: a login without the role root",
        &[
            ("tests/it/etcd_auth.rs", "status_is_open_to_anyone_on_3_4_and_3_5_16"),
            ("tests/it/etcd_auth.rs", "on_3_5_30_a_user_without_root_has_the_degraded_view"),
        ],
    ),
    (
        "The view from /metrics alone, where Status is denied",
        &[("src/probe/degraded.rs", "every_version_gives_a_status_from_metrics")],
    ),
    (
        "Partitions and their shape",
        &[("tests/it/partition.rs", "a_cut_network_is_seen_with_its_shape_and_its_end")],
    ),
    ("Learners and promotions", &[("tests/it/etcd_members.rs", "a_learner_is_added_looked_at_and_promoted")]),
    (
        "Hashes of all members at one revision",
        &[
            ("tests/it/inspect.rs", "a_member_with_other_data_is_named_with_the_revision_it_began_at"),
            ("tests/it/inspect.rs", "nobody_is_accused_while_writes_and_compactions_go_on"),
        ],
    ),
    (
        "Certificates of all ports",
        &[("tests/it/inspect.rs", "certificates_of_all_ports_are_seen_expired_ones_too")],
    ),
    (
        "Health endpoints and the clock against the monitor's",
        &[("tests/it/etcd_probe.rs", "health_endpoints_and_clocks_are_read_as_far_as_a_version_has_them")],
    ),
    ("Events from counters", &[("tests/it/events.rs", "an_event_is_stored_long_before_the_next_flush")]),
];

const VERSIONS: [(&str, &str); 3] = [("V3_4", "3.4.23"), ("V3_5_16", "3.5.16"), ("V3_5_30", "3.5.30")];

/// The versions that a test's own lines name. A cluster of no named version is one of 3.5.16.
fn versions(root: &Path, file: &str, function: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let at = text.find(&format!("fn {function}(")).unwrap_or_else(|| panic!("{file} has no {function}"));
    let body = &text[at..];
    let body = &body[..body.find("\n}\n").or_else(|| body.find("\n    }\n")).unwrap_or(body.len())];
    let mut found: Vec<String> = Vec::new();
    for (variant, version) in VERSIONS {
        if body.contains(&format!("Version::{variant}")) {
            found.push(version.to_owned());
        }
    }
    for recorded in ["3.4.23", "3.5.30", "3.6.14"] {
        if body.contains(&format!("\"{recorded}")) || body.contains(&format!("/{recorded}/")) {
            found.push(format!("{recorded} (recorded)"));
        }
    }
    if found.is_empty() {
        found.push("3.5.16".to_owned());
    }
    found
}

fn document(root: &Path) -> String {
    let minors = MINORS.iter().map(|((major, minor), _)| format!("{major}.{minor}"));
    // The next one, of which nothing was run.
    let minors: Vec<String> = minors.chain(["3.7".to_owned()]).collect();
    let mut text = String::from(
        "# Compatibility\n\nGenerated from the tests by `tests/it/compatibility.rs`; do not edit.\n\nA cell names the \
         versions with which the feature's tests run: real members, or what a member of that version said once \
         (recorded). A dash: no test. `status` warns of members of a minor version without any; what is known of 3.7 comes \
         from its sources, and nothing of it was run.\n\n| feature |",
    );
    for minor in &minors {
        let _ = write!(text, " etcd {minor} |");
    }
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(minors.len()));
    for (feature, tests) in FEATURES {
        let mut found: Vec<String> =
            tests.iter().flat_map(|(file, function)| versions(root, file, function)).collect();
        found.sort();
        found.dedup();
        let _ = write!(text, "| {feature} |");
        for minor in &minors {
            let of_minor: Vec<&str> = found
                .iter()
                .filter(|version| version.starts_with(&format!("{minor}.")))
                // Who ran needs no record.
                .filter(|version| {
                    let plain = version.trim_end_matches(" (recorded)");
                    plain == version.as_str() || !found.iter().any(|other| other == plain)
                })
                .map(String::as_str)
                .collect();
            let _ =
                write!(text, " {} |", if of_minor.is_empty() { "–".to_owned() } else { of_minor.join(", ") });
        }
        text.push('\n');
    }
    text
}

/// Refresh with `UPDATE_DOCS=1 cargo nextest run --test it compatibility`.
#[test]
fn the_page_says_what_the_tests_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (path, fresh) = (root.join("docs/compatibility.md"), document(root));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &fresh).expect("written");
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == fresh,
        "docs/compatibility.md is stale: UPDATE_DOCS=1 cargo nextest run --test it compatibility"
    );
    let all: Vec<String> = FEATURES
        .iter()
        .flat_map(|(_, tests)| tests.iter().flat_map(|(file, function)| versions(root, file, function)))
        .collect();
    for ((major, minor), support) in MINORS {
        let ran = all.iter().any(|v| v.starts_with(&format!("{major}.{minor}.")) && !v.contains("recorded"));
        assert_eq!(ran, support == Support::Live, "{major}.{minor} is said to be {support:?}");
    }
}
