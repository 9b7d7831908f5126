//! What it means that an active incident was not found again.

use std::collections::{BTreeMap, BTreeSet};

use super::completeness::Completeness;
use super::evaluate::{Evaluation, SERIES_LIMIT_ALERT};
use super::rule::RuleGroup;
use crate::model::{ClusterName, Incident, Instance};

/// Why an incident was not among the findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// The condition is gone.
    Clear,
    /// Nobody can tell; why.
    Incomplete(String),
    /// What it is about is no longer watched; what was removed.
    Removed(String),
}

/// What is watched: the configured clusters with their members, where the member list is known.
pub type Scope = BTreeMap<ClusterName, Option<BTreeSet<Instance>>>;

/// Judges an incident of `group` that `evaluation` did not find.
pub fn absence(
    incident: &Incident,
    group: &RuleGroup,
    evaluation: &Evaluation,
    completeness: &Completeness,
    scope: &Scope,
) -> Absence {
    if let Some(removed) = removal(incident, scope) {
        return Absence::Removed(removed);
    }
    if incident.alert == SERIES_LIMIT_ALERT {
        let rule = incident.labels.get("rule").unwrap_or("");
        let failed = evaluation.errors.iter().any(|error| error.rule == rule);
        return if failed {
            Absence::Incomplete(format!("rule {rule} could not be evaluated"))
        } else {
            Absence::Clear
        };
    }
    // Several rules may share the name (a warning and a critical one): the most demanding decides.
    let cluster = incident.labels.get("cluster").unwrap_or("");
    let rules = group.rules.iter().filter(|rule| rule.name == incident.alert && rule.clusters.has(cluster));
    let Some(evidence) = rules.map(super::Rule::evidence).max() else {
        return Absence::Removed(format!("rule {} removed", incident.alert));
    };
    if evaluation.is_partial(&incident.alert) {
        return Absence::Incomplete(format!("rule {} could not be evaluated whole", incident.alert));
    }
    completeness.gap(&incident.labels, evidence).map_or(Absence::Clear, Absence::Incomplete)
}

/// What of the incident's subject is no longer watched.
pub fn removal(incident: &Incident, scope: &Scope) -> Option<String> {
    let cluster = incident.cluster()?;
    let Some((_, members)) = scope.iter().find(|(name, _)| name.as_str() == cluster) else {
        return Some(format!("cluster {cluster} removed"));
    };
    let instance = incident.labels.get("instance")?;
    let is_member = members.as_ref().is_none_or(|members| members.iter().any(|m| m.as_str() == instance));
    (!is_member).then(|| format!("member {instance} removed"))
}
