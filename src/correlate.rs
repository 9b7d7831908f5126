//! What belongs together: the metrics that moved around an event, and what came before an incident.
//!
//! Owns: how much a metric must move to be named, and in which order happenings are suspected. Refuses: I/O and
//! the clock (the caller loads series, events and incidents), and certainty: what it names is likely, and each
//! answer says by which rule.

mod background;
mod shift;

pub use background::{Background, Candidate, LOOK_BACK_MS, Reason, background};
pub use shift::{Shift, Subject, Window, of_series, strongest};
