//! Whether a rule can say anything of a cluster at all.
//!
//! Owns: which of the metrics that an expression reads it cannot do without. That is derived from the parsed
//! expression; what a missing one needs comes from the catalogue. There is no second list.
//! Refuses: looking for metrics (the caller says which there are).

use std::collections::BTreeSet;
use std::fmt;

use super::rule::Rule;
use crate::model::catalogue::{Family, catalogue};
use crate::promql::ast::BinaryOp;
use crate::promql::{Expr, Function};

/// Why a rule is silent whatever happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speechless {
    /// Metrics that are missing; of alternatives all.
    pub missing: BTreeSet<String>,
}

/// Why `rule` cannot speak of a cluster that has the metrics `present` and no others; `None` where it can.
///
/// Of alternatives (`or`) one is enough; what `unless` takes away need not be there; `absent` speaks of what
/// is missing. Metrics that exist only while something is wrong are never missed.
pub fn speechless(rule: &Rule, present: &BTreeSet<String>) -> Option<Speechless> {
    let missing = lacking(&rule.expr, present);
    (!missing.is_empty()).then_some(Speechless { missing })
}

/// The metrics for want of which `expr` is always empty; none where it need not be.
fn lacking(expr: &Expr, present: &BTreeSet<String>) -> BTreeSet<String> {
    let wanted = match expr {
        Expr::Selector(selector) => selector.demanded_name(),
        Expr::Range(range) => range.selector.demanded_name(),
        _ => None,
    };
    if let Some(name) = wanted {
        let is_missed =
            !present.contains(name) && !catalogue().family(name).is_some_and(|family| family.quiet);
        return is_missed.then(|| name.to_owned()).into_iter().collect();
    }
    match expr {
        Expr::Binary(binary) if binary.op == BinaryOp::Or => {
            let (left, right) = (lacking(&binary.lhs, present), lacking(&binary.rhs, present));
            if left.is_empty() || right.is_empty() {
                return BTreeSet::new();
            }
            left.into_iter().chain(right).collect()
        }
        Expr::Binary(binary) if binary.op == BinaryOp::Unless => lacking(&binary.lhs, present),
        Expr::Call(call) if matches!(call.function, Function::Absent | Function::AbsentOverTime) => {
            BTreeSet::new()
        }
        expr => expr.children().into_iter().flat_map(|child| lacking(child, present)).collect(),
    }
}

impl fmt::Display for Speechless {
    /// One sentence without its subject: `no grpc_server_handling_seconds, which needs etcd to run with …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By what they need, which several may have in common.
        let mut told: Vec<(Option<&str>, Vec<&str>)> = Vec::new();
        for metric in &self.missing {
            let (name, needs) = match catalogue().family(metric) {
                Some(Family { name, needs, .. }) => (name.as_str(), Some(needs.as_str())),
                None => (metric.as_str(), None),
            };
            match told.iter_mut().find(|(known, _)| *known == needs) {
                Some((_, names)) if names.contains(&name) => {}
                Some((_, names)) => names.push(name),
                None => told.push((needs, vec![name])),
            }
        }
        let texts = told.iter().map(|(needs, names)| match needs {
            Some(needs) => format!("no {}, which needs {needs}", names.join(", ")),
            None => format!("no {}", names.join(", ")),
        });
        f.write_str(&texts.collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::parse;

    fn of(expr: &str, present: &[&str]) -> Option<Speechless> {
        let text = format!("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: '{expr}'\n");
        let rule = parse("r.yaml", &text).expect("valid").remove(0).rules.remove(0);
        speechless(&rule, &present.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_rule_misses_what_it_cannot_do_without() {
        for (expr, present, missing) in [
            ("a > 1", &["a"][..], &[][..]),
            ("a > 1", &[], &["a"]),
            ("sum by (x) (rate(a[5m])) / sum by (x) (rate(b[5m])) > 1", &["a"], &["b"]),
            ("a or b", &["b"], &[]),
            ("a or b or c", &[], &["a", "b", "c"]),
            ("(a or b) > 1 and c", &["b"], &["c"]),
            ("(a + b) or c", &["b"], &["a", "c"]),
            ("a unless b", &["a"], &[]),
            ("a unless b", &["b"], &["a"]),
            ("absent(a) == 1", &[], &[]),
            ("a or vector(0)", &[], &[]),
            ("a or 0 * absent(a)", &[], &[]),
            ("max_over_time(a[1h:5m]) > 1", &[], &["a"]),
            ("topk(3, a)", &[], &["a"]),
            ("-a", &[], &["a"]),
            ("{job=\"etcd\"} > 1", &[], &[]),
            // Nothing is wrong, so there is no alarm.
            ("etcd_monitor_alarm > 0", &[], &[]),
        ] {
            let found = of(expr, present).map(|why| why.missing).unwrap_or_default();
            let missing: BTreeSet<String> = missing.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(found, missing, "{expr} with {present:?}");
        }
    }

    #[test]
    fn the_reason_names_what_is_needed_once() {
        let expr = "histogram_quantile(0.9, rate(grpc_server_handling_seconds_bucket[5m])) > 1 and \
            rate(grpc_server_handling_seconds_count[5m]) > 1 and a > 1";
        let why = of(expr, &[]).expect("all is missing").to_string();
        let expected =
            "no a; no grpc_server_handling_seconds, which needs etcd to run with --metrics=extensive";
        assert_eq!(why, expected);
    }
}
