//! What a file is found to be: whole or not, its figures, its hashes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{cmp, io, thread};

use ring::digest::{Context, SHA256};

use super::crc::Crc;
use super::kept::{Kept, KeptRecords};
use super::record::{Record, Revision};
use super::tree::{Bucket, Tree};
use super::{Damage, ReadAt};
use crate::backup::{Found, Hex, Level};

/// At the end of what etcd streams; a database alone is a multiple of 512 bytes long.
const TRAILER_BYTES: u64 = 32;
const SECTOR_BYTES: u64 = 512;
const READ_BYTES: usize = 1 << 20;

/// The buckets that etcd 3.4 to 3.7 make.
const KNOWN: [&[u8]; 10] = [
    b"alarm",
    b"auth",
    b"authRoles",
    b"authUsers",
    b"cluster",
    b"key",
    b"lease",
    b"members",
    b"members_removed",
    b"meta",
];

/// How far an examination is, for others to look at, and to stop it.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
    is_stopped: AtomicBool,
}

impl Progress {
    /// Bytes read, of how many: the file is read more than once.
    pub fn bytes(&self) -> (u64, u64) {
        let total = self.total.load(Ordering::Relaxed);
        (self.done.load(Ordering::Relaxed).min(total), total)
    }

    /// The examination ends with [`Damage::Stopped`] soon.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    fn add(&self, bytes: u64) -> Result<(), Damage> {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        if self.is_stopped.load(Ordering::Relaxed) { Err(Damage::Stopped) } else { Ok(()) }
    }
}

/// HashKV, as a member that is compacted up to `compact_revision` says at `revision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashAt {
    pub revision: i64,
    pub compact_revision: i64,
    pub hash: u32,
}

/// What was found.
#[derive(Debug)]
pub struct Examined {
    /// `None`: not even the bytes are right, or nothing says whether they are.
    pub level: Option<Level>,
    /// etcd's checksum at the end of the file; `None` where there is none.
    pub trailer: Option<Hex>,
    /// Why it is not whole, if it is not.
    pub damage: Option<Damage>,
    /// What is unusual and no damage, a sentence each.
    pub notes: Vec<String>,
    /// The figures, if it is whole.
    pub found: Option<Found>,
    /// At the revisions that were asked for and that it can say anything of, in the same order.
    pub hashes: Vec<HashAt>,
}

/// The part of the file that is the database.
struct Database<'a> {
    file: &'a dyn ReadAt,
    bytes: u64,
}

impl ReadAt for Database<'_> {
    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        match offset.checked_add(into.len() as u64) {
            Some(end) if end <= self.bytes => self.file.read_at(offset, into),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Reads all of `file`, and computes HashKV at the revisions `at` (0: the newest). Takes long: use a thread of its own.
pub fn examine(file: &dyn ReadAt, at: &[i64], progress: &Progress) -> Examined {
    let mut examined = Examined {
        level: None,
        trailer: None,
        damage: None,
        notes: Vec::new(),
        found: None,
        hashes: Vec::new(),
    };
    if let Err(damage) = examine_into(&mut examined, file, at, progress) {
        examined.damage = Some(damage);
    }
    examined
}

fn examine_into(
    examined: &mut Examined,
    file: &dyn ReadAt,
    at: &[i64],
    progress: &Progress,
) -> Result<(), Damage> {
    let length = file.length().map_err(|source| Damage::Read { offset: 0, source })?;
    let has_trailer = length % SECTOR_BYTES == TRAILER_BYTES;
    if length == 0 || (!has_trailer && !length.is_multiple_of(SECTOR_BYTES)) {
        let what = format!("its {length} bytes are neither whole pages nor whole pages with a checksum");
        return Err(Damage::Foreign(what));
    }
    let bytes = length - if has_trailer { TRAILER_BYTES } else { 0 };
    let passes = 2 + 2 * at.len() as u64;
    progress.total.store(bytes * passes, Ordering::Relaxed);
    let database = Database { file, bytes };
    // The checksum takes about as long as the tree, and needs none of it.
    let (sum, whole) = thread::scope(|scope| {
        let sum = scope.spawn(|| has_trailer.then(|| checksum(&database, progress)).transpose());
        let whole = Whole::read(&database, progress);
        (sum.join(), whole)
    });
    let sum = sum.unwrap_or(Err(Damage::Stopped))?;
    if let Some(sum) = sum {
        let mut there = [0; 32];
        file.read_at(bytes, &mut there).map_err(|source| Damage::Read { offset: bytes, source })?;
        examined.trailer = Some(Hex(there));
        if there != sum {
            let what = "etcd's checksum at its end is not that of its bytes".to_owned();
            return Err(Damage::Foreign(what));
        }
        examined.level = Some(Level::L0);
    } else {
        examined.notes.push(
            "it has no checksum at its end, as a copy of member/snap/db: nothing says that its bytes are right".to_owned(),
        );
    }
    let whole = whole?;
    examined.level = examined.level.map(|_| Level::L1);
    examined.notes.extend(whole.notes.iter().cloned());
    for revision in at {
        let revision = if *revision == 0 { whole.found.revision } else { *revision };
        if !(whole.found.compact_revision..=whole.found.revision).contains(&revision) {
            continue;
        }
        let hash = whole.hash_kv(revision, progress)?;
        examined.hashes.push(hash);
    }
    let newest = examined.hashes.iter().max_by_key(|hash| hash.revision);
    if let Some(newest) = newest {
        examined.found = Some(Found { hash_kv: Some((newest.hash, newest.revision)), ..whole.found.clone() });
    }
    examined.found.get_or_insert(whole.found);
    let total = progress.total.load(Ordering::Relaxed);
    progress.done.store(total, Ordering::Relaxed);
    Ok(())
}

fn checksum(database: &Database<'_>, progress: &Progress) -> Result<[u8; 32], Damage> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; READ_BYTES];
    let mut offset = 0;
    while offset < database.bytes {
        let wanted = cmp::min(READ_BYTES as u64, database.bytes - offset);
        let into = buffer.get_mut(..usize::try_from(wanted).unwrap_or(0)).unwrap_or_default();
        database.read_at(offset, into).map_err(|source| Damage::Read { offset, source })?;
        context.update(into);
        offset += wanted;
        progress.add(wanted)?;
    }
    // A SHA-256 has 32 bytes.
    Ok(context.finish().as_ref().try_into().unwrap_or([0; 32]))
}

/// A database that was found whole.
struct Whole<'a> {
    tree: Tree<'a>,
    keys: Option<Bucket>,
    found: Found,
    notes: Vec<String>,
    /// For the hash at the newest revision.
    kept: KeptRecords,
}

impl<'a> Whole<'a> {
    /// Walks through every page once: order, records, figures.
    fn read(database: &'a Database<'_>, progress: &Progress) -> Result<Self, Damage> {
        let tree = Tree::open(database)?;
        let mut seen = tree.unseen();
        let buckets = tree.buckets(&mut seen)?;
        let named =
            |name: &[u8]| buckets.iter().find(|(there, _)| there == name).map(|(_, bucket)| bucket.clone());
        let mut notes: Vec<String> = tree
            .flaw()
            .map(|flaw| format!("one of the two meta pages is not valid: {flaw}"))
            .into_iter()
            .collect();
        let foreign = buckets.iter().filter(|(name, _)| !KNOWN.contains(&name.as_slice()));
        notes.extend(foreign.map(|(name, _)| {
            format!("bucket {:?} is none that etcd 3.4 to 3.7 makes", String::from_utf8_lossy(name))
        }));
        let compact_revision = match named(b"meta") {
            Some(meta) => compact_revision(&tree, &meta)?,
            None => 0,
        };
        let keys = named(b"key");
        if keys.is_none() {
            return Err(Damage::Foreign("it has no bucket \"key\", in which etcd keeps its data".to_owned()));
        }
        let mut crc = Crc::new();
        let (mut entries, mut order) = (0, Order::new(compact_revision));
        let mut kept = Kept::new(i64::MAX, compact_revision);
        for (name, bucket) in &buckets {
            crc.update(name);
            let is_keys = name == b"key";
            tree.walk(name, bucket, &mut seen, &mut |bytes, (key, value)| {
                progress.add(bytes)?;
                crc.update(key);
                crc.update(value);
                entries += 1;
                if is_keys {
                    let record = Record::parse(key, value)?;
                    order.check(&record)?;
                    kept.push(&record);
                }
                Ok(())
            })?;
        }
        tree.check_free(&mut seen)?;
        let status_hash = crc.finish();
        while kept.end_pass() {
            walk_records(&tree, keys.as_ref(), progress, &mut |record, _| {
                kept.push(record);
                Ok(())
            })?;
        }
        notes.extend(order.note());
        let kept = kept.finish();
        let found = Found {
            status_hash,
            // Members up to 3.5.15 and 3.4.33 delete the compacted tombstone that was the newest record.
            revision: order.last.map_or(1, |last| last.main).max(compact_revision),
            compact_revision,
            entries,
            keys: kept.alive,
            bytes: tree.meta().pages * tree.meta().page_bytes,
            hash_kv: None,
        };
        Ok(Self { tree, keys, found, notes, kept })
    }

    /// HashKV at `revision`, which lies between the compaction and the newest.
    fn hash_kv(&self, revision: i64, progress: &Progress) -> Result<HashAt, Damage> {
        let compact_revision = self.found.compact_revision;
        let of_then;
        let kept = if revision == self.found.revision {
            &self.kept
        } else {
            of_then = self.kept(revision, progress)?;
            &of_then
        };
        let mut crc = Crc::new();
        crc.update(b"key");
        let mut place = 0;
        walk_records(&self.tree, self.keys.as_ref(), progress, &mut |record, (key, value)| {
            let is_compacted = record.revision.main <= compact_revision;
            let counts = !is_compacted || kept.contains(place);
            place += u64::from(is_compacted);
            // That tombstone is there or not, by the version of etcd; so no version counts it.
            let is_last_compacted = record.is_tombstone && record.revision.main == compact_revision;
            if record.revision.main <= revision && counts && !is_last_compacted {
                crc.update(key);
                crc.update(value);
            }
            Ok(())
        })?;
        Ok(HashAt { revision, compact_revision, hash: crc.finish() })
    }

    fn kept(&self, revision: i64, progress: &Progress) -> Result<KeptRecords, Damage> {
        let mut kept = Kept::new(revision, self.found.compact_revision);
        loop {
            walk_records(&self.tree, self.keys.as_ref(), progress, &mut |record, _| {
                kept.push(record);
                Ok(())
            })?;
            if !kept.end_pass() {
                return Ok(kept.finish());
            }
        }
    }
}

/// Calls `each` for every change of every key, in the order of revisions.
///
/// # Errors
/// Where the file stops being a database.
pub fn each_record(
    file: &dyn ReadAt,
    progress: &Progress,
    each: &mut dyn FnMut(&Record<'_>),
) -> Result<(), Damage> {
    let length = file.length().map_err(|source| Damage::Read { offset: 0, source })?;
    let bytes = length - length % SECTOR_BYTES;
    progress.total.store(bytes, Ordering::Relaxed);
    let database = Database { file, bytes };
    let tree = Tree::open(&database)?;
    let buckets = tree.buckets(&mut tree.unseen())?;
    let keys = buckets.into_iter().find(|(name, _)| name == b"key").map(|(_, bucket)| bucket);
    walk_records(&tree, keys.as_ref(), progress, &mut |record, _| {
        each(record);
        Ok(())
    })
}

type EachRecord<'e> = &'e mut dyn FnMut(&Record<'_>, (&[u8], &[u8])) -> Result<(), Damage>;

fn walk_records(
    tree: &Tree<'_>,
    keys: Option<&Bucket>,
    progress: &Progress,
    each: EachRecord<'_>,
) -> Result<(), Damage> {
    let Some(keys) = keys else { return Ok(()) };
    tree.walk(b"key", keys, &mut tree.unseen(), &mut |bytes, (key, value)| {
        progress.add(bytes)?;
        each(&Record::parse(key, value)?, (key, value))
    })
}

/// Up to where the database is compacted: also where that was decided and not all is deleted yet.
fn compact_revision(tree: &Tree<'_>, meta: &Bucket) -> Result<i64, Damage> {
    let mut newest = 0;
    tree.walk(b"meta", meta, &mut tree.unseen(), &mut |_, (key, value)| {
        if matches!(key, b"scheduledCompactRev" | b"finishedCompactRev") {
            let revision = Revision::parse(value).ok_or_else(|| Damage::Bucket {
                bucket: "meta".to_owned(),
                what: format!("{} is no revision", String::from_utf8_lossy(key)),
            })?;
            newest = newest.max(revision.main);
        }
        Ok(())
    })?;
    Ok(newest)
}

/// Revisions go up, and after the compaction none is missing: every write has one.
struct Order {
    compact_revision: i64,
    last: Option<Revision>,
    gaps: u64,
    first_gap: Option<(i64, i64)>,
}

impl Order {
    fn new(compact_revision: i64) -> Self {
        Self { compact_revision, last: None, gaps: 0, first_gap: None }
    }

    fn check(&mut self, record: &Record<'_>) -> Result<(), Damage> {
        let revision = record.revision;
        if self.last.is_some_and(|last| last >= revision) {
            let what = "it is there twice".to_owned();
            return Err(Damage::Record { revision: revision.to_string(), what });
        }
        let before = self.last.map_or(1, |last| last.main).max(self.compact_revision);
        if revision.main > before + 1 {
            self.gaps += 1;
            self.first_gap.get_or_insert((before + 1, revision.main - 1));
        }
        self.last = Some(revision);
        Ok(())
    }

    /// A restore with `--bump-revision` leaves a gap; a lost write would, too, and so it is said.
    fn note(&self) -> Option<String> {
        let (from, to) = self.first_gap?;
        let more = if self.gaps > 1 { format!(", and {} more gaps", self.gaps - 1) } else { String::new() };
        Some(format!("revisions {from} to {to} are not there{more}: left out by a restore, or lost"))
    }
}
