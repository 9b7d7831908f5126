//! `--help` and the manual pages: what they promise is there.

use std::collections::BTreeSet;

use crate::program::{output, stderr, stdout};

/// The subcommands that the program's own help lists.
fn subcommands() -> Vec<String> {
    let text = stdout(&output(&["--help"]));
    let listed = text.split("Commands:").nth(1).expect("a list").split("\n\n").next().expect("its lines");
    let names = listed.lines().filter_map(|line| line.strip_prefix("  ")?.split_once("  "));
    names.map(|(name, _)| name.to_owned()).filter(|name| !name.is_empty() && name != "help").collect()
}

#[test]
fn every_subcommand_has_one_line_about_it_and_examples_with_flags_it_knows() {
    let names = subcommands();
    assert!(names.len() >= 10, "{names:?}");
    for name in &names {
        let result = output(&[name, "--help"]);
        let text = stdout(&result);
        assert_eq!(result.status.code(), Some(0), "{name}: {}", stderr(&result));
        let about = text.lines().next().expect("a line");
        assert!((10..100).contains(&about.len()) && !about.ends_with('.'), "{name}: {about}");
        let (options, examples) = text.split_once("Examples:\n").unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(examples.contains(&format!("etcd-monitor {name}")), "{name}: {examples}");
        // Examples of a subcommand's subcommand use the options of that.
        let inner = examples.split(&format!("etcd-monitor {name} ")).nth(1);
        let inner = inner.and_then(|words| words.split_whitespace().next());
        let below = inner.map(|inner| stdout(&output(&[name, inner, "--help"]))).unwrap_or_default();
        let options = format!("{options}{below}");
        let flags = examples.split([' ', '\n']).filter(|word| word.starts_with("--") && word.len() > 2);
        for flag in flags.collect::<BTreeSet<_>>() {
            assert!(
                options.contains(&format!("{flag} ")) || options.contains(&format!("{flag}\n")),
                "{name} {flag}"
            );
        }
        for word in ["Options:", "Global options:", "--config", "--store"] {
            assert!(options.contains(word), "{name} lacks {word}:\n{options}");
        }
    }
    for name in ["run", "check", "query", "status", "store", "report", "config"] {
        assert!(stdout(&output(&[name, "--help"])).contains("Exit codes"), "{name}");
    }
}

#[test]
fn options_of_the_job_are_not_among_those_of_the_connection() {
    let text = stdout(&output(&["run", "--help"]));
    let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words} in {text}"));
    assert!(at("--serve") < at("Connection (as in etcdctl"), "{text}");
    assert!(at("Connection (as in etcdctl") < at("--cacert"), "{text}");
}

#[test]
fn there_is_a_manual_page_for_everything_that_can_be_called() {
    let folder = tempfile::tempdir().expect("folder");
    let into = folder.path().join("man1");
    let result = output(&["man", into.to_str().expect("UTF-8")]);
    assert_eq!(result.status.code(), Some(0), "{}", stderr(&result));
    let page = |name: &str| {
        let path = into.join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    for name in subcommands() {
        let text = page(&format!("etcd-monitor-{name}.1"));
        for wanted in [".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS", ".SH EXAMPLES\n.nf\n"] {
            assert!(text.contains(wanted), "{name} lacks {wanted}");
        }
    }
    assert!(page("etcd-monitor-store-verify.1").contains("report what is not as it must be"));
    let program = page("etcd-monitor.1");
    for wanted in [".SH \"EXIT STATUS\"", ".SH ENVIRONMENT", "etcd\\-monitor\\-query(1)"] {
        assert!(program.contains(wanted), "{wanted}:\n{program}");
    }
    assert!(!program.contains("etcd\\-monitor\\-man(1)"), "it is for packagers");

    let refused = output(&["man", "/dev/null/man1"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("/dev/null/man1 cannot be made"), "{}", stderr(&refused));
}
