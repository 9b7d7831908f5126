//! A rule and its group, ready to evaluate.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Evidence;
use super::template::Template;
use crate::model::{ClusterName, Selection, Series, SeriesSource, SourceError};
use crate::promql::{self, EvalOptions, EvalRange, Expr};

/// Rules that are evaluated together, in order.
#[derive(Debug, Clone)]
pub struct RuleGroup {
    pub name: String,
    /// How often the file wants it evaluated; `None`: as often as the owning job runs.
    pub interval_ms: Option<i64>,
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The `alert` name, or the metric that a recording rule writes.
    pub name: String,
    pub kind: RuleKind,
    pub expr: Expr,
    /// The expression as written.
    pub expr_text: String,
    pub labels: Vec<(String, Template)>,
    /// What its templates are sure to `query`.
    pub queries: Vec<Expr>,
    /// Line of the expression in its file, from 1.
    pub line: u64,
    /// Whose series it reads.
    pub clusters: Reach,
}

/// The clusters whose series a rule reads: all, unless overrides give some of them a rule of their own. Series
/// without a `cluster` belong to the general rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reach {
    #[default]
    All,
    Only(BTreeSet<ClusterName>),
    AllBut(BTreeSet<ClusterName>),
}

impl Reach {
    /// Whether series with this `cluster` label (empty when absent) are read.
    pub fn has(&self, cluster: &str) -> bool {
        let named = |names: &BTreeSet<ClusterName>| names.iter().any(|name| name.as_str() == cluster);
        match self {
            Self::All => true,
            Self::Only(names) => named(names),
            Self::AllBut(names) => !named(names),
        }
    }
}

impl std::fmt::Display for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let listed = |names: &BTreeSet<ClusterName>| {
            names.iter().map(ClusterName::as_str).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::All => f.write_str("all"),
            Self::Only(names) => f.write_str(&listed(names)),
            Self::AllBut(names) => write!(f, "all but {}", listed(names)),
        }
    }
}

/// The part of a source that a rule reads.
pub(super) struct Within<'a> {
    pub source: &'a dyn SeriesSource,
    pub clusters: &'a Reach,
}

impl SeriesSource for Within<'_> {
    fn select(&self, selection: &Selection) -> Result<Vec<Arc<Series>>, SourceError> {
        let mut found = self.source.select(selection)?;
        if *self.clusters != Reach::All {
            found.retain(|series| self.clusters.has(series.labels.get("cluster").unwrap_or("")));
        }
        Ok(found)
    }
}

/// What a rule's result becomes.
#[derive(Debug, Clone)]
pub enum RuleKind {
    Alert { for_ms: i64, keep_firing_for_ms: i64, annotations: Vec<(String, Template)> },
    Record,
}

impl Rule {
    /// The constant `severity` label; empty without one.
    pub fn severity(&self) -> String {
        let own = self.labels.iter().find(|(name, _)| name == "severity");
        own.and_then(|(_, text)| text.constant()).unwrap_or_default().to_owned()
    }

    pub fn is_alert(&self) -> bool {
        matches!(self.kind, RuleKind::Alert { .. })
    }

    /// What the rule reads for an evaluation at `at_ms`.
    pub fn selections(&self, at_ms: i64) -> Vec<Selection> {
        let range = EvalRange { start_ms: at_ms, end_ms: at_ms, step_ms: 1 };
        let exprs = std::iter::once(&self.expr).chain(&self.queries);
        exprs.flat_map(|expr| promql::selections(expr, &range, &EvalOptions::default())).collect()
    }

    /// The longest range or offset of what it reads, ms.
    pub fn reach_ms(&self) -> i64 {
        let exprs = std::iter::once(&self.expr).chain(&self.queries);
        exprs.map(Expr::longest_range_or_offset_ms).max().unwrap_or(0)
    }

    /// Whether a template puts a query together from the alert's own data: what it reads is not known before.
    pub fn asks_unforeseen(&self) -> bool {
        self.templates().any(|(_, template)| template.queries().contains(&None))
    }

    pub(super) fn templates(&self) -> impl Iterator<Item = &(String, Template)> {
        let annotations = match &self.kind {
            RuleKind::Alert { annotations, .. } => annotations.as_slice(),
            RuleKind::Record => &[],
        };
        self.labels.iter().chain(annotations)
    }

    /// What must have been seen for the rule's silence to mean anything.
    pub fn evidence(&self) -> Evidence {
        let of_metric = |selection: &Selection| match selection.demanded(crate::model::METRIC_NAME) {
            Some("up" | "etcd_monitor_member_up" | "etcd_monitor_has_quorum") => Evidence::Witness,
            Some(name) if name.starts_with("etcd_monitor_") => Evidence::Status,
            _ => Evidence::Scrape,
        };
        let range = EvalRange { start_ms: 0, end_ms: 0, step_ms: 1 };
        // What its templates ask for is beside the point.
        let read = promql::selections(&self.expr, &range, &EvalOptions::default());
        read.iter().map(of_metric).max().unwrap_or(Evidence::Scrape)
    }
}
