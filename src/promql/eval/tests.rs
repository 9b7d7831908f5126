//! What the comparison with Prometheus cannot show: stale markers, limits, order, and laws.

use proptest::prelude::*;

use crate::model::{Labels, METRIC_NAME, SeriesSet, stale_marker};
use crate::promql::{EvalError, EvalOptions, EvalRange, Value, eval_instant, eval_range, parse};

/// A metric's name, the value of its label `a`, its samples as (seconds, value).
type Written<'a> = (&'a str, &'a str, &'a [(i64, f64)]);

fn set(series: &[Written<'_>]) -> SeriesSet {
    let mut set = SeriesSet::default();
    for (name, a, samples) in series {
        let labels = Labels::from_pairs([(METRIC_NAME, *name), ("a", *a)]);
        for (at_seconds, value) in *samples {
            set.push(&labels, at_seconds * 1000, *value);
        }
    }
    set
}

/// The elements of an instant query, each printed.
fn instant(set: &SeriesSet, query: &str, at_ms: i64) -> Result<Vec<String>, EvalError> {
    let expr = parse(query).expect(query);
    Ok(match eval_instant(&expr, set, at_ms, &EvalOptions::default())? {
        Value::Scalar(value) => vec![value.to_string()],
        Value::String(text) => vec![text],
        Value::Vector(samples) => samples.iter().map(|s| format!("{} {}", s.labels, s.value)).collect(),
        Value::Matrix(series) => {
            series.iter().map(|s| format!("{} {:?} {:?}", s.labels, s.ts_ms, s.values)).collect()
        }
    })
}

fn check(set: &SeriesSet, query: &str, at_seconds: i64, expected: &[&str]) {
    assert_eq!(
        instant(set, query, at_seconds * 1000),
        Ok(expected.iter().map(ToString::to_string).collect()),
        "{query}"
    );
}

#[test]
fn a_stale_marker_ends_a_series_and_is_no_sample() {
    let set = set(&[("m", "1", &[(0, 1.0), (60, 2.0), (120, stale_marker()), (180, 4.0)])]);
    check(&set, "m", 119, &["m{a=\"1\"} 2"]);
    check(&set, "m", 120, &[]);
    check(&set, "m", 179, &[]);
    check(&set, "m", 180, &["m{a=\"1\"} 4"]);
    check(&set, "absent(m)", 150, &["{} 1"]);
    check(&set, "count_over_time(m[3m])", 180, &["{a=\"1\"} 3"]);
    check(&set, "last_over_time(m[2m])", 150, &["m{a=\"1\"} 2"]);
    check(&set, "m[2m]", 150, &["m{a=\"1\"} [60000] [2.0]"]);
    check(&set, "count_over_time(m[3m:1m])", 180, &["{a=\"1\"} 3"]);
    check(&set, "timestamp(m)", 100, &["{a=\"1\"} 60"]);
}

#[test]
fn the_look_back_and_ranges_include_both_ends() {
    let set = set(&[("m", "1", &[(0, 1.0), (60, 2.0)])]);
    check(&set, "m", 360, &["m{a=\"1\"} 2"]);
    assert_eq!(instant(&set, "m", 360_001), Ok(vec![]));
    check(&set, "count_over_time(m[1m])", 60, &["{a=\"1\"} 2"]);
    check(&set, "m offset -1m", 0, &["m{a=\"1\"} 2"]);
}

#[test]
fn rates_reach_to_the_edges_of_their_range() {
    // Every 15 s by 15, over one reset.
    let steady: Vec<(i64, f64)> = (0..=20).map(|i| (i * 15, i as f64 * 15.0)).collect();
    let reset = [(0, 100.0), (15, 110.0), (30, 5.0), (45, 15.0)];
    let set = set(&[("steady", "1", &steady), ("reset", "1", &reset)]);
    check(&set, "rate(steady[1m])", 300, &["{a=\"1\"} 1"]);
    check(&set, "increase(steady[5m])", 300, &["{a=\"1\"} 300"]);
    // The window starts 10 s before its first sample and ends 5 s after its last.
    check(&set, "increase(steady[60s])", 305, &["{a=\"1\"} 60"]);
    check(&set, "increase(reset[45s])", 45, &["{a=\"1\"} 25"]);
    check(&set, "delta(reset[45s])", 45, &["{a=\"1\"} -85"]);
    check(&set, "resets(reset[45s])", 45, &["{a=\"1\"} 1"]);
    check(&set, "irate(reset[45s])", 30, &["{a=\"1\"} 0.3333333333333333"]);
    check(&set, "rate(reset[10s])", 45, &[]);
}

#[test]
fn a_pinned_window_does_not_move_with_the_steps() {
    let set = set(&[("m", "1", &[(0, 0.0), (60, 60.0), (120, 500.0)])]);
    let expr = parse("predict_linear(m[1m] @ 60, 0)").expect("parses");
    let range = EvalRange { start_ms: 60_000, end_ms: 180_000, step_ms: 60_000 };
    let series = eval_range(&expr, &set, &range, &EvalOptions::default()).expect("evaluates");
    assert_eq!(series[0].values, [60.0, 120.0, 180.0]);
    check(&set, "timestamp(m @ 120 offset 1m)", 500, &["{a=\"1\"} 60"]);
}

#[test]
fn sorted_results_keep_their_order() {
    let set = set(&[
        ("m", "1", &[(0, 2.0)]),
        ("m", "2", &[(0, f64::NAN)]),
        ("m", "3", &[(0, 9.0)]),
        ("m", "4", &[(0, 5.0)]),
    ]);
    let (two, nan, nine, five) = ("m{a=\"1\"} 2", "m{a=\"2\"} NaN", "m{a=\"3\"} 9", "m{a=\"4\"} 5");
    check(&set, "sort(m)", 0, &[two, five, nine, nan]);
    check(&set, "sort_desc(m)", 0, &[nine, five, two, nan]);
    check(&set, "topk(2, m)", 0, &[nine, five]);
    check(&set, "bottomk(2, m)", 0, &[two, five]);
    check(&set, "bottomk(4, m)", 0, &[two, five, nine, nan]);
}

#[test]
fn the_sample_limit_is_an_error_that_names_it() {
    let set = set(&[("m", "1", &[(0, 1.0), (60, 2.0), (120, 3.0)])]);
    let eval = |query: &str, max_samples| {
        let range = EvalRange { start_ms: 0, end_ms: 100_000, step_ms: 1000 };
        let options = EvalOptions { max_samples, ..EvalOptions::default() };
        eval_range(&parse(query).expect(query), &set, &range, &options)
    };
    for query in ["m", "rate(m[1m])", "1", "m + m", "(m @ 0) * 2", "sum(m)"] {
        assert_eq!(eval(query, 50).err(), Some(EvalError::TooManySamples { limit: 50 }), "{query}");
    }
    // What is no longer held does not count: each part needs about 100.
    let chain = vec!["sum(m)"; 50].join(" + ");
    assert!(eval(&chain, 1000).is_ok());
}

#[test]
fn the_deepest_query_that_parses_also_evaluates() {
    let set = set(&[("m", "1", &[(0, 1.0)])]);
    let deep = format!("{}m{}", "abs(sum without () (".repeat(95), "))".repeat(95));
    check(&set, &deep, 0, &["{a=\"1\"} 1"]);
    let long = format!("m{}", " + m".repeat(190));
    check(&set, &long, 0, &["{a=\"1\"} 191"]);
}

#[test]
fn series_that_cannot_be_told_apart_are_an_error() {
    let set = set(&[("m", "1", &[(0, 1.0)]), ("m", "2", &[(0, 1.0)]), ("n", "1", &[(0, 1.0)])]);
    for (query, part) in [
        ("m + on () m", "many-to-many matching not allowed"),
        ("m + on () n", "many-to-one matching must be explicit"),
        ("m * on () group_left (a) n", "grouping labels must ensure unique matches"),
        ("abs({a=\"1\"})", "same labelset"),
        ("label_replace(m, \"a\", \"\", \"a\", \".*\")", "same labelset"),
        ("holt_winters(m[1m], 2, 0.5)", "smoothing factor"),
        ("topk(NaN, m)", "overflows"),
    ] {
        let error = instant(&set, query, 0).expect_err(query).to_string();
        assert!(error.contains(part), "{query}: {error}");
    }
}

#[test]
fn a_range_query_refuses_what_has_no_series() {
    let set = SeriesSet::default();
    let range = EvalRange { start_ms: 0, end_ms: 1000, step_ms: 1000 };
    let eval = |query: &str, range: &EvalRange| {
        eval_range(&parse(query).expect(query), &set, range, &EvalOptions::default()).map(|s| s.len())
    };
    assert_eq!(eval("m[1m]", &range), Err(EvalError::NotARangeQuery { kind: "range vector" }));
    assert_eq!(eval("\"x\"", &range), Err(EvalError::NotARangeQuery { kind: "string" }));
    assert_eq!(eval("1", &EvalRange { step_ms: 0, ..range }), Err(EvalError::BadRange));
    assert_eq!(eval("1", &range), Ok(1));
    assert_eq!(eval("m", &range), Ok(0));
}

/// A series with irregular times and the given kind of values.
fn samples(value: impl Strategy<Value = f64>) -> impl Strategy<Value = Vec<(i64, f64)>> {
    prop::collection::vec((1_i64..90, value), 0..60).prop_map(|steps| {
        let mut at_seconds = 0;
        steps
            .into_iter()
            .map(|(step, value)| {
                at_seconds += step;
                (at_seconds, value)
            })
            .collect()
    })
}

fn values(set: &SeriesSet, query: &str) -> Vec<f64> {
    let range = EvalRange { start_ms: 0, end_ms: 3_000_000, step_ms: 37_000 };
    let series = eval_range(&parse(query).expect(query), set, &range, &EvalOptions::default());
    series.expect(query).into_iter().flat_map(|series| series.values).collect()
}

proptest! {
    #[test]
    fn a_counter_never_goes_down(samples in samples(0.0..1e6)) {
        let set = set(&[("c", "1", &samples)]);
        for query in ["rate(c[5m])", "increase(c[2m])", "irate(c[5m])", "rate(c[10m:1m])"] {
            prop_assert!(values(&set, query).iter().all(|value| *value >= 0.0), "{query}");
        }
    }

    #[test]
    fn a_moving_window_sees_what_single_instants_see(samples in samples(prop_oneof![
        8 => -5.0..5.0,
        1 => Just(f64::NAN),
        1 => Just(stale_marker()),
    ])) {
        let set = set(&[("m", "1", &samples)]);
        for function in ["rate", "changes", "resets", "min_over_time", "max_over_time", "count_over_time", "deriv"] {
            let query = format!("{function}(m[4m])");
            let mut singles = Vec::new();
            for at_ms in (0..=3_000_000).step_by(37_000) {
                match eval_instant(&parse(&query).expect("parses"), &set, at_ms, &EvalOptions::default()) {
                    Ok(Value::Vector(elements)) => singles.extend(elements.iter().map(|e| e.value.to_bits())),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            let moving: Vec<u64> = values(&set, &query).iter().map(|value| value.to_bits()).collect();
            prop_assert_eq!(moving, singles, "{}", query);
        }
    }

    #[test]
    fn the_whole_is_the_sum_of_its_parts(a in samples(-9.0..9.0), b in samples(-9.0..9.0)) {
        let set = set(&[("m", "1", &a), ("m", "2", &b)]);
        let whole = values(&set, "sum(m) - (avg(m) * count(m))");
        prop_assert!(whole.iter().all(|value| value.abs() < 1e-9));
        prop_assert_eq!(values(&set, "m unless m"), Vec::<f64>::new());
        prop_assert_eq!(values(&set, "m and m"), values(&set, "m"));
    }
}
