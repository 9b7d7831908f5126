//! Others' backups as the job verifies them.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::sync::Arc;

use anyhow::Context as _;
use futures::StreamExt as _;

use crate::backup::check::{SPARE_BYTES, scratch};
use crate::backup::database::{Progress, examine};
use crate::backup::external::{self, External};
use crate::backup::{Foreign, ForeignVerdict, VerdictState, judge, said_now};
use crate::config::{ClusterSetup, Config, Environment};
use crate::model::chain;
use crate::run::Context;
use crate::run::clock::Clock;
use crate::store::{Store, Writer, events};

use super::{Backups, foreign_told};

/// What lies at others' places.
pub struct Others {
    pub places: Vec<(External, Vec<Foreign>)>,
    /// Of places that could not be read.
    pub problems: Vec<String>,
}

impl Others {
    /// The seconds between two, and the files, of each place.
    pub fn files(&self) -> Vec<(f64, Vec<Foreign>)> {
        self.places.iter().map(|(place, files)| (place.config.every.0.as_secs_f64(), files.clone())).collect()
    }
}

/// Lists all places of others' backups. One that cannot be read takes nothing from the others.
pub async fn others(config: &Config, own: &Store, environment: &Environment) -> Others {
    let mut others = Others { places: Vec::new(), problems: Vec::new() };
    for place in &config.backup.external {
        let opened = external::open(place, &|name| environment.get(name).cloned()).await;
        let listed = match opened {
            Ok(opened) => external::list(&opened, own).await.map(|files| (opened, files)),
            Err(error) => Err(error),
        };
        match listed {
            Ok(listed) => others.places.push(listed),
            Err(error) => others.problems.push(format!("{}: {}", place.name, chain(&error))),
        }
    }
    others
}

/// Verifies a file of others as far as it can be, and keeps the verdict.
///
/// # Errors
/// When it cannot be found out.
pub async fn verify_foreign(
    backups: &Backups,
    place: &External,
    file: &Foreign,
    cluster: Option<&ClusterSetup>,
    (own, writer): (&Store, &Writer),
    clock: &Clock,
) -> anyhow::Result<ForeignVerdict> {
    let verdict = |state, level, why, found| ForeignVerdict {
        path: file.path.clone(),
        bytes: file.bytes,
        modified_ms: file.modified_ms,
        state,
        level,
        why,
        found,
        finished_ms: clock.now_ms(),
    };
    let scratch = scratch(&backups.bench.scratch, file.bytes)?;
    let mut stream = place.store.stream(&file.key).await?.context("it is gone")?;
    let mut fetched = tokio::fs::File::from_std(scratch.try_clone()?);
    while let Some(piece) = stream.next().await {
        tokio::io::AsyncWriteExt::write_all(&mut fetched, &piece?).await?;
    }
    tokio::io::AsyncWriteExt::flush(&mut fetched).await?;
    let folder = backups.bench.scratch.clone();
    let work = tokio::task::spawn_blocking(move || {
        let database = unpacked(scratch, &folder);
        database.map(|database| examine(&database, &[0], &Arc::<Progress>::default()))
    });
    let judged = match work.await.context("this is a bug")? {
        Err(error) => verdict(VerdictState::Bad, None, vec![chain(error.as_ref())], None),
        Ok(examined) => {
            let mut said = Vec::new();
            if let (Some(newest), Some(cluster)) = (examined.hashes.first(), cluster) {
                let login = cluster.backup_login.as_ref().or(cluster.login.as_ref());
                // Members that do not answer say nothing of the file.
                if let Ok((now, _)) = said_now(&cluster.config, login, newest.revision).await {
                    said = now;
                }
            }
            let judgement = judge(&examined, &said);
            verdict(judgement.state, judgement.level, judgement.why, examined.found)
        }
    };
    external::note(own, place, &judged, writer).await?;
    Ok(judged)
}

const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The database, decompressed where it is compressed: told by its first bytes, whatever its name.
fn unpacked(mut file: File, folder: &std::path::Path) -> anyhow::Result<File> {
    let mut first = Vec::new();
    file.rewind()?;
    (&mut file).take(4).read_to_end(&mut first)?;
    file.rewind()?;
    if first.starts_with(&GZIP) {
        return inflated(flate2::read::MultiGzDecoder::new(BufReader::new(file)), folder);
    }
    if first == ZSTD {
        return inflated(zstd::Decoder::new(file)?, folder);
    }
    Ok(file)
}

/// How large it becomes nobody says: it ends where the room does.
fn inflated(source: impl Read, folder: &std::path::Path) -> anyhow::Result<File> {
    let room = rustix::fs::statvfs(folder)?;
    let free = room.f_bavail.saturating_mul(room.f_frsize).saturating_sub(SPARE_BYTES);
    let database = scratch(folder, 0)?;
    let mut into = BufWriter::with_capacity(1 << 20, &database);
    let copied = io::copy(&mut source.take(free), &mut into).context("it cannot be decompressed")?;
    into.flush()?;
    anyhow::ensure!(copied < free, "the scratch folder {} has no room for it", folder.display());
    drop(into);
    Ok(database)
}

/// Looks at the newest file of each place of others, if nobody has yet.
///
/// # Errors
/// When the events cannot be written.
pub async fn look_at_others(
    context: &Context,
    backups: &Backups,
    errors: &mut Vec<String>,
) -> anyhow::Result<Others> {
    let (config, clock, writer) = (context.config(), &context.services.clock, &context.services.writer);
    let mut listed = others(config, context.store(), context.environment()).await;
    errors.append(&mut listed.problems);
    let mut told = Vec::new();
    for (place, files) in &mut listed.places {
        let Some(file) = files.last_mut().filter(|file| file.verdict.is_none()) else { continue };
        let cluster = config.clusters.iter().find(|cluster| cluster.config.name == file.cluster);
        let own = (context.store(), writer);
        match verify_foreign(backups, place, file, cluster, own, clock).await {
            Ok(verdict) => {
                told.extend(foreign_told(file, &verdict));
                file.verdict = Some(verdict);
            }
            Err(error) => errors.push(format!("{} of {}: {}", file.path, file.source, chain(error.as_ref()))),
        }
    }
    events::write(context.store(), writer, clock.now_ms(), &told).await?;
    Ok(listed)
}
