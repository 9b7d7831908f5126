//! The verifier on databases that real etcd made: its figures are those of etcdutl, its hashes those of the members.

use std::path::{Path, PathBuf};
use std::process::Command;

use etcd_client::{Client, Compare, CompareOp, DeleteOptions, PutOptions, Txn, TxnOp};
use etcd_monitor::backup::Level;
use etcd_monitor::backup::database::{Examined, Progress, examine};
use etcd_monitor::etcd::Member;
use std::time::Duration;

use crate::etcd_cluster::{EtcdCluster, Options, Version};

/// Writes what `Maintenance.Snapshot` of the first member streams to a file.
pub async fn saved(cluster: &EtcdCluster, name: &str) -> PathBuf {
    use etcd_client::ConnectOptions;
    let options = ConnectOptions::new().with_timeout(Duration::from_secs(60));
    let mut client = Client::connect([cluster.endpoint(0)], Some(options)).await.expect("a client");
    let mut stream = client.snapshot().await.expect("a stream");
    let mut bytes = Vec::new();
    while let Some(part) = stream.message().await.expect("a message") {
        bytes.extend_from_slice(part.blob());
    }
    let path = cluster.folder().join(name);
    std::fs::write(&path, bytes).expect("written");
    path
}

pub fn examined(path: &Path, at: &[i64]) -> Examined {
    let file = std::fs::File::open(path).expect("a file");
    examine(&file, at, &Progress::default())
}

/// HashKV of member `i` at `revision` (0: now): hash, compact revision, and the newest revision.
async fn live(cluster: &EtcdCluster, i: usize, revision: i64) -> (u32, i64, i64) {
    let member = Member::new(&cluster.config(), &cluster.endpoint(i), None).expect("a member");
    let answer = member.hash_kv(revision, Duration::from_secs(20)).await.expect("a hash");
    (answer.hash, answer.compact_revision, answer.header.expect("a header").revision)
}

/// `snapshot status` of the version's own tool: hash, revision, totalKey, totalSize.
fn status(version: Version, path: &Path) -> [u64; 4] {
    let output = Command::new(version.tool())
        .env("ETCDCTL_API", "3")
        .args(["snapshot", "status", "-w", "json"])
        .arg(path)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    ["hash", "revision", "totalKey", "totalSize"].map(|key| found[key].as_u64().expect("a number"))
}

/// Puts, deletes, transactions of several keys, leases that end, keys that come back.
async fn write(client: &mut Client, seed: usize) {
    let lease = client.lease_grant(600, None).await.expect("a lease").id();
    for n in 0..40 {
        let key = format!("key/{}", (n * 7 + seed) % 25);
        let options = (n % 5 == 0).then(|| PutOptions::new().with_lease(lease));
        client.put(key, format!("value {seed} {n}").repeat(n), options).await.expect("put");
    }
    for n in (0..25).step_by(3) {
        client.delete(format!("key/{n}"), None).await.expect("deleted");
    }
    let writes: Vec<TxnOp> = (0..10).map(|n| TxnOp::put(format!("txn/{n}"), vec![0; 3000], None)).collect();
    let absent = Compare::version("nothing", CompareOp::Equal, 0);
    client.txn(Txn::new().when([absent]).and_then(writes)).await.expect("a transaction");
    client.delete("txn/", Some(DeleteOptions::new().with_prefix())).await.expect("deleted");
    client.put("key/3", "it came back", None).await.expect("put");
    client.lease_revoke(lease).await.expect("revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_and_figures_are_those_of_etcd() {
    for version in [Version::V3_4, Version::V3_5_16, Version::V3_5_30] {
        let cluster = EtcdCluster::start(1, Options { version, ..Options::default() }).await;
        let mut client = cluster.client().await;
        // A database that nobody wrote to, then one after each of several compactions: at a write, at a tombstone that is
        // the newest revision, in the middle of what there is.
        for round in 0..5 {
            if round > 0 {
                write(&mut client, round).await;
            }
            let newest = live(&cluster, 0, 0).await.2;
            let compacted = match round {
                2 => Some(newest - 60),
                3 => {
                    let deleted = client.delete("key/4", None).await.expect("deleted");
                    Some(deleted.header().expect("a header").revision())
                }
                4 => Some(newest),
                _ => None,
            };
            if let Some(revision) = compacted {
                let options = etcd_client::CompactionOptions::new().with_physical();
                client.compact(revision, Some(options)).await.expect("compacted");
            }
            let (_, compact, newest) = live(&cluster, 0, 0).await;
            let path = saved(&cluster, "saved.db").await;
            let at = [newest, (newest + compact.max(1)) / 2, compact.max(1), 0];
            let found = examined(&path, &at);
            assert!(found.damage.is_none(), "{version:?} {round}: {found:#?}");
            assert_eq!(
                (found.level, found.notes.as_slice()),
                (Some(Level::L1), &[][..]),
                "{version:?} {round}"
            );
            assert_eq!(found.hashes.len(), at.len());
            for (hash, at) in found.hashes.iter().zip(at) {
                // 3.4 says nothing of the compacted revision itself, unless it is the newest and not named.
                let at = if at == newest { 0 } else { at };
                if version == Version::V3_4 && at != 0 && at <= compact {
                    continue;
                }
                let (expected, as_of, _) = live(&cluster, 0, at).await;
                // Of that revision 3.5 remembers the hash from before it was compacted.
                if as_of != compact && at == compact {
                    continue;
                }
                assert_eq!(
                    (hash.hash, hash.compact_revision),
                    // Without a compaction etcd says -1.
                    (expected, as_of.max(0)),
                    "{version:?}, round {round}, at {at} of {newest}"
                );
            }
            let figures = found.found.expect("figures");
            assert_eq!(figures.revision, newest, "{version:?} {round}");
            let [hash, revision, total, size] = status(version, &path);
            assert_eq!(
                (u64::from(figures.status_hash), figures.entries, figures.bytes),
                (hash, total, size),
                "{version:?} {round}"
            );
            // etcdutl does not know of a compacted tombstone that was deleted.
            assert!(revision <= newest as u64);
            let alive = client
                .get("", Some(etcd_client::GetOptions::new().with_all_keys().with_count_only()))
                .await
                .expect("counted");
            assert_eq!(figures.keys, alive.count() as u64, "{version:?} {round}");
        }
    }
}

/// A small generator, so that a failure can be repeated from its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).expect("31 bits") % below.max(1)
    }
}

/// Damages a database that ends with its checksum. Returns what was done.
fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) -> &'static str {
    let page = 4096;
    let database = bytes.len() - 32;
    let pages = database / page;
    let (a, b) = (dice.roll(pages) * page, dice.roll(pages) * page);
    match dice.roll(10) {
        0 => {
            let at = dice.roll(database);
            bytes[at] ^= 1 << dice.roll(8);
            "a bit turned"
        }
        1 => {
            let (at, length) = (dice.roll(database), dice.roll(64));
            bytes[at..database].iter_mut().take(length).for_each(|byte| *byte = 0);
            "bytes zeroed"
        }
        2 => {
            let (at, length) = (dice.roll(database), dice.roll(64));
            bytes[at..database].iter_mut().take(length).for_each(|byte| *byte = dice.roll(256) as u8);
            "bytes replaced"
        }
        3 => {
            let first = bytes[a..a + page].to_vec();
            bytes.copy_within(b..b + page, a);
            bytes[b..b + page].copy_from_slice(&first);
            "two pages swapped"
        }
        4 => {
            bytes.copy_within(b..b + page, a);
            "a page copied over another"
        }
        5 => {
            bytes[a + dice.roll(16)] = dice.roll(256) as u8;
            "a page's header changed"
        }
        6 => {
            // Elements follow the header: children that lead back, keys elsewhere, lengths beyond.
            let element = a + 16 + dice.roll(40) * 16 + dice.roll(4) * 4;
            let word = [0, 1, 2, 3, pages, 16, 4095, 4096, usize::MAX][dice.roll(9)] as u32;
            bytes[element..element + 4].copy_from_slice(&word.to_le_bytes());
            "an element changed"
        }
        7 => {
            let kept = dice.roll(database);
            bytes.truncate(kept);
            "cut off"
        }
        8 => {
            let cut = dice.roll(pages) * page;
            bytes.drain(cut..cut + page);
            "a page left out"
        }
        _ => {
            let field = 16 + dice.roll(64);
            bytes[dice.roll(2) * page + field] = dice.roll(256) as u8;
            "a meta page changed"
        }
    }
}

fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let database = bytes.len().saturating_sub(32) / 512 * 512;
    bytes.truncate(database);
    let sum = ring::digest::digest(&ring::digest::SHA256, &bytes);
    bytes.extend_from_slice(sum.as_ref());
    bytes
}

/// What a restored etcd would serve, and how it got there.
fn records(bytes: &[u8]) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    etcd_monitor::backup::database::each_record(&bytes.to_vec(), &Progress::default(), &mut |record| {
        all.push((
            format!("{}{}", record.revision, record.is_tombstone),
            record.key.to_vec(),
            record.value.to_vec(),
        ));
    })
    .expect("whole");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn no_damage_goes_unseen_and_none_is_a_panic() {
    let rounds: usize =
        std::env::var("ETCD_MONITOR_SOAK_MUTATIONS").map_or(4_000, |text| text.parse().expect("a number"));
    for version in [Version::V3_4, Version::V3_5_16, Version::V3_5_30] {
        let cluster = EtcdCluster::start(1, Options { version, ..Options::default() }).await;
        let mut client = cluster.client().await;
        for round in 1..4 {
            write(&mut client, round).await;
        }
        let newest = live(&cluster, 0, 0).await.2;
        // All of it at once: what is compacted and still there counts for nothing.
        let physical = etcd_client::CompactionOptions::new().with_physical();
        client.compact(newest - 40, Some(physical)).await.expect("compacted");
        let whole = std::fs::read(saved(&cluster, "saved.db").await).expect("read");
        // What was overwritten since the compaction counts for the hash at the compaction alone.
        let at = [0, newest - 40];
        let original = examine(&whole, &at, &Progress::default());
        assert!(original.damage.is_none(), "{original:?}");
        let (hashes, served) = (original.hashes, records(&whole));
        assert_eq!(hashes.len(), 2);
        let seen = std::thread::scope(|scope| {
            let chunks: Vec<_> = (0..2)
                .map(|thread| {
                    let (whole, served, hashes) = (&whole, &served, &hashes);
                    scope.spawn(move || {
                        let mut harmless = 0;
                        for n in (thread..rounds).step_by(2) {
                            let seed = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                            let (mut bytes, mut dice) = (whole.clone(), Dice(seed));
                            let what = mutate(&mut bytes, &mut dice);
                            if bytes == *whole {
                                continue;
                            }
                            let found = examine(&bytes, &[0], &Progress::default());
                            let is_seen = found.damage.is_some() || found.trailer.is_none();
                            assert!(is_seen, "{version:?}, seed {seed:#x}: {what}: {found:?}");
                            // Somebody who repairs the checksum, too.
                            let bytes = with_checksum(bytes);
                            let found = examine(&bytes, &at, &Progress::default());
                            if found.damage.is_none() && found.hashes == *hashes {
                                harmless += 1;
                                assert!(records(&bytes) == *served, "{version:?}, seed {seed:#x}: {what}");
                            }
                        }
                        harmless
                    })
                })
                .collect();
            chunks.into_iter().map(|chunk| chunk.join().expect("no panic")).sum::<usize>()
        });
        println!("{version:?}: {rounds} mutations, {seen} with a new checksum changed nothing that is read");
        assert!(seen < rounds * 3 / 4, "much of what is damaged is read");
    }
}
