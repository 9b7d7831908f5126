//! Whether a machine is fit for etcd before there is one: processors, memory, limits, kernel, clock, network. Its disk is
//! measured as any other.
//!
//! Owns: the rules, with where each is from. Changes nothing on the machine.

mod clock;
mod control_group;
mod host;
mod network;

pub use clock::synchronised;
pub use control_group::control_group;
pub use host::{Machine, host, kernel};
pub use network::{cluster_size, ports, round_trips, trips};
