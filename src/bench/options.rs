//! What may be asked for: the official benchmark's subcommands and options, under their names and with their meanings, and
//! a few more. One definition for the command line and for profiles.

mod kv;
mod stm;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use super::BenchError;
use super::keys::Keys;
use crate::model::unit::{ConfigDuration, parse_duration};

pub use kv::{Delete, Get, Mixed, Put, Range, TxnMixed, TxnPut};
pub use stm::{Isolation, LeaseKeepalive, Locker, Stm};
pub use watch::{Watch, WatchGet, WatchLatency};

/// How the load is sent, whatever it is.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[command(next_help_heading = "Load")]
pub struct Driving {
    /// Connections (HTTP/2); the clients share them, and the endpoints are given to them in turn
    #[arg(long, global = true, default_value_t = 1, value_name = "N")]
    pub conns: usize,
    /// Requests that are under way at once
    #[arg(long, global = true, default_value_t = 1, value_name = "N")]
    pub clients: usize,
    /// Ask the leader only
    #[arg(long, global = true)]
    pub target_leader: bool,
    /// Run for so long, whatever --total says
    #[arg(long, global = true, value_name = "DURATION", value_parser = config_duration)]
    pub duration: Option<ConfigDuration>,
    /// The longest time; what is not sent by then is left out, and the report says so
    #[arg(long, global = true, value_name = "DURATION", value_parser = config_duration, default_value = "5m")]
    pub max_time: ConfigDuration,
    /// Send the load for so long before anything counts
    #[arg(long, global = true, value_name = "DURATION", value_parser = config_duration, default_value = "0s")]
    pub warm_up: ConfigDuration,
    /// A request without an answer for so long has failed
    #[arg(long, global = true, value_name = "DURATION", value_parser = config_duration, default_value = "10s")]
    pub request_timeout: ConfigDuration,
    /// Decides keys and values; one is drawn, and told, without it
    #[arg(long, global = true, value_name = "N")]
    pub seed: Option<u64>,
    /// Afterwards let etcd forget every revision up to the end of the run, those of others, too
    #[arg(long, global = true)]
    pub compact: bool,
    /// Threads that send; half of the processors without it, so that an etcd beside it has the others
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
}

impl Default for Driving {
    fn default() -> Self {
        Self {
            conns: 1,
            clients: 1,
            target_leader: false,
            duration: None,
            max_time: ConfigDuration(Duration::from_secs(300)),
            warm_up: ConfigDuration(Duration::ZERO),
            request_timeout: ConfigDuration(Duration::from_secs(10)),
            seed: None,
            compact: false,
            threads: None,
        }
    }
}

fn config_duration(text: &str) -> Result<ConfigDuration, String> {
    parse_duration(text).map(ConfigDuration).map_err(|error| error.to_string())
}

/// How up to date a read must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Consistency {
    /// Linearizable: a quorum confirms it
    #[default]
    #[value(name = "l")]
    #[serde(rename = "l")]
    Linearizable,
    /// Serializable: as the member has it
    #[value(name = "s")]
    #[serde(rename = "s")]
    Serializable,
}

impl Consistency {
    pub fn is_serializable(self) -> bool {
        self == Self::Serializable
    }
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Subcommand, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "kebab-case")]
pub enum Operation {
    /// Put keys
    Put(Put),
    /// Read single keys that were put before
    Get(Get),
    /// Read a key or a range of keys; without a key, single keys of our own, chosen evenly
    Range(Range),
    /// Delete keys that were put before
    Delete(Delete),
    /// Read and put single keys, in a ratio
    Mixed(Mixed),
    /// Put several keys in one transaction
    TxnPut(TxnPut),
    /// Read or put in transactions, in a ratio
    TxnMixed(TxnMixed),
    /// Transactions in memory (software transactional memory) over several keys
    Stm(Stm),
    /// Keep leases alive
    LeaseKeepalive(LeaseKeepalive),
    /// Watch keys while they are put
    Watch(Watch),
    /// Read while watchers catch up
    WatchGet(WatchGet),
    /// How long from a put until its watchers have the event
    WatchLatency(WatchLatency),
}

macro_rules! options {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, clap::Args, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}
pub(crate) use options;

impl Operation {
    /// The subcommand.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Put(_) => "put",
            Self::Get(_) => "get",
            Self::Range(_) => "range",
            Self::Delete(_) => "delete",
            Self::Mixed(_) => "mixed",
            Self::TxnPut(_) => "txn-put",
            Self::TxnMixed(_) => "txn-mixed",
            Self::Stm(_) => "stm",
            Self::LeaseKeepalive(_) => "lease-keepalive",
            Self::Watch(_) => "watch",
            Self::WatchGet(_) => "watch-get",
            Self::WatchLatency(_) => "watch-latency",
        }
    }

    /// Requests per second, if they are limited, and requests in all.
    pub fn amount(&self) -> (Option<f64>, u64) {
        let (rate, total) = match self {
            Self::Put(o) => (o.rate, o.total),
            Self::Get(o) => (o.rate, o.total),
            Self::Range(o) => (o.rate, o.total),
            Self::Delete(o) => (o.rate, o.total),
            Self::Mixed(o) => (o.rate, o.total),
            Self::TxnPut(o) => (o.rate, o.total),
            Self::TxnMixed(o) => (o.rate, o.total),
            Self::Stm(o) => (o.rate, o.total),
            Self::LeaseKeepalive(o) => (o.rate, o.total),
            Self::Watch(o) => (o.put_rate, o.put_total),
            Self::WatchGet(_) => (0.0, 0),
            Self::WatchLatency(o) => (o.put_rate, o.put_total),
        };
        ((rate > 0.0).then_some(rate), total)
    }
}

/// A benchmark, as it was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub operation: Operation,
    pub driving: Driving,
}

impl Order {
    /// Every option with its value, by the name of its flag.
    pub fn options(&self) -> BTreeMap<String, String> {
        let mut options = BTreeMap::new();
        for value in [serde_json::to_value(&self.operation), serde_json::to_value(&self.driving)] {
            let Ok(serde_json::Value::Object(fields)) = value else { continue };
            for (name, value) in fields {
                let text = match value {
                    serde_json::Value::Null => continue,
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                };
                options.insert(name, text);
            }
        }
        options.remove("operation");
        options
    }

    /// The command line that repeats it, without the connection: what is as by default is left out.
    pub fn command(&self, seed: u64) -> String {
        let usual = Self { operation: self.operation.as_usual(), driving: Driving::default() }.options();
        let mut words = vec!["etcd-monitor bench".to_owned(), self.operation.name().to_owned()];
        let mut flags = Vec::new();
        for (name, value) in self.options() {
            match (name.as_str(), value.as_str()) {
                ("key" | "end", _) => words.push(quoted(&value)),
                ("seed", _) => {}
                _ if usual.get(&name) == Some(&value) => {}
                (_, "true") => flags.push(format!("--{name}")),
                (_, "false") => {}
                _ => flags.push(format!("--{name}={}", quoted(&value))),
            }
        }
        // `end` sorts before `key`, but comes after it.
        if words.len() == 4 {
            words.swap(2, 3);
        }
        words.extend(flags);
        words.push(format!("--seed={seed}"));
        words.join(" ")
    }

    /// # Errors
    /// [`BenchError::Option`], the first that makes no sense.
    pub fn check(&self) -> Result<(), BenchError> {
        let Driving { conns, clients, max_time, duration, request_timeout, threads, .. } = &self.driving;
        for (name, value) in [("conns", *conns), ("clients", *clients), ("threads", threads.unwrap_or(1))] {
            if !(1..=100_000).contains(&value) {
                return Err(BenchError::option(name, format!("{value} is not one of 1 to 100000")));
            }
        }
        for (name, value) in [
            ("max-time", Some(max_time)),
            ("duration", duration.as_ref()),
            ("request-timeout", Some(request_timeout)),
        ] {
            if value.is_some_and(|value| value.0.is_zero()) {
                return Err(BenchError::option(name, "must be more than 0"));
            }
        }
        let (rate, total) = self.operation.amount();
        if rate.is_some_and(|rate| !(0.001..=10_000_000.0).contains(&rate)) {
            return Err(BenchError::option("rate", "is not one of 0.001 to 10000000"));
        }
        if total == 0 && duration.is_none() && !matches!(self.operation, Operation::WatchGet(_)) {
            return Err(BenchError::option("total", "0: give --duration for a run without a total"));
        }
        self.operation.check()
    }
}

/// As a shell takes it.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@%+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

impl Operation {
    /// The same subcommand as it is without any option.
    fn as_usual(&self) -> Self {
        match self {
            Self::Put(_) => Self::Put(Put::default()),
            Self::Get(_) => Self::Get(Get::default()),
            Self::Range(_) => Self::Range(Range::default()),
            Self::Delete(_) => Self::Delete(Delete::default()),
            Self::Mixed(_) => Self::Mixed(Mixed::default()),
            Self::TxnPut(_) => Self::TxnPut(TxnPut::default()),
            Self::TxnMixed(_) => Self::TxnMixed(TxnMixed::default()),
            Self::Stm(_) => Self::Stm(Stm::default()),
            Self::LeaseKeepalive(_) => Self::LeaseKeepalive(LeaseKeepalive::default()),
            Self::Watch(_) => Self::Watch(Watch::default()),
            Self::WatchGet(_) => Self::WatchGet(WatchGet::default()),
            Self::WatchLatency(_) => Self::WatchLatency(WatchLatency::default()),
        }
    }

    /// The size of its keys, and how many there are; none where keys are not its own.
    fn keys(&self) -> Option<(usize, u64)> {
        match self {
            Self::Put(o) => Some((o.key_size, o.key_space_size)),
            Self::Get(o) => Some((o.key_size, o.key_space_size)),
            Self::Range(o) => o.key.is_none().then_some((o.key_size, o.key_space_size)),
            Self::Delete(o) => Some((o.key_size, o.total.max(1))),
            Self::Mixed(o) => Some((o.key_size, o.key_space_size)),
            Self::TxnPut(o) => Some((o.key_size, o.key_space_size.unwrap_or(o.txn_ops.max(1)))),
            Self::TxnMixed(o) => Some((o.key_size, o.key_space_size)),
            Self::Watch(o) => Some((o.key_size, o.key_space_size)),
            Self::WatchLatency(o) => Some((o.key_size, 1)),
            Self::Stm(_) | Self::LeaseKeepalive(_) | Self::WatchGet(_) => None,
        }
    }

    fn check(&self) -> Result<(), BenchError> {
        let at_least_one = |name, value: u64| match value {
            0 => Err(BenchError::option(name, "0: at least one is needed")),
            _ => Ok(()),
        };
        let ratio = |value: f64| {
            let sense = value.is_finite() && value >= 0.0;
            if sense { Ok(()) } else { Err(BenchError::option("rw-ratio", "must be a number from 0 on")) }
        };
        if let Some((size, space)) = self.keys() {
            // Said before anything is sent.
            Keys::new("", size, space)?;
        }
        match self {
            Self::TxnPut(o) => {
                at_least_one("txn-ops", o.txn_ops)?;
                if o.key_space_size.is_some_and(|space| space < o.txn_ops) {
                    let why = format!("{} puts of one transaction are to different keys", o.txn_ops);
                    return Err(BenchError::option("key-space-size", why));
                }
                Ok(())
            }
            Self::Stm(o) => {
                at_least_one("keys", o.keys)?;
                if o.keys_per_txn > o.keys {
                    let why = format!("{} of {} keys", o.keys_per_txn, o.keys);
                    return Err(BenchError::option("keys-per-txn", why));
                }
                Ok(())
            }
            Self::Mixed(o) => ratio(o.rw_ratio),
            Self::TxnMixed(o) => ratio(o.rw_ratio),
            Self::Watch(o) => {
                at_least_one("streams", o.streams)?;
                at_least_one("watch-per-stream", o.watch_per_stream)?;
                at_least_one("watched-key-total", o.watched_key_total)?;
                at_least_one("put-total", o.put_total)
            }
            Self::WatchGet(o) => {
                at_least_one("watchers", o.watchers)?;
                at_least_one("streams", o.streams)?;
                at_least_one("events", o.events)
            }
            Self::WatchLatency(o) => {
                at_least_one("streams", o.streams)?;
                at_least_one("watchers-per-stream", o.watchers_per_stream)?;
                at_least_one("put-total", o.put_total)
            }
            _ => Ok(()),
        }
    }
}
