//! The JSON twins of the pages, for programs. Within `v1` fields are added, never changed or taken away.

use serde::Serialize;
use serde_json::{Value, json};

use super::facts::{Facts, limit_of};
use super::happened::Happened;
use super::pages::advice::to_json as advice_json;
use super::pages::backups::to_json as backups_json;
use super::pages::benches::to_json as benches_json;
use super::pages::cluster::{ClusterPage, EVENTS_MAX};
use super::pages::disks::to_json as disks_json;
use super::pages::events::CSV_PATH;
use super::pages::fleet::FleetPage;
use super::pages::layers::of as layers_of;
use super::pages::stale_after_ms;
use super::refresh::{fleet_next_ms, next_ms};
use super::verdict::of_facts;
use super::{ClusterInput, Input, ReportConfig, ReportError, Site, panels};
use crate::model::unit::rfc3339;

/// Where the small file lies that says how fresh everything is.
pub const LIVE_PATH: &str = "api/v1/live/fleet.json";

/// `api/v1/{index,fleet}.json`.
pub(crate) fn fleet(input: &Input, page: &FleetPage, site: &mut Site) -> Result<(), ReportError> {
    let shelf = Shelf { input, stale_after_ms: stale_after_ms(input, fleet_next_ms(input)) };
    let index: Vec<Value> = input
        .clusters
        .iter()
        .map(|c| json!({ "id": c.name, "name": c.name, "tags": c.tags, "href": format!("c/{}/index.html", c.name) }))
        .collect();
    shelf.put(site, "index", "index/v1", &json!({ "clusters": index }))?;
    let rows: Vec<Value> = page
        .rows
        .iter()
        .map(|row| {
            json!({
                "id": row.id, "state": row.state, "headline": row.headline,
                "voters_up": row.voters_up, "voters": row.voters, "leader": row.leader,
                "version": row.version, "alerts_active": row.alerts,
                "put_p99_seconds": row.put_p99.value, "wal_fsync_p99_worst_seconds": row.fsync_p99.value,
                "db_quota_used_ratio": row.db_ratio.value, "health_score": row.health_score,
                "far_from_median": {
                    "put_p99": row.put_p99.far, "wal_fsync_p99": row.fsync_p99.far, "db_quota_used": row.db_ratio.far,
                },
            })
        })
        .collect();
    let counts: serde_json::Map<String, Value> =
        page.counts.iter().map(|count| (count.key.to_owned(), count.count.into())).collect();
    let body = json!({ "worst": page.rows.first().map(|r| r.state), "counts": counts, "clusters": rows });
    shelf.put(site, "fleet", "fleet/v1", &body)
}

/// `api/v1/events.{json,csv}`.
pub(crate) fn events(input: &Input, history: &[Happened], site: &mut Site) -> Result<(), ReportError> {
    let shelf = Shelf { input, stale_after_ms: stale_after_ms(input, fleet_next_ms(input)) };
    let events: Vec<Value> = history.iter().map(Happened::to_json).collect();
    let body = json!({ "days": Input::HISTORY_MS / 86_400_000, "max": Input::HISTORY_MAX, "events": events });
    shelf.put(site, "events", "events/v1", &body)?;
    let mut csv = Happened::CSV_HEAD.to_owned();
    history.iter().for_each(|event| event.push_csv(&mut csv));
    site.insert(CSV_PATH.to_owned(), csv.into_bytes());
    Ok(())
}

/// [`LIVE_PATH`]: what pages show at first sight, without any history. The pages' script polls it, so that
/// they need not be made anew with every reading. `lifetime_ms` is how long after its data its successor is
/// there, if all is well.
///
/// # Errors
/// [`ReportError`], when it cannot be encoded.
pub fn live(config: &ReportConfig, input: &Input, lifetime_ms: i64) -> Result<Vec<u8>, ReportError> {
    let row = |cluster: &ClusterInput| {
        let facts = Facts::new(config, input, cluster);
        let members = match facts.rows.len() {
            0 => String::new(),
            _ => format!("{}/{}", facts.voters_up, facts.voters),
        };
        json!({
            "id": cluster.name, "state": of_facts(&facts).state.key(), "members": members,
            "leader": facts.leader_name().unwrap_or_else(|| "–".to_owned()), "alerts": facts.active.len(),
        })
    };
    let rows: Vec<Value> = input.clusters.iter().map(row).collect();
    let shelf = Shelf { input, stale_after_ms: input.data_through_ms + lifetime_ms };
    shelf.encode(LIVE_PATH, "live-fleet/v1", &json!({ "clusters": rows }))
}

/// `api/v1/clusters/<id>/*.json`.
pub(crate) fn cluster(
    config: &ReportConfig,
    input: &Input,
    cluster: &ClusterInput,
    page: &ClusterPage,
    site: &mut Site,
) -> Result<(), ReportError> {
    let at = |file: &str| format!("clusters/{}/{file}", cluster.name);
    let shelf = Shelf { input, stale_after_ms: stale_after_ms(input, next_ms(cluster, input.made_ms)) };
    let verdict = &page.verdict;
    let reasons: Vec<Value> = verdict
        .reasons
        .iter()
        .map(|r| json!({ "state": r.state, "text": r.text, "detail": r.detail, "since": r.since_ms.map(rfc3339), "runbook": r.runbook }))
        .collect();
    let facts = Facts::new(config, input, cluster);
    let health = json!({
        "id": cluster.name, "state": verdict.state, "headline": verdict.headline, "detail": verdict.detail,
        "since": verdict.since_ms.map(rfc3339), "reasons": reasons, "next_steps": verdict.steps,
        "read_at": cluster.rows.iter().map(|row| row.ts_ms).max().map(rfc3339),
        "days": cluster.days.iter().map(|day| json!({
            "date": rfc3339(day.day_ms).get(..10), "state": day.word, "quorum_ratio": day.quorum_ratio,
        })).collect::<Vec<_>>(),
        "quorum": { "voters": facts.structure.voters, "following": facts.structure.following, "margin": facts.structure.margin },
        "partition": facts.partition(),
        "inspection": cluster.care.iter().map(|line| json!({
            "what": line.what, "state": line.class, "text": facts.clean(&line.text), "at": rfc3339(line.ts_ms),
        })).collect::<Vec<_>>(),
        "layers": layers_of(&facts),
    });
    shelf.put(site, &at("health"), "health/v1", &health)?;
    shelf.put(site, &at("members"), "members/v1", &json!({ "members": members(config, &facts, page) }))?;
    shelf.put(site, &at("topology"), "topology/v1", &topology(page))?;
    shelf.put(site, &at("backups"), "backups/v1", &backups_json(&facts))?;
    shelf.put(site, &at("benchmarks"), "benchmarks/v1", &benches_json(&facts))?;
    shelf.put(site, &at("disks"), "disks/v1", &disks_json(&facts))?;
    shelf.put(site, &at("recommendations"), "recommendations/v1", &advice_json(&facts))?;
    let alerts: Vec<Value> = page
        .alerts
        .iter()
        .zip(&facts.active)
        .map(|(alert, incident)| {
            json!({
                "fingerprint": alert.fingerprint, "alert": alert.name, "severity": incident.severity,
                "state": incident.state, "summary": alert.summary, "where": alert.place,
                "since": alert.since_time, "value": finite(incident.value), "runbook": alert.runbook,
                "probable_cause": alert.cause, "before": alert.before, "metrics_moved": alert.moved,
            })
        })
        .collect();
    let silent: Vec<_> =
        cluster.speechless.iter().map(|(alert, why)| json!({ "alert": alert, "why": why })).collect();
    let alerts = json!({ "rules_total": cluster.rules_total, "active": alerts, "cannot_speak": silent });
    shelf.put(site, &at("alerts"), "alerts/v1", &alerts)?;
    let events = |event: &Happened| {
        let mut value = event.to_json();
        if let Some(object) = value.as_object_mut() {
            object.insert("metrics_moved".to_owned(), json!(event.moved));
        }
        value
    };
    let events: Vec<Value> = page.events.iter().map(events).collect();
    shelf.put(
        site,
        &at("events"),
        "events/v1",
        &json!({ "days": 1, "max": EVENTS_MAX, "events": events }),
    )?;
    shelf.put(site, &at("bundles/overview.24h"), "bundle/v1", &bundle(&facts))
}

fn members(config: &ReportConfig, facts: &Facts<'_>, page: &ClusterPage) -> Vec<Value> {
    let rows = facts.rows.iter().zip(&page.members);
    rows.map(|(row, member)| {
        json!({
            "name": member.name, "instance": (!config.redact_addresses).then_some(&row.instance),
            "member_id": row.member_id, "role": member.role, "status": member.badge.word,
            "reachable": row.reachable, "version": row.version, "raft_term": row.raft_term,
            "raft_index": row.raft_index, "raft_applied_index": row.raft_applied_index,
            "db_size_bytes": row.db_size_bytes, "db_size_in_use_bytes": row.db_size_in_use_bytes,
            "quota_bytes": row.quota_bytes, "alarms": row.alarms, "errors": member.errors,
        })
    })
    .collect()
}

fn topology(page: &ClusterPage) -> Value {
    let links = page.topology.iter().flat_map(|t| &t.links);
    json!({
        "nodes": page.members.iter().map(|m| json!({ "name": m.name, "role": m.role, "status": m.badge.word })).collect::<Vec<_>>(),
        "links": links.map(|l| json!({ "from": l.ends.0, "to": l.ends.1, "up": l.up, "rtt_p99": l.text })).collect::<Vec<_>>(),
    })
}

/// The overview's series on one grid: `null` is a gap.
fn bundle(facts: &Facts<'_>) -> Value {
    let (step_ms, range_ms) = (300_000_i64, 86_400_000_i64);
    let t0_ms = facts.now_ms - range_ms;
    let shown = ["put_latency", "wal_fsync", "backend_commit", "db_size", "db_in_use"];
    let mut series = Vec::new();
    let mut thresholds = Vec::new();
    for panel in panels().iter().filter(|panel| shown.contains(&panel.id.as_str())) {
        for one in facts.panel(&panel.id) {
            let mut grid: Vec<Option<f64>> = vec![None; usize::try_from(range_ms / step_ms).unwrap_or(0) + 1];
            let (ts, values) = one.window(t0_ms - step_ms / 2, facts.now_ms);
            for (ts, value) in ts.iter().zip(values) {
                let at = usize::try_from((ts - t0_ms + step_ms / 2) / step_ms).unwrap_or(usize::MAX);
                if let Some(slot) = grid.get_mut(at) {
                    *slot = finite(*value).map(three_significant);
                }
            }
            series.push(json!({
                "metric": panel.id, "member": one.labels.get("instance").map(|i| facts.name_of_instance(i)),
                "stat": one.labels.get("quantile"), "source": one.labels.get("source"), "unit": panel.unit, "v": grid,
            }));
        }
        thresholds.extend(
            limit_of(&panel.id).map(|l| json!({ "metric": panel.id, "v": l.value, "label": l.label })),
        );
    }
    let events: Vec<Value> = facts
        .input
        .events
        .iter()
        .filter(|event| event.ts_ms >= t0_ms)
        .map(|e| json!({ "t": rfc3339(e.ts_ms), "kind": e.kind, "label": facts.clean(&e.text) }))
        .collect();
    json!({
        "t0": rfc3339(t0_ms), "step_seconds": step_ms / 1000, "range": "24h", "series": series,
        "thresholds": thresholds, "events": events,
    })
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Three digits are what a chart can show, and a third of the bytes.
fn three_significant(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

#[derive(Serialize)]
struct Envelope<'a> {
    schema: &'a str,
    generated_at: String,
    data_through: String,
    stale_after: String,
    #[serde(flatten)]
    body: &'a Value,
}

/// Where files of one instant go.
struct Shelf<'a> {
    input: &'a Input,
    stale_after_ms: i64,
}

impl Shelf<'_> {
    /// Adds `api/v1/<name>.json`.
    fn put(&self, site: &mut Site, name: &str, schema: &str, body: &Value) -> Result<(), ReportError> {
        let path = format!("api/v1/{name}.json");
        let bytes = self.encode(&path, schema, body)?;
        site.insert(path, bytes);
        Ok(())
    }

    fn encode(&self, path: &str, schema: &str, body: &Value) -> Result<Vec<u8>, ReportError> {
        let envelope = Envelope {
            schema,
            generated_at: rfc3339(self.input.made_ms),
            data_through: rfc3339(self.input.data_through_ms),
            stale_after: rfc3339(self.stale_after_ms),
            body,
        };
        serde_json::to_vec(&envelope)
            .map_err(|error| ReportError::Encode { path: path.to_owned(), message: error.to_string() })
    }
}
