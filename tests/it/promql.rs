//! Our PromQL against a real Prometheus 2.42 over the same series: the same elements, the same values.

mod compare;
mod grammar;
mod mutation;
pub mod queries;
mod series;

use etcd_monitor::promql::{EvalRange, Function};

use crate::prometheus::Prometheus;
use compare::Comparison;

/// Queries made by the grammar, besides the hand-written ones.
const GENERATED: usize = 5000;
/// Queries with mistakes, made from the hand-written ones.
const MUTATED: usize = 4000;

fn compare(seed: u64, queries: impl Iterator<Item = String>) {
    let series = series::series(seed);
    let prometheus = Prometheus::over(&series);
    let mut comparison = Comparison::new(&prometheus, &series, seed);
    let (start_ms, span_ms) = (series::START_MS, series::SPAN_MS);
    for (index, query) in queries.enumerate() {
        // Instants on and off the scrapes, before the first sample and after the last.
        let at_ms = start_ms - 100_000 + (index as i64 * 977_125) % (span_ms + 500_000);
        comparison.instant(&query, at_ms);
        let step_ms = [15_000, 60_000, 47_000, 300_000, 1_000_000][index % 5];
        comparison
            .range(&query, &EvalRange { start_ms: at_ms, end_ms: at_ms + step_ms * 25 + 7_000, step_ms });
    }
    comparison.finish();
}

#[test]
fn written_queries_give_what_prometheus_gives() {
    compare(1, queries::all());
}

/// A number from the environment, for longer runs and to repeat one.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

#[test]
fn generated_queries_give_what_prometheus_gives() {
    let count = usize::try_from(number("ETCD_MONITOR_SOAK_QUERIES", GENERATED as u64)).expect("fits");
    let seed = number("ETCD_MONITOR_SOAK_SEED", 7);
    println!("{count} queries of ETCD_MONITOR_SOAK_SEED={seed}");
    let mut grammar = grammar::Grammar::new(seed);
    let queries: Vec<String> = (0..count).map(|_| grammar.query()).collect();
    for function in Function::ALL {
        let call = format!("{}(", function.signature().name);
        assert!(queries.iter().any(|query| query.contains(&call)), "no query calls {call}…)");
    }
    compare(2, queries.into_iter());
}

#[test]
fn mistakes_are_mistakes_to_both() {
    let series = series::series(3);
    let prometheus = Prometheus::over(&series);
    let mut comparison = Comparison::new(&prometheus, &series, 3);
    let written: Vec<String> = queries::all().collect();
    let mut random = series::Random(11);
    for index in 0..MUTATED {
        let query = mutation::mutated(&mut random, &written[index % written.len()]);
        comparison.instant(&query, series::START_MS + 4_000_000);
    }
    comparison.finish_with_errors();
}
