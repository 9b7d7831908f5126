//! What the store knows of clusters that advice goes by.

use std::collections::BTreeMap;

use super::{Survey, SurveyError, measured};
use crate::advise::{self, Comparison, Figured, Judged, Listed, LocalMember, Sources};
use crate::compare::{Measure, all_measures};
use crate::inspect::{Inspection, ListedMember};
use crate::model::{
    Advice, BackupState, BenchStanding, ClusterName, DiskStanding, Help, Instance, Labels, METRIC_NAME,
    ReadingRow,
};
use crate::promql::{self, EvalOptions, EvalRange};
use crate::store::key::{Prefix, SequenceKey};
use crate::store::{Store, samples, sequence};

/// A sample in five minutes, and one more for those that came late.
const LOOKBACK_MS: i64 = 660_000;

/// The flags of one member.
type Settings = BTreeMap<String, String>;

/// All that is known beside series, of all clusters; read once.
pub struct Knowledge {
    rows: Vec<ReadingRow>,
    lists: BTreeMap<ClusterName, Vec<Listed>>,
    settings: BTreeMap<SequenceKey, Settings>,
    backups: BTreeMap<ClusterName, BackupState>,
    benches: BTreeMap<ClusterName, Vec<BenchStanding>>,
    disks: BTreeMap<ClusterName, Vec<DiskStanding>>,
}

/// What the caller knows of a cluster, and the store does not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told<'a> {
    /// The members on this machine, of whichever cluster.
    pub locals: &'a [LocalMember],
    /// Whether the job makes backups of it; `None` where the configuration is not known.
    pub is_backed_up: Option<bool>,
    /// How many channels there are; `None` where the configuration is not known.
    pub channels: Option<usize>,
}

impl Survey<'_> {
    /// Reads what advice goes by, beside series.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn knowledge(&self, now_ms: i64) -> Result<Knowledge, SurveyError> {
        let brief = self.brief(now_ms).await?;
        let inspections = sequence::all_latest::<Inspection>(self.store, &Prefix::inspections()).await?;
        let settings = sequence::all_latest::<Settings>(self.store, &Prefix::settings()).await?;
        let backups = sequence::all_latest::<BackupState>(self.store, &Prefix::backup_states()).await?;
        Ok(Knowledge {
            rows: brief.clusters.into_iter().flat_map(|cluster| cluster.rows).collect(),
            lists: inspections
                .into_iter()
                .map(|(_, _, found)| (found.cluster.clone(), listed(&found)))
                .collect(),
            settings: settings.into_iter().map(|(key, _, settings)| (key, settings)).collect(),
            backups: backups.into_iter().map(|(_, _, state)| (state.cluster.clone(), state)).collect(),
            benches: super::benches::standings(self.store, now_ms).await?,
            disks: super::disks::standings(self.store, now_ms).await?,
        })
    }

    /// What every rule says of one cluster.
    ///
    /// # Errors
    /// When the store cannot be read or a rule cannot be evaluated.
    pub async fn judged(
        &self,
        cluster: &ClusterName,
        knowledge: &Knowledge,
        told: Told<'_>,
        now_ms: i64,
    ) -> Result<Judged, SurveyError> {
        let options = EvalOptions { lookback_ms: LOOKBACK_MS, ..self.options };
        let at = EvalRange::instant(now_ms);
        let parse = |source| SurveyError::Parse { panel: "advice".to_owned(), source };
        let questions = advise::questions(cluster).map_err(parse)?;
        let wanted: Vec<_> =
            questions.iter().flat_map(|(_, expr)| promql::selections(expr, &at, &options)).collect();
        let loaded = samples::load_coarse(self.store, &wanted, options.max_samples).await?;
        let rows: Vec<ReadingRow> =
            knowledge.rows.iter().filter(|row| row.cluster == *cluster).cloned().collect();
        let is_of_it = |local: &&LocalMember| rows.iter().any(|row| row.instance == local.instance);
        let locals: Vec<LocalMember> = told.locals.iter().filter(is_of_it).cloned().collect();
        let of_member = |row: &ReadingRow| {
            let settings = knowledge.settings.get(&SequenceKey::settings(row.instance.as_str()))?;
            Some((row.instance.clone(), settings.clone()))
        };
        let settings: BTreeMap<Instance, Settings> = rows.iter().filter_map(of_member).collect();
        let sources = Sources {
            rows: &rows,
            listed: knowledge.lists.get(cluster).cloned().unwrap_or_default(),
            settings,
            locals: &locals,
            disks: knowledge.disks.get(cluster).map(Vec::as_slice).unwrap_or_default(),
            benches: knowledge.benches.get(cluster).map(Vec::as_slice).unwrap_or_default(),
            backups: knowledge.backups.get(cluster),
            is_backed_up: told.is_backed_up,
            channels: told.channels,
        };
        advise::judge(cluster, &sources, &loaded.series, now_ms, &options).map_err(|source| {
            SurveyError::Eval { panel: "advice".to_owned(), cluster: cluster.clone(), source }
        })
    }
}

/// The most common member list.
fn listed(inspection: &Inspection) -> Vec<Listed> {
    let first = inspection.lists.lists.first();
    let members = first.map(|(_, members)| members.as_slice()).unwrap_or_default();
    let urls = |member: &ListedMember| Listed {
        peer_urls: member.peer_urls.clone(),
        client_urls: member.client_urls.clone(),
    };
    members.iter().map(urls).collect()
}

/// Measures what is due to say whether what was done helped, and puts it into `advice`.
///
/// # Errors
/// When the store cannot be read or a measure cannot be evaluated.
pub async fn measure_help(
    store: &Store,
    options: EvalOptions,
    advice: &mut Advice,
) -> Result<(), SurveyError> {
    let due = advise::compared(advice);
    if due.is_empty() {
        return Ok(());
    }
    let measures = all_measures();
    for comparison in due {
        let Some(measure) = measures.iter().find(|measure| measure.key == comparison.measure) else {
            continue;
        };
        let help = help(store, options, &advice.cluster, measure, &comparison).await?;
        if let Some(item) = advice.items.iter_mut().find(|item| item.rule == comparison.rule) {
            item.help = Some(help);
        }
    }
    Ok(())
}

async fn help(
    store: &Store,
    options: EvalOptions,
    cluster: &ClusterName,
    measure: &Measure,
    comparison: &Comparison,
) -> Result<Help, SurveyError> {
    let figure = async |end_ms: i64| {
        let one = std::slice::from_ref(measure);
        let found = measured(store, options, cluster, one, comparison.span_ms, end_ms).await?;
        Ok::<_, SurveyError>(found.get(&measure.key).map(|figure| figure.value))
    };
    let (before, after) = (figure(comparison.before_end_ms).await?, figure(comparison.after_end_ms).await?);
    let figured = Figured { title: &measure.title, worse: measure.worse, text: &|value| measure.text(value) };
    Ok(comparison.help(&figured, before, after))
}

/// The series of an advice: the score, its terms, and how much is open.
pub fn advice_series(advice: &Advice) -> Vec<(Labels, f64)> {
    let labels = |name: &str, more: &[(&str, &str)]| {
        let own = [(METRIC_NAME, name), ("cluster", advice.cluster.as_str())];
        Labels::from_pairs(own.into_iter().chain(more.iter().copied()))
    };
    let mut series = Vec::new();
    let score = advice.score.value.map(f64::from);
    series.extend(score.map(|score| (labels("etcd_monitor_health_score", &[]), score)));
    for term in &advice.score.terms {
        let points = term.points.map(f64::from);
        let of_term = |points| (labels("etcd_monitor_health_score_points", &[("term", &term.name)]), points);
        series.extend(points.map(of_term));
    }
    for area in crate::model::AdviceArea::ALL {
        let open = advice.open().filter(|item| item.area == area).count();
        series.push((labels("etcd_monitor_advice_open", &[("area", area.as_str())]), open as f64));
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rules_compare_can_be_measured() {
        let measures = all_measures();
        let named = advise::rules().iter().filter_map(|rule| rule.measure.as_deref());
        let missing: Vec<&str> =
            named.filter(|key| measures.iter().all(|measure| measure.key != *key)).collect();
        assert_eq!(missing, Vec::<&str>::new());
    }
}
