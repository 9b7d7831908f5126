//! Rules: Prometheus rule files → findings. Pure: no I/O, no clock.
//!
//! Owns: reading rule files ([`file`]), templates of labels and annotations, `for` and `keep_firing_for`,
//! the shipped packs, which job evaluates which group, and the question whether an evaluation saw enough to
//! say that something is *not* the case ([`completeness`]).
//! Refuses: incidents and people (`alert`), loading series (`store`).
//!
//! # When is silence health?
//!
//! A condition that is not found may be gone, or nobody could see it. The two are told apart by what the
//! rule reads ([`Evidence`]):
//!
//! - *Scrape*: it reads what etcd exports. A failed scrape ends those series, so the rule falls silent while
//!   the member may be on fire. Its silence counts only where the last two scrapes succeeded (`up` is 1; two,
//!   because a rate needs two) and the newest is at most three intervals old.
//! - *Status*: it reads `etcd_monitor_*` series, which come from the Status call. Its silence counts where
//!   the newest `etcd_monitor_member_up` is 1 and fresh.
//! - *Witness*: it reads only `up`, `etcd_monitor_member_up` and `etcd_monitor_has_quorum`. The probe writes
//!   these for members it cannot reach, too; that a member is dead *is* the data. Its silence counts where
//!   those series are fresh, whatever they say, so "member down" resolves when the member answers and goes
//!   UNKNOWN only when the monitor itself was blind.
//!
//! An incident without `instance` needs a quorum of the cluster's members with such evidence.

mod absence;
pub mod baseline;
mod book;
pub mod completeness;
mod evaluate;
pub mod file;
pub mod overrides;
mod owner;
mod packs;
mod rule;
pub mod slo;
mod speechless;
mod state;
mod template;
mod threshold;
pub mod unit_test;
mod words;

pub use absence::{Absence, Scope, absence};
pub use book::{Chapter, Entry, Listed, Overridden, RuleBook};
pub use completeness::{Completeness, Evidence, completeness};
pub use evaluate::{ACTIVE_SERIES_MAX, Cut, Evaluation, RuleError, SERIES_LIMIT_ALERT, evaluate};
pub use file::{RuleFileError, parse};
pub use owner::{Owner, owner, recorded_metrics, selections};
pub use packs::{default_pack, mixin_pack};
pub use rule::{Reach, Rule, RuleGroup, RuleKind};
pub use speechless::{Speechless, speechless};
pub use state::{Active, EvalState};
pub use template::{QueryResult, Template, TemplateData, TemplateError};
pub use threshold::{Threshold, ThresholdText, Unit};
pub use words::{RuleOptions, asked};
