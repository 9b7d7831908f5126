//! What to change in a cluster, by which evidence, and how well the cluster is.
//!
//! Owns: the rules (data: `advise/rules/*.toml`), the facts they measure beside PromQL, which finding explains which, what
//! becomes of a recommendation over time, the health score. Pure: the caller loads the series and the facts
//! (`survey`), keeps the result and tells people.

mod fact;
mod follow;
mod judge;
mod rule;
mod score;
#[cfg(test)]
mod suite;

pub use fact::{Fact, Listed, LocalMember, Sources, keys};
pub use follow::{Comparison, Figured, compared, follow, told};
pub use judge::{Found, Judged, Outcome, judge};
pub use rule::{Checklist, Condition, Issue, Rule, Term, questions, rules};
pub use score::score;
