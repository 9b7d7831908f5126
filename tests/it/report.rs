//! The rendered site as a whole: links, policies, budgets, determinism. The browser tests use what
//! `writes_the_example_site` leaves in the target folder.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it measured"
)]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use etcd_monitor::report::{ReportConfig, Site, example, panels, render};

fn site() -> Site {
    render(&ReportConfig::default(), &example::fleet()).expect("renders")
}

fn pages(site: &Site) -> impl Iterator<Item = (&String, &str)> {
    let html = site.iter().filter(|(path, _)| path.ends_with(".html"));
    html.map(|(path, bytes)| (path, std::str::from_utf8(bytes).expect("is UTF-8")))
}

/// The values of one attribute in a page. Templates write `name="value"` and escape quotes in values.
fn values<'a>(html: &'a str, attribute: &str) -> Vec<&'a str> {
    let start = format!(" {attribute}=\"");
    html.match_indices(&start).filter_map(|(at, _)| html[at + start.len()..].split('"').next()).collect()
}

#[test]
fn writes_the_example_site() {
    let top = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("example-site");
    let started = Instant::now();
    let site = site();
    println!("rendered {} files in {:?} (unoptimized unless --release)", site.len(), started.elapsed());
    for (path, body) in &site {
        let file = top.join(path);
        std::fs::create_dir_all(file.parent().expect("is in a folder")).expect("the folder can be made");
        std::fs::write(file, body).expect("the file can be written");
    }
    assert_eq!(pages(&site).count(), 56);
}

#[test]
fn equal_input_gives_equal_bytes() {
    assert!(site() == site());
}

#[test]
fn every_link_leads_somewhere() {
    let site = site();
    for (path, html) in pages(&site) {
        let ids: BTreeSet<&str> = values(html, "id").into_iter().collect();
        let links = values(html, "href").into_iter().chain(values(html, "src"));
        for link in links.filter(|link| !link.starts_with("https://") && !link.starts_with("data:")) {
            assert!(!link.contains(':'), "{path}: {link} has a scheme of its own");
            if let Some(fragment) = link.strip_prefix('#') {
                assert!(ids.contains(fragment), "{path}: #{fragment}");
                continue;
            }
            // What a page is asked for is its script's business; without a path it asks itself.
            let link = link.split('?').next().unwrap_or_default();
            if link.is_empty() {
                continue;
            }
            let mut folder: Vec<&str> = path.split('/').collect();
            folder.pop();
            for part in link.split('/') {
                match part {
                    ".." => assert!(folder.pop().is_some(), "{path}: {link} leaves the site"),
                    part => folder.push(part),
                }
            }
            assert!(site.contains_key(&folder.join("/")), "{path}: {link}");
        }
    }
}

#[test]
fn ids_are_unique_and_references_resolve() {
    for (path, html) in pages(&site()) {
        let all = values(html, "id");
        let ids: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(all.len(), ids.len(), "{path}: an id is there twice");
        for id in values(html, "aria-labelledby") {
            assert!(ids.contains(id), "{path}: {id}");
        }
    }
}

#[test]
fn nothing_runs_or_styles_inline_and_the_policy_is_strict() {
    for (path, html) in pages(&site()) {
        assert!(
            html.contains("http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'"),
            "{path}"
        );
        assert!(!html.contains("unsafe-"), "{path}");
        for (at, _) in html.match_indices("<script") {
            let tag = html[at..].split('>').next().expect("a tag ends");
            assert!(tag.contains(" src=\"") && tag.contains("assets/"), "{path}: {tag}");
        }
        // Attributes in real tags only: escaped foreign text may say anything.
        for tag in html.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
            // What is between quotes is a value; the rest is names of attributes.
            let names: String = tag.split('"').step_by(2).collect();
            assert!(!names.contains(" style=") && !names.contains(" on"), "{path}: <{tag}>");
        }
        for banned in ["<style", "<img", "<iframe", "alert('name')"] {
            assert!(!html.contains(banned), "{path}: {banned}");
        }
        for hidden in ['\u{202e}', '\u{2066}', '\u{200b}', '\0', '\u{7}'] {
            assert!(!html.contains(hidden), "{path}: {hidden:?}");
        }
    }
}

#[test]
fn redaction_leaves_no_address_in_any_file() {
    let config = ReportConfig { redact_addresses: true, ..ReportConfig::default() };
    for (path, bytes) in render(&config, &example::fleet()).expect("renders") {
        let text = String::from_utf8(bytes).expect("is UTF-8");
        assert!(!text.contains(":2379"), "{path}");
        for cluster in 1..=54 {
            assert!(!text.contains(&format!("10.{cluster}.0.10")), "{path}");
        }
    }
}

#[test]
fn twins_are_json_that_says_how_fresh_it_is() {
    let site = site();
    let twins: Vec<_> = site.iter().filter(|(path, _)| path.ends_with(".json")).collect();
    assert_eq!(twins.len(), 4 + 54 * 10);
    for (path, bytes) in twins {
        let json: serde_json::Value = serde_json::from_slice(bytes).expect("is JSON");
        for key in ["schema", "generated_at", "data_through", "stale_after"] {
            assert!(json[key].is_string(), "{path}: {key}");
        }
        assert!(json["schema"].as_str().is_some_and(|s| s.ends_with("/v1")), "{path}");
    }
}

/// As a server would send it. gzip is part of every system that can build this project.
fn gzip_bytes(body: &[u8]) -> usize {
    let mut gzip = Command::new("gzip")
        .arg("-9c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip is installed: make test-deps");
    let mut stdin = gzip.stdin.take().expect("is piped");
    let body = body.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&body));
    let output = gzip.wait_with_output().expect("gzip ends");
    writer.join().expect("the writer ends").expect("gzip reads all");
    output.stdout.len()
}

#[test]
fn pages_and_assets_keep_their_byte_budgets() {
    let site = site();
    let mut scripts = 0;
    let mut largest = (0, "");
    for (path, body) in site.iter().filter(|(path, _)| !path.ends_with(".json")) {
        let bytes = gzip_bytes(body);
        match path.rsplit('.').next() {
            Some("css") => assert!(bytes <= 6_000, "{path}: {bytes} B"),
            Some("js") => scripts += bytes,
            _ => {
                assert!(bytes <= 30_000, "{path}: {bytes} B");
                largest = largest.max((bytes, path));
            }
        }
    }
    assert!(scripts <= 3_000, "{scripts} B of scripts");
    println!("scripts {scripts} B, largest page {largest:?}, gzip -9");
    let bundle = gzip_bytes(&site["api/v1/clusters/prod-us-10/bundles/overview.24h.json"]);
    assert!(bundle <= 30_000, "{bundle} B");
}

#[test]
fn a_fleet_without_clusters_says_how_to_begin() {
    let mut input = example::fleet();
    input.clusters.clear();
    let site = render(&ReportConfig::default(), &input).expect("renders");
    let html = std::str::from_utf8(&site["index.html"]).expect("is UTF-8");
    assert!(html.contains("No clusters yet") && html.contains("etcd-monitor run --endpoints"));
}

/// Prometheus itself parses every panel; JSON is YAML, so a rule file needs no writer of its own.
#[test]
fn prometheus_accepts_every_panel() {
    let cluster = "prod-eu-1".parse().expect("is a name");
    let rules: Vec<_> = panels()
        .iter()
        .map(|panel| serde_json::json!({ "record": format!("panel:{}", panel.id), "expr": panel.for_cluster(&cluster) }))
        .collect();
    let file = serde_json::json!({ "groups": [{ "name": "panels", "rules": rules }] });
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("panels.yaml");
    std::fs::write(&path, file.to_string()).expect("the file can be written");
    let output = Command::new("promtool")
        .args(["check", "rules"])
        .arg(&path)
        .output()
        .expect("promtool is installed: make test-deps");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains(&format!("{} rules found", rules.len())), "{said}");
}
