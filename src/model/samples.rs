//! One target's samples of one instant: a list of series that stays the same object from scrape to scrape, and
//! their values beside it.

use std::sync::Arc;

use super::{Labels, METRIC_NAME};

/// A series as a target exposes it: without `cluster`, `instance` and `job`. Targets that expose the same series
/// share one object, with everything that would otherwise be computed for each of its samples.
#[derive(Debug)]
pub struct TargetSeries {
    labels: Labels,
    metric: Arc<str>,
    text: Arc<str>,
}

impl TargetSeries {
    pub fn new(labels: Labels) -> Self {
        let text = labels.without(&[METRIC_NAME, "cluster", "instance", "job"]).canonical().into();
        Self::with_text(labels, text)
    }

    /// A series that a recording rule wrote. Nobody scraped it, so its `job`, or that it has none, stands in the
    /// text; only `etcd`, which readers take for granted, does not.
    pub fn recorded(labels: Labels) -> Self {
        let text = match labels.get("job") {
            Some("etcd") => return Self::new(labels),
            Some(_) => labels.without(&[METRIC_NAME, "cluster", "instance"]).canonical(),
            None => {
                let rest = labels.without(&[METRIC_NAME, "cluster", "instance"]).canonical();
                if rest.is_empty() { "job=\"\"".to_owned() } else { format!("job=\"\",{rest}") }
            }
        };
        Self::with_text(labels, text.into())
    }

    /// As [`TargetSeries::new`], with the text given: the caller has it already, for another metric maybe.
    pub(crate) fn with_text(labels: Labels, text: Arc<str>) -> Self {
        let name = labels.iter().find(|label| &*label.name == METRIC_NAME);
        let metric = name.map_or_else(|| Arc::from(""), |label| Arc::clone(&label.value));
        Self { labels, metric, text }
    }

    /// All labels, `__name__` too.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The metric's name.
    pub fn metric(&self) -> &Arc<str> {
        &self.metric
    }

    /// The labels without the name as canonical text: what the samples table has in its column `labels`.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }
}

/// The series of a target in the order in which it exposes them.
#[derive(Debug, Default)]
pub struct SeriesList {
    series: Vec<Arc<TargetSeries>>,
    /// Positions in `series`, sorted by metric and text.
    sorted: Vec<u32>,
    /// Where in `sorted` each metric begins.
    metrics: Vec<u32>,
    distinct: bool,
}

impl SeriesList {
    pub fn new(series: Vec<Arc<TargetSeries>>) -> Self {
        let mut sorted: Vec<u32> = (0..).take(series.len()).collect();
        let key =
            |position: &u32| series.get(*position as usize).map(|series| (series.metric(), series.text()));
        // Stable: of two equal series the one exposed later stands later.
        sorted.sort_by(|a, b| key(a).cmp(&key(b)));
        let distinct = sorted.windows(2).all(|pair| pair.first().map(key) != pair.last().map(key));
        let metric = |position: &u32| series.get(*position as usize).map(|series| series.metric());
        let mut metrics = Vec::new();
        let mut at = 0_u32;
        for run in sorted.chunk_by(|a, b| metric(a) == metric(b)) {
            metrics.push(at);
            at += u32::try_from(run.len()).unwrap_or(u32::MAX);
        }
        Self { series, sorted, metrics, distinct }
    }

    pub fn len(&self) -> usize {
        self.series.len()
    }

    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Arc<TargetSeries>> {
        self.series.iter()
    }

    pub fn get(&self, position: usize) -> Option<&Arc<TargetSeries>> {
        self.series.get(position)
    }

    /// Whether no two entries are the same series.
    pub fn is_distinct(&self) -> bool {
        self.distinct
    }

    /// Each metric in name order, with the positions of its series in the order of their texts.
    pub fn by_metric(&self) -> impl Iterator<Item = (&Arc<str>, &[u32])> {
        let ends = self
            .metrics
            .iter()
            .skip(1)
            .copied()
            .chain([u32::try_from(self.sorted.len()).unwrap_or(u32::MAX)]);
        self.metrics.iter().zip(ends).filter_map(|(start, end)| {
            let positions = self.sorted.get(*start as usize..end as usize)?;
            Some((self.series.get(*positions.first()? as usize)?.metric(), positions))
        })
    }

    /// The positions of one metric's series.
    pub fn of_metric(&self, name: &str) -> &[u32] {
        let metric =
            |position: &u32| self.series.get(*position as usize).map_or("", |series| series.metric());
        let from = self.sorted.partition_point(|position| metric(position) < name);
        let to = self.sorted.partition_point(|position| metric(position) <= name);
        self.sorted.get(from..to).unwrap_or_default()
    }

    /// Whether the lists have the same series in the same order.
    pub fn same(&self, other: &Self) -> bool {
        let same =
            |(a, b): (&Arc<TargetSeries>, &Arc<TargetSeries>)| Arc::ptr_eq(a, b) || a.labels == b.labels;
        self.len() == other.len() && self.iter().zip(other.iter()).all(same)
    }
}

/// The values of a [`SeriesList`] at one instant.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    list: Arc<SeriesList>,
    values: Vec<f64>,
}

impl Samples {
    /// `values` in the order of `list`; what one of them has more is left out.
    pub fn new(list: Arc<SeriesList>, mut values: Vec<f64>) -> Self {
        values.truncate(list.len());
        let list = if values.len() < list.len() {
            Arc::new(SeriesList::new(list.iter().take(values.len()).cloned().collect()))
        } else {
            list
        };
        Self { list, values }
    }

    /// The samples with the list of `previous` if that has the same series: who compares lists by their address
    /// sees that nothing changed.
    pub fn following(previous: &Arc<SeriesList>, samples: Vec<(Labels, f64)>) -> Self {
        let same = previous.len() == samples.len()
            && previous.iter().zip(&samples).all(|(series, (labels, _))| series.labels == *labels);
        if same {
            return Self {
                list: Arc::clone(previous),
                values: samples.into_iter().map(|(_, v)| v).collect(),
            };
        }
        samples.into_iter().collect()
    }

    pub fn list(&self) -> &Arc<SeriesList> {
        &self.list
    }

    pub fn values(&self) -> &[f64] {
        &self.values
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Labels (with `__name__`) and value, in the order of the target.
    pub fn iter(&self) -> impl Iterator<Item = (&Labels, f64)> {
        self.list.iter().map(|series| series.labels()).zip(self.values.iter().copied())
    }

    /// The first series of that name in label order.
    pub fn first(&self, name: &str) -> Option<(&Labels, f64)> {
        let position = *self.list.of_metric(name).first()? as usize;
        Some((self.list.get(position)?.labels(), *self.values.get(position)?))
    }
}

impl FromIterator<(Labels, f64)> for Samples {
    fn from_iter<T: IntoIterator<Item = (Labels, f64)>>(samples: T) -> Self {
        let (series, values): (Vec<_>, Vec<_>) =
            samples.into_iter().map(|(labels, value)| (Arc::new(TargetSeries::new(labels)), value)).unzip();
        Self { list: Arc::new(SeriesList::new(series)), values }
    }
}

impl PartialEq for Samples {
    fn eq(&self, other: &Self) -> bool {
        let same_list = Arc::ptr_eq(&self.list, &other.list) || self.list.same(&other.list);
        same_list && self.values == other.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(series: &[(&str, &str)]) -> Samples {
        series.iter().zip(0_i32..).map(|((name, le), n)| (labels(name, le), f64::from(n))).collect()
    }

    fn labels(name: &str, le: &str) -> Labels {
        Labels::from_pairs([(METRIC_NAME, name), ("le", le)])
    }

    #[test]
    fn a_list_knows_its_metrics_in_order() {
        let samples = samples(&[("b", "2"), ("a", ""), ("b", "1"), ("ab", "x")]);
        let found: Vec<(&str, &[u32])> = samples.list().by_metric().map(|(name, at)| (&**name, at)).collect();
        assert_eq!(found, [("a", &[1][..]), ("ab", &[3]), ("b", &[2, 0])]);
        assert_eq!(samples.list().of_metric("b"), [2, 0]);
        assert!(samples.list().of_metric("c").is_empty());
        assert_eq!(samples.first("b"), Some((&labels("b", "1"), 2.0)));
        assert!(samples.list().is_distinct());
        assert_eq!(Samples::default().list().by_metric().count(), 0);
    }

    #[test]
    fn a_series_that_stands_twice_is_seen() {
        assert!(!samples(&[("a", "1"), ("b", ""), ("a", "1")]).list().is_distinct());
    }

    #[test]
    fn the_list_stays_as_long_as_the_series_do() {
        let first = samples(&[("a", "1"), ("b", "")]);
        let again = Samples::following(first.list(), vec![(labels("a", "1"), 7.0), (labels("b", ""), 8.0)]);
        assert!(Arc::ptr_eq(first.list(), again.list()));
        assert_eq!(again.values(), [7.0, 8.0]);
        let other = Samples::following(first.list(), vec![(labels("a", "2"), 7.0), (labels("b", ""), 8.0)]);
        assert!(!Arc::ptr_eq(first.list(), other.list()));
        assert_eq!(Samples::new(Arc::clone(first.list()), vec![1.0]).iter().count(), 1);
    }
}
