//! `status`: clusters, members, active incidents, and how old the data is.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::tags::Tags;
use super::{Global, Stop, open_with_found, output};
use crate::config::{Config, Overrides};
use crate::inspect::Inspection;
use crate::inspect::said::{of_certificates, of_hash, of_lists};
use crate::model::support::{MINORS, Support, support};
use crate::model::unit::{human_bytes, human_span, rfc3339};
use crate::model::{ClusterName, Incident, Instance, ReadingRow, Structure};
use crate::report::{ClusterInput, Input, STALE_INTERVALS, layers, verdict};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::store::key::Prefix;
use crate::store::{Store, sequence};
use crate::survey::{Subject, in_store};

#[derive(Debug, Args)]
pub struct Status {
    /// Only this cluster, with the figures of each layer
    cluster: Option<ClusterName>,
    #[command(flatten)]
    tags: Tags,
    /// With the figures of each layer, and why some are not known
    #[arg(short, long)]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let (config, store) = open_with_found(global.load(Overrides::store_only())?).await?;
        let now_ms = Clock::System.now_ms();
        let subjects = self.tags.choose(subjects(&config, &store, now_ms).await?)?;
        let survey = config.survey(&store, &subjects);
        let mut input = survey.brief(now_ms).await.map_err(anyhow::Error::from)?;
        if let Some(wanted) = &self.cluster {
            input.clusters.retain(|cluster| cluster.name == *wanted);
            if input.clusters.is_empty() {
                return Err(Stop::Usage(format!(
                    "there is no cluster {wanted}, neither configured nor in the store"
                )));
            }
        }
        // The report's "now" is its data; a person at a terminal asks about the present.
        let mut as_of_now = Input { data_through_ms: now_ms, ..input };
        for cluster in &mut as_of_now.clusters {
            let through_ms = cluster.rows.iter().map(|row| row.ts_ms).max().unwrap_or(now_ms);
            cluster.figures = survey.figures(&cluster.name, through_ms).await.map_err(anyhow::Error::from)?;
        }
        let inspections = inspections(&store).await?;
        if self.json {
            output::json(&to_json(&config, &as_of_now, &inspections))?;
        } else {
            let figures = match (self.verbose, &self.cluster) {
                (true, _) => Figures::All,
                (false, Some(_)) => Figures::Known,
                (false, None) => Figures::None,
            };
            print(&config, &as_of_now, &inspections, figures);
        }
        Ok(Exit::Ok.into())
    }
}

/// The configured clusters and those the store has readings of: a person at another machine than the daemon's
/// sees them without the daemon's configuration.
pub(super) async fn subjects(config: &Config, store: &Store, now_ms: i64) -> anyhow::Result<Vec<Subject>> {
    let mut subjects = config.subjects();
    for name in in_store(store, now_ms).await? {
        if subjects.iter().all(|subject| subject.name != name) {
            subjects.push(Subject { name, tags: BTreeMap::new() });
        }
    }
    Ok(subjects)
}

/// The newest inspection of each cluster.
async fn inspections(store: &Store) -> anyhow::Result<BTreeMap<ClusterName, Inspection>> {
    let newest = sequence::all_latest::<Inspection>(store, &Prefix::inspections()).await?;
    Ok(newest.into_iter().map(|(_, _, inspection)| (inspection.cluster.clone(), inspection)).collect())
}

/// How much of each layer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figures {
    None,
    Known,
    All,
}

/// One line per layer, and its figures below.
fn print_layers(cluster: &ClusterInput, input: &Input, figures: Figures) {
    if cluster.rows.is_empty() {
        return;
    }
    let name = |instance: &str| name_of(cluster, instance);
    for view in layers(&cluster.rows, &cluster.figures, is_stale(cluster, input), &name) {
        let says = if view.says.is_empty() { String::new() } else { format!("  {}", view.says.join("; ")) };
        output::line(format_args!("  {:<8}{}{says}", view.layer.title(), view.condition.as_str()));
        for figure in &view.figures {
            match (figures, figure.missing) {
                (Figures::None, _) | (Figures::Known, Some(_)) => {}
                (_, None) => output::line(format_args!("    {:<22}{}", figure.title, figure.text())),
                (Figures::All, Some(why)) => output::line(format_args!("    {:<22}- {why}", figure.title)),
            }
        }
    }
}

/// As the pages have it.
fn is_stale(cluster: &ClusterInput, input: &Input) -> bool {
    let newest = cluster.rows.iter().map(|row| row.ts_ms).max();
    newest.is_none_or(|newest_ms| {
        input.data_through_ms - newest_ms > STALE_INTERVALS * input.expected_interval_ms
    })
}

fn name_of(cluster: &ClusterInput, instance: &str) -> String {
    let row = cluster.rows.iter().find(|row| row.instance.as_str() == instance);
    row.and_then(|row| row.name.clone()).unwrap_or_else(|| instance.to_owned())
}

/// Who follows the leader, and who does not hear whom.
fn of_structure(cluster: &ClusterInput) -> Option<String> {
    if cluster.rows.iter().all(|row| !row.reachable) {
        return None;
    }
    let structure = Structure::of(&cluster.rows);
    let margin = match structure.margin {
        1.. => format!("{} may stop", structure.margin),
        0 => "none may stop".to_owned(),
        _ => "the quorum is lost".to_owned(),
    };
    let name = |instance: &Instance| name_of(cluster, instance.as_str());
    let partition =
        structure.partition(&name).map(|partition| format!("; members do not reach each other: {partition}"));
    Some(format!(
        "{} of {} voters follow the leader, {margin}{}",
        structure.following,
        structure.voters,
        partition.unwrap_or_default()
    ))
}

/// What the newest inspection found, one line each.
fn inspected(inspection: &Inspection, now_ms: i64) -> Vec<String> {
    let ago = |at_ms: i64| human_span(now_ms.saturating_sub(at_ms));
    let lists = format!("inspected {} ago: {}", ago(inspection.ts_ms), of_lists(&inspection.lists));
    let hash = inspection.hash.as_ref().map(|hash| format!("{} ({} ago)", of_hash(hash), ago(hash.ts_ms)));
    [Some(lists), hash, of_certificates(inspection, now_ms)].into_iter().flatten().collect()
}

/// The members of which nobody knows whether this program understands them.
fn untested(cluster: &ClusterInput) -> Option<String> {
    let versions: BTreeSet<&str> = cluster.rows.iter().filter_map(|row| row.version.as_deref()).collect();
    let unknown: Vec<&str> =
        versions.into_iter().filter(|version| support(version) == Some(Support::Untested)).collect();
    let known: Vec<String> = MINORS.iter().map(|((major, minor), _)| format!("{major}.{minor}")).collect();
    let (unknown, known) =
        (Some(unknown).filter(|unknown| !unknown.is_empty())?.join(", "), known.join(", "));
    Some(format!(
        "warning: etcd {unknown} is not among the versions that etcd-monitor is tested with: {known}"
    ))
}

fn print(config: &Config, input: &Input, inspections: &BTreeMap<ClusterName, Inspection>, figures: Figures) {
    if input.clusters.is_empty() {
        output::note(
            "no cluster is configured and the store has no reading; start with: etcd-monitor run --endpoints …",
        );
    }
    for (n, cluster) in input.clusters.iter().enumerate() {
        if n > 0 {
            output::line("");
        }
        let verdict = verdict(&config.report, input, cluster);
        output::line(format_args!("{}  {}", cluster.name, verdict.headline));
        if !verdict.detail.is_empty() {
            output::line(format_args!("  {}", verdict.detail));
        }
        output::line(format_args!("  {}", age(cluster, input.data_through_ms)));
        if !cluster.rows.is_empty() {
            let header =
                ["member", "endpoint", "role", "version", "term", "lag", "db", "quota", "alarms", "error"];
            output::table(&header, cluster.rows.iter().map(|row| cells(row, &cluster.rows)).collect());
        }
        if let Some(said) = of_structure(cluster) {
            output::line(format_args!("  {said}"));
        }
        print_layers(cluster, input, figures);
        let inspection = inspections.get(&cluster.name);
        let found = inspection.map(|found| inspected(found, input.data_through_ms)).unwrap_or_default();
        for said in found.into_iter().chain(untested(cluster)) {
            output::line(format_args!("  {said}"));
        }
        let active: Vec<&Incident> = cluster.incidents.iter().filter(|i| i.state.is_active()).collect();
        if !active.is_empty() {
            let rows = active.iter().map(|incident| incident_cells(incident, input.data_through_ms));
            output::table(&["severity", "alert", "where", "state", "since"], rows.collect());
        }
    }
}

fn age(cluster: &ClusterInput, now_ms: i64) -> String {
    match cluster.rows.iter().map(|row| row.ts_ms).max() {
        Some(read_ms) => format!("read {} ago ({})", human_span(now_ms - read_ms), rfc3339(read_ms)),
        None => "never read".to_owned(),
    }
}

/// Entries that the member has still to apply, against the highest index any member reports.
fn lag(row: &ReadingRow, rows: &[ReadingRow]) -> Option<u64> {
    let highest = rows.iter().filter_map(|row| row.raft_index).max()?;
    row.raft_applied_index.map(|applied| highest.saturating_sub(applied))
}

fn cells(row: &ReadingRow, rows: &[ReadingRow]) -> Vec<String> {
    let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let share = row.db_size_bytes.zip(row.quota_bytes).filter(|(_, quota)| *quota > 0);
    vec![
        text(row.name.clone().or_else(|| row.member_id.map(|id| id.to_string()))),
        row.instance.to_string(),
        if row.reachable { row.role.as_str().to_owned() } else { "unreachable".to_owned() },
        text(row.version.clone()),
        text(row.raft_term.map(|term| term.to_string())),
        text(lag(row, rows).map(|lag| lag.to_string())),
        text(row.db_size_bytes.map(|bytes| human_bytes(bytes as f64))),
        text(share.map(|(size, quota)| format!("{:.0} %", size as f64 * 100.0 / quota as f64))),
        if row.alarms.is_empty() { "-".to_owned() } else { row.alarms.join(",") },
        row.errors.first().map(|error| error.message.clone()).unwrap_or_default(),
    ]
}

fn incident_cells(incident: &Incident, now_ms: i64) -> Vec<String> {
    vec![
        incident.severity.to_string(),
        incident.alert.clone(),
        incident.labels.get("instance").unwrap_or("cluster").to_owned(),
        incident.state_word().to_owned(),
        format!("{} ({})", human_span(now_ms - incident.active_since_ms), rfc3339(incident.active_since_ms)),
    ]
}

fn to_json(config: &Config, input: &Input, inspections: &BTreeMap<ClusterName, Inspection>) -> Value {
    let clusters = input.clusters.iter().map(|cluster| {
        let verdict = verdict(&config.report, input, cluster);
        let members = cluster.rows.iter().map(|row| {
            let mut member = json!(row);
            if let Some(object) = member.as_object_mut() {
                object.insert("apply_lag".to_owned(), json!(lag(row, &cluster.rows)));
            }
            member
        });
        json!({
            "name": cluster.name,
            "tags": cluster.tags,
            "verdict": verdict,
            "read_ms": cluster.rows.iter().map(|row| row.ts_ms).max(),
            "structure": Structure::of(&cluster.rows),
            "layers": layers(&cluster.rows, &cluster.figures, is_stale(cluster, input), &str::to_owned),
            "inspection": inspections.get(&cluster.name),
            "warnings": untested(cluster).into_iter().collect::<Vec<_>>(),
            "members": members.collect::<Vec<_>>(),
            "incidents": cluster.incidents.iter().filter(|i| i.state.is_active()).collect::<Vec<_>>(),
        })
    });
    json!({ "now_ms": input.data_through_ms, "clusters": clusters.collect::<Vec<_>>() })
}
