//! `backup verify`: of a backup by its id, or of any file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{state_word, worse};
use crate::backup::database::{HashAt, Progress, examine};
use crate::backup::{Found, Judgement, RecordedHash, Verdict, VerdictState, catalog, judge, said_now};
use crate::cli::connection::Connect;
use crate::cli::{Global, Stop, output, progress};
use crate::config::{Config, Overrides, process_environment};
use crate::model::MemberId;
use crate::model::unit::human_bytes;
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::run::{backups, new_writer};
use crate::store::{Store, events};

#[derive(Debug, Args)]
pub struct Verify {
    /// A backup's id, the beginning of one, or `latest`; or a file that `etcdctl snapshot save` wrote
    #[arg(value_name = "ID|FILE")]
    what: String,
    /// What a member said of its data: HASH@REVISION, as `etcdctl endpoint hashkv --rev` prints it
    #[arg(long, value_name = "HASH@REVISION")]
    hash_kv: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: Connect,
}

impl Verify {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let path = PathBuf::from(&self.what);
        if path.is_file() { self.file(global, &path).await } else { self.backup(global).await }
    }

    async fn backup(self, global: &Global) -> Result<ExitCode, Stop> {
        let config = global.load(Overrides { clusters_optional: true, ..Overrides::default() })?;
        let (environment, clock) = (process_environment(), Clock::System);
        let store = Store::open(&config.store, &|name| environment.get(name).cloned()).await;
        let store = store.map_err(anyhow::Error::from)?;
        let backups = backups::open(&config, &store, &environment).await?;
        let listing = catalog::list(&backups.destinations, None).await;
        let id = listing.find(&self.what).map_err(Stop::Usage)?.manifest.id.clone();
        let (mut worst, mut verdicts) = (Exit::Ok, Vec::new());
        // Every copy by itself: what is whole here may be broken there.
        for kept in listing.backups.iter().filter(|kept| kept.manifest.id == id) {
            let state = Arc::new(Progress::default());
            let shown = Arc::clone(&state);
            let line = progress::Progress::new(global, self.json)
                .bytes(&format!("{id} at {}", kept.destination), move || shown.bytes());
            let cluster = config.clusters.iter().find(|it| it.config.name == kept.manifest.cluster);
            let verdict =
                backups::verify(&backups, kept, cluster, &new_writer(&clock)?, &clock, &state).await;
            drop(line);
            let verdict = verdict.map_err(anyhow::Error::from)?;
            if let Some(event) = backups::verdict_told(kept, &verdict) {
                let written = events::write(&store, &new_writer(&clock)?, clock.now_ms(), &[event]).await;
                written.map_err(anyhow::Error::from)?;
            }
            worst = worse(worst, exit_of(verdict.state));
            if !self.json {
                said(
                    &format!("{id} at {}", kept.destination),
                    &judgement_of(&verdict),
                    verdict.found.as_ref(),
                );
            }
            verdicts.push(json!({ "destination": kept.destination, "verdict": verdict }));
        }
        super::look_again(&config, &store, &backups).await;
        if self.json {
            output::json(&verdicts)?;
        }
        Ok(worst.into())
    }

    async fn file(self, global: &Global, path: &Path) -> Result<ExitCode, Stop> {
        let mut said_of_it = self.told()?;
        let opened = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let state = Arc::new(Progress::default());
        let shown = Arc::clone(&state);
        let line = progress::Progress::new(global, self.json)
            .bytes(&path.display().to_string(), move || shown.bytes());
        let at: Vec<i64> = std::iter::once(0).chain(said_of_it.iter().map(|hash| hash.revision)).collect();
        let work = tokio::task::spawn_blocking(move || examine(&opened, &at, &state));
        let found = work.await.context("this is a bug")?;
        drop(line);
        let newest = found.hashes.first().copied();
        if let Some(cluster) = self.connect.cluster(global.config.is_some())? {
            let config = global.load(Overrides { cluster: Some(cluster), ..Overrides::default() })?;
            if let Some(newest) = newest {
                said_of_it.extend(asked(&config, newest).await?);
            }
        }
        // Members are asked without their compaction where it is given by hand.
        let judgement = judge(&found, &said_of_it);
        if self.json {
            output::json(&json!({
                "file": path,
                "state": judgement.state,
                "level": judgement.level,
                "why": judgement.why,
                "found": found.found,
            }))?;
        } else {
            said(&path.display().to_string(), &judgement, found.found.as_ref());
        }
        Ok(exit_of(judgement.state).into())
    }

    /// What `--hash-kv` says a member said. Its compaction is taken to be the file's: otherwise the hashes differ anyway.
    fn told(&self) -> Result<Vec<RecordedHash>, Stop> {
        let Some(text) = &self.hash_kv else { return Ok(Vec::new()) };
        let parts = text.split_once('@').and_then(|(hash, at)| Some((hash.parse().ok()?, at.parse().ok()?)));
        let Some((hash, revision)) = parts else {
            return Err(Stop::Usage(format!("--hash-kv {text:?}: write it as HASH@REVISION, two numbers")));
        };
        let instance = "given:0".parse().map_err(anyhow::Error::from)?;
        Ok(vec![RecordedHash { instance, member_id: MemberId(0), revision, compact_revision: -1, hash }])
    }
}

/// What the members say of the newest revision of a file.
async fn asked(config: &Config, newest: HashAt) -> Result<Vec<RecordedHash>, Stop> {
    let mut said = Vec::new();
    for cluster in &config.clusters {
        let login = cluster.backup_login.as_ref().or(cluster.login.as_ref());
        let now = said_now(&cluster.config, login, newest.revision).await;
        let (of_it, silent) = now.map_err(anyhow::Error::from)?;
        said.extend(of_it);
        silent.iter().for_each(output::error);
    }
    Ok(said)
}

fn judgement_of(verdict: &Verdict) -> Judgement {
    Judgement { state: verdict.state, level: verdict.level, why: verdict.why.clone() }
}

fn exit_of(state: VerdictState) -> Exit {
    match state {
        VerdictState::Verified => Exit::Ok,
        VerdictState::Unverified => Exit::Partial,
        VerdictState::Bad => Exit::Failed,
    }
}

fn said(what: &str, judgement: &Judgement, found: Option<&Found>) {
    let level = judgement.level.map_or_else(String::new, |level| format!(" ({level})"));
    output::line(format_args!("{what}: {}{level}", state_word(judgement.state)));
    for why in &judgement.why {
        output::line(format_args!("  {why}"));
    }
    let Some(found) = found else { return };
    output::line(format_args!("  size       {}", human_bytes(found.bytes as f64)));
    output::line(format_args!("  keys       {} alive, {} entries in all buckets", found.keys, found.entries));
    output::line(format_args!("  revision   {}, compacted up to {}", found.revision, found.compact_revision));
    output::line(format_args!("  hash       {:08x} as `etcdutl snapshot status` has it", found.status_hash));
    if let Some((hash, revision)) = found.hash_kv {
        output::line(format_args!("  HashKV     {hash} at revision {revision}"));
    }
}
