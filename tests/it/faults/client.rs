//! Users of the cluster: how they reach it, what they ask of it, and when they feel a fault.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use etcd_client::{Client, CompactionOptions, ConnectOptions, TlsOptions};
use etcd_monitor::run::clock::Clock;

use super::recording::Impact;

pub const PASSWORD: &str = "secret";

/// A request that takes longer is one that people feel.
const PATIENCE: Duration = Duration::from_secs(1);
/// One put or get each.
const EVERY: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub struct Access {
    pub endpoints: Vec<String>,
    pub tls: Option<TlsOptions>,
    pub user: Option<&'static str>,
}

impl Access {
    pub async fn connect(&self, endpoints: &[String]) -> Result<Client, etcd_client::Error> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(5))
            .with_timeout(Duration::from_secs(20));
        if let Some(tls) = &self.tls {
            options = options.with_tls(tls.clone());
        }
        if let Some(user) = self.user {
            options = options.with_user(user, PASSWORD);
        }
        Client::connect(endpoints, Some(options)).await
    }
}

/// Puts and gets, one after the other, ten a second. A client whose member fails it asks the next one; what fails
/// everywhere, or takes a second, is felt.
pub async fn use_it(access: Access, clock: Clock, felt: Arc<Mutex<Impact>>) {
    let mut clients: Vec<Option<Client>> = vec![None; access.endpoints.len()];
    let mut at = 0;
    for n in 0_u64.. {
        let (began_ms, began) = (clock.now_ms(), Instant::now());
        let mut done = false;
        for _ in 0..clients.len() {
            let left = PATIENCE.saturating_sub(began.elapsed());
            let asked = tokio::time::timeout(left, ask(&access, &mut clients, at, n)).await;
            done = asked.is_ok_and(|answered| answered);
            if done {
                break;
            }
            clients[at] = None;
            at = (at + 1) % clients.len();
            if left.is_zero() {
                break;
            }
        }
        felt.lock().expect("no panic").count(began_ms, done);
        tokio::time::sleep(EVERY.saturating_sub(began.elapsed())).await;
    }
}

async fn ask(access: &Access, clients: &mut [Option<Client>], at: usize, n: u64) -> bool {
    if clients[at].is_none() {
        let Ok(client) = access.connect(&access.endpoints[at..=at]).await else { return false };
        clients[at] = Some(client);
    }
    let Some(client) = clients[at].as_mut() else { return false };
    let key = format!("load/{}", n % 100);
    match n % 2 {
        0 => client.put(key, "x".repeat(256), None).await.is_ok(),
        _ => client.get(key, None).await.is_ok(),
    }
}

/// Writes until the database has `bytes`, or etcd has no space left.
pub async fn fill(client: &mut Client, bytes: Option<u64>) {
    let value = "x".repeat(256 << 10);
    for n in 0_u64.. {
        let size = client.status().await.expect("a status").db_size();
        if bytes.is_some_and(|bytes| u64::try_from(size).expect("a size") >= bytes) {
            return;
        }
        if let Err(error) = client.put(format!("fill/{}/{n}", bytes.unwrap_or(0)), value.as_str(), None).await
        {
            assert!(error.to_string().contains("space"), "{error}");
            return;
        }
    }
}

/// Deletes what filled it, and its history.
pub async fn make_room(client: &mut Client) {
    let options = etcd_client::DeleteOptions::new().with_prefix();
    let deleted = client.delete("fill/", Some(options)).await.expect("deleted");
    let revision = deleted.header().expect("a header").revision();
    let physical = CompactionOptions::new().with_physical();
    client.compact(revision, Some(physical)).await.expect("compacted");
}
