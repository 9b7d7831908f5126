//! Backups: saved etcd databases, each with a manifest, and what proves that they are good.
//!
//! Owns: which member is copied, the stream and its pace, the form of the stored object, the manifest, the verifier,
//! retention, restores and drills. Refuses: object keys (`store::key`), the schedule (`jobs`), printing (`cli`), and
//! judging the age of what is there (rules read the series that the jobs write).
//!
//! The manifest is the commit point: what has none is no backup, whatever lies at the destination. What was found out
//! about a backup later is a [`Verdict`] beside it; neither is ever edited.

pub mod catalog;
pub mod check;
mod config;
pub mod database;
mod destination;
pub mod drill;
pub mod external;
mod id;
mod judge;
mod live;
mod manifest;
pub mod object;
mod overview;
pub mod prune;
pub mod restore;
pub mod retention;
pub mod save;
mod tombstone;
pub mod tools;
mod verdict;

pub use catalog::{Kept, Listing};
pub use config::{BackupConfig, DestinationConfig, DrillConfig, EncryptionConfig};
pub use destination::{Destination, OWN_STORE, open as open_destinations};
pub use external::{ExternalConfig, Foreign, ForeignVerdict};
pub use id::BackupId;
pub use judge::{Judgement, judge, revisions_to_hash};
pub use live::said_now;
pub use manifest::{
    Encryption, Hex, Kind, MANIFEST_FORMAT, Manifest, MemberAddress, Origin, RecordedHash, Source,
    StoredObject,
};
pub use overview::overview;
pub use retention::RetentionConfig;
pub use tombstone::{By, Tombstone};
pub use verdict::{Drill, Found, Level, Verdict, VerdictState};
