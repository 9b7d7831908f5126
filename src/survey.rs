//! What the store says of the fleet now: the input of the report, of `status` and of the live file.
//!
//! Owns: which tables, sequences and queries that takes, and how far back. Refuses: rendering and judging
//! (`report`), and reading etcd.

mod advice;
mod around;
mod benches;
mod capacity;
mod disks;
mod measures;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

pub use advice::{Knowledge, Told, advice_series, measure_help};
pub use around::{Around, around};
pub use capacity::forecasts;
pub use measures::measured;

use crate::alert::{Silence, SilenceSource, Silences};
use crate::inspect::Inspection;
use crate::inspect::said::{self, Line, Tone};
use crate::model::catalogue::catalogue;
use crate::model::{
    BackupState, ClusterName, Incident, METRIC_NAME, Matcher, ReadingRow, Selection, Series, SeriesSet,
    SeriesSource as _,
};
use crate::promql::{self, EvalOptions, EvalRange, Expr};
use crate::report::refresh::Due;
use crate::report::{CareLine, ClusterInput, FLEET_PANELS, Input, Panel, day_states, figures, panels};
use crate::rules::RuleBook;
use crate::store::key::Prefix;
use crate::store::{Store, StoreError, events, ledger, readings, samples, sequence};

/// How far back the newest reading of a cluster is looked for: what is older is a forgotten cluster.
const READING_REACH_MS: i64 = 2 * 86_400_000;

/// Resolved incidents older than this are history, not news; the strip of days needs them this long.
const INCIDENT_REACH_MS: i64 = 90 * 86_400_000;

/// Below this age a cluster's charts show its whole history.
const YOUNG_MS: i64 = 2 * 3_600_000;
/// The oldest reading of two hours may be this much younger than they are: readings have pauses.
const PAUSE_MS: i64 = 10 * 60_000;
const CHART_STEPS: i64 = 288;

/// A metric of etcd that was not scraped for so long is not there.
const SCRAPED_REACH_MS: i64 = 5 * 60_000;
/// And one of our own jobs.
const WRITTEN_REACH_MS: i64 = 3 * 3_600_000;

const DAYS: usize = 90;
const DAY_MS: i64 = 86_400_000;
/// The step of a day's chart.
const DAY_STEP_MS: i64 = 300_000;

/// A configured cluster, as far as a survey needs to know it.
#[derive(Debug, Clone)]
pub struct Subject {
    pub name: ClusterName,
    pub tags: BTreeMap<String, String>,
}

/// What every survey needs.
pub struct Survey<'a> {
    pub store: &'a Store,
    pub clusters: &'a [Subject],
    pub rules: &'a RuleBook,
    /// How often readings are expected, ms.
    pub expected_interval_ms: i64,
    pub options: EvalOptions,
    /// Silences beside those of the store.
    pub standing: Arc<dyn SilenceSource>,
}

/// Why a survey failed.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    #[error("panel {panel}: the expression does not parse")]
    Parse { panel: String, source: promql::ParseError },
    #[error("panel {panel} of {cluster}")]
    Eval { panel: String, cluster: ClusterName, source: promql::EvalError },
}

impl Survey<'_> {
    /// Readings, incidents and job runs: all that `status` shows. No panels.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn brief(&self, now_ms: i64) -> Result<Input, SurveyError> {
        let mut recent = readings::range(self.store, None, now_ms - YOUNG_MS, now_ms + DAY_MS).await?;
        // Two days of readings are read only for clusters that went silent.
        let is_silent = |subject: &Subject| !recent.iter().any(|row| row.cluster == subject.name);
        if self.clusters.iter().any(is_silent) {
            let older = (now_ms - READING_REACH_MS, now_ms - YOUNG_MS);
            recent.extend(readings::latest(self.store, older.0, older.1).await?);
        }
        let incidents = self.incidents(now_ms).await?;
        let mut input = self.of(&newest(&recent), &incidents, now_ms);
        for cluster in &mut input.clusters {
            let first = recent.iter().filter(|row| row.cluster == cluster.name).map(|row| row.ts_ms).min();
            self.shorten_young(cluster, first, input.data_through_ms);
        }
        input.job_runs = ledger::latest(self.store, now_ms - READING_REACH_MS).await?;
        Ok(input)
    }

    /// The newest state of every incident, with the silences of `now_ms`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn incidents(&self, now_ms: i64) -> Result<Vec<Incident>, SurveyError> {
        let incidents = sequence::all_latest::<Incident>(self.store, &Prefix::incidents()).await?;
        let silences = sequence::all_latest::<Silence>(self.store, &Prefix::silences()).await?;
        let stored = silences.into_iter().map(|(_, _, silence)| silence);
        let silences = Silences::new(stored.chain(self.standing.silences(now_ms)));
        let mark = |incident: Incident| {
            let by = silences.silencer(&incident.labels, now_ms).filter(|_| incident.state.is_active());
            Incident { silenced_by: by.map(|silence| silence.id.clone()), ..incident }
        };
        Ok(incidents.into_iter().map(|(_, _, incident)| mark(incident)).collect())
    }

    /// What `rows`, the newest of each cluster, and `incidents` say.
    pub fn of(&self, rows: &[ReadingRow], incidents: &[Incident], now_ms: i64) -> Input {
        let clusters = self.clusters.iter().map(|subject| self.cluster(subject, rows, incidents, now_ms));
        Input {
            data_through_ms: rows.iter().map(|row| row.ts_ms).max().unwrap_or(now_ms),
            made_ms: now_ms,
            expected_interval_ms: self.expected_interval_ms,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            clusters: clusters.collect(),
            job_runs: Vec::new(),
            history: Vec::new(),
        }
    }

    /// [`Self::brief`] with the events of the last day: all that decides whether a page is due.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn sight(&self, now_ms: i64) -> Result<Input, SurveyError> {
        let mut input = self.brief(now_ms).await?;
        let through_ms = input.data_through_ms;
        let filter = events::Filter {
            start_ms: through_ms - DAY_MS,
            end_ms: through_ms + DAY_MS,
            ..events::Filter::default()
        };
        for event in events::query(self.store, &filter).await? {
            let of = input.clusters.iter_mut().find(|cluster| cluster.name == event.cluster);
            if let Some(cluster) = of {
                cluster.events.push(event);
            }
        }
        Ok(input)
    }

    fn cluster(
        &self,
        subject: &Subject,
        rows: &[ReadingRow],
        incidents: &[Incident],
        now_ms: i64,
    ) -> ClusterInput {
        let mut input = ClusterInput::new(subject.name.clone());
        input.tags.clone_from(&subject.tags);
        input.rows = rows.iter().filter(|row| row.cluster == subject.name).cloned().collect();
        let of_cluster = incidents.iter().filter(|i| i.cluster() == Some(subject.name.as_str()));
        let recent = of_cluster.filter(|i| i.state.is_active() || now_ms - i.changed_ms <= INCIDENT_REACH_MS);
        input.incidents = recent.cloned().collect();
        input.rules_total = self.rules.alerts_total();
        input
    }

    /// All that the site shows.
    ///
    /// # Errors
    /// When the store cannot be read or a panel cannot be evaluated.
    pub async fn full(&self, now_ms: i64) -> Result<Input, SurveyError> {
        let input = self.sight(now_ms).await?;
        let due = Due::all(&input);
        self.complete(input, &due).await
    }

    /// What a sight lacks for the pages that are due: the panels, the days, and the events of the last weeks. Of the
    /// clusters whose page is not, what the fleet's page shows of them.
    ///
    /// # Errors
    /// When the store cannot be read or a panel cannot be evaluated.
    pub async fn complete(&self, mut input: Input, due: &Due) -> Result<Input, SurveyError> {
        let through_ms = input.data_through_ms;
        let filter = events::Filter {
            start_ms: through_ms - Input::HISTORY_MS,
            end_ms: through_ms + DAY_MS,
            limit: Some(Input::HISTORY_MAX),
            ..events::Filter::default()
        };
        input.history = events::query(self.store, &filter).await?;
        let mut clusters = std::mem::take(&mut input.clusters);
        self.care(&mut clusters, through_ms).await?;
        for (_, _, state) in sequence::all_latest::<BackupState>(self.store, &Prefix::backup_states()).await?
        {
            if let Some(cluster) = clusters.iter_mut().find(|cluster| cluster.name == state.cluster) {
                cluster.backups = Some(state);
            }
        }
        for (name, standings) in benches::standings(self.store, through_ms).await? {
            if let Some(cluster) = clusters.iter_mut().find(|cluster| cluster.name == name) {
                cluster.benches = standings;
            }
        }
        for (name, standings) in disks::standings(self.store, through_ms).await? {
            if let Some(cluster) = clusters.iter_mut().find(|cluster| cluster.name == name) {
                cluster.disks = standings;
            }
        }
        for advice in crate::store::advice::all(self.store).await? {
            if let Some(cluster) = clusters.iter_mut().find(|cluster| cluster.name == advice.cluster) {
                cluster.advice = Some(advice);
            }
        }
        // A few clusters at once: each holds a day of its series in memory.
        let fill =
            |cluster: ClusterInput| self.fill(due.clusters.contains(&cluster.name), cluster, through_ms);
        let filled = stream::iter(clusters).map(fill).buffered(4);
        input.clusters = filled.try_collect().await?;
        Ok(input)
    }

    /// What the newest inspections found.
    async fn care(&self, clusters: &mut [ClusterInput], now_ms: i64) -> Result<(), SurveyError> {
        let newest = sequence::all_latest::<Inspection>(self.store, &Prefix::inspections()).await?;
        for (_, _, inspection) in newest {
            let Some(cluster) = clusters.iter_mut().find(|cluster| cluster.name == inspection.cluster) else {
                continue;
            };
            let class = |tone: Tone| match tone {
                Tone::Good => "ok",
                Tone::Unknown => "unknown",
                Tone::Warning => "warn",
                Tone::Bad => "crit",
            };
            let lines = said::lines(&inspection, now_ms).into_iter();
            let line = |Line { what, text, tone, ts_ms }| CareLine { what, text, class: class(tone), ts_ms };
            cluster.care = lines.map(line).collect();
        }
        Ok(())
    }

    /// A cluster that is watched for less than two hours gets charts as long as its history, in steps as fine as
    /// its scrapes: a day with one dot at its end would tell nothing.
    fn shorten_young(&self, cluster: &mut ClusterInput, first_ms: Option<i64>, through_ms: i64) {
        let age_ms = first_ms.map(|first_ms| through_ms - first_ms);
        let Some(age_ms) = age_ms.filter(|age| *age < YOUNG_MS - PAUSE_MS) else { return };
        cluster.chart_range_ms = age_ms.max(10 * self.expected_interval_ms);
        let steps = cluster.chart_range_ms / CHART_STEPS;
        cluster.chart_step_ms = steps.max(self.expected_interval_ms);
    }

    async fn fill(
        &self,
        is_due: bool,
        mut cluster: ClusterInput,
        through_ms: i64,
    ) -> Result<ClusterInput, SurveyError> {
        let shown = |panel: &&Panel| is_due || FLEET_PANELS.contains(&panel.id.as_str());
        let of_panels =
            panels().iter().filter(shown).map(|panel| (panel, range(panel, &cluster, through_ms)));
        let of_panels = queries(&cluster.name, of_panels)?;
        let now = EvalRange::instant(through_ms);
        let of_figures = figures().iter().filter(|_| is_due).map(|figure| (figure, now));
        let of_figures = queries(&cluster.name, of_figures)?;
        let looked_for = if is_due { self.looked_for(&cluster.name, through_ms) } else { Vec::new() };
        // All at once: opening the files costs more than what one of them wants of it.
        let mut selections = self.selections(&of_panels);
        selections.extend(self.selections(&of_figures));
        selections.extend(looked_for.iter().cloned());
        let loaded = samples::load(self.store, &selections, self.options.max_samples).await?.series;
        cluster.panels = self.evaluate(&cluster.name, &of_panels, &loaded)?;
        if is_due {
            cluster.figures = self.evaluate(&cluster.name, &of_figures, &loaded)?;
            cluster.speechless = self.speechless_of(&cluster.name, &looked_for, &loaded).unwrap_or_default();
        }
        let panel = |id: &str| cluster.panels.get(id).map_or(&[][..], Vec::as_slice);
        let (quorum, members, checks) = (panel("day_quorum"), panel("day_members"), panel("day_checks"));
        cluster.days = day_states(quorum, members, checks, &cluster.incidents, through_ms, DAYS);
        Ok(cluster)
    }

    /// The alerts that cannot speak of a cluster, and why; `None` while nothing fresh of it is stored, for
    /// then nobody knows what it has.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn speechless(
        &self,
        cluster: &ClusterName,
        through_ms: i64,
    ) -> Result<Option<Vec<(String, String)>>, SurveyError> {
        let looked_for = self.looked_for(cluster, through_ms);
        let loaded = samples::load(self.store, &looked_for, self.options.max_samples).await?;
        Ok(self.speechless_of(cluster, &looked_for, &loaded.series))
    }

    /// The metrics that rules read of a cluster, each as long ago as it may have been seen last.
    fn looked_for(&self, cluster: &ClusterName, through_ms: i64) -> Vec<Selection> {
        let selection = |metric: &String| {
            // What jobs write comes once an hour at least.
            let is_own = metric.starts_with("etcd_monitor_");
            let reach_ms =
                if is_own { WRITTEN_REACH_MS } else { SCRAPED_REACH_MS.max(3 * self.expected_interval_ms) };
            Selection {
                matchers: vec![
                    Matcher::equal("cluster", cluster.as_str()),
                    Matcher::equal(METRIC_NAME, metric),
                ],
                start_ms: through_ms - reach_ms,
                end_ms: through_ms + self.expected_interval_ms,
            }
        };
        self.rules.metrics_of(cluster.as_str()).iter().map(selection).collect()
    }

    fn speechless_of(
        &self,
        cluster: &ClusterName,
        looked_for: &[Selection],
        loaded: &SeriesSet,
    ) -> Option<Vec<(String, String)>> {
        let is_there = |selection: &&Selection| loaded.select(selection).is_ok_and(|found| !found.is_empty());
        let name = |selection: &Selection| selection.demanded(METRIC_NAME).map(str::to_owned);
        let present: BTreeSet<String> = looked_for.iter().filter(is_there).filter_map(name).collect();
        if present.is_empty() {
            return None;
        }
        let found = self.rules.speechless(cluster.as_str(), &present).into_iter();
        Some(found.map(|(alert, why)| (alert, why.to_string())).collect())
    }

    /// What the figures of the layers are at `at_ms`, by id.
    ///
    /// # Errors
    /// When the store cannot be read or an expression cannot be evaluated.
    pub async fn figures(
        &self,
        cluster: &ClusterName,
        at_ms: i64,
    ) -> Result<BTreeMap<String, Vec<Series>>, SurveyError> {
        let at = EvalRange::instant(at_ms);
        let queries = queries(cluster, figures().iter().map(|figure| (figure, at)))?;
        let selections = self.selections(&queries);
        let loaded = samples::load(self.store, &selections, self.options.max_samples).await?;
        self.evaluate(cluster, &queries, &loaded.series)
    }

    fn selections(&self, queries: &[Query<'_>]) -> Vec<Selection> {
        let of_query =
            |(_, expr, range): &Query<'_>| promql::selections(expr, range, &self.options).into_iter();
        queries.iter().flat_map(of_query).collect()
    }

    fn evaluate(
        &self,
        cluster: &ClusterName,
        queries: &[Query<'_>],
        loaded: &SeriesSet,
    ) -> Result<BTreeMap<String, Vec<Series>>, SurveyError> {
        let evaluated = queries.iter().map(|(panel, expr, range)| {
            promql::eval_range(expr, loaded, range, &self.options)
                .map(|series| (panel.id.clone(), series))
                .map_err(|source| SurveyError::Eval {
                    panel: panel.id.clone(),
                    cluster: cluster.clone(),
                    source,
                })
        });
        evaluated.collect()
    }
}

/// A panel of one cluster, ready to be evaluated.
type Query<'a> = (&'a Panel, Expr, EvalRange);

fn queries<'a>(
    cluster: &ClusterName,
    wanted: impl Iterator<Item = (&'a Panel, EvalRange)>,
) -> Result<Vec<Query<'a>>, SurveyError> {
    let query = |(panel, range): (&'a Panel, EvalRange)| {
        let parsed = promql::parse(&panel.for_cluster(cluster));
        let expr = parsed.map_err(|source| SurveyError::Parse { panel: panel.id.clone(), source })?;
        Ok((panel, expr, range))
    };
    wanted.map(query).collect()
}

/// Steps lie on multiples of the step, so that a chart does not change with every second; the newest
/// instant is one more step.
fn range(panel: &Panel, cluster: &ClusterInput, through_ms: i64) -> EvalRange {
    let day = panel.range_ms == DAY_MS;
    // The heatmap's columns are wider than the lines' steps, in the same proportion at every length.
    let step_ms = if day { cluster.chart_step_ms * panel.step_ms / DAY_STEP_MS } else { panel.step_ms };
    let range_ms = if day { cluster.chart_range_ms } else { panel.range_ms };
    let end_ms = through_ms.div_euclid(step_ms) * step_ms + step_ms;
    EvalRange { start_ms: end_ms - range_ms - step_ms, end_ms, step_ms }
}

/// The rows of the newest reading of each cluster.
fn newest(rows: &[ReadingRow]) -> Vec<ReadingRow> {
    let mut newest_ms: BTreeMap<&ClusterName, i64> = BTreeMap::new();
    for row in rows {
        let ts_ms = newest_ms.entry(&row.cluster).or_insert(row.ts_ms);
        *ts_ms = row.ts_ms.max(*ts_ms);
    }
    rows.iter().filter(|row| newest_ms.get(&row.cluster) == Some(&row.ts_ms)).cloned().collect()
}

/// The clusters that have a reading in the store.
///
/// # Errors
/// When the store cannot be read.
pub async fn in_store(store: &Store, now_ms: i64) -> Result<BTreeSet<ClusterName>, StoreError> {
    let rows = readings::latest(store, now_ms - READING_REACH_MS, now_ms + DAY_MS).await?;
    Ok(rows.into_iter().map(|row| row.cluster).collect())
}

/// The metrics that are rolled up: those that the catalogue's entries read, as far as they want it.
pub fn rollup_metrics() -> std::collections::HashSet<String> {
    let wanted = |panel: &&Panel| catalogue().get(&panel.id).is_some_and(|metric| metric.rollup);
    let parsed = panels().iter().chain(figures()).filter(wanted);
    let parsed = parsed.filter_map(|panel| promql::parse(&panel.promql).ok());
    parsed.flat_map(|expr| expr.metric_names()).collect()
}
