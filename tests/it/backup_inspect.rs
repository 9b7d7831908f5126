//! What is in a backup, compared with what was put there.

use serde_json::Value;

use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program::{self, stderr, stdout};

fn json(store: &str, arguments: &[&str]) -> Value {
    let output = program::output(&[&["--store", store, "backup"], arguments].concat());
    serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)))
}

fn group<'a>(found: &'a Value, of: &str, name: &str) -> &'a Value {
    let groups = found[of].as_array().expect("groups");
    groups.iter().find(|group| group["name"] == name).unwrap_or_else(|| panic!("no {name} in {found}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_what_fills_the_database_and_what_became_of_it() {
    let cluster = EtcdCluster::start(1, Options::default()).await;
    let mut client = cluster.client().await;
    let lease = client.lease_grant(600, None).await.expect("a lease").id();
    let leased = || Some(etcd_client::PutOptions::new().with_lease(lease));
    for n in 0..20 {
        client.put(format!("/registry/pods/default/pod-{n}"), vec![1; 100], None).await.expect("put");
    }
    for n in 0..7 {
        client
            .put(format!("/registry/leases/kube-node-lease/n{}", n % 2), vec![2; 10], leased())
            .await
            .expect("put");
    }
    client.put("/registry/cert-manager.io/certificates/default/web", vec![3; 5000], None).await.expect("put");
    client.put("bare\u{1b}[31m", "x", None).await.expect("put");
    client.delete("/registry/pods/default/pod-19", None).await.expect("deleted");
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("store").display().to_string();
    let endpoints = cluster.endpoints().join(",");
    let now = || program::output(&["--store", &store, "backup", "now", "--endpoints", &endpoints]);
    assert_eq!(now().status.code(), Some(0));

    let found = json(&store, &["inspect", "latest", "--json", "--top", "1"]);
    let pods = group(&found, "resources", "pods");
    // 10 keys with one digit, 9 with two: their names have 28 and 29 bytes.
    let names = 10 * "/registry/pods/default/pod-0".len() + 9 * "/registry/pods/default/pod-10".len();
    assert_eq!(pods["keys"], 19);
    assert_eq!(pods["live_bytes"], 19 * 100 + names);
    assert_eq!((&pods["changes"], &pods["tombstones"]), (&21.into(), &1.into()));
    assert_eq!(group(&found, "resources", "leases")["changes"], 7, "writes of two keys");
    assert_eq!(group(&found, "prefixes", "/registry/pods/")["keys"], 19);
    assert_eq!(group(&found, "prefixes", "(no prefix)")["keys"], 1);
    assert_eq!(found["keys"], 23);
    assert_eq!((&found["leased_keys"], &found["leases"]), (&2.into(), &1.into()));
    assert_eq!(found["biggest"].as_array().map(Vec::len), Some(1));
    assert_eq!(found["biggest"][0]["key"], "/registry/cert-manager.io/certificates/default/web");
    let one = json(&store, &["inspect", "latest", "--json", "--prefix", "/registry/pods/default/pod-1"]);
    assert_eq!((&one["keys"], &one["tombstones"]), (&10.into(), &1.into()));
    let told = program::output(&["--store", &store, "backup", "inspect", "latest"]);
    let told = stdout(&told);
    assert!(told.contains("KUBERNETES RESOURCE") && told.contains("cert-manager.io/certificates"), "{told}");
    assert!(!told.contains('\u{1b}'), "a key cannot colour the terminal");

    client.put("/registry/pods/default/pod-0", vec![9; 50], None).await.expect("put");
    client.put("/registry/pods/default/new", vec![9; 50], None).await.expect("put");
    client.delete("/registry/pods/default/pod-1", None).await.expect("deleted");
    // Written again as it was: a new revision, and nothing else.
    client.put("/registry/pods/default/pod-2", vec![1; 100], None).await.expect("put");
    assert_eq!(now().status.code(), Some(0));
    let list = json(&store, &["list", "--json"]);
    let ids: Vec<&str> = list["backups"]
        .as_array()
        .expect("backups")
        .iter()
        .filter_map(|kept| kept["manifest"]["id"].as_str())
        .collect();
    let found = json(&store, &["diff", ids[0], ids[1], "--json"]);
    assert_eq!(
        (&found["added"], &found["changed"], &found["removed"]),
        (&1.into(), &1.into(), &1.into()),
        "{found}"
    );
    let expected = serde_json::json!([
        ["/registry/pods/default/new", "added"],
        ["/registry/pods/default/pod-0", "changed"],
        ["/registry/pods/default/pod-1", "removed"],
    ]);
    assert_eq!(found["keys"], expected);
    assert_eq!(found["unchanged"], 21);
    let same = json(&store, &["diff", ids[1], ids[1], "--json"]);
    assert_eq!((&same["unchanged"], &same["prefixes"]), (&23.into(), &Value::Array(Vec::new())), "{same}");
}
