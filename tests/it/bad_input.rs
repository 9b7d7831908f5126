//! What the program says to wrong input and to surroundings that are not as configured: one clear message,
//! the documented exit code, and nothing half-written. The snapshots are what a person reads.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::deliver::Receiver;
use crate::deliver::http::Hook;
use crate::etcd_auth::with_auth;
use crate::etcd_cluster::{EtcdCluster, Options, Tls, Version};
use crate::program;
use crate::tls::Pki;

/// Everything a person could be shown, without what differs from run to run.
fn said(output: &Output, folder: &Path) -> String {
    let text = format!("{}{}", program::stdout(output), program::stderr(output));
    let text = text.replace(&folder.display().to_string(), "DIR");
    let mut shown = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("127.0.0.1:") {
        let port = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let _ = write!(shown, "{before}127.0.0.1:PORT");
        rest = &after[port..];
    }
    format!("{shown}{rest}exit {}\n", output.status.code().unwrap_or(-1))
}

/// A store and a cluster that nobody has to be: what follows is wrong before anything is connected.
const GOOD: &str = "\
[store]
url = 'STORE'
[[cluster]]
name = 'prod'
endpoints = ['http://127.0.0.1:1']
";

const TLS: &str = "\
[store]
url = 'STORE'
[[cluster]]
name = 'prod'
endpoints = ['https://127.0.0.1:1']
";

/// Title, what the configuration says after [`GOOD`], and the rule file where one matters.
const CONFIGURATIONS: &[(&str, &str, &str)] = &[
    ("unknown key", "[watch]\nscrap-interval = '15s'\n", ""),
    ("unknown section", "[wach]\nscrape-interval = '15s'\n", ""),
    ("bad duration", "[watch]\nscrape-interval = '15 parsecs'\n", ""),
    ("a number for a duration", "[watch]\nscrape-interval = 15\n", ""),
    ("bad size", "[watch]\nhead-max-bytes = '2 elephants'\n", ""),
    ("too eager", "[watch]\nstatus-interval = '10ms'\n", ""),
    ("duplicate cluster name", "[[cluster]]\nname = 'prod'\nendpoints = ['http://127.0.0.1:2']\n", ""),
    ("bad cluster name", "[[cluster]]\nname = 'Prod!'\nendpoints = ['http://127.0.0.1:2']\n", ""),
    ("endpoint that is no URL", "[[cluster]]\nname = 'b'\nendpoints = ['ftp://h:1']\n", ""),
    ("no endpoints", "[[cluster]]\nname = 'b'\nendpoints = []\n", ""),
    ("not TOML", "[watch\nscrape-interval = '15s'\n", ""),
    ("missing secret", "[channel.c]\ntype = 'webhook'\nurl-secret = { env = 'NOT_SET' }\n", ""),
    ("missing secret file", "[channel.c]\ntype = 'webhook'\nurl-secret = { file = '/nonexistent' }\n", ""),
    ("unknown channel type", "[channel.c]\ntype = 'pigeon'\n", ""),
    ("route to nobody", "[[alert.route]]\nchannels = ['nobody']\n", ""),
    ("unknown job", "[jobs.repot]\nenabled = false\n", ""),
    ("bad schedule", "[jobs.report]\nschedule = 'hourly'\n", ""),
    ("unknown shipped alert", "[rules]\ndisable = ['NoSuchAlert']\n", ""),
    ("override of nothing", "[[rules.override]]\nalert = 'EtcdWalFsyncSlo'\nenabled = false\n", ""),
    (
        "override of an unknown cluster",
        "[[rules.override]]\nalert = 'EtcdNoLeader'\ncluster = 'prdo'\nenabled = false\n",
        "",
    ),
    (
        "override of an unknown severity",
        "[[rules.override]]\nalert = 'EtcdNoLeader'\nseverity = 'warning'\nfor = '2m'\n",
        "",
    ),
    ("override with an unknown key", "[[rules.override]]\nalert = 'EtcdNoLeader'\ntreshold = 1\n", ""),
    (
        "override in another unit",
        "[[rules.override]]\nalert = 'EtcdWalFsyncSlow'\nseverity = 'warning'\nthreshold = '20MiB'\n",
        "",
    ),
    (
        "override of a threshold that is not there",
        "[[rules.override]]\nalert = 'EtcdMemberDown'\nthreshold = 1\n",
        "",
    ),
    ("objective without a threshold", "[[slo]]\nname = 'a'\nobjective = 99.9\nindicator = 'latency'\n", ""),
    ("objective out of reach", "[[slo]]\nname = 'a'\nobjective = 100\nindicator = 'availability'\n", ""),
    ("missing rule file", "[rules]\nfiles = ['nonexistent.yml']\n", ""),
    ("rule with a syntax error", RULES, "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up ==\n"),
    (
        "rule with an unknown function",
        RULES,
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: frob(up)\n",
    ),
    ("rule with a wrong type", RULES, "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: rate(up)\n"),
    ("rule with an unknown key", RULES, "groups:\n- name: g\n  rules:\n  - alert: A\n    exprr: up\n"),
    ("rule file that is no YAML", RULES, "groups:\n- name: g\n  rules:\n  - alert: [A\n"),
    (
        "rule with a bad template",
        RULES,
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    annotations: {summary: '{{ $value | shout }}'}\n",
    ),
];

const RULES: &str = "[rules]\nfiles = ['rules.yml']\n";

#[test]
fn wrong_configuration_is_one_clear_message_and_nothing_is_written() {
    let mut all = String::new();
    for (title, configuration, rules) in CONFIGURATIONS {
        let folder = tempfile::tempdir().expect("temp folder");
        let store = folder.path().join("store");
        let config = folder.path().join("etcd-monitor.toml");
        let good = GOOD.replace("STORE", &store.display().to_string());
        std::fs::write(&config, format!("{good}{configuration}")).expect("written");
        std::fs::write(folder.path().join("rules.yml"), rules).expect("written");
        let config = config.display().to_string();
        let checked = program::output(&["--config", &config, "config", "check"]);
        // The daemon, and a job: the same words, before anything is opened.
        for arguments in [&["--config", &config, "run"][..], &["--config", &config, "run", "collect"]] {
            let output = program::output(arguments);
            assert_eq!(said(&output, folder.path()), said(&checked, folder.path()), "{title}");
        }
        assert_eq!(checked.status.code(), Some(2), "{title}: {}", said(&checked, folder.path()));
        assert!(!store.exists(), "{title}: nothing is written");
        let _ = write!(all, "# {title}\n{}\n", said(&checked, folder.path()));
    }
    insta::assert_snapshot!("wrong_configuration", all);
}

#[test]
fn certificates_that_cannot_be_used_are_named_before_anything_is_opened() {
    let folder = tempfile::tempdir().expect("temp folder");
    let pki = Pki::new(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("garbage.pem"), "garbage\n").expect("written");
    let broken = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    std::fs::write(path("broken.pem"), broken).expect("written");
    let key = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
    std::fs::write(path("broken-key.pem"), key).expect("written");
    let (cert, other_key) = (pki.client_cert.display(), pki.server_key.display());
    let table = [
        ("no such CA file", format!("ca = {:?}", path("nonexistent.pem"))),
        ("a folder for a CA file", format!("ca = {:?}", folder.path().display().to_string())),
        ("a CA file without PEM", format!("ca = {:?}", path("garbage.pem"))),
        ("a CA that is no certificate", format!("ca = {:?}", path("broken.pem"))),
        ("a certificate without its key", format!("cert = '{cert}'")),
        ("another certificate's key", format!("cert = '{cert}', key = '{other_key}'")),
        ("a key that is none", format!("cert = '{cert}', key = {:?}", path("broken-key.pem"))),
        ("a certificate for a key", format!("cert = '{cert}', key = '{cert}'")),
    ];
    let mut all = String::new();
    for (title, tls) in table {
        let config = path("etcd-monitor.toml");
        let text = format!("{}tls = {{ {tls} }}\n", TLS.replace("STORE", &path("store")));
        std::fs::write(&config, text).expect("written");
        let output = program::output(&["--config", &config, "run", "collect"]);
        assert_eq!(output.status.code(), Some(2), "{title}: {}", said(&output, folder.path()));
        assert!(!Path::new(&path("store")).exists(), "{title}: nothing is written");
        let _ = write!(all, "# {title}\n{}\n", said(&output, folder.path()));
    }
    insta::assert_snapshot!("unusable_certificates", all);
}

/// Runs `collect` once against what `cluster` says; returns what was said, for the snapshot.
fn collected(title: &str, cluster: &str) -> String {
    let folder = tempfile::tempdir().expect("temp folder");
    let store = folder.path().join("store").display().to_string();
    let config = folder.path().join("etcd-monitor.toml").display().to_string();
    let text = format!("[store]\nurl = {store:?}\n[[cluster]]\nname = 'prod'\n{cluster}\n");
    std::fs::write(&config, text).expect("written");
    let secret = ("ETCD_PASSWORD", "not the password");
    let output = program::command(&["--config", &config, "run", "collect"]).env(secret.0, secret.1).output();
    let output = output.expect("starts");
    let text = said(&output, folder.path());
    assert_eq!(output.status.code(), Some(3), "{title}: {text}");
    assert!(!text.contains(secret.1), "{title}: {text}");
    // That nobody answered is an observation: it is kept, whole.
    let verified = program::output(&["--store", &store, "store", "verify"]);
    assert!(verified.status.success(), "{title}: {}", said(&verified, folder.path()));
    let leftovers: Vec<PathBuf> = program::files_under(Path::new(&store))
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains('#')))
        .collect();
    assert!(leftovers.is_empty(), "{title}: {leftovers:?}");
    // The libraries' own words, which hold times.
    let details = regex::Regex::new(r" \((transport error|error sending request)[^\n]*\)").expect("valid");
    format!("# {title}\n{}\n", details.replace_all(&text, " (…)"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_not_as_configured_says_what_is_wrong() {
    let tls = EtcdCluster::start(1, Options { tls: Tls::Server, ..Options::default() }).await;
    let expired = EtcdCluster::start(1, Options { tls: Tls::Expired, ..Options::default() }).await;
    let mutual = EtcdCluster::start(1, Options { tls: Tls::Mutual, ..Options::default() }).await;
    let auth = with_auth(1, Version::V3_5_30).await;
    let plain = EtcdCluster::start(1, Options::default()).await;
    let web = Hook::start(&[]).await;
    let web = web.toml().split('@').nth(1).and_then(|rest| rest.split('/').next()).map(str::to_owned);
    let web = web.expect("its address");
    let ca = |cluster: &EtcdCluster, path: &Path| {
        format!("endpoints = ['{}']\ntls = {{ ca = '{}' }}", cluster.endpoint(0), path.display())
    };
    let login = "auth = { user = 'root', password = { env = 'ETCD_PASSWORD' } }";
    // What always fails in the same way is compared whole; of the others, the hint.
    let always = [
        ("wrong CA", ca(&tls, &tls.pki.other_ca)),
        ("expired certificate", ca(&expired, &expired.pki.ca)),
        ("wrong password", format!("endpoints = ['{}']\n{login}", auth.endpoint(0))),
        ("nobody there", "endpoints = ['http://127.0.0.1:1']".to_owned()),
    ];
    let all: String = always.iter().map(|(title, cluster)| collected(title, cluster)).collect();
    insta::assert_snapshot!("wrong_cluster", all);
    for (title, cluster, hint) in [
        ("client certificate missing", ca(&mutual, &mutual.pki.ca), "set tls.cert and tls.key"),
        ("plain where TLS is spoken", format!("endpoints = ['http://{}']", tls.instance(0)), "want https"),
        ("TLS where plain is spoken", format!("endpoints = ['https://{}']", plain.instance(0)), "http://"),
        ("a web server", format!("endpoints = ['http://{web}']"), "etcd client port"),
        ("no such host", "endpoints = ['http://etcd.invalid:2379']".to_owned(), "cannot be resolved"),
    ] {
        let text = collected(title, &cluster);
        assert!(text.contains(hint), "{hint:?} is missing in {text}");
    }
}

#[test]
fn a_store_that_cannot_be_written_stops_the_daemon_and_every_job() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("file"), "").expect("written");
    std::fs::create_dir(path("readonly")).expect("made");
    std::fs::create_dir(path("full")).expect("made");
    let readonly = format!("mount -t tmpfs -o ro,size=64k tmpfs {}", path("readonly"));
    let mut all = String::new();
    for (title, setup, store) in [
        ("a file where the folder should be", "", path("file/store")),
        ("a place where nobody can write", "", "/proc/store".to_owned()),
        ("a read-only file system", readonly.as_str(), path("readonly")),
    ] {
        for job in [&["run"][..], &["run", "collect"], &["run", "report"]] {
            let arguments = [&["--store", &store][..], job, &["--endpoints", "http://127.0.0.1:1"]].concat();
            let output =
                program::isolated(setup, &arguments).output().expect("unshare is part of util-linux");
            let text = said(&output, folder.path());
            assert_eq!(output.status.code(), Some(1), "{title}, {job:?}: {text}");
            let _ = write!(all, "# {title}: {}\n{}\n", job.join(" "), without_instants(&text));
        }
    }
    insta::assert_snapshot!("unwritable_store", all);
}

/// Keys hold instants and random parts.
fn without_instants(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.split_once("state/") {
        Some((before, key)) => {
            let kind: Vec<&str> = key.split('/').take(2).collect();
            let end = if word.ends_with(':') { ":" } else { "" };
            format!("{before}state/{}/…{end}", kind.join("/"))
        }
        None => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn wrong_usage_is_two_and_a_wrong_query_points_at_its_place() {
    let folder = tempfile::tempdir().expect("temp folder");
    let store = folder.path().join("store").display().to_string();
    let mut all = String::new();
    for arguments in [
        &["run", "nosuch"][..],
        &["run", "watch"],
        &["run"],
        &["run", "--endpoint", "x"],
        &["run", "collect", "--endpoints", "ftp://h:1"],
        &["run", "collect", "--endpoints", "http://127.0.0.1:1", "--command-timeout", "soon"],
        &["run", "report", "--store", "ftp://host/store"],
        &["run", "report", "--store", "s3:///prefix"],
        &["--config", "/nonexistent.toml", "run"],
        &["query", "rate(up)"],
        &["query", "frob(up[5m])"],
        &["query", "up", "--since", "yesterday"],
    ] {
        let base = if arguments.contains(&"--store") { &[][..] } else { &["--store", store.as_str()] };
        let output = program::output(&[base, arguments].concat());
        let text = said(&output, folder.path());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        let _ = write!(all, "# {}\n{text}\n", arguments.join(" "));
    }
    assert!(program::files_under(folder.path()).is_empty(), "nothing is written");
    insta::assert_snapshot!("wrong_usage", all);
}
