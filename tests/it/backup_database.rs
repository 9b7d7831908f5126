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
