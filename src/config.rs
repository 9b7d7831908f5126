//! TOML → typed values, with environment overrides; secrets resolved at the last moment.
//!
//! Owns: the order (defaults, file, environment, command line), the composition of the modules' own config
//! structs, and the checks that need more than one of them. Refuses: knowing what a value does.
//! Only `run`, `cli` and `jobs` read it.

mod alerting;
mod check;
mod cluster;
mod document;
mod effective;
mod environment;
mod recipe;
mod rules;
mod secrets;
mod sections;
mod sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use cluster::ClusterSetup;
pub use document::{ConfigError, ConfigErrors, Document};
pub use effective::{Change, Effective, cluster_of, digest_of};
pub use environment::{Environment, process_environment};
pub use rules::RulesConfig;
pub use secrets::{SecretError, resolve};
pub use sections::{JobConfig, JobsConfig, LogConfig, LogFormat, QueryConfig};

use self::recipe::Recipe;
use crate::alert::{Routes, StormConfig};
use crate::backup::BackupConfig;
use crate::bench::BenchConfig;
use crate::deliver::{AckSource, Channel, DeadMan, StandingSilences};
use crate::discover::data_dir::{Places, sharing_disk};
use crate::discover::source::Source;
use crate::disk::DiskConfig;
use crate::etcd::ClusterConfig;
use crate::inspect::InspectConfig;
use crate::model::Labels;
use crate::probe::ScrapeConfig;
use crate::promql::EvalOptions;
use crate::report::ReportConfig;
use crate::rules::overrides::Fleet;
use crate::rules::slo::SloConfig;
use crate::rules::{RuleBook, RuleGroup};
use crate::store::{Store, StoreConfig};
use crate::survey::{Subject, Survey};
use crate::watch::WatchConfig;

/// Everything configured, checked and ready: files are read, secrets resolved.
#[derive(Clone)]
pub struct Config {
    pub store: StoreConfig,
    /// Those of the file and the command line, then those that were found.
    pub clusters: Vec<ClusterSetup>,
    /// How many of them were not found.
    pub configured: usize,
    /// Where clusters are looked for.
    pub sources: Vec<Arc<Source>>,
    pub scrape: ScrapeConfig,
    pub watch: WatchConfig,
    pub inspect: InspectConfig,
    pub backup: BackupConfig,
    pub bench: BenchConfig,
    pub disk: DiskConfig,
    /// The shipped packs and the rule files, in that order, with what is switched off.
    pub rules: RuleBook,
    pub slos: Vec<SloConfig>,
    /// The rules that are evaluated.
    pub groups: Vec<RuleGroup>,
    /// `$externalLabels` of rule templates.
    pub external_labels: Labels,
    pub routes: Routes,
    /// From when on messages are joined.
    pub storm: StormConfig,
    /// Of files and maintenance windows.
    pub silences: Arc<StandingSilences>,
    /// Absent where no URL is known that could answer links to acknowledge with.
    pub ack: Option<AckSource>,
    pub channels: BTreeMap<String, Arc<dyn Channel>>,
    /// Absent when it is not configured, and for commands that only read the store.
    pub dead_man: Option<Arc<DeadMan>>,
    pub report: ReportConfig,
    pub query: QueryConfig,
    pub jobs: JobsConfig,
    pub log: LogConfig,
    /// What is allowed and yet unwise; said at start and by `config check`.
    pub warnings: Vec<String>,
    /// What was read: the configuration file and the rule files.
    pub files: Vec<PathBuf>,
    /// What the files say, to compare with.
    pub effective: Effective,
    recipe: Arc<Recipe>,
}

/// What the command line says; it wins over file and environment.
#[derive(Clone, Default)]
pub struct Overrides {
    pub store_url: Option<String>,
    pub log: Option<String>,
    /// Watched beside those of the file.
    pub cluster: Option<ClusterSetup>,
    /// What sources found.
    pub found: Vec<ClusterConfig>,
    /// The command works without any cluster.
    pub clusters_optional: bool,
    /// The names that `[jobs.<name>]` may have; `None` takes any.
    pub known_jobs: Option<Vec<&'static str>>,
    /// The command only reads the store: no secret is resolved, no certificate looked at, no channel opened.
    pub store_only: bool,
    /// The command answers links to acknowledge with: their secret is resolved all the same.
    pub answers_links: bool,
}

impl Overrides {
    /// For commands that read the store and nothing else; they need neither clusters nor secrets.
    pub fn store_only() -> Self {
        Self { clusters_optional: true, store_only: true, ..Self::default() }
    }
}

impl Config {
    /// Reads `path` (defaults without one), then the `ETCD_MONITOR__*` variables, then `overrides`.
    ///
    /// # Errors
    /// All that is wrong, with file and line.
    pub fn load(
        path: Option<&Path>,
        environment: &Environment,
        overrides: Overrides,
    ) -> Result<Self, ConfigErrors> {
        let (source, text) = read(path)?;
        let path = path.map(Path::to_owned);
        let recipe = Arc::new(Recipe { path, source, text, environment: environment.clone(), overrides });
        let config = recipe.make(recipe.overrides.found.clone())?;
        Ok(Self { recipe, ..config })
    }

    /// The same with these found clusters instead of those it has: what rules, objectives and windows say of clusters is
    /// worked out anew.
    ///
    /// # Errors
    /// When something that speaks of one of the new clusters is wrong.
    pub fn with_found(&self, found: Vec<ClusterConfig>) -> Result<Self, ConfigErrors> {
        let Self { clusters, configured, rules, slos, groups, silences, warnings, .. } =
            self.recipe.make(found)?;
        Ok(Self { clusters, configured, rules, slos, groups, silences, warnings, ..self.clone() })
    }

    /// What is unwise on this machine: a store on the disk whose fsyncs a local etcd waits for.
    pub fn machine_warnings(&self, places: &Places) -> Vec<String> {
        let Some(folder) = self.store.folder() else { return Vec::new() };
        let endpoints: Vec<String> =
            self.clusters.iter().flat_map(|cluster| cluster.config.endpoints.clone()).collect();
        let shared = sharing_disk(folder, &endpoints, places);
        let warning = shared.map(|data| {
            format!(
                "the store {} is on the file system of etcd's data folder {}: writing here slows etcd's fsyncs \
                 down, and a full disk stops both",
                folder.display(),
                data.display()
            )
        });
        warning.into_iter().collect()
    }

    /// The clusters with their tags.
    pub fn fleet(&self) -> Fleet {
        rules::fleet(&self.clusters)
    }

    /// How many alert rules are evaluated.
    pub fn rules_total(&self) -> usize {
        self.rules.alerts_total()
    }

    /// The clusters, as a survey knows them.
    pub fn subjects(&self) -> Vec<Subject> {
        let subject = |cluster: &ClusterSetup| Subject {
            name: cluster.config.name.clone(),
            tags: cluster.config.tags.clone(),
        };
        self.clusters.iter().map(subject).collect()
    }

    /// A survey of `subjects` over `store`.
    pub fn survey<'a>(&'a self, store: &'a Store, subjects: &'a [Subject]) -> Survey<'a> {
        Survey {
            store,
            clusters: subjects,
            rules: &self.rules,
            expected_interval_ms: self.expected_interval_ms(),
            options: EvalOptions { max_samples: self.query.max_samples, ..EvalOptions::default() },
            standing: Arc::clone(&self.silences) as _,
        }
    }

    /// How often readings of every cluster are stored, ms: as often as those of the slowest.
    pub fn expected_interval_ms(&self) -> i64 {
        let fleet = self.watch.scrape_interval.0;
        let slowest = self.clusters.iter().map(|setup| setup.watch(&self.watch).scrape_interval.0).max();
        i64::try_from(slowest.unwrap_or(fleet).as_millis()).unwrap_or(15_000)
    }

    /// How often rules without an interval of their own are evaluated, ms.
    pub fn rule_interval_ms(&self) -> i64 {
        i64::try_from(self.watch.scrape_interval.0.as_millis()).unwrap_or(15_000)
    }
}

fn read(path: Option<&Path>) -> Result<(String, String), ConfigErrors> {
    let Some(path) = path else { return Ok(("command line".to_owned(), String::new())) };
    let source = path.display().to_string();
    std::fs::read_to_string(path).map(|text| (source.clone(), text)).map_err(|error| {
        let message = format!("cannot be read: {error}");
        ConfigErrors(vec![ConfigError { source, line: None, key: String::new(), message }])
    })
}
