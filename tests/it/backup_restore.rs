//! Restores: a backup becomes a cluster again that says the same as the old one; and the same on trial.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use etcd_monitor::backup::restore::{Target, plan};
use serde_json::Value;

use crate::etcd_cluster::{EtcdCluster, Options, Version};
use crate::program::{self, stderr, stdout};
use crate::s3::{CREDENTIALS, S3Server, free_port};

/// Keys, a deletion, leases, a compaction.
async fn filled(version: Version, members: usize) -> EtcdCluster {
    let cluster = EtcdCluster::start(members, Options { version, ..Options::default() }).await;
    let mut client = cluster.client().await;
    let lease = client.lease_grant(2, None).await.expect("a lease").id();
    for n in 0..150 {
        let options = (n % 10 == 0).then(|| etcd_client::PutOptions::new().with_lease(lease));
        client
            .put(format!("/registry/pods/default/pod-{}", n % 60), vec![n; 300], options)
            .await
            .expect("put");
    }
    client.delete("/registry/pods/default/pod-7", None).await.expect("deleted");
    client.compact(100, None).await.expect("compacted");
    cluster
}

struct Place {
    folder: tempfile::TempDir,
    config: String,
}

impl Place {
    /// A configuration with this `[backup]`, of the members of `cluster`.
    fn new(cluster: &EtcdCluster, version: Version, backup: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("monitor.toml");
        let endpoints: Vec<String> = cluster.endpoints().iter().map(|url| format!("{url:?}")).collect();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let text = format!(
            "[store]\nurl = {:?}\n[[cluster]]\nname = \"it\"\nendpoints = [{}]\n[backup]\nscratch = {:?}\n\
             etcdutl = {:?}\n{backup}\n[backup.drill]\netcd = {:?}\n",
            path("store"),
            endpoints.join(", "),
            path("scratch"),
            version.tool().display().to_string(),
            version.binary().display().to_string(),
        );
        std::fs::write(&config, text).expect("written");
        let config = config.display().to_string();
        Self { folder, config }
    }

    fn run(&self, arguments: &[&str]) -> std::process::Output {
        program::output(&[&["--config", &self.config, "backup"], arguments].concat())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)))
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_starts_an_etcd_that_says_the_same() {
    for (version, members) in [(Version::V3_4, 3), (Version::V3_5_30, 1)] {
        let cluster = filled(version, members).await;
        let place = Place::new(&cluster, version, "");
        let made = place.run(&["now"]);
        assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
        let verdict = place.json(&["drill", "--json"]);
        assert_eq!((&verdict["state"], &verdict["level"]), (&"verified".into(), &"L3".into()), "{verdict}");
        assert_eq!(verdict["drill"]["sampled_keys"], 60);
        assert!(verdict["drill"]["recovery_ms"].as_i64().expect("a time") > 0);
        let left: Vec<_> = std::fs::read_dir(place.path("scratch")).expect("read").collect();
        assert!(left.is_empty(), "{left:?}");
        let told = stdout(&program::output(&["--config", &place.config, "events"]));
        assert!(told.contains("restore-drill") && told.contains("60 keys compared"), "{told}");
        // Looked at again it is still the one that was restored.
        let again = place.json(&["verify", "latest", "--json"]);
        assert_eq!(again[0]["verdict"]["level"], "L3", "{again}");
        assert!(stdout(&place.run(&["show", "latest"])).contains("restored on trial with etcd"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_says_what_is_missing() {
    let cluster = filled(Version::V3_5_30, 1).await;
    let place = Place::new(&cluster, Version::V3_5_30, "");
    assert_eq!(place.run(&["now"]).status.code(), Some(0));
    let old = Place::new(&cluster, Version::V3_4, "");
    std::fs::rename(place.path("store"), old.path("store")).expect("moved");
    let drilled = old.run(&["drill"]);
    assert_eq!(drilled.status.code(), Some(1));
    assert!(stderr(&drilled).contains("a database cannot go back to an older etcd"), "{}", stderr(&drilled));
    let told = stdout(&program::output(&["--config", &old.config, "events", "--json"]));
    assert!(told.contains("restore-drill") && told.contains("warning"), "{told}");
    // The job does the rest where there is no etcd at all.
    let text = std::fs::read_to_string(&old.config).expect("read");
    let text: String =
        text.lines().filter(|line| !line.starts_with("etcd = ")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&old.config, text).expect("written");
    let ran = program::command(&["--config", &old.config, "run", "verify"])
        .env("PATH", "/nonexistent")
        .output()
        .expect("it runs");
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    assert!(
        stdout(&ran).contains("1 of 1 backup(s) verified, 0 bad, 0 restored on trial"),
        "{}",
        stdout(&ran)
    );
}

/// Members that are started on restored data.
struct Restored {
    folder: tempfile::TempDir,
    /// Client and peer.
    ports: Vec<(u16, u16)>,
    children: Vec<Child>,
}

impl Drop for Restored {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Restored {
    fn reserve(members: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ports = (0..members).map(|_| (free_port(), free_port())).collect();
        Self { folder, ports, children: Vec::new() }
    }

    fn data_dir(&self, n: usize) -> PathBuf {
        self.folder.path().join(format!("m{n}"))
    }

    fn peer_url(&self, n: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[n].1)
    }

    fn initial_cluster(&self) -> String {
        let members = (0..self.ports.len()).map(|n| format!("m{n}={}", self.peer_url(n)));
        members.collect::<Vec<_>>().join(",")
    }

    fn start(&mut self, version: Version) {
        for n in 0..self.ports.len() {
            let client = format!("http://127.0.0.1:{}", self.ports[n].0);
            let child = Command::new(version.binary())
                .args(["--name", &format!("m{n}"), "--data-dir"])
                .arg(self.data_dir(n))
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &self.peer_url(n)])
                .args(["--initial-advertise-peer-urls", &self.peer_url(n)])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("etcd starts");
            self.children.push(child);
        }
    }

    /// A client of one member, once that follows a leader.
    async fn client(&self, n: usize) -> etcd_client::Client {
        let url = format!("http://127.0.0.1:{}", self.ports[n].0);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            if let Ok(mut client) = etcd_client::Client::connect([&url], None).await
                && client.get("x", None).await.is_ok()
            {
                return client;
            }
            assert!(std::time::Instant::now() < deadline, "member {n} does not answer");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_backup_in_a_bucket_becomes_three_members_that_say_the_same() {
    let version = Version::V3_5_30;
    let moto = S3Server::moto();
    let old = filled(version, 3).await;
    let key = age::x25519::Identity::generate();
    let secret = tempfile::tempdir().expect("a folder");
    let identity = secret.path().join("key.txt");
    std::fs::write(&identity, age::secrecy::ExposeSecret::expose_secret(&key.to_string())).expect("written");
    let backup = format!(
        "{}[backup.encryption]\nrecipients = [\"{}\"]\nidentities = [{{ file = {:?} }}]",
        moto.destination("bucket", "bucket/restores"),
        key.to_public(),
        identity.display().to_string()
    );
    let place = Place::new(&old, version, &backup);
    let run = |arguments: &[&str]| {
        let mut command = program::command(&["--config", &place.config, "backup"]);
        command.args(arguments).envs(CREDENTIALS).output().expect("it runs")
    };
    let made = run(&["now", "--json"]);
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    let made: Value = serde_json::from_str(&stdout(&made)).expect("JSON");
    let manifest = &made[0]["manifest"];
    let (hash, revision) =
        (&manifest["hashes"][0]["hash"], manifest["hashes"][0]["revision"].as_i64().expect("a number"));
    let planned = stdout(&run(&["restore", "latest", "--plan", "--data-dir", "/var/lib/etcd"]));
    for n in 0..3 {
        assert!(planned.contains(&format!("--name m{n}")), "{planned}");
    }
    // Three new members on ports of their own, as the plan says with other URLs.
    let mut new = Restored::reserve(3);
    for n in 0..3 {
        let data = new.data_dir(n).display().to_string();
        let restored = run(&[
            "restore",
            "latest",
            "--from",
            "bucket",
            "--data-dir",
            &data,
            "--name",
            &format!("m{n}"),
            "--initial-cluster",
            &new.initial_cluster(),
            "--initial-cluster-token",
            "restored",
            "--initial-advertise-peer-urls",
            &new.peer_url(n),
        ]);
        assert_eq!(restored.status.code(), Some(0), "{}", stderr(&restored));
        assert!(
            stdout(&restored).contains("Restore the other members from the same backup"),
            "{}",
            stdout(&restored)
        );
        let twice = run(&["restore", "latest", "--data-dir", &data]);
        assert_eq!(twice.status.code(), Some(2));
        assert!(stderr(&twice).contains("is not empty"), "{}", stderr(&twice));
    }
    new.start(version);
    for n in 0..3 {
        let answer = new.client(n).await.hash_kv(revision).await.expect("a hash");
        assert_eq!(Value::from(answer.hash()), *hash, "member {n}");
    }
    new.client(0).await.put("after", "restore", None).await.expect("it takes writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_nothing_is_restored() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let key = age::x25519::Identity::generate();
    let backup = format!("[backup.encryption]\nrecipients = [\"{}\"]", key.to_public());
    let place = Place::new(&cluster, Version::V3_5_30, &backup);
    assert_eq!(place.run(&["now"]).status.code(), Some(0));
    let sealed = place.run(&["restore", "latest", "--data-dir", &place.path("sealed")]);
    assert_eq!(sealed.status.code(), Some(1));
    assert!(stderr(&sealed).contains("set backup.encryption.identities"), "{}", stderr(&sealed));
    assert!(!std::path::Path::new(&place.path("sealed")).exists());
    let drilled = place.run(&["drill"]);
    assert_eq!(drilled.status.code(), Some(1));
    assert!(stderr(&drilled).contains("there is no identity here"), "{}", stderr(&drilled));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_restored_as_well_and_a_bad_one_is_not() {
    let version = Version::V3_5_30;
    let cluster = filled(version, 1).await;
    let place = Place::new(&cluster, version, "");
    assert_eq!(place.run(&["now"]).status.code(), Some(0));
    let list = place.json(&["list", "--json"]);
    let object = place
        .path(&format!("store/{}", list["backups"][0]["manifest"]["object"]["key"].as_str().expect("a key")));
    let plain = place.path("plain.db");
    let mut bytes = zstd::decode_all(std::fs::File::open(&object).expect("an object")).expect("decompressed");
    std::fs::write(&plain, &bytes).expect("written");
    let restored = place.run(&["restore", &plain, "--data-dir", &place.path("one")]);
    assert_eq!(restored.status.code(), Some(0), "{}", stderr(&restored));
    assert!(std::path::Path::new(&place.path("one/member/snap/db")).exists());
    // Copied out of a data folder there is no checksum, and etcdutl is told.
    bytes.truncate(bytes.len() - 32);
    std::fs::write(&plain, &bytes).expect("written");
    let restored = place.run(&["restore", &plain, "--data-dir", &place.path("two")]);
    assert_eq!(restored.status.code(), Some(0), "{}", stderr(&restored));
    bytes[9000] ^= 1;
    std::fs::write(&plain, &bytes).expect("written");
    let mut whole = std::fs::read(&object).expect("read");
    let middle = whole.len() / 2;
    whole[middle] ^= 1;
    std::fs::write(&object, whole).expect("written");
    let bad = place.run(&["restore", "latest", "--data-dir", &place.path("three")]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(stderr(&bad).contains("nothing is restored from it"), "{}", stderr(&bad));
    assert!(!std::path::Path::new(&place.path("three")).exists());
}

#[test]
fn a_plan_names_every_member_once() {
    let manifest: Value = serde_json::json!({
        "format": 1, "id": "20261123T180000-7QK3ZD", "kind": "full", "parent": null, "origin": "schedule",
        "cluster": "prod", "cluster_id": "cdf818194e3a8c32",
        "source": { "instance": "10.0.0.1:2379", "member_id": "1", "name": "a", "version": "3.5.30", "is_leader": false },
        "revision": 10, "compact_revision": 5, "keys": 3,
        "members": [
            { "member_id": "1", "name": "a", "peer_urls": ["https://10.0.0.1:2380"], "client_urls": [], "is_learner": false },
            { "member_id": "2", "name": "b it", "peer_urls": ["https://10.0.0.2:2380"], "client_urls": [], "is_learner": false },
            { "member_id": "3", "name": "l", "peer_urls": ["https://10.0.0.3:2380"], "client_urls": [], "is_learner": true },
        ],
        "hashes": [{ "instance": "10.0.0.1:2379", "member_id": "1", "revision": 10, "compact_revision": 5, "hash": 77 }],
        "bytes": 1000, "sha256": "00".repeat(32), "trailer": "00".repeat(32),
        "object": { "key": "backups/prod/data/x.db.zst", "bytes": 10, "sha256": "00".repeat(32), "frames": 1, "encryption": null },
        "started_ms": 0, "finished_ms": 1, "paused_ms": 0, "tool_version": "0.1.0",
    });
    let manifest = serde_json::from_value(manifest).expect("a manifest");
    let lines = plan(&manifest, "offsite", std::path::Path::new("/var/lib/etcd"), &Target::default());
    insta::assert_snapshot!(lines.join("\n"));
}
