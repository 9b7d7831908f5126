//! `[disk]`: whether disks are checked by schedule, and how.

use serde::{Deserialize, Serialize};

/// Disk checks as the configuration has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DiskConfig {
    /// Whether the job `disk` probes the disks of the configured members that run on its machine; it writes nothing that
    /// nobody asked for.
    pub enabled: bool,
    /// How many appends the job's probe makes.
    pub appends: u64,
    /// The most in a second beside a running etcd.
    pub rate: f64,
}

impl Default for DiskConfig {
    fn default() -> Self {
        // Twenty seconds; enough that ten of them are slower than the 99.5th percentile.
        Self { enabled: false, appends: 2_000, rate: 100.0 }
    }
}

impl DiskConfig {
    /// What is wrong, by key.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if !(100..=100_000).contains(&self.appends) {
            problems
                .push(("disk.appends".to_owned(), "100 to 100000: fewer say nothing of a p99".to_owned()));
        }
        if !(self.rate.is_finite() && self.rate > 0.0 && self.rate <= 1_000.0) {
            problems.push(("disk.rate".to_owned(), "more than 0, 1000 a second at most".to_owned()));
        } else if self.appends as f64 / self.rate > 100.0 {
            problems.push((
                "disk.rate".to_owned(),
                format!(
                    "{} appends at {} a second take longer than the 100 s that a probe may",
                    self.appends, self.rate
                ),
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_by_key() {
        assert_eq!(DiskConfig::default().problems(), []);
        let keys = |text: &str| {
            let config: DiskConfig = toml::from_str(text).expect("it parses");
            config.problems().into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys("appends = 5\nrate = 0.0"), ["disk.appends", "disk.rate"]);
        assert_eq!(keys("appends = 50000\nrate = 100.0"), ["disk.rate"]);
    }
}
