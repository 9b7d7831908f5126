//! The metrics around an instant: what the store has of them before and after, compared.

use serde::Serialize;

use super::SurveyError;
use crate::correlate::{Shift, Subject, Window, of_series, strongest};
use crate::model::ClusterName;
use crate::model::catalogue::catalogue;
use crate::promql::{self, EvalOptions, EvalRange, Expr};
use crate::report::{figures, panels};
use crate::store::{Store, samples};

/// While raw samples are kept: five minutes on each side, a point every 30 s.
const NEAR: Grid = Grid { span_ms: 300_000, step_ms: 30_000, rate_range: "[1m]" };
/// Afterwards there are five-minute rollups: half an hour on each side.
const FAR: Grid = Grid { span_ms: 1_800_000, step_ms: 300_000, rate_range: "[5m]" };
/// The ranges that the catalogue's expressions are written with.
const WRITTEN_RANGE: &str = "[5m]";

#[derive(Debug, Clone, Copy)]
struct Grid {
    span_ms: i64,
    step_ms: i64,
    /// Rates are taken over so long: much longer, and the points before and after would share their samples.
    rate_range: &'static str,
}

/// The metrics that moved at an instant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Around {
    /// What was compared.
    pub window: Window,
    /// How many series had points on both sides or one of them.
    pub series_compared: usize,
    /// Those that moved by more than noise, the most remarkable first.
    pub shifts: Vec<Shift>,
}

/// Compares every metric of the catalogue before and after `at_ms`; of what moved, the `most` remarkable, those of
/// `instance` first.
///
/// # Errors
/// When the store cannot be read or an expression cannot be evaluated.
pub async fn around(
    store: &Store,
    options: EvalOptions,
    cluster: &ClusterName,
    instance: Option<&str>,
    at_ms: i64,
    most: usize,
) -> Result<Around, SurveyError> {
    let near = compare(store, options, cluster, at_ms, NEAR).await?;
    let mut found = match near.series_compared {
        0 => compare(store, options, cluster, at_ms, FAR).await?,
        _ => near,
    };
    found.shifts = strongest(found.shifts, instance, most);
    Ok(found)
}

async fn compare(
    store: &Store,
    options: EvalOptions,
    cluster: &ClusterName,
    at_ms: i64,
    grid: Grid,
) -> Result<Around, SurveyError> {
    let range = EvalRange {
        start_ms: at_ms.saturating_sub(grid.span_ms),
        end_ms: at_ms.saturating_add(grid.span_ms),
        step_ms: grid.step_ms,
    };
    let mut queries: Vec<(Subject<'_>, Expr)> = Vec::new();
    // A histogram's buckets say nothing that its quantiles do not, and a day has no before and after.
    // What is measured over an hour moves too late, and what grows with the clock moves always.
    let tells = |panel: &&crate::report::Panel| {
        panel.step_ms <= FAR.step_ms && !panel.promql.contains("[1h]") && !panel.promql.contains("time()")
    };
    let is_figure = |panel: &&crate::report::Panel| panels().iter().all(|chart| chart.id != panel.id);
    for panel in panels().iter().chain(figures().iter().filter(is_figure)).filter(tells) {
        let Some(metric) = catalogue().get(&panel.id) else { continue };
        let text = panel.for_cluster(cluster).replace(WRITTEN_RANGE, grid.rate_range);
        let expr =
            promql::parse(&text).map_err(|source| SurveyError::Parse { panel: panel.id.clone(), source })?;
        let subject =
            Subject { id: &metric.id, title: &metric.title, unit: metric.unit, worse: metric.worse };
        queries.push((subject, expr));
    }
    let selections: Vec<_> =
        queries.iter().flat_map(|(_, expr)| promql::selections(expr, &range, &options)).collect();
    let loaded = samples::load(store, &selections, options.max_samples).await?;
    let window = Window { at_ms, span_ms: grid.span_ms };
    let mut found = Around { window, series_compared: 0, shifts: Vec::new() };
    for (subject, expr) in &queries {
        let series = promql::eval_range(expr, &loaded.series, &range, &options).map_err(|source| {
            SurveyError::Eval { panel: subject.id.to_owned(), cluster: cluster.clone(), source }
        })?;
        found.series_compared += series.len();
        found.shifts.extend(series.iter().filter_map(|one| of_series(*subject, one, window)));
    }
    Ok(found)
}
