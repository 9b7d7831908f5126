//! A rule and its group, ready to evaluate.

use super::Evidence;
use super::template::Template;
use crate::model::Selection;
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
}

/// What a rule's result becomes.
#[derive(Debug, Clone)]
pub enum RuleKind {
    Alert { for_ms: i64, keep_firing_for_ms: i64, annotations: Vec<(String, Template)> },
    Record,
}

impl Rule {
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
