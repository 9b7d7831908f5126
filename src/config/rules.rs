//! The `[rules]` section: packs, rule files and overrides become the rule book.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ClusterSetup, Document};
use crate::model::Labels;
use crate::rules::overrides::{self, Fleet, Override, OverrideConfig};
use crate::rules::slo::SloConfig;
use crate::rules::{self, RuleBook, RuleFileError, RuleGroup};

/// The `[rules]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RulesConfig {
    /// Whether the shipped alerts are evaluated.
    pub default_pack: bool,
    /// Whether the rules of etcd's own mixin are evaluated, too.
    pub mixin_pack: bool,
    /// Whether this hour is compared with the same hour of the last seven days.
    pub baseline: bool,
    /// Shipped alerts that are switched off, by name.
    pub disable: Vec<String>,
    /// Rule files in Prometheus' format; relative paths are relative to the configuration file.
    pub files: Vec<PathBuf>,
    /// `$externalLabels` of templates.
    pub external_labels: BTreeMap<String, String>,
    /// What of the shipped rules is different here.
    #[serde(rename = "override")]
    pub overrides: Vec<OverrideConfig>,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self {
            default_pack: true,
            mixin_pack: false,
            baseline: false,
            disable: Vec::new(),
            files: Vec::new(),
            external_labels: BTreeMap::new(),
            overrides: Vec::new(),
        }
    }
}

/// A pack as it is read, with its origin.
type Pack = (&'static str, Result<Vec<RuleGroup>, Vec<RuleFileError>>);

/// The shipped packs with their overrides, then the rule files; and the labels that templates know from outside.
pub(super) fn rules(
    document: &mut Document<'_>,
    path: Option<&Path>,
    clusters: &[ClusterSetup],
    warnings: &mut Vec<String>,
    absent: &mut Option<Vec<String>>,
) -> (RuleBook, Labels) {
    let (_, lines) = document.lines_of("rules");
    let config: RulesConfig = document.section("rules");
    let external = config.external_labels.iter();
    let external = Labels::from_pairs(external.map(|(name, value)| (name.as_str(), value.as_str())));
    let mut shipped: Vec<(&'static str, Vec<RuleGroup>)> = Vec::new();
    for (origin, read) in packs(&config) {
        match read {
            Ok(groups) => shipped.push((origin, groups)),
            Err(errors) => {
                errors.iter().for_each(|error| document.error_at(None, "rules", error.to_string()));
            }
        }
    }
    let fleet: Fleet =
        clusters.iter().map(|cluster| (cluster.config.name.clone(), cluster.config.tags.clone())).collect();
    let all: Vec<RuleGroup> = shipped.iter().flat_map(|(_, groups)| groups.clone()).collect();
    let disabled =
        config.disable.iter().map(|name| Override { line: None, config: OverrideConfig::off(name) });
    let disabled: Vec<Override> = disabled.collect();
    let own: Vec<Override> = config
        .overrides
        .into_iter()
        .enumerate()
        .map(|(at, config)| Override { line: lines.get(&("override".to_owned(), at)).copied(), config })
        .collect();
    for error in overrides::problems(&all, &disabled, &fleet) {
        document.error_at(None, "rules.disable", error.message);
    }
    for error in overrides::problems(&all, &own, &fleet) {
        if let Some(absent) = absent.as_mut().filter(|_| error.key == "cluster") {
            absent.push(format!("rules.override of an absent cluster: {}", error.message));
            continue;
        }
        document.error_at(error.line, &format!("rules.override.{}", error.key), error.message);
    }
    warnings.extend(without_effect(&own, &fleet));
    let overrides = [disabled, own].concat();
    let mut book = RuleBook::default();
    for (origin, groups) in shipped {
        book.add(origin, groups, &overrides, &fleet);
    }
    // Paths in a file are relative to it.
    let base = path.and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
    for file in &config.files {
        add_file(document, &base.join(file), &mut book);
    }
    (book, external)
}

/// The clusters with their tags, as overrides and objectives speak of them.
pub(super) fn fleet(clusters: &[ClusterSetup]) -> Fleet {
    let named = clusters.iter().map(|cluster| (cluster.config.name.clone(), cluster.config.tags.clone()));
    named.collect()
}

/// `[[slo]]`: each adds its generated rules to the book.
pub(super) fn slos(
    document: &mut Document<'_>,
    clusters: &[ClusterSetup],
    book: &mut RuleBook,
    absent: &mut Option<Vec<String>>,
) -> Vec<SloConfig> {
    let fleet = fleet(clusters);
    let mut slos: Vec<SloConfig> = Vec::new();
    for (line, slo) in document.elements::<SloConfig>("slo") {
        if slos.iter().any(|known| known.name == slo.name) {
            document.error_at(line, "slo.name", format!("there are two objectives named {:?}", slo.name));
            continue;
        }
        if let Some((key, message)) = slo.problem(&fleet) {
            if let Some(absent) = absent.as_mut().filter(|_| key == "clusters" || key == "tags") {
                absent.push(format!("slo {} waits: {message}", slo.name));
                continue;
            }
            document.error_at(line, &format!("slo.{key}"), message);
            continue;
        }
        match slo.groups(&fleet) {
            Ok(groups) => book.add("slo", groups, &[], &Fleet::new()),
            Err(errors) => {
                errors.iter().for_each(|error| document.error_at(line, "slo", error.to_string()));
            }
        }
        slos.push(slo);
    }
    slos
}

fn packs(config: &RulesConfig) -> Vec<Pack> {
    let mut packs: Vec<Pack> = Vec::new();
    if config.default_pack {
        packs.push(("default", rules::default_pack()));
    }
    if config.mixin_pack {
        packs.push(("mixin", rules::mixin_pack()));
    }
    if config.baseline {
        packs.push(("baseline", rules::baseline::groups()));
    }
    packs
}

/// Overrides by tags that no cluster has: a word for them, as clusters may come later.
fn without_effect<'a>(overrides: &'a [Override], fleet: &'a Fleet) -> impl Iterator<Item = String> + 'a {
    let by_tags = overrides.iter().filter(|own| !own.config.tags.is_empty());
    let idle = by_tags.filter(|own| {
        let wanted = &own.config.tags;
        !fleet.values().any(|tags| wanted.iter().all(|(key, value)| tags.get(key) == Some(value)))
    });
    idle.map(|own| {
        let at = own.line.map(|line| format!(" in line {line}")).unwrap_or_default();
        format!("the override of {}{at} fits no cluster: none has all its tags", own.config.alert)
    })
}

fn add_file(document: &mut Document<'_>, path: &Path, book: &mut RuleBook) {
    document.files.push(path.to_owned());
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
                if book.chapters.iter().any(|known| known.group == group.name) {
                    let message = format!("{}: there are two groups named {:?}", path.display(), group.name);
                    document.error_at(None, "rules.files", message);
                }
                book.add("file", vec![group], &[], &Fleet::new());
            }
        }
    }
}
