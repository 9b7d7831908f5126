//! `--tag`: which clusters a command is about.

use std::collections::BTreeSet;

use clap::Args;

use super::Stop;
use super::status::subjects;
use crate::alert::parse_matcher;
use crate::compare::tag_keys;
use crate::config::Config;
use crate::model::{ClusterName, Matcher};
use crate::store::Store;
use crate::survey::Subject;

#[derive(Debug, Args)]
pub struct Tags {
    /// Only clusters whose tag fits: key=value, key!=value, key=~regex, key!~regex; repeat for several
    #[arg(long = "tag", value_name = "MATCHER", value_parser = matcher)]
    matchers: Vec<Matcher>,
}

fn matcher(text: &str) -> Result<Matcher, String> {
    parse_matcher(text).map_err(|error| crate::model::chain(&error))
}

impl Tags {
    /// Those that fit.
    ///
    /// # Errors
    /// When none of them does, with the tags there are.
    pub(super) fn choose(&self, mut subjects: Vec<Subject>) -> Result<Vec<Subject>, Stop> {
        let keys = keys(&subjects);
        let before = subjects.len();
        subjects.retain(|subject| {
            let fits = |matcher: &Matcher| {
                matcher.matches_value(subject.tags.get(&matcher.name).map_or("", String::as_str))
            };
            self.matchers.iter().all(fits)
        });
        if subjects.is_empty() && before > 0 {
            return Err(Stop::Usage(format!("none of {before} clusters fits; {}", known(&keys))));
        }
        Ok(subjects)
    }

    /// The names of those that fit; `None` where no tag is asked for: what happened to clusters that are gone counts, too.
    ///
    /// # Errors
    /// When none fits, or the store cannot be read.
    pub(super) async fn clusters(
        &self,
        config: &Config,
        store: &Store,
        now_ms: i64,
    ) -> Result<Option<BTreeSet<ClusterName>>, Stop> {
        if self.matchers.is_empty() {
            return Ok(None);
        }
        let chosen = self.choose(subjects(config, store, now_ms).await?)?;
        Ok(Some(chosen.into_iter().map(|subject| subject.name).collect()))
    }
}

/// The tags that some cluster has.
pub(super) fn keys(subjects: &[Subject]) -> Vec<String> {
    tag_keys(subjects.iter().map(|subject| &subject.tags)).into_iter().map(str::to_owned).collect()
}

/// What there is to choose from.
pub(super) fn known(keys: &[String]) -> String {
    match keys {
        [] => "clusters get tags in the configuration, as in tags = { env = \"prod\" }".to_owned(),
        keys => format!("tags are: {}", keys.join(", ")),
    }
}
