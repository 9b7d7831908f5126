//! Ten thousand incidents told over receivers that fail three times in ten: busy, asking for a pause, resetting,
//! hanging, answering garbage, or taking the message and losing the answer. Nothing may be lost; what was told
//! twice is counted. `ETCD_MONITOR_SOAK_INCIDENTS` asks for more incidents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use etcd_monitor::alert::{AlertConfig, Group, Routes};
use etcd_monitor::deliver::{ChannelConfig, Deliverer, Receipt, ReceiptOutcome, open};
use etcd_monitor::model::{Finding, FindingState, Labels};
use etcd_monitor::rules::{Completeness, Evaluation, RuleGroup, Scope, parse};
use etcd_monitor::store::key::{self, Prefix};
use etcd_monitor::store::{Store, Writer, sequence};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::simulation::faults::Rng;
use super::smtp::MailServer;
use super::{Receiver, START_MS};

const HOOKS: usize = 20;
/// Of a hundred requests, how many end in each way; the rest is taken.
const FAULTS: [(Fault, usize); 6] = [
    (Fault::Busy, 14),
    (Fault::Pause, 1),
    (Fault::Reset, 7),
    (Fault::Hang, 2),
    (Fault::Garbage, 3),
    (Fault::LosesAnswer, 3),
];
/// Every one in so many is critical: over two channels at once, one of them mail, with a failover.
const CRITICAL_EVERY: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Busy,
    Pause,
    Reset,
    Hang,
    Garbage,
    LosesAnswer,
}

/// A webhook receiver that fails by the dice.
struct Sink {
    port: u16,
    log: Arc<Log>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Log {
    requests: AtomicUsize,
    /// The idempotency key of each message taken.
    taken: Mutex<Vec<String>>,
    faults: Mutex<BTreeMap<Fault, usize>>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Sink {
    async fn start(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let log = Arc::new(Log::default());
        let (shared, mut rng) = (Arc::clone(&log), Rng::new(seed));
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut dice = rng.below(100);
                let fault = FAULTS.iter().find_map(|(fault, percent)| {
                    let hit = dice < *percent;
                    dice = dice.wrapping_sub(*percent);
                    hit.then_some(*fault)
                });
                tokio::spawn(serve(stream, Arc::clone(&shared), fault));
            }
        });
        Self { port, log, server }
    }

    fn channel(&self) -> ChannelConfig {
        let text = format!(
            "type = \"webhook\"\nurl = \"http://127.0.0.1:{}/\"\ntimeout = \"3s\"\nallow-private = true",
            self.port
        );
        toml::from_str(&text).expect("a valid channel")
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Log>, fault: Option<Fault>) {
    log.requests.fetch_add(1, Ordering::Relaxed);
    if let Some(fault) = fault {
        *log.faults.lock().expect("no panic").entry(fault).or_default() += 1;
    }
    let mut bytes = Vec::new();
    let head = loop {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break head;
        }
    };
    if matches!(fault, None | Some(Fault::LosesAnswer)) {
        let id = head.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).expect("a key");
        log.taken.lock().expect("no panic").push(id.to_owned());
    }
    let answer: &[u8] = match fault {
        None => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        Some(Fault::Busy) => b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        Some(Fault::Pause) => {
            b"HTTP/1.1 429 Slow\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        }
        Some(Fault::Garbage) => b"\x00\xff 220 what is HTTP?\r\n\r\n",
        Some(Fault::Reset | Fault::LosesAnswer) => {
            // Unread input would do; lingering for no time says it outright.
            let _ = stream.set_zero_linger();
            return;
        }
        Some(Fault::Hang) => {
            let _ = stream.read_buf(&mut bytes).await;
            return;
        }
    };
    let _ = stream.write_all(answer).await;
}

fn routes(names: &[String]) -> Routes {
    let mut text = String::new();
    for hook in 0..HOOKS {
        let other = (hook + 1) % HOOKS;
        text += &format!(
            "[[route]]\nmatchers = ['severity=\"critical\"', 'team=\"{hook}\"']\n\
             channels = ['hook-{hook}', 'mail']\nfailover = ['hook-{other}']\n\
             group-by = ['alertname', 'cluster', 'instance']\n\
             [[route]]\nmatchers = ['severity!=\"critical\"', 'team=\"{hook}\"']\nchannels = ['hook-{hook}']\n\
             group-wait = '0s'\ngroup-by = ['alertname', 'cluster', 'instance']\n"
        );
    }
    let config: AlertConfig = toml::from_str(&text).expect("valid");
    Routes::new(&config, names).expect("valid")
}

/// A few incidents each: more would be a storm and told as one.
fn cluster(incident: usize) -> String {
    format!("prod-{}", incident / 5)
}

fn findings(incidents: usize) -> Vec<Finding> {
    let finding = |n: usize| {
        let severity = if n.is_multiple_of(CRITICAL_EVERY) { "critical" } else { "warning" };
        // Another divisor than the severity's, so that every channel has both.
        let team = (n / CRITICAL_EVERY) % HOOKS;
        let labels = [
            ("alertname", "EtcdMemberDown"),
            ("cluster", &cluster(n)),
            ("instance", &format!("10.0.{}.{}:2379", n / 250, n % 250)),
            ("severity", severity),
            ("team", &team.to_string()),
        ];
        Finding {
            group: "g".to_owned(),
            alert: "EtcdMemberDown".to_owned(),
            labels: Labels::from_pairs(labels),
            annotations: BTreeMap::new(),
            value: 0.0,
            state: FindingState::Firing,
            active_since_ms: START_MS,
        }
    };
    (0..incidents).map(finding).collect()
}

/// Every notification of every transition, with the receipt it ended in.
async fn outcomes(store: &Store) -> Vec<(String, String, Option<Receipt>)> {
    let mut outcomes = Vec::new();
    let groups = sequence::all_latest::<Group>(store, &Prefix::groups()).await.expect("reads");
    for (_, number, group) in groups {
        for notification in &group.notifications {
            let receipt = key::receipt(&group.key, number, &notification.channel);
            let receipt = store.get(&receipt).await.expect("reads");
            let receipt = receipt.map(|body| serde_json::from_slice(&body).expect("a receipt"));
            outcomes.push((notification.channel.clone(), notification.idempotency_key.clone(), receipt));
        }
    }
    outcomes
}

/// Two processes sweep at once until every notification has a receipt; how often they had to.
async fn sweep_until_told(store: &Store, one: &Deliverer, two: &Deliverer) -> usize {
    // The next minute's sweep comes when this one is over: no waiting for claims to age.
    let (mut now_ms, mut sweeps, mut undelivered) = (START_MS, 0, usize::MAX);
    while undelivered > 0 {
        assert!(sweeps < 30, "{undelivered} notifications are still not delivered");
        let (first, second) = tokio::join!(one.sweep(now_ms), two.sweep(now_ms + 1_000));
        assert!(
            first.errors.is_empty() && second.errors.is_empty(),
            "{:?} {:?}",
            first.errors,
            second.errors
        );
        // What the other was at is not left when it is done.
        undelivered = outcomes(store).await.iter().filter(|(_, _, receipt)| receipt.is_none()).count();
        now_ms += 120_000;
        sweeps += 1;
    }
    sweeps
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_incidents_over_receivers_that_fail_three_times_in_ten() {
    let incidents = std::env::var("ETCD_MONITOR_SOAK_INCIDENTS")
        .map_or(10_000, |incidents| incidents.parse().expect("a number"));
    let began = Instant::now();
    let mail = MailServer::told("none", &["flaky-30"]);
    let mut sinks = Vec::new();
    let mut configs = BTreeMap::from([("mail".to_owned(), mail.config())]);
    for hook in 0..HOOKS {
        let sink = Sink::start(u64::try_from(hook).expect("small") + 1).await;
        configs.insert(format!("hook-{hook}"), sink.channel());
        sinks.push(sink);
    }
    let channels = open(&configs, &|_| Err("no secrets here".to_owned())).expect("valid channels");
    let names: Vec<String> = configs.keys().cloned().collect();
    let store = Store::in_memory();
    // Two processes that share nothing but the store.
    let [one, two] = [1, 2]
        .map(|id| Deliverer::new(store.clone(), Writer::new(START_MS, id), channels.clone(), routes(&names)));
    let rules = "groups:\n- name: g\n  rules:\n  - {alert: EtcdMemberDown, expr: up == 0}\n";
    let rules: RuleGroup = parse("g.yaml", rules).expect("valid").remove(0);
    let scope: Scope = (0..incidents).map(|n| (cluster(n).parse().expect("a name"), None)).collect();
    let evaluation = Evaluation { findings: findings(incidents), ..Evaluation::default() };
    let committed = one.commit(&rules, &evaluation, &Completeness::default(), &scope, START_MS).await;
    assert!(committed.errors.is_empty() && committed.transitions.len() == incidents);
    let committed_in = began.elapsed();

    let sweeps = sweep_until_told(&store, &one, &two).await;

    let mut taken: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let names: Vec<String> = (0..HOOKS).map(|hook| format!("hook-{hook}")).collect();
    for (name, sink) in names.iter().zip(&sinks) {
        taken.insert(name, sink.log.taken.lock().expect("no panic").clone());
    }
    let mails = mail.accepted();
    let ids = mails.iter().filter_map(|mail| {
        mail.lines().find_map(|line| Some(line.strip_prefix("Message-ID: <")?.split_once('.')?.0.to_owned()))
    });
    taken.insert("mail", ids.collect());
    let outcomes = outcomes(&store).await;
    let wanted = incidents + incidents.div_ceil(CRITICAL_EVERY);
    assert_eq!(outcomes.len(), wanted, "a critical one has two channels, every other one");
    let mut told_of: BTreeSet<&str> = BTreeSet::new();
    for (channel, id, receipt) in &outcomes {
        let receipt = receipt.as_ref().expect("delivered");
        assert_eq!(receipt.outcome, ReceiptOutcome::Accepted, "{receipt:?}");
        assert!(taken[channel.as_str()].contains(id), "{channel} says that it took {id}, and never did");
        told_of.insert(id);
    }
    assert_eq!(told_of.len(), incidents, "every incident is told");
    let mut faults: BTreeMap<Fault, usize> = BTreeMap::new();
    for sink in &sinks {
        for (fault, times) in sink.log.faults.lock().expect("no panic").iter() {
            *faults.entry(*fault).or_default() += times;
        }
    }
    let requests: usize = sinks.iter().map(|sink| sink.log.requests.load(Ordering::Relaxed)).sum();
    let failed: usize = faults.values().sum();
    assert!(failed * 100 >= requests * 25, "three in ten should fail: {failed} of {requests}");
    let twice: usize = names.iter().map(|name| repeats(&taken[name.as_str()])).sum();
    let lost = faults.get(&Fault::LosesAnswer).copied().unwrap_or_default();
    println!(
        "{incidents} incidents, {wanted} notifications: 0 lost; {requests} HTTP requests, {failed} failed ({faults:?}); \
         taken twice over HTTP {twice} (answers lost: {lost}), by mail {} of {}; {sweeps} sweeps of two processes, \
         commit {:.1} s, all {:.1} s",
        repeats(&taken["mail"]),
        mails.len(),
        committed_in.as_secs_f32(),
        began.elapsed().as_secs_f32()
    );
    // A machine that is too busy to read an answer in time loses it, too.
    assert!(twice <= lost + wanted / 100, "{twice} taken twice, {lost} answers lost");
}

fn repeats(taken: &[String]) -> usize {
    taken.len() - taken.iter().collect::<BTreeSet<_>>().len()
}
