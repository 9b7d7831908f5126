//! The whole product over one store: `watch` with its rules, the jobs beside it, a channel that notes who hears what
//! when. Where readings come from and which clock it goes by is the caller's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_monitor::alert::{AlertConfig, Routes};
use etcd_monitor::config::{ClusterSetup, Config, Environment, Overrides};
use etcd_monitor::deliver::{Channel, Message, Reference, SendError};
use etcd_monitor::inspect::Inspection;
use etcd_monitor::jobs;
use etcd_monitor::model::unit::ConfigDuration;
use etcd_monitor::model::{Event, Severity};
use etcd_monitor::probe::ReadingSource;
use etcd_monitor::run::clock::Clock;
use etcd_monitor::run::inspected;
use etcd_monitor::run::{Context, Executed, Host, JobSpec, Services, execute};
use etcd_monitor::store::{events, samples};
use etcd_monitor::watch::Watch;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const CLUSTER: &str = "prod";

/// One message about one incident.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heard {
    /// When a channel took it, ms since the epoch.
    pub at_ms: i64,
    pub alert: String,
    pub severity: Severity,
    pub instance: String,
    pub is_over: bool,
}

struct Ear {
    clock: Clock,
    heard: Mutex<Vec<Heard>>,
}

impl Channel for Ear {
    fn send<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<Reference, SendError>> {
        let at_ms = self.clock.now_ms();
        let heard = message.group.incidents.iter().map(|incident| Heard {
            at_ms,
            alert: incident.alert.clone(),
            severity: incident.severity,
            instance: incident.labels.get("instance").unwrap_or("").to_owned(),
            is_over: !incident.state.is_active(),
        });
        self.heard.lock().expect("no panic").extend(heard);
        futures::future::ready(Ok(None)).boxed()
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(5)
    }
}

pub struct Pipeline {
    services: Arc<Services>,
    ear: Arc<Ear>,
    /// Ends what runs beside: the watch, and the jobs of each minute.
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    // Holds the store.
    folder: tempfile::TempDir,
}

/// What came of it all.
pub struct Outcome {
    pub heard: Vec<Heard>,
    /// All of them, the oldest first.
    pub events: Vec<Event>,
    /// How many files the site has.
    pub pages: usize,
}

fn job(name: &str) -> &'static JobSpec {
    jobs::ALL.iter().copied().find(|spec| spec.name == name).expect("it is listed")
}

impl Pipeline {
    /// Runs, with the shipped rules and intervals.
    pub async fn start(
        cluster: ClusterSetup,
        clock: Clock,
        source: impl FnOnce(&ClusterSetup, &Config) -> Box<dyn ReadingSource>,
    ) -> Self {
        let parent = std::path::Path::new("/dev/shm");
        let parent = if parent.is_dir() { parent.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::tempdir_in(parent).expect("a folder");
        let environment = Environment::new();
        let overrides = Overrides {
            store_url: Some(folder.path().display().to_string()),
            cluster: Some(cluster.clone()),
            ..Overrides::default()
        };
        let mut config =
            Config::load(None, &environment, overrides).unwrap_or_else(|errors| panic!("{errors}"));
        let ear = Arc::new(Ear { clock: clock.clone(), heard: Mutex::default() });
        config.channels.insert("people".to_owned(), Arc::clone(&ear) as Arc<dyn Channel>);
        config.routes = Routes::new(&AlertConfig::default(), &["people".to_owned()]).expect("a route");
        // As over a bucket: what is asserted does not depend on it, and it costs a debug build less.
        config.watch.flush_interval = Some(ConfigDuration(Duration::from_secs(60)));
        let source = source(&cluster, &config);
        let stop = CancellationToken::new();
        let services = Services::start(config, &environment, clock, Host::Daemon, stop.clone()).await;
        let services = Arc::new(services.expect("the store opens"));
        let context = context(&services);
        let mut setup = context.watch_setup(context.config().groups.clone()).expect("a setup");
        setup.targets = vec![(CLUSTER.parse().expect("a name"), source).into()];
        let watch = Watch::start(setup, context.now_ms()).await;
        let clock = services.clock.clone();
        let watching = watch.run(move || clock.now_ms(), stop.clone(), || {});
        let minutes = stop.clone().run_until_cancelled_owned(each_minute(Arc::clone(&services)));
        let minutes = async move {
            minutes.await;
        };
        let tasks = vec![tokio::spawn(watching), tokio::spawn(minutes)];
        Self { services, ear, stop, tasks, folder }
    }

    /// Writes down what an inspection found, as the job does.
    pub async fn inspected(&self, inspection: &Inspection) {
        let context = context(&self.services);
        let last = inspected::last(&context, &inspection.cluster).await.expect("readable");
        inspected::note(&context, last, inspection).await.expect("noted");
        let now_ms = context.now_ms();
        let (writer, series) = (&self.services.writer, inspection.series());
        samples::write_recorded(context.store(), writer, now_ms, &series).await.expect("written");
    }

    /// Stops, makes the pages, and says what came of it.
    pub async fn end(self) -> Outcome {
        let now_ms = self.services.clock.now_ms();
        self.stop.cancel();
        for task in self.tasks {
            task.await.expect("it ended well");
        }
        for name in ["compact", "report"] {
            ran(execute(job(name), &self.services, now_ms).await.expect("the ledger works"));
        }
        let filter = events::Filter { end_ms: now_ms + 60_000, ..events::Filter::default() };
        let mut events = events::query(&self.services.store, &filter).await.expect("readable");
        events.reverse();
        let heard = self.ear.heard.lock().expect("no panic").clone();
        let pages = crate::program::files_under(&self.folder.path().join("site")).len();
        Outcome { heard, events, pages }
    }
}

/// When in its minute the daemon evaluates.
const SLOT_MS: i64 = 20_000;

/// What `watch` does not judge, as often as the daemon does it.
async fn each_minute(services: Arc<Services>) {
    let minute_ms = 60_000;
    loop {
        let now_ms = services.clock.now_ms();
        let slot_ms = ((now_ms - SLOT_MS) / minute_ms + 1) * minute_ms + SLOT_MS;
        let wait_ms = u64::try_from(slot_ms - now_ms).expect("later");
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        ran(execute(job("evaluate"), &services, slot_ms).await.expect("the ledger works"));
        ran(execute(job("deliver"), &services, slot_ms).await.expect("the ledger works"));
    }
}

fn ran(executed: Executed) {
    let Executed::Ran(run) = executed else { panic!("{executed:?}") };
    assert!(run.errors.is_empty(), "{run:?}");
}

fn context(services: &Arc<Services>) -> Context {
    let slot_ms = services.clock.now_ms();
    Context::new(services, slot_ms, services.shutdown.clone())
}
