//! `backup show`: all that is known of one backup.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use super::state_word;
use crate::backup::{Kept, Manifest, Verdict, catalog};
use crate::cli::{Global, Stop, open_with_found, output};
use crate::config::{Overrides, process_environment};
use crate::model::unit::{human_bytes, human_seconds};
use crate::run::backups;
use crate::run::exit_code::Exit;

#[derive(Debug, Args)]
pub struct Show {
    /// A backup's id, the beginning of one, or `latest`
    #[arg(value_name = "ID")]
    id: String,
    /// Print JSON: the manifest, and each copy's newest verdict
    #[arg(long)]
    json: bool,
}

impl Show {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let (mut config, store) = open_with_found(global.load(Overrides::store_only())?).await?;
        config.backup.encryption.identities.clear();
        let backups = backups::open(&config, &store, &process_environment()).await?;
        let listing = catalog::list(&backups.destinations, None).await;
        let manifest = &listing.find(&self.id).map_err(Stop::Usage)?.manifest;
        let copies: Vec<&Kept> =
            listing.backups.iter().filter(|kept| kept.manifest.id == manifest.id).collect();
        if self.json {
            let of_copy = |kept: &&Kept| json!({ "destination": kept.destination, "verdict": kept.verdict, "tombstone": kept.tombstone });
            output::json(&json!({
                "manifest": manifest,
                "copies": copies.iter().map(of_copy).collect::<Vec<_>>(),
            }))?;
        } else {
            say(manifest);
            for kept in copies {
                say_copy(kept);
            }
        }
        Ok(Exit::Ok.into())
    }
}

fn at(ms: i64) -> String {
    let at: DateTime<Utc> = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn say(manifest: &Manifest) {
    let field = |name: &str, value: String| output::line(format_args!("  {name:<12} {value}"));
    let source = &manifest.source;
    let seconds = (manifest.finished_ms - manifest.started_ms) as f64 / 1e3;
    let role = if source.is_leader { "leader" } else { "follower" };
    output::line(format_args!("backup {} of {}", manifest.id, manifest.cluster));
    field(
        "made",
        format!(
            "{} in {}, by etcd-monitor {}",
            at(manifest.started_ms),
            human_seconds(seconds),
            manifest.tool_version
        ),
    );
    field("cluster id", manifest.cluster_id.to_string());
    field("from", format!("{} {}, {role}, etcd {}", source.instance, source.name, source.version));
    field("revision", format!("{}, compacted up to {}", manifest.revision, manifest.compact_revision));
    if let Some(keys) = manifest.keys {
        field("keys", format!("{keys} alive"));
    }
    field("size", format!("{} ({} bytes)", human_bytes(manifest.bytes as f64), manifest.bytes));
    field("sha256", manifest.sha256.to_string());
    field("object", manifest.object.key.clone());
    field(
        "stored",
        format!(
            "{} ({} bytes, {} frames)",
            human_bytes(manifest.object.bytes as f64),
            manifest.object.bytes,
            manifest.object.frames
        ),
    );
    field("", format!("sha256 {}", manifest.object.sha256));
    match &manifest.object.encryption {
        Some(encryption) => field("encrypted to", encryption.recipients.join(", ")),
        None => field("encrypted", "no".to_owned()),
    }
    if let Some(until_ms) = manifest.locked_until_ms {
        field("locked until", at(until_ms));
    }
    for said in &manifest.hashes {
        field("HashKV", format!("{} at revision {} by {}", said.hash, said.revision, said.instance));
    }
}

fn say_copy(kept: &Kept) {
    let state = kept.verdict.as_ref().map_or("not looked at yet", |verdict| state_word(verdict.state));
    output::line(format_args!("at {}: {state}", kept.destination));
    if let Some(tombstone) = &kept.tombstone {
        output::line(format_args!("  going to be deleted, since {}", at(tombstone.condemned_ms)));
    }
    let Some(Verdict { level, why, finished_ms, found, drill, .. }) = &kept.verdict else { return };
    let level = level.map_or_else(String::new, |level| format!(", up to {level}"));
    output::line(format_args!("  looked at {}{level}", at(*finished_ms)));
    why.iter().for_each(|why| output::line(format_args!("  {why}")));
    if let Some(found) = found {
        output::line(format_args!(
            "  {} keys alive, {} entries, hash {:08x} as `etcdutl snapshot status` has it",
            found.keys, found.entries, found.status_hash
        ));
    }
    if let Some(drill) = drill {
        output::line(format_args!(
            "  restored on trial with etcd {} in {}, {} keys compared",
            drill.etcd_version,
            human_seconds(drill.recovery_ms as f64 / 1e3),
            drill.sampled_keys
        ));
    }
}
