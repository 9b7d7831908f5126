//! The options of loads of single requests and of transactions.

use std::time::Duration;

use super::{Consistency, options};
use crate::model::unit::ConfigDuration;

options! {
    /// `put`
    Put {
        /// Bytes of a key, after our prefix
        #[arg(long, default_value_t = 8, value_name = "BYTES")]
        key_size: usize = 8,
        /// Bytes of a value
        #[arg(long, default_value_t = 8, value_name = "BYTES")]
        val_size: usize = 8,
        /// Puts per second; 0 is no limit
        #[arg(long, default_value_t = 0.0, value_name = "N", hide_default_value = true)]
        rate: f64 = 0.0,
        /// Puts in all
        #[arg(long, default_value_t = 10_000, value_name = "N")]
        total: u64 = 10_000,
        /// How many keys there are
        #[arg(long, default_value_t = 1, value_name = "N")]
        key_space_size: u64 = 1,
        /// Take the keys one after the other
        #[arg(long)]
        sequential_keys: bool = false,
        /// Compact this often while it runs, as etcd's auto-compaction would; 0s is never
        #[arg(long, value_name = "DURATION", value_parser = super::config_duration, default_value = "0s")]
        compact_interval: ConfigDuration = ConfigDuration(Duration::ZERO),
        /// So many revisions are left by those compactions
        #[arg(long, default_value_t = 1_000, value_name = "N")]
        compact_index_delta: i64 = 1_000,
        /// Hash the keys of the first endpoint afterwards
        #[arg(long)]
        check_hashkv: bool = false,
    }
}

options! {
    /// `get`
    Get {
        /// Bytes of a key, after our prefix
        #[arg(long, default_value_t = 8, value_name = "BYTES")]
        key_size: usize = 8,
        /// Bytes of a value
        #[arg(long, default_value_t = 8, value_name = "BYTES")]
        val_size: usize = 8,
        /// Reads per second; 0 is no limit
        #[arg(long, default_value_t = 0.0, value_name = "N", hide_default_value = true)]
        rate: f64 = 0.0,
        /// Reads in all
        #[arg(long, default_value_t = 10_000, value_name = "N")]
        total: u64 = 10_000,
        /// How many keys are put before, and read
        #[arg(long, default_value_t = 1_000, value_name = "N")]
        key_space_size: u64 = 1_000,
        /// Take the keys one after the other
        #[arg(long)]
        sequential_keys: bool = false,
        /// Linearizable (l) or serializable (s) reads
        #[arg(long, value_enum, default_value_t)]
        consistency: Consistency = Consistency::Linearizable,
    }
}

options! {
    /// `range`
    Range {
        /// The key; without it keys of our own are put, and read in no order
        #[arg(id = "read-key", value_name = "KEY")]
        key: Option<String> = None,
        /// The end of the range, which is not read itself
        #[arg(id = "read-end", value_name = "END")]
        end: Option<String> = None,
        /// Reads per second; 0 is no limit
        #[arg(long, default_value_t = 0.0, value_name = "N", hide_default_value = true)]
        rate: f64 = 0.0,
        /// Reads in all
        #[arg(long, default_value_t = 10_000, value_name = "N")]
        total: u64 = 10_000,
        /// Linearizable (l) or serializable (s) reads
        #[arg(long, value_enum, default_value_t)]
        consistency: Consistency = Consistency::Linearizable,
        /// The most keys of one answer; 0 is no limit
        #[arg(long, default_value_t = 0, value_name = "N")]
        limit: i64 = 0,
        /// Only count the keys
        #[arg(long)]
        count_only: bool = false,
        /// Leave the values out
        #[arg(long)]
        keys_only: bool = false,
        /// Read all keys that begin with KEY
        #[arg(long, requires = "read-key", conflicts_with = "read-end")]
        prefix: bool = false,
        /// Without KEY: bytes of a key, after our prefix
        #[arg(long, default_value_t = 8, value_name = "BYTES")]
        key_size: usize = 8,
        /// Without KEY: bytes of a value
        #[arg(long, default_value_t = 8, value_name = "BYTES")]
        val_size: usize = 8,
        /// Without KEY: how many keys are put before, and read
        #[arg(long, default_value_t = 1_000, value_name = "N")]
        key_space_size: u64 = 1_000,
    }
}

options! {
    /// `delete`
    Delete {
        /// Bytes of a key, after our prefix
        #[arg(long, default_value_t = 8, value_name = "BYTES")]
        key_size: usize = 8,
        /// Bytes of a value
        #[arg(long, default_value_t = 8, value_name = "BYTES")]
        val_size: usize = 8,
        /// Deletions per second; 0 is no limit
        #[arg(long, default_value_t = 0.0, value_name = "N", hide_default_value = true)]
        rate: f64 = 0.0,
        /// Deletions in all; so many keys are put before
        #[arg(long, default_value_t = 10_000, value_name = "N")]
        total: u64 = 10_000,
    }
}

options! {
    /// `mixed`
    Mixed {
        /// Bytes of a key, after our prefix
        #[arg(long, default_value_t = 8, value_name = "BYTES")]
        key_size: usize = 8,
        /// Bytes of a value
        #[arg(long, default_value_t = 8, value_name = "BYTES")]
        val_size: usize = 8,
        /// Requests per second; 0 is no limit
        #[arg(long, default_value_t = 0.0, value_name = "N", hide_default_value = true)]
        rate: f64 = 0.0,
        /// Requests in all
        #[arg(long, default_value_t = 10_000, value_name = "N")]
        total: u64 = 10_000,
        /// How many keys are put before
        #[arg(long, default_value_t = 1_000, value_name = "N")]
        key_space_size: u64 = 1_000,
        /// Linearizable (l) or serializable (s) reads
        #[arg(long, value_enum, default_value_t)]
        consistency: Consistency = Consistency::Linearizable,
        /// Reads for each put
        #[arg(long, default_value_t = 1.0, value_name = "RATIO")]
        rw_ratio: f64 = 1.0,
    }
}

options! {
    /// `txn-put`
    TxnPut {
        /// Bytes of a key, after our prefix
        #[arg(long, default_value_t = 8, value_name = "BYTES")]
        key_size: usize = 8,
        /// Bytes of a value
        #[arg(long, default_value_t = 8, value_name = "BYTES")]
        val_size: usize = 8,
        /// Puts of one transaction
        #[arg(long, default_value_t = 1, value_name = "N")]
        txn_ops: u64 = 1,
        /// Transactions per second; 0 is no limit
        #[arg(long, default_value_t = 0.0, value_name = "N", hide_default_value = true)]
        rate: f64 = 0.0,
        /// Transactions in all
        #[arg(long, default_value_t = 10_000, value_name = "N")]
        total: u64 = 10_000,
        /// How many keys there are; at least the puts of one transaction
        #[arg(long, value_name = "N")]
        key_space_size: Option<u64> = None,
    }
}

options! {
    /// `txn-mixed`
    TxnMixed {
        /// The key that is read; without it keys of our own
        #[arg(id = "read-key", value_name = "KEY")]
        key: Option<String> = None,
        /// The end of the range that is read
        #[arg(id = "read-end", value_name = "END")]
        end: Option<String> = None,
        /// Bytes of a key, after our prefix
        #[arg(long, default_value_t = 8, value_name = "BYTES")]
        key_size: usize = 8,
        /// Bytes of a value
        #[arg(long, default_value_t = 8, value_name = "BYTES")]
        val_size: usize = 8,
        /// Transactions per second; 0 is no limit
        #[arg(long, default_value_t = 0.0, value_name = "N", hide_default_value = true)]
        rate: f64 = 0.0,
        /// Transactions in all
        #[arg(long, default_value_t = 10_000, value_name = "N")]
        total: u64 = 10_000,
        /// The end of the range that is read, as END
        #[arg(long, value_name = "KEY", conflicts_with = "read-end")]
        end_key: Option<String> = None,
        /// The most keys of one read
        #[arg(long, default_value_t = 1_000, value_name = "N")]
        limit: i64 = 1_000,
        /// How many keys there are
        #[arg(long, default_value_t = 1, value_name = "N")]
        key_space_size: u64 = 1,
        /// Linearizable (l) or serializable (s) reads
        #[arg(long, value_enum, default_value_t)]
        consistency: Consistency = Consistency::Linearizable,
        /// Reads for each put
        #[arg(long, default_value_t = 1.0, value_name = "RATIO")]
        rw_ratio: f64 = 1.0,
    }
}
