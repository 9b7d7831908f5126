//! Clusters that come and go by themselves: each kind of source against a real server, and a daemon that follows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use etcd_monitor::discover::source::{Look, Source, SourceConfig};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record};
use serde_json::{Value, json};

use crate::daemon::until;
use crate::etcd_cluster::{EtcdCluster, Options};
use crate::program::{self, Daemon};

fn source(toml: &str) -> Source {
    let config: SourceConfig = toml::from_str(&format!("name = 'src'\n{toml}")).expect("a source");
    Source::open(config, None).expect("it fits together")
}

/// `name: endpoint,endpoint` of each cluster.
fn said(look: &Look) -> Vec<String> {
    look.clusters
        .values()
        .map(|cluster| format!("{}: {}", cluster.name, cluster.endpoints.join(",")))
        .collect()
}

/// SRV records by name; a name that is not there does not exist, and one without port is a failure.
type Zone = Arc<Mutex<BTreeMap<String, Vec<(u16, &'static str)>>>>;

/// A name server over UDP.
async fn name_server(zone: Zone) -> SocketAddr {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let request = Message::from_vec(&buffer[..length]).expect("a question");
            let question = request.queries[0].clone();
            let mut answer = Message::response(request.metadata.id, request.metadata.op_code);
            answer.add_query(question.clone());
            match zone.lock().expect("no panic").get(&question.name().to_ascii()) {
                None => answer.metadata.response_code = ResponseCode::NXDomain,
                Some(records) if records.iter().any(|(port, _)| *port == 0) => {
                    answer.metadata.response_code = ResponseCode::ServFail;
                }
                Some(records) => {
                    for (port, host) in records {
                        let srv = SRV::new(0, 0, *port, Name::from_ascii(host).expect("a name"));
                        answer.add_answer(Record::from_rdata(question.name().clone(), 300, RData::SRV(srv)));
                    }
                }
            }
            socket.send_to(&answer.to_vec().expect("bytes"), from).await.expect("sent");
        }
    });
    address
}

#[tokio::test]
async fn srv_records_name_the_members_of_a_cluster() {
    let zone = Zone::default();
    let set = |name: &str, records: &[(u16, &'static str)]| {
        zone.lock().expect("no panic").insert(name.to_owned(), records.to_vec());
    };
    set("_etcd-client-ssl._tcp.prod.example.com.", &[(2379, "m2.example.com."), (2379, "m1.example.com.")]);
    set("_etcd-client._tcp.stage.example.com.", &[(12379, "m.example.com.")]);
    let server = name_server(Arc::clone(&zone)).await;
    let domains = "['prod.example.com', 'stage.example.com.', 'gone.example.com']";
    let source = source(&format!(
        "dns-srv = {{ domains = {domains}, server = '{server}' }}\ntags = {{ d = '{{domain}}' }}"
    ));
    let look = source.look().await.expect("it answers");
    let prod = "prod-example-com: https://m1.example.com:2379,https://m2.example.com:2379";
    assert_eq!(said(&look), [prod, "stage-example-com: http://m.example.com:12379"]);
    assert_eq!(look.clusters.values().next().map(|c| c.tags["d"].as_str()), Some("prod.example.com"));

    // What changed is seen although the records may be kept for minutes.
    set("_etcd-client-ssl._tcp.prod.example.com.", &[(2379, "m3.example.com.")]);
    zone.lock().expect("no panic").remove("_etcd-client._tcp.stage.example.com.");
    let look = source.look().await.expect("it answers");
    assert_eq!(said(&look), ["prod-example-com: https://m3.example.com:2379"]);

    set("_etcd-client._tcp.stage.example.com.", &[(0, "")]);
    let error = source.look().await.expect_err("a failure is no answer");
    assert!(error.to_string().contains("_etcd-client._tcp.stage.example.com."), "{error}");
}

/// What the API server has, by path.
type Objects = Arc<Mutex<BTreeMap<&'static str, Value>>>;

/// An API server as far as lists go: it wants the service account's token and heeds the label selector.
async fn api_server(objects: Objects) -> String {
    async fn list(State(objects): State<Objects>, headers: HeaderMap, uri: Uri) -> (StatusCode, String) {
        let token = headers.get("authorization").and_then(|value| value.to_str().ok());
        if token != Some("Bearer the-token") {
            let status = json!({ "kind": "Status", "message": "pods is forbidden: User \"anonymous\"" });
            return (StatusCode::FORBIDDEN, status.to_string());
        }
        let all = objects.lock().expect("no panic").get(uri.path()).cloned().unwrap_or_else(|| json!([]));
        // `labelSelector=key%3Dvalue`, as the program encodes it.
        let selector = uri.query().and_then(|query| query.strip_prefix("labelSelector="));
        let selector = selector.expect("a selector").replace("%3D", "=");
        let fits = |object: &&Value| {
            let (label, value) = selector.split_once('=').expect("key=value");
            object["metadata"]["labels"][label] == *value
        };
        let items: Vec<&Value> = all.as_array().into_iter().flatten().filter(fits).collect();
        (StatusCode::OK, json!({ "kind": "List", "apiVersion": "v1", "items": items }).to_string())
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let router = Router::new().fallback(list).with_state(objects);
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn pod(name: &str, ip: &str, advertised: Option<&str>, phase: &str) -> Value {
    let annotations =
        advertised.map(|url| json!({ "kubeadm.kubernetes.io/etcd.advertise-client-urls": url }));
    json!({
        "metadata": {
            "name": name, "namespace": "kube-system", "annotations": annotations.unwrap_or_else(|| json!({})),
            "labels": { "component": "etcd", "tier": "control-plane" },
        },
        "status": { "phase": phase, "podIP": ip, "podIPs": [{ "ip": ip }] },
    })
}

fn slice(namespace: &str, service: &str, addresses: &[&str], ready: bool) -> Value {
    json!({
        "metadata": {
            "name": format!("{service}-x7k2p"), "namespace": namespace,
            "labels": { "kubernetes.io/service-name": service, "app": "etcd" },
        },
        "addressType": "IPv4",
        "endpoints": addresses.iter().map(|ip| json!({ "addresses": [ip], "conditions": { "ready": ready } }))
            .collect::<Vec<_>>(),
        "ports": [{ "name": "peer", "port": 2380 }, { "name": "client", "port": 2378 }],
    })
}

#[tokio::test]
async fn kubernetes_names_clusters_by_pods_and_by_services() {
    let objects = Objects::default();
    let api = api_server(Arc::clone(&objects)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "the-token\n").expect("written");
    let at = format!("api = '{api}', token-file = '{}'", token.display());
    let pods = source(&format!("kubernetes = {{ {at} }}"));
    assert!(pods.look().await.expect("it answers").clusters.is_empty());
    objects.lock().expect("no panic").insert(
        "/api/v1/namespaces/kube-system/pods",
        json!([
            pod("etcd-n1", "10.0.0.1", Some("https://10.0.0.1:2379"), "Running"),
            pod("etcd-n2", "10.0.0.2", None, "Running"),
            pod("etcd-n3", "10.0.0.3", None, "Failed"),
            json!({ "metadata": { "name": "kube-proxy", "namespace": "kube-system", "labels": {} } }),
        ]),
    );
    let look = pods.look().await.expect("it answers");
    assert_eq!(said(&look), ["src: 10.0.0.2:2379,https://10.0.0.1:2379"]);
    assert_eq!(look.clusters.values().next().map(|c| c.tags["namespace"].as_str()), Some("kube-system"));

    let services = format!(
        "cluster-name = '{{namespace}}-{{service}}'\ntags = {{ app = '{{app}}' }}\n\
         kubernetes = {{ {at}, objects = 'endpoint-slices', namespace = '', selector = 'app=etcd', scheme = 'http' }}"
    );
    let services = source(&services);
    objects.lock().expect("no panic").insert(
        "/apis/discovery.k8s.io/v1/endpointslices",
        json!([
            slice("a", "etcd", &["10.1.0.1", "10.1.0.2"], true),
            slice("a", "etcd", &["10.1.0.3"], false),
            slice("b", "etcd", &["10.2.0.1"], true),
        ]),
    );
    let look = services.look().await.expect("it answers");
    let a = "a-etcd: http://10.1.0.1:2378,http://10.1.0.2:2378,http://10.1.0.3:2378";
    assert_eq!(said(&look), [a, "b-etcd: http://10.2.0.1:2378"]);

    let endpoints = source(&format!(
        "kubernetes = {{ {at}, objects = 'endpoints', namespace = 'a', selector = 'app=etcd' }}"
    ));
    objects.lock().expect("no panic").insert(
        "/api/v1/namespaces/a/endpoints",
        json!([{
            "metadata": { "name": "etcd-client", "namespace": "a", "labels": { "app": "etcd" } },
            "subsets": [{
                "addresses": [{ "ip": "10.1.0.1" }], "notReadyAddresses": [{ "ip": "fd00::2" }],
                "ports": [{ "port": 12379 }],
            }],
        }]),
    );
    let look = endpoints.look().await.expect("it answers");
    assert_eq!(said(&look), ["etcd-client: 10.1.0.1:12379,[fd00::2]:12379"]);

    // The kubelet renews the token.
    std::fs::write(&token, "outdated").expect("written");
    let error = services.look().await.expect_err("refused").to_string();
    assert!(error.contains("403") && error.contains("pods is forbidden"), "{error}");
}

/// A daemon that is asked through its configuration.
struct Scene {
    daemon: Daemon,
    config: String,
}

impl Scene {
    fn ask(&self, words: &[&str]) -> Value {
        let output = program::output(&[&["--config", &self.config], words].concat());
        serde_json::from_str(&program::stdout(&output)).unwrap_or_default()
    }

    /// Members of the cluster that answered last, of those that are known.
    fn members(&self, cluster: &str) -> (usize, usize) {
        let status = self.ask(&["status", "--json"]);
        let of_it = status["clusters"].as_array().into_iter().flatten().find(|c| c["name"] == cluster);
        let members = of_it.and_then(|c| c["members"].as_array().cloned()).unwrap_or_default();
        (members.iter().filter(|member| member["reachable"] == true).count(), members.len())
    }

    fn events(&self, kind: &str, cluster: &str) -> usize {
        let events = self.ask(&["events", "--json", "--kind", kind, "--cluster", cluster]);
        events.as_array().map_or(0, Vec::len)
    }

    /// State and reason of the incidents of a cluster.
    fn incidents(&self, cluster: &str) -> Vec<String> {
        let found = self.ask(&["alerts", "--history", "--json", "--cluster", cluster]);
        let found = found.as_array().cloned().unwrap_or_default();
        let of_test = found.iter().filter(|incident| incident["alert"] == "TestMemberDown");
        of_test
            .map(|incident| format!("{} {}", incident["state"], incident["reason"]).replace('"', ""))
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_follows_its_sources() {
    let fixed = EtcdCluster::start(1, Options::default()).await;
    let mut listed = EtcdCluster::start(1, Options::default()).await;
    let keyed = EtcdCluster::start(1, Options::default()).await;
    let folder = tempfile::tempdir().expect("temp folder");
    let list = folder.path().join("clusters.json");
    let write = |text: &str| std::fs::write(&list, text).expect("written");
    write("[]");
    std::fs::write(folder.path().join("rules.yml"), crate::daemon::RULES).expect("written");
    let text = format!(
        "[store]\nurl = '{store}'\n[watch]\nscrape-interval = '2s'\nflush-interval = '1s'\n[rules]\nfiles = ['rules.yml']\n\
         [[cluster]]\nname = 'fixed'\nendpoints = ['{fixed}']\n\
         [[discover]]\nname = 'list'\nfile = {{ paths = ['clusters.json'] }}\nremoval-grace = '1s'\n\
         [[discover]]\nname = 'keys'\netcd = {{ endpoints = ['{fixed}'], prefix = '/clusters/' }}\ntags = {{ from = '{{source}}' }}\n",
        store = folder.path().join("store").display(),
        fixed = fixed.endpoint(0),
    );
    let config = folder.path().join("etcd-monitor.toml");
    std::fs::write(&config, text).expect("written");
    let config = config.display().to_string();
    let start = || Daemon::start(folder.path(), &["--config", &config, "run"], &[]);
    let mut scene = Scene { daemon: start(), config: config.clone() };
    until("the configured cluster", &scene.daemon, || scene.members("fixed") == (1, 1)).await;

    let began = Instant::now();
    let group =
        json!([{ "targets": [listed.endpoint(0)], "labels": { "cluster": "listed", "env": "test" } }]);
    write(&group.to_string());
    until("the event", &scene.daemon, || scene.events("cluster-added", "listed") == 1).await;
    println!("from the file to the stored event: {:.1} s", began.elapsed().as_secs_f64());
    until("the listed cluster", &scene.daemon, || scene.members("listed") == (1, 1)).await;
    println!("from the file to stored readings: {:.1} s", began.elapsed().as_secs_f64());
    let value = json!({ "endpoints": [keyed.endpoint(0)] }).to_string();
    fixed.client().await.put("/clusters/keyed", value, None).await.expect("put");
    until("the cluster of the key", &scene.daemon, || scene.members("keyed") == (1, 1)).await;
    let found = scene.ask(&["discover", "--json"]);
    assert_eq!(found[0]["clusters"][0]["tags"], json!({ "cluster": "listed", "env": "test" }), "{found}");
    assert_eq!(found[1]["clusters"][0]["tags"], json!({ "from": "keys" }), "{found}");

    listed.kill(0);
    until("the alert", &scene.daemon, || scene.incidents("listed") == ["FIRING null"]).await;
    let of_tag = |command: &str| scene.ask(&[command, "--json", "--tag", "env=test"]).to_string();
    assert!(of_tag("status").contains("\"listed\"") && !of_tag("status").contains("\"fixed\""));
    assert!(of_tag("alerts").contains("TestMemberDown"), "{}", of_tag("alerts"));
    assert!(of_tag("events").contains("alert-firing") && !of_tag("events").contains("\"keyed\""));
    let answer = scene.ask(&["query", "count(etcd_monitor_member_up)", "--json", "--tag", "env=test"]);
    assert_eq!(answer["result"][0]["value"][1], "1", "{answer}");
    let nobody = program::output(&["--config", &scene.config, "events", "--tag", "env=none"]);
    assert_eq!(nobody.status.code(), Some(2));
    assert!(program::stderr(&nobody).contains("none of 3 clusters fits; tags are: cluster, env, from"));
    // A file that cannot be read takes nothing away.
    write("[");
    until("the complaint", &scene.daemon, || scene.daemon.log().contains("what it named before stays")).await;
    // Neither does a restart, whatever the sources say meanwhile.
    assert_eq!(scene.daemon.terminate(std::time::Duration::from_secs(30)), Some(0));
    scene.daemon = start();
    until("the next complaint", &scene.daemon, || {
        scene.daemon.log().matches("what it named before stays").count() == 2
    })
    .await;
    let lasting = |said: &String| !said.starts_with("RESOLVED");
    assert!(scene.incidents("listed").iter().all(lasting), "{}", scene.daemon.log());
    write("[]");
    until("the end of the incident", &scene.daemon, || {
        scene.incidents("listed") == ["RESOLVED cluster listed removed"]
    })
    .await;
    assert_eq!(scene.events("cluster-removed", "listed"), 1, "{}", scene.daemon.log());
    assert_eq!((scene.events("cluster-added", "keyed"), scene.members("keyed")), (1, (1, 1)));
    assert_eq!(scene.daemon.terminate(std::time::Duration::from_secs(30)), Some(0));
}
