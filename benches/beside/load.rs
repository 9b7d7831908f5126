//! Clients that put as fast as members answer: how many puts a second, and how long one takes.

use std::time::{Duration, Instant};

use etcd_client::{Client, PutOptions};

/// Values as Kubernetes writes them are a few hundred bytes to some kilobytes.
const VALUE_BYTES: usize = 256;
const KEYS: usize = 1_000;

pub fn run(endpoints: &str, clients: usize, seconds: u64) {
    let endpoints: Vec<String> = endpoints.split(',').map(str::to_owned).collect();
    let mut took: Vec<Duration> = crate::block_on(async {
        let until = Instant::now() + Duration::from_secs(seconds);
        let puts = (0..clients).map(|n| {
            // Each talks to one member, as many to each.
            let endpoint = endpoints[n % endpoints.len()].clone();
            tokio::spawn(async move {
                let mut client = Client::connect([endpoint], None).await.unwrap();
                let value = "x".repeat(VALUE_BYTES);
                let mut took = Vec::new();
                for key in (n..).step_by(clients).map(|key| format!("bench/{:06}", key % KEYS)) {
                    let began = Instant::now();
                    if began >= until {
                        break;
                    }
                    client.put(key, value.as_str(), Some(PutOptions::new())).await.unwrap();
                    took.push(began.elapsed());
                }
                took
            })
        });
        let all = futures::future::join_all(puts).await;
        all.into_iter().flat_map(Result::unwrap).collect()
    });
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let rate = took.len() as f64 / seconds as f64;
    println!("rate={rate:.0} p50_ms={:.3} p99_ms={:.3}", at(0.5), at(0.99));
}
