//! The options of the loads that watch.

use super::options;

options! {
    /// `watch`
    Watch {
        /// Streams that watches are on
        #[arg(long, default_value_t = 10, value_name = "N")]
        streams: u64 = 10,
        /// Watches on one stream
        #[arg(long, default_value_t = 100, value_name = "N")]
        watch_per_stream: u64 = 100,
        /// How many keys are watched
        #[arg(long, default_value_t = 1, value_name = "N")]
        watched_key_total: u64 = 1,
        /// Puts per second; 0 is no limit
        #[arg(long, default_value_t = 0.0, value_name = "N", hide_default_value = true)]
        put_rate: f64 = 0.0,
        /// Puts in all
        #[arg(long, default_value_t = 1_000, value_name = "N")]
        put_total: u64 = 1_000,
        /// Bytes of a key, after our prefix
        #[arg(long, default_value_t = 32, value_name = "BYTES")]
        key_size: usize = 32,
        /// How many different keys the watched ones are taken from
        #[arg(long, default_value_t = 1, value_name = "N")]
        key_space_size: u64 = 1,
        /// Take them one after the other
        #[arg(long)]
        sequential_keys: bool = false,
    }
}

options! {
    /// `watch-get`
    WatchGet {
        /// Watchers in all
        #[arg(long, default_value_t = 10_000, value_name = "N")]
        watchers: u64 = 10_000,
        /// Streams that they are on
        #[arg(long, default_value_t = 1, value_name = "N")]
        streams: u64 = 1,
        /// Events that each has to catch up with
        #[arg(long, default_value_t = 8, value_name = "N")]
        events: u64 = 8,
    }
}

options! {
    /// `watch-latency`
    WatchLatency {
        /// Streams that watchers are on
        #[arg(long, default_value_t = 10, value_name = "N")]
        streams: u64 = 10,
        /// Watchers on one stream
        #[arg(long, default_value_t = 10, value_name = "N")]
        watchers_per_stream: u64 = 10,
        /// Have the value before the put with each event
        #[arg(long)]
        prevkv: bool = false,
        /// Puts in all; --total in versions up to 3.5 of the official tool
        #[arg(long, alias = "total", default_value_t = 1_000, value_name = "N")]
        put_total: u64 = 1_000,
        /// Puts per second
        #[arg(long, default_value_t = 100.0, value_name = "N")]
        put_rate: f64 = 100.0,
        /// Bytes of a key, after our prefix
        #[arg(long, default_value_t = 32, value_name = "BYTES")]
        key_size: usize = 32,
        /// Bytes of a value
        #[arg(long, default_value_t = 32, value_name = "BYTES")]
        val_size: usize = 32,
    }
}
