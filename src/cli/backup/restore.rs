//! `backup restore`: from a destination to a data folder.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use super::state_word;
use crate::backup::check::{Checked, check, check_file};
use crate::backup::database::Progress;
use crate::backup::restore::{Target, next_steps, plan, restore};
use crate::backup::{Judgement, VerdictState, catalog, tools};
use crate::cli::{Global, Stop, output, progress};
use crate::config::{Config, Overrides, process_environment};
use crate::run::backups;
use crate::run::exit_code::Exit;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct Restore {
    /// A backup's id, the beginning of one, or `latest`; or a file that `etcdctl snapshot save` wrote
    #[arg(value_name = "ID|FILE")]
    what: String,
    /// The destination to take it from; the first that has it without this
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// The folder to make; it must not be there, or be empty
    #[arg(long, value_name = "DIR", required_unless_present = "plan")]
    data_dir: Option<PathBuf>,
    /// Where the write-ahead log goes, if not into the data folder
    #[arg(long, value_name = "DIR")]
    wal_dir: Option<PathBuf>,
    /// The member's name
    #[arg(long)]
    name: Option<String>,
    /// All members of the new cluster: NAME=PEER-URL,…
    #[arg(long, value_name = "MEMBERS")]
    initial_cluster: Option<String>,
    /// Tells the new cluster from others, the old one among them
    #[arg(long, value_name = "TOKEN")]
    initial_cluster_token: Option<String>,
    /// Where the other members reach this one
    #[arg(long, value_name = "URLS")]
    initial_advertise_peer_urls: Option<String>,
    /// How far to move revisions on, so that no client meets one twice
    #[arg(long, value_name = "N")]
    bump_revision: Option<u64>,
    /// Mark all revisions so far as compacted: watches of before end
    #[arg(long)]
    mark_compacted: bool,
    /// Only print the steps for every member
    #[arg(long)]
    plan: bool,
}

const USUAL_DATA_DIR: &str = "/var/lib/etcd";

impl Restore {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let path = PathBuf::from(&self.what);
        if path.is_file() {
            return self.file(global, &path).await;
        }
        let config = global.load(Overrides { clusters_optional: true, ..Overrides::default() })?;
        let environment = process_environment();
        let store = Store::open(&config.store, &|name| environment.get(name).cloned()).await;
        let store = store.map_err(anyhow::Error::from)?;
        let backups = backups::open(&config, &store, &environment).await?;
        let listing = catalog::list(&backups.destinations, None).await;
        listing.problems.iter().for_each(output::error);
        let kept = listing.find_at(&self.what, self.from.as_deref()).map_err(Stop::Usage)?;
        let target = self.target();
        if self.plan {
            let lines = plan(&kept.manifest, &kept.destination, &target.data_dir, &target);
            lines.iter().for_each(output::line);
            return Ok(Exit::Ok.into());
        }
        target.check().map_err(|error| Stop::Usage(error.to_string()))?;
        let version = &kept.manifest.source.version;
        let path = environment.get("PATH").map(OsString::from);
        let tool = tools::restorer(config.backup.etcdutl.as_deref(), path.as_deref(), version);
        let tool = tool.await.map_err(anyhow::Error::from)?;
        let destination = backups.destinations.iter().find(|there| there.name == kept.destination);
        let destination = destination.context("this is a bug")?;
        let state = Arc::new(Progress::default());
        let shown = Arc::clone(&state);
        let named = format!("{} at {}", kept.manifest.id, kept.destination);
        let line = progress::Progress::new(global, false).bytes(&named, move || shown.bytes());
        let checked = check(destination, &kept.manifest, &backups.bench, &state).await;
        drop(line);
        let Checked { judgement, file, .. } = checked.map_err(anyhow::Error::from)?;
        let Some(file) = usable(&named, &judgement, file) else { return Ok(Exit::Failed.into()) };
        restore(&tool, &file, &target).await.map_err(anyhow::Error::from)?;
        next_steps(&kept.manifest, &target).iter().for_each(output::line);
        Ok(Exit::Ok.into())
    }

    async fn file(self, global: &Global, path: &Path) -> Result<ExitCode, Stop> {
        if self.plan {
            return Err(Stop::Usage(
                "--plan is of backups: a file does not say who the members were".to_owned(),
            ));
        }
        let config: Config = global.load(Overrides { clusters_optional: true, ..Overrides::default() })?;
        let mut target = self.target();
        target.check().map_err(|error| Stop::Usage(error.to_string()))?;
        let opened = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let database = opened.try_clone().context("the file cannot be opened twice")?;
        let state = Arc::new(Progress::default());
        let shown = Arc::clone(&state);
        let named = path.display().to_string();
        let line = progress::Progress::new(global, false).bytes(&named, move || shown.bytes());
        let work = tokio::task::spawn_blocking(move || check_file(&opened, &state)).await;
        drop(line);
        let (examined, judgement) = work.context("this is a bug")?;
        // etcdutl wants to be told that there is no checksum.
        target.skip_hash_check = examined.trailer.is_none();
        // Which etcd made it nobody says; the tool finds out.
        let path = process_environment().get("PATH").map(OsString::from);
        let tool = tools::restorer(config.backup.etcdutl.as_deref(), path.as_deref(), "3.4.0");
        let tool = tool.await.map_err(anyhow::Error::from)?;
        let Some(file) = usable(&named, &judgement, Some(database)) else { return Ok(Exit::Failed.into()) };
        restore(&tool, &file, &target).await.map_err(anyhow::Error::from)?;
        output::line(format_args!("{} is ready.", target.data_dir.display()));
        Ok(Exit::Ok.into())
    }

    fn target(&self) -> Target {
        Target {
            data_dir: self.data_dir.clone().unwrap_or_else(|| PathBuf::from(USUAL_DATA_DIR)),
            wal_dir: self.wal_dir.clone(),
            name: self.name.clone(),
            initial_cluster: self.initial_cluster.clone(),
            initial_cluster_token: self.initial_cluster_token.clone(),
            initial_advertise_peer_urls: self.initial_advertise_peer_urls.clone(),
            bump_revision: self.bump_revision,
            mark_compacted: self.mark_compacted,
            skip_hash_check: false,
        }
    }
}

/// A database that is not known to be bad; what speaks against it is said.
fn usable(named: &str, judgement: &Judgement, file: Option<File>) -> Option<File> {
    output::note(format_args!("{named}: {}", state_word(judgement.state)));
    judgement.why.iter().for_each(|why| output::note(format_args!("  {why}")));
    if judgement.state == VerdictState::Bad {
        output::error("nothing is restored from it; another backup, or another destination, may be good");
        return None;
    }
    if file.is_none() {
        output::error("it cannot be read here: set backup.encryption.identities");
    }
    file
}
