//! The shipped configuration files load, and full.toml has every key there is.

use std::path::{Path, PathBuf};

use etcd_monitor::config::{Config, Environment, Overrides};
use etcd_monitor::etcd::{ClusterConfig, TlsConfig};

use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("infra/config").join(name)
}

fn environment() -> Environment {
    let secrets = [
        "ETCD_PASSWORD",
        "ETCD_ROOT_PASSWORD",
        "WEBHOOK_SECRET",
        "SMTP_PASSWORD",
        "SLACK_TOKEN",
        "PAGERDUTY_KEY",
        "SNS_KEY_ID",
        "SNS_KEY",
        "TWILIO_TOKEN",
        "SES_KEY_ID",
        "SES_KEY",
    ];
    let url = ("DEAD_MAN_URL".to_owned(), "https://hc.example.com/uuid".to_owned());
    secrets.iter().map(|name| ((*name).to_owned(), "secret".to_owned())).chain([url]).collect()
}

#[test]
fn the_shipped_files_are_valid() {
    for name in ["minimal.toml", "full.toml"] {
        let loaded = Config::load(Some(&file(name)), &environment(), Overrides::default());
        let config = loaded.unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config.clusters.len(), 1, "{name}");
    }
}

#[test]
fn full_toml_shows_the_defaults() {
    let full = Config::load(Some(&file("full.toml")), &environment(), Overrides::default());
    let full = full.unwrap_or_else(|errors| panic!("{errors}"));
    let bare = Config::load(Some(&file("minimal.toml")), &environment(), Overrides::default());
    let bare = bare.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(full.store.retention, bare.store.retention);
    assert_eq!(full.store.url, bare.store.url);
    assert_eq!(full.query, bare.query);
    assert_eq!(full.report, bare.report);
    assert_eq!(full.log, bare.log);
    assert_eq!(full.watch.scrape_interval, bare.watch.scrape_interval);
    assert_eq!(full.watch.head_max_bytes, bare.watch.head_max_bytes);
    assert_eq!(full.scrape.timeout, bare.scrape.timeout);
    let packs = full.rules.chapters.iter().filter(|chapter| chapter.origin != "slo");
    assert_eq!(packs.count(), bare.rules.chapters.len());
}

#[test]
fn what_speaks_of_clusters_heeds_those_that_come() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = folder.path().join("etcd-monitor.toml");
    let text = "\
[[discover]]
name = 'list'
file = { paths = ['clusters.json'] }
[[rules.override]]
alert = 'EtcdNoLeader'
tags = { env = 'dev' }
enabled = false
[[rules.override]]
alert = 'EtcdNoLeader'
cluster = 'later'
for = '7m'
[[slo]]
name = 'reads'
objective = 99.0
window = '7d'
indicator = 'availability'
clusters = ['later']
[[alert.maintenance]]
tags = { env = 'dev' }
starts = '2026-11-01T00:00:00Z'
ends = '2026-11-02T00:00:00Z'
";
    std::fs::write(&path, text).expect("written");
    let empty = Config::load(Some(&path), &Environment::new(), Overrides::default());
    let empty = empty.unwrap_or_else(|errors| panic!("{errors}"));
    let now_ms = 1_793_500_000_000;
    let standing = |config: &Config| config.silences.at(now_ms).0.len();
    assert_eq!((empty.clusters.len(), empty.slos.len(), standing(&empty)), (0, 0, 0));
    for word in ["override of an absent cluster", "slo reads waits", "alert.maintenance[0] waits"] {
        assert!(empty.warnings.iter().any(|warning| warning.contains(word)), "{word}: {:?}", empty.warnings);
    }
    let cluster = |name: &str, env: &str| {
        let name = name.parse().expect("a name");
        let mut cluster = ClusterConfig::plain(name, vec!["http://h:1".to_owned()]);
        cluster.tags.insert("env".to_owned(), env.to_owned());
        cluster
    };
    let mut broken = cluster("broken", "dev");
    broken.tls = Some(TlsConfig { ca: Some("/nonexistent/ca.pem".into()), ..TlsConfig::default() });
    let found = vec![broken, cluster("later", "prod"), cluster("toy", "dev")];
    let full = empty.with_found(found).unwrap_or_else(|errors| panic!("{errors}"));
    let names: Vec<&str> = full.clusters.iter().map(|setup| setup.config.name.as_str()).collect();
    assert_eq!((names, full.configured, full.slos.len(), standing(&full)), (vec!["later", "toy"], 0, 1, 1));
    let left_out = full.warnings.iter().find(|warning| warning.contains("broken")).expect("it is said");
    assert!(left_out.contains("tls.ca"), "{left_out}");
    let rules = full.groups.iter().flat_map(|group| &group.rules);
    let no_leader: Vec<_> = rules.filter(|rule| rule.name == "EtcdNoLeader").collect();
    let of = |cluster: &str| no_leader.iter().filter(|rule| rule.clusters.has(cluster)).count();
    assert_eq!((of("later"), of("toy"), of("other")), (1, 0, 1));
    let again = full.with_found(Vec::new()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((again.clusters.len(), again.slos.len()), (0, 0));
}

/// Every key of a section's default, as TOML has it, is spelt in full.toml, commented out or not.
#[test]
fn full_toml_has_every_key() {
    let text = std::fs::read_to_string(file("full.toml")).expect("it is there");
    let bare = Config::load(
        None,
        &Environment::new(),
        Overrides { clusters_optional: true, ..Overrides::default() },
    );
    let bare = bare.unwrap_or_else(|errors| panic!("{errors}"));
    let sections = [
        toml::Value::try_from(&bare.store),
        toml::Value::try_from(&bare.scrape),
        toml::Value::try_from(&bare.watch),
        toml::Value::try_from(&bare.report),
        toml::Value::try_from(&bare.query),
        toml::Value::try_from(&bare.log),
    ];
    let mut keys = Vec::new();
    for section in sections {
        collect(&section.expect("serializes"), &mut keys);
    }
    assert!(keys.len() > 20, "{keys:?}");
    let missing: Vec<&String> = keys.iter().filter(|key| !text.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "full.toml lacks {missing:?}");
}

fn collect(value: &toml::Value, keys: &mut Vec<String>) {
    for (key, value) in value.as_table().into_iter().flatten() {
        keys.push(key.clone());
        collect(value, keys);
    }
}

#[test]
fn every_error_is_said_at_once_with_its_line() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = folder.path().join("etcd-monitor.toml");
    std::fs::write(
        folder.path().join("rules.yml"),
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: rate(up)\n",
    )
    .expect("written");
    let text = "\
[store]
urll = 'x'
[[cluster]]
name = 'a'
endpoints = ['http://h:1']
[[cluster]]
name = 'a'
endpoints = ['https://h:1']
tls = { ca = '/nonexistent/ca.pem' }
[[cluster]]
name = 'B'
endpoints = []
[watch]
scrape-interval = '15'
[rules]
files = ['rules.yml']
disable = ['NoSuchAlert']
[channel.c]
type = 'webhook'
url-secret = { env = 'NOT_SET' }
[jobs.report]
schedule = 'hourly'
[nonsense]
";
    std::fs::write(&path, text).expect("written");
    let errors = Config::load(Some(&path), &Environment::new(), Overrides::default());
    let errors =
        errors.err().expect("it is wrong").to_string().replace(&folder.path().display().to_string(), "DIR");
    for part in [
        "DIR/etcd-monitor.toml:2: store: unknown field `urll`",
        "there are two clusters of this name",
        "/nonexistent/ca.pem cannot be read",
        "cluster name \"B\" is not valid",
        "\"15\" is not a duration",
        "DIR/rules.yml:5:",
        "there is no shipped alert \"NoSuchAlert\"",
        "NOT_SET is not set",
        "not a cron expression",
        "nonsense: unknown key",
    ] {
        assert!(errors.contains(part), "{part:?} is missing in\n{errors}");
    }
}

/// `config check` finds the data folder of a running etcd: a store beside it is told, one elsewhere is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_on_the_disk_of_a_local_etcd_is_told() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let folder = tempfile::tempdir().expect("temp folder");
    let said = |endpoint: &str| {
        let path = folder.path().join("c.toml");
        let text = format!(
            "[store]\nurl = {:?}\n[[cluster]]\nname = 'a'\nendpoints = [{endpoint:?}]\n",
            cluster.folder().join("store").display().to_string()
        );
        std::fs::write(&path, text).expect("written");
        let output = program::output(&["--config", &path.display().to_string(), "config", "check"]);
        assert!(output.status.success(), "{}", program::stderr(&output));
        program::stderr(&output)
    };
    let text = said(&cluster.endpoints()[0]);
    assert!(text.contains("is on the file system of etcd's data folder"), "{text}");
    assert_eq!(said("http://127.0.0.1:1"), "");
}

#[test]
fn ways_to_people_are_checked_where_they_are_written() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = folder.path().join("etcd-monitor.toml");
    let load = |text: &str| {
        std::fs::write(&path, text).expect("written");
        let overrides = Overrides { clusters_optional: true, ..Overrides::default() };
        Config::load(Some(&path), &Environment::new(), overrides)
    };
    let one_way = "[channel.a]\ntype = 'webhook'\nurl = 'https://hooks.example.com/'\n";
    let warned = load(one_way).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(warned.warnings[0].contains("one way out, the channel \"a\""), "{:?}", warned.warnings);
    for (text, said) in [
        (
            format!("{one_way}[alert]\nproduction = true\n"),
            "toml:4: alert.production: critical alerts have one",
        ),
        ("[alert]\nproduction = true\n".to_owned(), "toml:1: alert.production: no channel is configured"),
        (
            format!("{one_way}[[alert.route]]\nchannels = ['a']\n[[alert.route]]\nchannels = ['b']\n"),
            "toml:6: alert: alert.route[1] names the channel \"b\"; configured are: a",
        ),
        (
            "\n[channel.a]\ntype = 'webhook'\nurl = 'https://169.254.169.254/latest'\n".to_owned(),
            "toml:2: channel.a: 169.254.169.254 is a private address; set allow-private = true",
        ),
        (
            format!(
                "{one_way}[channel.b]\ntype = 'webhook'\nurl = 'https://hooks.example.com/other'\n[alert]\nproduction = true\n"
            ),
            "toml:7: alert.production: critical alerts have one way out: the channels \"a\", \"b\" all lead to hooks.example.com:443",
        ),
        (
            format!(
                "{one_way}\n[channel.am]\ntype = 'alertmanager'\nurl = 'https://am.example.com'\nhold = '4h'\n\
                 [[alert.route]]\nmatchers = ['severity=info']\nchannels = ['a']\nrepeat-interval = '1d'\n\
                 [[alert.route]]\nchannels = ['a', 'am']\n"
            ),
            "toml:5: channel.am.hold: 4h is not longer than the repeat-interval 4h of alert.route[1]",
        ),
        ("[channel.a]\ntype = 'fax'\n".to_owned(), "unknown variant `fax`, expected one of `alertmanager`"),
    ] {
        let errors = load(&text).err().expect("refused").to_string();
        assert!(errors.contains(said), "{said:?} is missing in\n{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}
