//! From the parsed file to a [`Config`]: every section, every cross-check, every error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::alerting::{AlertLines, Hold, ack_source, check_holds, routes, silences};
use super::effective::Effective;
use super::{
    ClusterSetup, Config, Document, Environment, JobConfig, JobsConfig, Overrides, resolve, rules, sources,
};
use crate::deliver::{Channel, ChannelConfig, DeadMan, DeadManConfig};
use crate::etcd::{AuthConfig, ClusterConfig, EtcdError, Login};
use crate::model::unit::format_duration;
use crate::model::{ClusterName, CronSchedule};
use crate::watch::WatchConfig;

const SECTIONS: [&str; 18] = [
    "store", "cluster", "discover", "scrape", "watch", "inspect", "backup", "bench", "disk", "rules", "slo",
    "alert", "channel", "dead-man", "report", "query", "jobs", "log",
];

/// What sections find wrong with themselves, by key.
fn problems_of_sections(config: &Config) -> impl Iterator<Item = (String, String)> + use<> {
    let of_watch = config.watch.problems().into_iter();
    let of_watch = of_watch.map(|(key, message)| (format!("watch.{key}"), message));
    of_watch.chain(config.backup.problems()).chain(config.bench.problems()).chain(config.disk.problems())
}

pub(super) fn from_document(
    document: &mut Document<'_>,
    path: Option<&Path>,
    environment: &Environment,
    mut overrides: Overrides,
) -> Config {
    let mut warnings = Vec::new();
    let store_only = overrides.store_only;
    let jobs = jobs(document, overrides.known_jobs.as_deref());
    let watch: WatchConfig = document.section("watch");
    let sources = sources::sources(document, path, environment, store_only);
    let (clusters, configured) =
        all_clusters(document, environment, &mut overrides, &watch, !sources.is_empty(), &mut warnings);
    // What names a cluster that is not there may mean one that comes.
    let mut absent = (!sources.is_empty()).then(Vec::new);
    let (names, channels, holds) = channels(document, environment, store_only);
    let dead_man = dead_man(document, environment, store_only);
    let lines = AlertLines::of(document);
    let (routes, alert) = routes(document, &names, &lines, &channels, &mut warnings);
    check_holds(document, &alert, &names, &holds);
    let silences = silences(document, &alert, &lines, &clusters, path, &mut absent);
    let (mut rules, external_labels) = rules::rules(document, path, &clusters, &mut warnings, &mut absent);
    let slos = rules::slos(document, &clusters, &mut rules, &mut absent);
    warnings.extend(absent.into_iter().flatten());
    let mut config = Config {
        store: document.section("store"),
        clusters,
        configured,
        sources,
        scrape: document.section("scrape"),
        watch,
        inspect: document.section("inspect"),
        backup: document.section("backup"),
        bench: document.section("bench"),
        disk: document.section("disk"),
        groups: rules.groups(),
        external_labels,
        rules,
        slos,
        routes,
        storm: alert.storm,
        silences,
        channels,
        dead_man,
        report: document.section("report"),
        ack: None,
        query: document.section("query"),
        jobs,
        log: document.section("log"),
        warnings,
        files: Vec::new(),
        effective: Effective::default(),
        recipe: Arc::default(),
    };
    warnings_of_slos(&mut config);
    let resolved = !store_only || overrides.answers_links;
    match ack_source(&alert, config.report.public_url.as_deref(), environment, resolved) {
        Ok(source) => config.ack = source,
        Err((key, message)) => document.error_at(lines.section, key, message),
    }
    for (key, message) in problems_of_sections(&config) {
        document.error_at(None, &key, message);
    }
    if let Err(error) = config.scrape.keep() {
        document.error_at(None, "scrape.drop", error.to_string());
    }
    document.finish(&SECTIONS);
    if let Some(url) = overrides.store_url {
        config.store.url = url;
    }
    if let Some(problem) = config.store.url_problem() {
        document.error_at(None, "store.url", format!("{:?}: {problem}", config.store.url));
    }
    if let Some(filter) = overrides.log {
        config.log.filter = filter;
    }
    config
}

/// What is older than the raw retention is no part of a level.
fn warnings_of_slos(config: &mut Config) {
    let kept = config.store.retention.raw.0;
    for slo in config.slos.iter().filter(|slo| slo.window.0 > kept) {
        let (window, kept) = (format_duration(slo.window.0), format_duration(kept));
        config.warnings.push(format!(
            "slo {}: its window is {window} and raw samples are kept for {kept} (store.retention.raw): \
             the level is that of the last {kept}",
            slo.name
        ));
    }
}

/// Those of the file and the command line, then those that sources found; and how many are not found.
fn all_clusters(
    document: &mut Document<'_>,
    environment: &Environment,
    overrides: &mut Overrides,
    watch: &WatchConfig,
    may_come: bool,
    warnings: &mut Vec<String>,
) -> (Vec<ClusterSetup>, usize) {
    let mut clusters = if overrides.store_only {
        named_clusters(document)
    } else {
        let optional = overrides.clusters_optional || may_come;
        clusters(document, environment, overrides.cluster.take(), watch, optional)
    };
    let configured = clusters.len();
    let names: BTreeSet<ClusterName> = clusters.iter().map(|setup| setup.config.name.clone()).collect();
    let found = std::mem::take(&mut overrides.found);
    clusters.extend(sources::found(found, &names, environment, watch, overrides.store_only, warnings));
    (clusters, configured)
}

/// `[[cluster]]`, then the one of the command line.
fn clusters(
    document: &mut Document<'_>,
    environment: &Environment,
    command_line: Option<ClusterSetup>,
    watch: &WatchConfig,
    optional: bool,
) -> Vec<ClusterSetup> {
    let mut seen: BTreeMap<ClusterName, Option<usize>> = BTreeMap::new();
    let mut setups = Vec::new();
    let scrape = crate::probe::ScrapeConfig::default();
    let failed_before = document.errors.len();
    let configured: Vec<(Option<usize>, ClusterConfig)> = document.elements("cluster");
    for (line, config) in configured {
        let key = format!("cluster {:?}", config.name.as_str());
        if let Some(first) = seen.insert(config.name.clone(), line) {
            let at = first.map(|line| format!(", the other in line {line}")).unwrap_or_default();
            let message = format!("there are two clusters of this name{at}; a name keys the history");
            document.error_at(line, &format!("{key}: name"), message);
        }
        let mut logins = Vec::new();
        for (part, auth) in [("auth", &config.auth), ("backup-auth", &config.backup_auth)] {
            match login(auth.as_ref(), environment) {
                Ok(login) => logins.push(login),
                Err(message) => document.error_at(line, &format!("{key}: {part}.password"), message),
            }
        }
        let Ok([login, backup_login]) = <[_; 2]>::try_from(logins) else { continue };
        let setup = ClusterSetup { config, login, backup_login };
        for (part, message) in setup.own_problems(watch) {
            document.error_at(line, &format!("{key}: {part}"), message);
        }
        for (part, message) in setup.file_problems() {
            document.error_at(line, &format!("{key}: {part}"), message);
        }
        match setup.prober(&scrape, &Default::default()) {
            Ok(_) => setups.push(setup),
            Err(EtcdError::Config { key: part, problem, .. }) => {
                document.error_at(line, &format!("{key}: {part}"), problem);
            }
            Err(error) => document.error_at(line, &key, error.to_string()),
        }
    }
    if let Some(setup) = command_line {
        let name = setup.config.name.as_str();
        if seen.contains_key(&setup.config.name) {
            document.error_at(None, "--cluster", format!("the file has a cluster {name:?} already"));
        }
        for (part, message) in setup.file_problems() {
            document.error_at(
                None,
                &part.replace("tls.ca", "cacert").replace("tls.", "--").replace("cacert", "--cacert"),
                message,
            );
        }
        setups.push(setup);
    }
    if setups.is_empty() && !optional && document.errors.len() == failed_before {
        let message = "no cluster to watch: pass --endpoints URL[,URL…], or add [[cluster]] or [[discover]] to the configuration";
        document.error_at(None, "cluster", message);
    }
    setups
}

pub(super) fn login(auth: Option<&AuthConfig>, environment: &Environment) -> Result<Option<Login>, String> {
    let Some(auth) = auth else { return Ok(None) };
    let password = resolve(&auth.password, environment).map_err(|error| error.to_string())?;
    Ok(Some(Login { user: auth.user.clone(), password }))
}

/// The clusters without their secrets and files, for commands that only want their names and tags.
fn named_clusters(document: &mut Document<'_>) -> Vec<ClusterSetup> {
    let configured: Vec<(Option<usize>, ClusterConfig)> = document.elements("cluster");
    configured
        .into_iter()
        .map(|(_, config)| ClusterSetup { config, login: None, backup_login: None })
        .collect()
}

type Channels = BTreeMap<String, Arc<dyn Channel>>;

/// The names of all configured channels, the channels, and how long they hold what they heard; without any of them opened where `store_only`.
fn channels(
    document: &mut Document<'_>,
    environment: &Environment,
    store_only: bool,
) -> (Vec<String>, Channels, Vec<Hold>) {
    let configured = document.named::<ChannelConfig>("channel");
    let names = configured.iter().map(|(name, _, _)| name.clone()).collect();
    let hold = |(name, line, channel): &(String, Option<usize>, ChannelConfig)| {
        Some(Hold { channel: name.clone(), line: *line, lasts: channel.hold()? })
    };
    let holds = configured.iter().filter_map(hold).collect();
    let mut open = Channels::new();
    for (name, line, channel) in configured.into_iter().filter(|_| !store_only) {
        let one = BTreeMap::from([(name.clone(), channel)]);
        let secret =
            |reference: &crate::model::SecretRef| resolve(reference, environment).map_err(|e| e.to_string());
        match crate::deliver::open(&one, &secret) {
            Ok(channels) => open.extend(channels),
            Err(errors) => {
                for error in errors {
                    document.error_at(line, &format!("channel.{name}"), error.reason);
                }
            }
        }
    }
    (names, open, holds)
}

fn dead_man(
    document: &mut Document<'_>,
    environment: &Environment,
    store_only: bool,
) -> Option<Arc<DeadMan>> {
    let (line, _) = document.lines_of("dead-man");
    let config: DeadManConfig = document.section::<Option<_>>("dead-man").filter(|_| !store_only)?;
    let secret =
        |reference: &crate::model::SecretRef| resolve(reference, environment).map_err(|e| e.to_string());
    match DeadMan::open(&config, &secret) {
        Ok(switch) => Some(Arc::new(switch)),
        Err(message) => {
            document.error_at(line, "dead-man", message);
            None
        }
    }
}

fn jobs(document: &mut Document<'_>, known: Option<&[&str]>) -> JobsConfig {
    let mut jobs = JobsConfig::default();
    for (name, line, job) in document.named::<JobConfig>("jobs") {
        if let Some(known) = known.filter(|known| !known.contains(&name.as_str())) {
            let message = format!("there is no such job; there are {}", known.join(", "));
            document.error_at(line, &format!("jobs.{name}"), message);
        }
        if let Some(expression) = &job.schedule
            && let Err(error) = CronSchedule::parse(expression)
        {
            document.error_at(line, &format!("jobs.{name}.schedule"), error.to_string());
        }
        jobs.0.insert(name, job);
    }
    jobs
}
