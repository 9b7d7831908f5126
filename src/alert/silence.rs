//! Silences: matchers that keep incidents from being told for a time. Alertmanager's words and meaning.

use serde::{Deserialize, Serialize};

use super::{MatchersError, parse_matcher};
use crate::model::{ClusterName, Incident, Labels, Matcher};

/// One state of one silence, as its sequence holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    pub id: String,
    /// All must fit; as [`parse_matcher`] reads them.
    pub matchers: Vec<String>,
    /// From here on, ms since the epoch.
    pub starts_ms: i64,
    /// Until before here; expiring a silence early moves this.
    pub ends_ms: i64,
    pub author: String,
    pub comment: String,
}

/// Why there can be no such silence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    #[error("a silence needs at least one matcher, such as alertname=EtcdMemberDown")]
    NoMatcher,
    #[error("every matcher fits an absent label, so this would silence everything; name one that does not")]
    FitsEverything,
    #[error("the silence ends before it begins")]
    NoTime,
    #[error(transparent)]
    Matcher(#[from] MatchersError),
}

impl Silence {
    /// # Errors
    /// When it has no matcher, would fit everything, lasts no time, or a matcher does not parse.
    pub fn check(&self) -> Result<(), SilenceError> {
        if self.matchers.is_empty() {
            return Err(SilenceError::NoMatcher);
        }
        let matchers = self.parsed()?;
        if matchers.iter().all(|matcher| matcher.matches_value("")) {
            return Err(SilenceError::FitsEverything);
        }
        if self.ends_ms <= self.starts_ms { Err(SilenceError::NoTime) } else { Ok(()) }
    }

    fn parsed(&self) -> Result<Vec<Matcher>, MatchersError> {
        self.matchers.iter().map(|text| parse_matcher(text)).collect()
    }

    /// The matchers of one label; none for a silence that does not check out.
    pub fn of_label(&self, name: &str) -> Vec<Matcher> {
        let mut matchers = self.parsed().unwrap_or_default();
        matchers.retain(|matcher| matcher.name == name);
        matchers
    }

    /// Whether it is in effect.
    pub fn is_active(&self, now_ms: i64) -> bool {
        self.starts_ms <= now_ms && now_ms < self.ends_ms
    }

    /// The same silence, over at `now_ms`; `None` when it is over already.
    pub fn expired(&self, now_ms: i64) -> Option<Self> {
        (now_ms < self.ends_ms).then(|| Self {
            starts_ms: self.starts_ms.min(now_ms),
            ends_ms: now_ms,
            ..self.clone()
        })
    }

    /// Matchers that fit exactly the labels of one incident: what snoozing it means.
    pub fn matchers_of(incident: &Incident) -> Vec<String> {
        incident.labels.iter().map(|label| Matcher::equal(&label.name, &label.value).to_string()).collect()
    }
}

/// Where silences come from that no store holds.
pub trait SilenceSource: Send + Sync {
    /// Those that matter at `now_ms`, ms since the epoch: in effect, over since not long, or to come.
    fn silences(&self, now_ms: i64) -> Vec<Silence>;
}

/// What keeps all of a cluster quiet: a maintenance window is the silence with exactly these matchers.
pub fn maintenance_matchers(cluster: &ClusterName) -> Vec<String> {
    vec![format!("cluster=\"{cluster}\"")]
}

/// All silences, ready to use.
#[derive(Debug, Clone, Default)]
pub struct Silences(Vec<(Silence, Vec<Matcher>)>);

impl Silences {
    /// A silence that does not check out silences nothing: somebody is told rather once too often.
    pub fn new(silences: impl IntoIterator<Item = Silence>) -> Self {
        let usable = silences.into_iter().filter(|silence| silence.check().is_ok());
        Self(usable.filter_map(|silence| silence.parsed().ok().map(|parsed| (silence, parsed))).collect())
    }

    fn fitting<'a>(&'a self, labels: &'a Labels) -> impl Iterator<Item = &'a Silence> {
        let fits = |matchers: &[Matcher]| matchers.iter().all(|matcher| matcher.matches(labels));
        self.0.iter().filter(move |(_, matchers)| fits(matchers)).map(|(silence, _)| silence)
    }

    /// The silence that keeps an incident with these labels from being told now; of several the one that
    /// ends last.
    pub fn silencer<'a>(&'a self, labels: &'a Labels, now_ms: i64) -> Option<&'a Silence> {
        self.fitting(labels).filter(|silence| silence.is_active(now_ms)).max_by_key(|silence| silence.ends_ms)
    }

    /// Whether a silence of such an incident ended after `since_ms`: people who were kept from hearing of
    /// it are told that it is still there.
    pub fn lifted_since(&self, labels: &Labels, since_ms: i64, now_ms: i64) -> bool {
        self.fitting(labels).any(|silence| {
            since_ms < silence.ends_ms && silence.ends_ms <= now_ms && silence.starts_ms < silence.ends_ms
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(matchers: &[&str], starts_ms: i64, ends_ms: i64) -> Silence {
        Silence {
            id: "1".to_owned(),
            matchers: matchers.iter().map(|text| (*text).to_owned()).collect(),
            starts_ms,
            ends_ms,
            author: "ann".to_owned(),
            comment: "disk swap".to_owned(),
        }
    }

    #[test]
    fn what_would_silence_everything_or_nothing_is_refused() {
        for (matchers, ends_ms, message) in [
            (vec![], 10, "at least one matcher"),
            (vec!["cluster=~\".*\""], 10, "silence everything"),
            (vec!["a!=b"], 10, "silence everything"),
            (vec!["alertname"], 10, "is not a matcher"),
            (vec!["a=~\"(\""], 10, "is not valid"),
            (vec!["a=b"], 0, "ends before"),
        ] {
            let error = silence(&matchers, 0, ends_ms).check().expect_err(message).to_string();
            assert!(error.contains(message), "{error}");
        }
        silence(&["a=b", "c!=d"], 0, 10).check().expect("valid");
    }

    #[test]
    fn a_silence_holds_for_its_time_and_its_labels() {
        let silences = Silences::new([silence(&["alertname=Down", "cluster=~\"prod-.*\""], 10, 20)]);
        let prod = Labels::from_pairs([("alertname", "Down"), ("cluster", "prod-1")]);
        let test = Labels::from_pairs([("alertname", "Down"), ("cluster", "test-1")]);
        for (labels, now_ms, silent) in
            [(&prod, 9, false), (&prod, 10, true), (&prod, 19, true), (&prod, 20, false), (&test, 15, false)]
        {
            assert_eq!(silences.silencer(labels, now_ms).is_some(), silent, "{labels:?} at {now_ms}");
        }
        for (since_ms, now_ms, lifted) in
            [(5, 20, true), (5, 19, false), (19, 30, true), (20, 30, false), (25, 30, false)]
        {
            assert_eq!(silences.lifted_since(&prod, since_ms, now_ms), lifted, "{since_ms} {now_ms}");
        }
    }

    #[test]
    fn expiring_ends_it_once() {
        let silence = silence(&["a=b"], 10, 20);
        let over = silence.expired(15).expect("was active");
        assert_eq!((over.starts_ms, over.ends_ms), (10, 15));
        assert_eq!(over.expired(16), None);
        let never = silence.expired(5).expect("was pending");
        assert!(!never.is_active(5) && !never.is_active(12));
        assert!(!Silences::new([never]).lifted_since(&Labels::from_pairs([("a", "b")]), 0, 9));
    }
}
