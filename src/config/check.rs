//! From the parsed file to a [`Config`]: every section, every cross-check, every error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    ClusterSetup, Config, Document, Environment, JobConfig, JobsConfig, Overrides, RulesConfig, resolve,
};
use crate::alert::{AlertConfig, Routes};
use crate::deliver::{Channel, ChannelConfig, DeadMan, DeadManConfig};
use crate::etcd::{ClusterConfig, EtcdError, Login};
use crate::model::{ClusterName, CronSchedule, Labels};
use crate::rules::{self, RuleGroup, RuleKind};

const SECTIONS: [&str; 12] = [
    "store", "cluster", "scrape", "watch", "rules", "alert", "channel", "dead-man", "report", "query",
    "jobs", "log",
];

pub(super) fn from_document(
    document: &mut Document<'_>,
    path: Option<&Path>,
    environment: &Environment,
    overrides: Overrides,
) -> Config {
    let mut warnings = Vec::new();
    let store_only = overrides.store_only;
    let jobs = jobs(document, overrides.known_jobs.as_deref());
    let clusters = if store_only {
        named_clusters(document)
    } else {
        clusters(document, environment, overrides.cluster, overrides.clusters_optional)
    };
    let (names, channels) = channels(document, environment, store_only);
    let dead_man = dead_man(document, environment, store_only);
    let routes = routes(document, &names, &mut warnings);
    let rules: RulesConfig = document.section("rules");
    let mut config = Config {
        store: document.section("store"),
        clusters,
        scrape: document.section("scrape"),
        watch: document.section("watch"),
        external_labels: Labels::from_pairs(
            rules.external_labels.iter().map(|(name, value)| (name.as_str(), value.as_str())),
        ),
        groups: groups(document, &rules, path),
        routes,
        channels,
        dead_man,
        report: document.section("report"),
        query: document.section("query"),
        jobs,
        log: document.section("log"),
        warnings,
    };
    for (key, message) in config.watch.problems() {
        document.error_at(None, &format!("watch.{key}"), message);
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

/// `[[cluster]]`, then the one of the command line.
fn clusters(
    document: &mut Document<'_>,
    environment: &Environment,
    command_line: Option<ClusterSetup>,
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
        let login = match login(&config, environment) {
            Ok(login) => login,
            Err(message) => {
                document.error_at(line, &format!("{key}: auth.password"), message);
                continue;
            }
        };
        let setup = ClusterSetup { config, login };
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
        let message =
            "no cluster to watch: pass --endpoints URL[,URL…], or add [[cluster]] to the configuration";
        document.error_at(None, "cluster", message);
    }
    setups
}

fn login(config: &ClusterConfig, environment: &Environment) -> Result<Option<Login>, String> {
    let Some(auth) = &config.auth else { return Ok(None) };
    let password = resolve(&auth.password, environment).map_err(|error| error.to_string())?;
    Ok(Some(Login { user: auth.user.clone(), password }))
}

/// The clusters without their secrets and files, for commands that only want their names and tags.
fn named_clusters(document: &mut Document<'_>) -> Vec<ClusterSetup> {
    let configured: Vec<(Option<usize>, ClusterConfig)> = document.elements("cluster");
    configured.into_iter().map(|(_, config)| ClusterSetup { config, login: None }).collect()
}

type Channels = BTreeMap<String, Arc<dyn Channel>>;

/// The names of all configured channels, and the channels; without any of them opened where `store_only`.
fn channels(
    document: &mut Document<'_>,
    environment: &Environment,
    store_only: bool,
) -> (Vec<String>, Channels) {
    let configured = document.named::<ChannelConfig>("channel");
    let names = configured.iter().map(|(name, _, _)| name.clone()).collect();
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
    (names, open)
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

fn routes(document: &mut Document<'_>, names: &[String], warnings: &mut Vec<String>) -> Routes {
    let (line, elements) = document.lines_of("alert");
    let alert: AlertConfig = document.section("alert");
    match Routes::new(&alert, names) {
        Ok(routes) => {
            if alert.production {
                for message in routes.warnings() {
                    document.error_at(line, "alert.production", message);
                }
            } else if !names.is_empty() {
                warnings.extend(routes.warnings());
            }
            routes
        }
        Err(errors) => {
            for error in errors {
                let (array, at) = error.place();
                let line = elements.get(&(array.to_owned(), at)).copied().or(line);
                document.error_at(line, "alert", error.to_string());
            }
            Routes::default()
        }
    }
}

/// The shipped pack without what is switched off, then the rule files.
fn groups(document: &mut Document<'_>, config: &RulesConfig, path: Option<&Path>) -> Vec<RuleGroup> {
    let mut groups = Vec::new();
    if config.default_pack {
        match rules::default_pack() {
            Ok(shipped) => groups.extend(shipped),
            Err(errors) => {
                errors.iter().for_each(|error| document.error_at(None, "rules", error.to_string()));
            }
        }
    }
    let names = alert_names(&groups);
    for unknown in config.disable.iter().filter(|name| !names.contains(name.as_str())) {
        let known = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        document.error_at(
            None,
            "rules.disable",
            format!("there is no shipped alert {unknown:?}; there are {known}"),
        );
    }
    for group in &mut groups {
        group.rules.retain(|rule| !config.disable.contains(&rule.name));
    }
    // Paths in a file are relative to it.
    let base = path.and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
    for file in &config.files {
        read_rules(document, &base.join(file), &mut groups);
    }
    groups.retain(|group| !group.rules.is_empty());
    groups
}

fn alert_names(groups: &[RuleGroup]) -> BTreeSet<String> {
    let rules = groups.iter().flat_map(|group| &group.rules);
    rules.filter(|rule| matches!(rule.kind, RuleKind::Alert { .. })).map(|rule| rule.name.clone()).collect()
}

fn read_rules(document: &mut Document<'_>, path: &PathBuf, groups: &mut Vec<RuleGroup>) {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            document.error_at(None, "rules.files", format!("{} cannot be read: {error}", path.display()));
            return;
        }
    };
    match rules::parse(&path.display().to_string(), &text) {
        Err(errors) => {
            errors.iter().for_each(|error| document.error_at(None, "rules.files", error.to_string()));
        }
        Ok(parsed) => {
            for group in parsed {
                if groups.iter().any(|known| known.name == group.name) {
                    let message = format!("{}: there are two groups named {:?}", path.display(), group.name);
                    document.error_at(None, "rules.files", message);
                }
                groups.push(group);
            }
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
