//! The parts of `make bench`; `benches/run.sh` puts them beside Prometheus. Each prints one line of
//! `key=value` words.
//!
//! Owns: the seeded members, serving them, and driving the library as the daemon does.
//! Refuses: Prometheus, `/proc` of other processes, and the document (that is `run.sh`).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measuring program: it stops at what it did not expect, and it is where the clock is read"
)]

mod advice;
mod events;
mod fill;
mod fleet;
mod history;
mod ingest;
mod load;
mod members;
mod render;
mod replay;

use std::path::Path;

const USAGE: &str = "usage (see benches/run.sh):
  replay  PORT TARGETS INTERVAL_MS            serve 127.0.1.1.. on PORT until killed
  fleet   PORT CLUSTERS DEAD INTERVAL_MS      serve whole members of so many clusters until killed
  ingest  PORT TARGETS INTERVAL_MS WARM_S SECONDS DIR  scrape them into a store
  fill    ENDPOINT MIB                        a database of so much, as Kubernetes fills it
  load    ENDPOINTS CLIENTS SECONDS            puts as fast as etcd answers
  write   DIR TARGETS HOURS MOVING [METRIC…]  the same history as store and as OpenMetrics text
  query   DIR START_S END_S STEP_S ROUNDS EXPRESSION
  render  ROUNDS
  events  DIR COUNT ROUNDS                   search a month of so many events
  advice  DIR CLUSTERS HOURS                  the last hours of so many clusters, and their configuration";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<i64>().unwrap();
    match words.as_slice() {
        ["replay", port, targets, interval] => {
            replay::serve(port.parse().unwrap(), targets.parse().unwrap(), number(interval));
        }
        ["fleet", port, clusters, dead, interval] => {
            let [clusters, dead] = [clusters, dead].map(|text| text.parse().unwrap());
            fleet::serve(port.parse().unwrap(), clusters, dead, number(interval));
        }
        ["ingest", port, targets, interval, warm, seconds, dir] => {
            let plan = ingest::Plan {
                port: port.parse().unwrap(),
                targets: targets.parse().unwrap(),
                interval_ms: number(interval),
                warm_seconds: warm.parse().unwrap(),
                seconds: seconds.parse().unwrap(),
            };
            ingest::run(&plan, Path::new(dir));
        }
        ["fill", endpoint, mebibytes] => fill::run(endpoint, number(mebibytes) as u64),
        ["load", endpoints, clients, seconds] => {
            load::run(endpoints, clients.parse().unwrap(), seconds.parse().unwrap());
        }
        ["write", dir, targets, hours, moving, metrics @ ..] => {
            let plan = history::Plan {
                targets: targets.parse().unwrap(),
                hours: number(hours),
                moving: moving.parse().unwrap(),
                metrics: metrics.to_vec(),
            };
            history::write(Path::new(dir), &plan);
        }
        ["query", dir, start, end, step, rounds, expression] => {
            let range = [start, end, step].map(|text| number(text) * 1000);
            history::query(Path::new(dir), range, number(rounds), expression);
        }
        ["events", dir, count, rounds] => events::run(Path::new(dir), number(count), rounds.parse().unwrap()),
        ["advice", dir, clusters, hours] => {
            advice::write(Path::new(dir), clusters.parse().unwrap(), number(hours));
        }
        ["render", rounds] => render::run(rounds.parse().unwrap()),
        // `cargo bench` calls every target without words of ours.
        _ => eprintln!("{USAGE}"),
    }
}

/// Runs a future on as many threads as the machine has, as the daemon does.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(work)
}
