//! The options of transactions in memory, and of leases.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::options;

/// What a transaction in memory is protected from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Isolation {
    /// Reads what is committed
    #[value(name = "c")]
    #[serde(rename = "c")]
    ReadCommitted,
    /// What was read stays so until the commit
    #[value(name = "r")]
    #[serde(rename = "r")]
    RepeatableReads,
    /// All reads are of one revision, and stay so
    #[value(name = "s")]
    #[serde(rename = "s")]
    Serializable,
    /// As s, and what is written was not written by others meanwhile
    #[value(name = "ss")]
    #[serde(rename = "ss")]
    SerializableSnapshot,
}

/// What a transaction in memory waits for before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Locker {
    /// Nothing: it tries again when others were there first
    Stm,
    /// A lock made of keys and leases
    LockClient,
    /// etcd's lock service
    LockRpc,
}

options! {
    /// `stm`
    Stm {
        /// Read committed (c), repeatable reads (r), serializable (s), or serializable snapshot (ss)
        #[arg(long, value_enum, default_value_t = Isolation::RepeatableReads)]
        isolation: Isolation = Isolation::RepeatableReads,
        /// How many keys there are
        #[arg(long, default_value_t = 1, value_name = "N")]
        keys: u64 = 1,
        /// Transactions in all
        #[arg(long, default_value_t = 10_000, value_name = "N")]
        total: u64 = 10_000,
        /// Keys of one transaction
        #[arg(long, default_value_t = 1, value_name = "N")]
        keys_per_txn: u64 = 1,
        /// How many of a transaction's keys are put, too, in percent
        #[arg(long, default_value_t = 50, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(0..=100))]
        txn_wr_percent: u64 = 50,
        /// What a transaction waits for before it begins
        #[arg(long, value_enum, default_value_t = Locker::Stm)]
        stm_locker: Locker = Locker::Stm,
        /// Bytes of a value
        #[arg(long, default_value_t = 8, value_name = "BYTES")]
        val_size: usize = 8,
        /// Transactions per second; 0 is no limit
        #[arg(long, default_value_t = 0.0, value_name = "N", hide_default_value = true)]
        rate: f64 = 0.0,
    }
}

options! {
    /// `lease-keepalive`
    LeaseKeepalive {
        /// Requests in all
        #[arg(long, default_value_t = 10_000, value_name = "N")]
        total: u64 = 10_000,
        /// Requests per second; 0 is no limit
        #[arg(long, default_value_t = 0.0, value_name = "N", hide_default_value = true)]
        rate: f64 = 0.0,
    }
}
