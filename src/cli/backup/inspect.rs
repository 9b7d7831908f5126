//! `backup inspect` and `backup diff`: what is in a database, without an etcd.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use super::state_word;
use crate::backup::check::{Checked, check};
use crate::backup::database::{Change, Contents, Difference, Group, Progress, contents, diff};
use crate::backup::{Listing, VerdictState, catalog};
use crate::cli::{Global, Stop, output, progress};
use crate::config::{Overrides, process_environment};
use crate::model::unit::human_bytes;
use crate::run::backups::{self, Backups};
use crate::run::exit_code::Exit;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct Inspect {
    /// A backup's id, the beginning of one, or `latest`; or a file that `etcdctl snapshot save` wrote
    #[arg(value_name = "ID|FILE")]
    what: String,
    #[command(flatten)]
    view: View,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// The first: an id, the beginning of one, `latest`, or a file
    #[arg(value_name = "ID|FILE")]
    first: String,
    /// The second
    #[arg(value_name = "ID|FILE")]
    second: String,
    #[command(flatten)]
    view: View,
}

/// What of it is shown.
#[derive(Debug, Args)]
struct View {
    /// Only keys that begin so
    #[arg(long, value_name = "KEY", default_value = "")]
    prefix: String,
    /// Group keys by so many parts between slashes
    #[arg(long, value_name = "N", default_value_t = 2)]
    depth: usize,
    /// Show so many groups, values and keys
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// Print JSON, with all groups
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let source = Source::open(global, &[&self.what]).await?;
        let Some(file) = source.file(global, &self.what).await? else { return Ok(Exit::Failed.into()) };
        let View { prefix, depth, top, json } = self.view;
        let state = Arc::new(Progress::default());
        let shown = Arc::clone(&state);
        let line = progress::Progress::new(global, json).bytes("reading", move || shown.bytes());
        let work =
            tokio::task::spawn_blocking(move || contents(&file, prefix.as_bytes(), depth, top, &state));
        let found = work.await.context("this is a bug")?.map_err(anyhow::Error::from);
        drop(line);
        let found = found?;
        if json {
            output::json(&found)?;
        } else {
            say(&found, top);
        }
        Ok(Exit::Ok.into())
    }
}

impl Diff {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let source = Source::open(global, &[&self.first, &self.second]).await?;
        let Some(first) = source.file(global, &self.first).await? else { return Ok(Exit::Failed.into()) };
        let Some(second) = source.file(global, &self.second).await? else { return Ok(Exit::Failed.into()) };
        let View { prefix, depth, top, json } = self.view;
        let state = Arc::new(Progress::default());
        let shown = Arc::clone(&state);
        let line = progress::Progress::new(global, json).bytes("comparing", move || shown.bytes());
        let work = tokio::task::spawn_blocking(move || {
            diff((&first, &second), prefix.as_bytes(), depth, top, &state)
        });
        let found = work.await.context("this is a bug")?.map_err(anyhow::Error::from);
        drop(line);
        let found = found?;
        if json {
            output::json(&found)?;
        } else {
            say_difference(&found, top);
        }
        Ok(Exit::Ok.into())
    }
}

/// Where databases come from. Files need no configuration.
struct Source(Option<(Backups, Listing)>);

impl Source {
    async fn open(global: &Global, what: &[&str]) -> Result<Self, Stop> {
        if what.iter().all(|what| PathBuf::from(what).is_file()) {
            return Ok(Self(None));
        }
        let config = global.load(Overrides { clusters_optional: true, ..Overrides::default() })?;
        let environment = process_environment();
        let store = Store::open(&config.store, &|name| environment.get(name).cloned()).await;
        let store = store.map_err(anyhow::Error::from)?;
        let backups = backups::open(&config, &store, &environment).await?;
        let listing = catalog::list(&backups.destinations, None).await;
        Ok(Self(Some((backups, listing))))
    }

    /// The database, unpacked; `None` after it was said why not. A damaged one is read all the same, as far as it goes.
    async fn file(&self, global: &Global, what: &str) -> Result<Option<File>, Stop> {
        let Self(Some((backups, listing))) = self else { return Ok(Some(opened(what)?)) };
        if PathBuf::from(what).is_file() {
            return Ok(Some(opened(what)?));
        }
        let kept = listing.find(what).map_err(Stop::Usage)?;
        let destination = backups.destinations.iter().find(|there| there.name == kept.destination);
        let destination = destination.context("this is a bug")?;
        let state = Arc::new(Progress::default());
        let shown = Arc::clone(&state);
        let named = format!("{} at {}", kept.manifest.id, kept.destination);
        let line = progress::Progress::new(global, false).bytes(&named, move || shown.bytes());
        let checked = check(destination, &kept.manifest, &backups.bench, &state).await;
        drop(line);
        let Checked { judgement, file, .. } = checked.map_err(anyhow::Error::from)?;
        if judgement.state != VerdictState::Verified {
            output::note(format_args!("{named}: {}", state_word(judgement.state)));
            judgement.why.iter().for_each(|why| output::note(format_args!("  {why}")));
        }
        if file.is_none() {
            output::error(format_args!("{named} cannot be read here"));
        }
        Ok(file)
    }
}

fn opened(path: &str) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("{path} cannot be read"))
}

/// Keys are anybody's: what would move the cursor is shown as what it is.
fn plain(key: &str) -> String {
    key.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

fn bytes(count: u64) -> String {
    human_bytes(count as f64)
}

fn say(found: &Contents, top: usize) {
    output::line(format_args!("{} keys alive, {}", found.keys, bytes(found.live_bytes)));
    output::line(format_args!(
        "{} changes in the history, {}; {} of them deletions",
        found.changes,
        bytes(found.change_bytes),
        found.tombstones
    ));
    output::line(format_args!("{} keys have a lease, {} leases in all", found.leased_keys, found.leases));
    groups("PREFIX", &found.prefixes, top);
    if !found.resources.is_empty() {
        groups("KUBERNETES RESOURCE", &found.resources, top);
    }
    if !found.biggest.is_empty() {
        output::line("");
        let row = |it: &crate::backup::database::Biggest| {
            vec![plain(&it.key), bytes(it.bytes), it.version.to_string(), it.mod_revision.to_string()]
        };
        output::table(
            &["BIGGEST VALUES", "SIZE", "WRITES", "LAST AT"],
            found.biggest.iter().map(row).collect(),
        );
    }
}

fn groups(title: &str, all: &[Group], top: usize) {
    let row = |group: &Group| {
        vec![
            plain(&group.name),
            group.keys.to_string(),
            bytes(group.live_bytes),
            group.changes.to_string(),
            bytes(group.change_bytes),
            group.tombstones.to_string(),
        ]
    };
    output::line("");
    let header = [title, "KEYS", "SIZE", "CHANGES", "THEIR SIZE", "DELETIONS"];
    output::table(&header, all.iter().take(top).map(row).collect());
    if all.len() > top {
        output::line(format_args!(" and {} more; --top shows more, --json all", all.len() - top));
    }
}

fn say_difference(found: &Difference, top: usize) {
    output::line(format_args!(
        "{} keys added, {} changed, {} removed, {} the same",
        found.added, found.changed, found.removed, found.unchanged
    ));
    if found.prefixes.is_empty() {
        return;
    }
    let row = |group: &crate::backup::database::GroupDifference| {
        let sign = if group.bytes < 0 { "-" } else { "+" };
        vec![
            plain(&group.name),
            group.added.to_string(),
            group.changed.to_string(),
            group.removed.to_string(),
            format!("{sign}{}", bytes(group.bytes.unsigned_abs())),
        ]
    };
    output::line("");
    let header = ["PREFIX", "ADDED", "CHANGED", "REMOVED", "SIZE"];
    output::table(&header, found.prefixes.iter().take(top).map(row).collect());
    output::line("");
    let words = BTreeMap::from([(Change::Added, "+"), (Change::Changed, "~"), (Change::Removed, "-")]);
    for (key, change) in &found.keys {
        output::line(format_args!("{} {}", words.get(change).copied().unwrap_or_default(), plain(key)));
    }
    let differ = found.added + found.changed + found.removed;
    if differ > found.keys.len() as u64 {
        output::line(format_args!("and {} more keys", differ - found.keys.len() as u64));
    }
}
