//! What clusters are compared by, from the store.

use std::collections::BTreeMap;

use super::SurveyError;
use crate::compare::{Ask, Figure, Measure};
use crate::model::{ClusterName, Selection, Series};
use crate::promql::{self, EvalOptions, EvalRange, Expr};
use crate::report::{Panel, figures, panels};
use crate::store::{Store, samples};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// The values of a course are at most so many.
const STEPS: i64 = 60;

/// The window that the catalogue's rates are over.
const RATE_WINDOW: &str = "[5m]";
const RATE_WINDOW_MS: i64 = 5 * MINUTE_MS;

/// Over longer ranges a sample in five minutes tells as much as twenty.
const FINE_MS: i64 = 2 * DAY_MS;
/// Then the newest sample may be this old: one in five minutes, and one more for those that came late.
const COARSE_LOOKBACK_MS: i64 = 11 * MINUTE_MS;

/// A measure's expression and the times it is evaluated at.
struct Question<'a> {
    measure: &'a Measure,
    /// Measures that differ in their quantile alone share one.
    id: String,
    expr: Expr,
    range: EvalRange,
    window_ms: i64,
}

/// What `measures` are for a cluster over the `range_ms` before `now_ms`, by key; what nothing answers is not in it.
/// Rates cover the whole range: their windows are as long as the steps. What is counted per day is so over a day at
/// least.
///
/// # Errors
/// When the store cannot be read or an expression cannot be evaluated.
pub async fn measured(
    store: &Store,
    options: EvalOptions,
    cluster: &ClusterName,
    measures: &[Measure],
    range_ms: i64,
    now_ms: i64,
) -> Result<BTreeMap<String, Figure>, SurveyError> {
    let is_coarse = range_ms > FINE_MS;
    let lookback_ms = if is_coarse { COARSE_LOOKBACK_MS } else { options.lookback_ms };
    let options = EvalOptions { lookback_ms, ..options };
    let mut questions = Vec::new();
    for measure in measures {
        questions.extend(question(measure, cluster, range_ms, now_ms)?);
    }
    let wanted: Vec<Selection> =
        questions.iter().flat_map(|asked| promql::selections(&asked.expr, &asked.range, &options)).collect();
    let loaded = if is_coarse {
        samples::load_coarse(store, &wanted, options.max_samples).await?
    } else {
        samples::load(store, &wanted, options.max_samples).await?
    };
    let mut answers: BTreeMap<&str, Vec<Series>> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for asked in &questions {
        if !answers.contains_key(asked.id.as_str()) {
            let series = promql::eval_range(&asked.expr, &loaded.series, &asked.range, &options).map_err(
                |source| SurveyError::Eval { panel: asked.id.clone(), cluster: cluster.clone(), source },
            )?;
            answers.insert(&asked.id, series);
        }
        let series = answers.get(asked.id.as_str()).map_or(&[][..], Vec::as_slice);
        let Some(figure) = asked.measure.figure(series) else { continue };
        let of_day = |value: f64| asked.measure.per_day(value, asked.window_ms);
        let figure = Figure { value: of_day(figure.value), highest: of_day(figure.highest), ..figure };
        found.insert(asked.measure.key.clone(), figure);
    }
    Ok(found)
}

fn question<'a>(
    measure: &'a Measure,
    cluster: &ClusterName,
    range_ms: i64,
    now_ms: i64,
) -> Result<Option<Question<'a>>, SurveyError> {
    let window_ms = range_ms.max(DAY_MS);
    let window = |ms: i64| format!("[{}s]", ms / 1000);
    let (id, text, range) = match measure.ask {
        Ask::Course(id) => {
            let Some(panel) = panel(id) else { return Ok(None) };
            let step_ms = (range_ms / STEPS).max(MINUTE_MS);
            let text = panel.for_cluster(cluster).replace(RATE_WINDOW, &window(step_ms.max(RATE_WINDOW_MS)));
            (id.to_owned(), text, EvalRange { start_ms: now_ms - range_ms, end_ms: now_ms, step_ms })
        }
        Ask::Window { promql, .. } => {
            let text = promql.replace("$cluster", cluster.as_str()).replace("[$window]", &window(window_ms));
            (measure.key.clone(), text, EvalRange::instant(now_ms))
        }
    };
    let parse = promql::parse(&text);
    let expr = parse.map_err(|source| SurveyError::Parse { panel: id.clone(), source })?;
    Ok(Some(Question { measure, id, expr, range, window_ms }))
}

fn panel(id: &str) -> Option<&'static Panel> {
    panels().iter().chain(figures()).find(|panel| panel.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::all_measures;

    #[test]
    fn every_measure_is_a_question_over_the_whole_range() {
        let cluster: ClusterName = "prod".parse().expect("a name");
        for range_ms in [10 * MINUTE_MS, DAY_MS, 30 * DAY_MS] {
            for measure in all_measures() {
                let asked = question(&measure, &cluster, range_ms, 40 * DAY_MS).expect("parses");
                let asked = asked.unwrap_or_else(|| panic!("{} is no panel", measure.key));
                let wanted = promql::selections(&asked.expr, &asked.range, &EvalOptions::default());
                let (start_ms, end_ms) = (
                    wanted.iter().map(|selection| selection.start_ms).min().expect("selects"),
                    wanted.iter().map(|selection| selection.end_ms).max().expect("selects"),
                );
                assert!(end_ms == 40 * DAY_MS && end_ms - start_ms >= range_ms, "{}", measure.key);
            }
        }
    }
}
