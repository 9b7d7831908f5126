//! Clusters beside each other: which figures are compared, what is usual among them, and who is far from it.
//!
//! Owns: the measures, how the course of a metric becomes one figure, medians and deviations, groups by tag. Refuses:
//! reading anything (`survey` does), limits and verdicts (the catalogue and `report` have them): far from the others is
//! worth a look, and neither good nor bad.

mod group;
mod measure;
mod norm;

pub use group::{by_tag, tag_keys};
pub use measure::{Ask, Figure, Fold, Measure, all_measures, fleet_measures};
pub use norm::{CLUSTERS_MIN, Deviation, Norm, Side, median};

use std::collections::BTreeMap;

/// The deviation of each figure from what is usual among those of its source: a put that the gRPC server times is not
/// compared with one of which only the time to apply is known.
pub fn deviations(measure: &Measure, figures: &[Option<&Figure>]) -> Vec<Option<Deviation>> {
    let mut by_source: BTreeMap<Option<&str>, Vec<f64>> = BTreeMap::new();
    for figure in figures.iter().flatten() {
        by_source.entry(figure.source.as_deref()).or_default().push(figure.value);
    }
    let norms: BTreeMap<Option<&str>, Norm> = by_source
        .into_iter()
        .filter_map(|(source, values)| Norm::of(values).map(|norm| (source, norm)))
        .collect();
    let least = measure.least_difference;
    let of = |figure: &Figure| norms.get(&figure.source.as_deref())?.deviation(figure.value, least?);
    figures.iter().map(|figure| figure.and_then(of)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_compared_with_those_of_their_source() {
        let measure = fleet_measures().into_iter().find(|measure| measure.key == "put_latency_p99");
        let measure = measure.expect("is there");
        let figure =
            |value: f64, source: &str| Figure { value, highest: value, source: Some(source.to_owned()) };
        let (slow, fast) = ("whole", "only the apply");
        let mut all: Vec<Figure> = (0..6).map(|n| figure(0.030 + f64::from(n) * 1e-4, slow)).collect();
        all.extend((0..6).map(|n| figure(0.001 + f64::from(n) * 1e-5, fast)));
        all.push(figure(0.030, fast));
        let all: Vec<Option<&Figure>> = all.iter().map(Some).chain([None]).collect();
        let found = deviations(&measure, &all);
        let far: Vec<usize> =
            found.iter().enumerate().filter(|(_, found)| found.is_some()).map(|(n, _)| n).collect();
        assert_eq!(far, [12], "{found:?}");
        assert_eq!(found.len(), all.len());
    }
}
