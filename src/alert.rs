//! Incidents and the groups that people are told about. Pure: no I/O, no clock, no configuration file.
//!
//! Owns: the transitions of an incident ([`incident`]), which channels hear of it and together with what
//! ([`route`]), what keeps silent because something worse says it already ([`inhibit`]) or a person wants it
//! so ([`silence`], [`mute`]), the outbox
//! ([`group`]) and the events that transitions leave behind.
//! Refuses: sending, storing, evaluating expressions. `deliver` commits what is decided here.
//!
//! Every transition is a pure function of (last state, input), so that two processes which see the same
//! input compute the same successor and one create decides between them.

mod event;
pub mod group;
pub mod incident;
mod inhibit;
mod maintenance;
mod matchers;
mod mute;
mod route;
mod silence;
pub mod silence_file;
mod storm;
mod ways;

pub use event::{event_of, events_of_silence};
pub use group::{Group, Kind, Notification};
pub use incident::Observation;
pub use inhibit::{InhibitRule, Speakers, explains};
pub use maintenance::{Maintenance, MaintenanceConfig, MaintenanceError};
pub use matchers::{MatchersError, parse_matcher};
pub use mute::{IntervalConfig, IntervalError, TimeIntervalConfig, TimesConfig};
pub use route::{AlertConfig, AlertConfigError, Route, RouteConfig, Routes};
pub use silence::{Silence, SilenceError, SilenceSource, Silences, maintenance_matchers};
pub use storm::StormConfig;
