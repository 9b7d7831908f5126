//! What is said of each cluster, gathered from the store.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::compare::{Figure, Measure};
use crate::config::Config;
use crate::model::ClusterName;
use crate::model::unit::parse_duration;
use crate::report::{Input, State, verdict};
use crate::store::Store;
use crate::survey::{Subject, measured};

/// Clusters read at once: each holds its series in memory.
const AT_ONCE: usize = 4;

const RANGE_MIN: Duration = Duration::from_secs(10 * 60);
const RANGE_MAX: Duration = Duration::from_secs(400 * 86_400);

/// One cluster of a comparison.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: ClusterName,
    pub tags: BTreeMap<String, String>,
    pub state: State,
    pub headline: String,
    /// Voting members that answered, and voting members in all.
    pub voters_up: usize,
    pub voters: usize,
    /// Active incidents.
    pub alerts: usize,
    /// The versions of etcd that members run, each once.
    pub versions: Vec<String>,
    /// By the measure's key.
    pub figures: BTreeMap<String, Figure>,
}

/// The value of `--range`.
pub fn parse_range(text: &str) -> Result<Duration, String> {
    let range = parse_duration(text).map_err(|error| error.to_string())?;
    if (RANGE_MIN..=RANGE_MAX).contains(&range) {
        Ok(range)
    } else {
        Err("a range is from 10m to 400d".to_owned())
    }
}

/// `subjects` as they are now, with `measures` over the last `range`.
pub async fn gather(
    config: &Config,
    store: &Store,
    subjects: &[Subject],
    measures: &[Measure],
    range: Duration,
    now_ms: i64,
) -> anyhow::Result<Vec<Member>> {
    let survey = config.survey(store, subjects);
    let input = survey.brief(now_ms).await?;
    // As `status`: a person at a terminal asks about the present.
    let input = &Input { data_through_ms: now_ms, ..input };
    let range_ms = i64::try_from(range.as_millis()).unwrap_or(i64::MAX);
    let options = survey.options;
    let of = input.clusters.iter().map(|cluster| async move {
        let figures = measured(store, options, &cluster.name, measures, range_ms, now_ms).await?;
        let verdict = verdict(&config.report, input, cluster);
        let voting = || cluster.rows.iter().filter(|row| row.is_learner != Some(true));
        let mut versions: Vec<String> = cluster.rows.iter().filter_map(|row| row.version.clone()).collect();
        versions.sort_unstable();
        versions.dedup();
        anyhow::Ok(Member {
            name: cluster.name.clone(),
            tags: cluster.tags.clone(),
            state: verdict.state,
            headline: verdict.headline,
            voters_up: voting().filter(|row| row.reachable).count(),
            voters: voting().count(),
            alerts: cluster.incidents.iter().filter(|incident| incident.state.is_active()).count(),
            versions,
            figures,
        })
    });
    stream::iter(of.collect::<Vec<_>>()).buffered(AT_ONCE).try_collect().await
}

impl Member {
    pub fn voters_text(&self) -> String {
        if self.voters == 0 { "-".to_owned() } else { format!("{}/{}", self.voters_up, self.voters) }
    }

    pub fn to_json(&self, measures: &[Measure]) -> Value {
        let figure = |measure: &Measure| (measure.key.clone(), json!(self.figures.get(&measure.key)));
        json!({
            "name": self.name,
            "tags": self.tags,
            "state": self.state.key(),
            "headline": self.headline,
            "voters_up": self.voters_up,
            "voters": self.voters,
            "alerts": self.alerts,
            "versions": self.versions,
            "figures": Value::Object(measures.iter().map(figure).collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_ends() {
        assert_eq!(parse_range("24h"), Ok(Duration::from_secs(86_400)));
        for bad in ["5m", "2y", "soon"] {
            assert!(parse_range(bad).is_err(), "{bad}");
        }
    }
}
