//! How many ways out a critical alert has. Two channels that end at one server are one way: it fails for both.

use std::collections::{BTreeMap, BTreeSet};

use super::Routes;
use crate::model::Labels;

impl Routes {
    /// What `config check` should say: a critical incident deserves a second way out. `ends` has where each
    /// channel leads; one that is not there leads to a place of its own.
    pub fn warnings(&self, ends: &BTreeMap<String, String>) -> Vec<String> {
        let critical = Labels::from_pairs([("severity", "critical")]);
        let taken = self.of(&critical);
        if taken.is_empty() {
            return vec![
                "no route takes an incident with severity=\"critical\": nobody will be told".to_owned(),
            ];
        }
        let names: BTreeSet<&String> =
            taken.iter().flat_map(|route| route.channels.iter().chain(&route.failover)).collect();
        let ways: BTreeSet<&String> = names.iter().map(|name| ends.get(*name).unwrap_or(name)).collect();
        let names: Vec<String> = names.into_iter().map(|name| format!("{name:?}")).collect();
        match (ways.first(), ways.len(), names.as_slice()) {
            (None, _, _) => vec!["no channel is configured: nobody will be told of an alert".to_owned()],
            (Some(_), 1, [only]) => vec![format!(
                "critical alerts have one way out, the channel {only}; name a second one in channels or failover"
            )],
            (Some(end), 1, _) => vec![format!(
                "critical alerts have one way out: the channels {} all lead to {end}; name one that leads elsewhere \
                 in channels or failover",
                names.join(", ")
            )],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::AlertConfig;
    use super::*;

    #[test]
    fn ways_are_counted_by_where_they_lead() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let ends: BTreeMap<String, String> = [("a", "hooks.slack.com:443"), ("b", "hooks.slack.com:443")]
            .map(|(name, end)| (name.to_owned(), end.to_owned()))
            .into();
        for (route, said) in [
            ("channels = ['a']", Some("the channel \"a\"; name a second one")),
            ("channels = ['a', 'b']", Some("channels \"a\", \"b\" all lead to hooks.slack.com:443")),
            ("channels = ['a']\nfailover = ['b']", Some("all lead to hooks.slack.com:443")),
            ("channels = ['a', 'c']", None),
            ("channels = ['a']\nfailover = ['c']", None),
            ("matchers = ['severity=info']\nchannels = ['a', 'c']", Some("no route takes")),
        ] {
            let config: AlertConfig = toml::from_str(&format!("[[route]]\n{route}")).expect("valid");
            let warnings = Routes::new(&config, &names).expect("valid").warnings(&ends);
            match said {
                None => assert!(warnings.is_empty(), "{route}: {warnings:?}"),
                Some(said) => {
                    assert!(warnings.len() == 1 && warnings[0].contains(said), "{route}: {warnings:?}");
                }
            }
        }
        let none = Routes::new(&AlertConfig::default(), &[]).expect("valid").warnings(&BTreeMap::new());
        assert!(none[0].contains("no channel"), "{none:?}");
    }
}
