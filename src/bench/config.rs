//! The `[bench]` section, and the profiles that are shipped.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::governor::GovernorConfig;
use super::options::{Driving, Operation, Order};

/// Benchmarks as the configuration has them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct BenchConfig {
    /// Whether the job `bench` sends load to clusters; it sends none that nobody asked for.
    pub enabled: bool,
    /// The profile that the job runs; `gentle` when absent.
    pub scheduled: Option<String>,
    /// Whether the job also loads clusters that are tagged production.
    pub production: bool,
    pub governor: GovernorConfig,
    /// Beside the shipped ones; one of their names takes their place.
    pub profile: Vec<Profile>,
}

/// Loads that belong together, one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Profile {
    pub name: String,
    #[serde(default)]
    pub about: String,
    #[serde(default)]
    pub driving: Driving,
    pub load: Vec<Operation>,
}

impl Profile {
    /// Each of its loads, as if it had been asked for alone.
    pub fn orders(&self) -> impl Iterator<Item = Order> {
        let order = |load: &Operation| Order { operation: load.clone(), driving: self.driving.clone() };
        self.load.iter().map(order)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shipped {
    profile: Vec<Profile>,
}

/// The shipped profiles.
static SHIPPED: LazyLock<Vec<Profile>> = LazyLock::new(|| {
    // A test reads them; a file that does not parse is none that is shipped.
    toml::from_str::<Shipped>(include_str!("profiles.toml"))
        .map(|shipped| shipped.profile)
        .unwrap_or_default()
});

/// What the job runs without a word of the configuration.
const SCHEDULED: &str = "gentle";

impl BenchConfig {
    /// All profiles: those of the configuration, then the shipped ones that it does not replace.
    pub fn profiles(&self) -> Vec<&Profile> {
        let is_replaced = |shipped: &&Profile| self.profile.iter().any(|own| own.name == shipped.name);
        self.profile.iter().chain(SHIPPED.iter().filter(|shipped| !is_replaced(shipped))).collect()
    }

    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles().into_iter().find(|profile| profile.name == name)
    }

    /// The name of the profile that the job runs.
    pub fn scheduled(&self) -> &str {
        self.scheduled.as_deref().unwrap_or(SCHEDULED)
    }

    /// What is wrong, by key.
    pub fn problems(&self) -> Vec<(String, String)> {
        let of_governor = self.governor.problems().into_iter();
        let mut problems: Vec<_> =
            of_governor.map(|(key, problem)| (format!("bench.governor.{key}"), problem)).collect();
        for (at, profile) in self.profile.iter().enumerate() {
            let key = format!("bench.profile[{at}]");
            if profile.load.is_empty() {
                problems.push((format!("{key}.load"), "at least one is needed".to_owned()));
            }
            if self.profile.iter().take(at).any(|other| other.name == profile.name) {
                problems
                    .push((format!("{key}.name"), format!("{:?} is the name of another one", profile.name)));
            }
            for (load, order) in profile.orders().enumerate() {
                if let Err(error) = order.check() {
                    problems.push((format!("{key}.load[{load}]"), error.to_string()));
                }
            }
        }
        if self.profile(self.scheduled()).is_none() {
            let known: Vec<&str> = self.profiles().iter().map(|profile| profile.name.as_str()).collect();
            let why = format!("{:?} is no profile; there are {}", self.scheduled(), known.join(", "));
            problems.push(("bench.scheduled".to_owned(), why));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_shipped_profiles_are_right_and_end_within_five_minutes() {
        let config = BenchConfig::default();
        assert_eq!(config.problems(), []);
        assert!(config.profiles().len() >= 5);
        for profile in config.profiles() {
            assert!(!profile.about.is_empty(), "{}", profile.name);
            let time: Duration = profile
                .orders()
                .map(|order| {
                    order.check().unwrap_or_else(|error| panic!("{}: {error}", profile.name));
                    let driving = &order.driving;
                    driving.duration.map_or(driving.max_time.0, |d| d.0.min(driving.max_time.0))
                        + driving.warm_up.0
                })
                .sum();
            assert!(time < Duration::from_secs(280), "{} takes {time:?}", profile.name);
        }
    }

    #[test]
    fn mistakes_are_told_by_key() {
        let config: BenchConfig = toml::from_str(
            "scheduled = 'nightly'\n[governor]\nmax-quota-ratio = 1.5\n\
             [[profile]]\nname = 'x'\nload = []\n\
             [[profile]]\nname = 'x'\n[[profile.load]]\noperation = 'put'\nkey-size = 0\n",
        )
        .expect("it parses");
        let keys: Vec<String> = config.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            [
                "bench.governor.max-quota-ratio",
                "bench.profile[0].load",
                "bench.profile[1].name",
                "bench.profile[1].load[0]",
                "bench.scheduled"
            ]
        );
    }
}
