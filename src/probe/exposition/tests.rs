use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::is_stale_marker;

fn read(text: &str) -> Result<Vec<(String, f64)>, ExpositionError> {
    let taken = SeriesCache::default().read(text.as_bytes(), &Keep::default())?;
    Ok(taken.samples.iter().map(|(labels, value)| (labels.to_string(), value)).collect())
}

#[test]
fn lines_that_prometheus_reads() {
    let table: [(&str, &str, f64); 16] = [
        ("a 1\n", "a", 1.0),
        ("a 1", "a", 1.0),
        ("a\t1 \n", "a", 1.0),
        ("  a 1\n", "a", 1.0),
        ("a:b_c9 -2.5e-3\n", "a:b_c9", -0.0025),
        ("a{} 1\n", "a", 1.0),
        ("a{b=\"c\"} 1\n", "a{b=\"c\"}", 1.0),
        ("a{b=\"c\",} 1\n", "a{b=\"c\"}", 1.0),
        ("a { b = \"c\" , d = \"e\" } 1\n", "a{b=\"c\", d=\"e\"}", 1.0),
        ("a{b=\"}\\\"\\\\\\n,\"} 1\n", "a{b=\"}\\\"\\\\\\n,\"}", 1.0),
        ("a{b=\"\"} 1\n", "a", 1.0),
        ("a{b=\"é漢\"}1\n", "a{b=\"é漢\"}", 1.0),
        ("a +Inf\n", "a", f64::INFINITY),
        ("a -Inf\n", "a", f64::NEG_INFINITY),
        ("a 1 1700000000000\n", "a", 1.0),
        ("# HELP a \\n x\n# TYPE a gauge\n#comment\n\na{job=\"x\"} 3\n", "a{exported_job=\"x\"}", 3.0),
    ];
    for (text, series, value) in table {
        assert_eq!(read(text), Ok(vec![(series.to_owned(), value)]), "{text:?}");
    }
    let nan = read("a NaN\n").expect("reads")[0].1;
    assert!(nan.is_nan() && !is_stale_marker(nan));
}

#[test]
fn lines_that_prometheus_refuses() {
    let table = [
        ("a\n", 1),
        ("a 1\nb x\n", 2),
        ("a 1\r\n", 1),
        ("9a 1\n", 1),
        ("a{b=c} 1\n", 1),
        ("a{b=\"c\" 1\n", 1),
        ("a{b=\"c\" d=\"e\"} 1\n", 1),
        ("a{b=\"c\",b=\"d\"} 1\n", 1),
        ("a{b:c=\"d\"} 1\n", 1),
        ("a 1 x\n", 1),
        ("a 1 2 3\n", 1),
        ("\n\n{b=\"c\"} 1\n", 3),
        ("# TYPE a kind\n", 1),
        ("<html>\n", 1),
        ("a{,} 1\n", 1),
        ("ok 1\n\u{e9} 1\n", 2),
    ];
    for (text, line) in table {
        assert_eq!(read(text).map_err(|e| e.line), Err(line), "{text:?}");
    }
    let broken = SeriesCache::default().read(b"a 1\nb{c=\"\xff\"} 1\n", &Keep::default());
    assert_eq!(broken.map(|_| ()), Err(ExpositionError { line: 2, problem: "not UTF-8" }));
}

#[test]
fn real_outputs_of_three_versions_read_whole_and_again() {
    for version in ["3.4.23/metrics", "3.5.30/metrics", "3.5.30/metrics-nospace", "3.6.14/metrics"] {
        let path = format!("{}/tests/data/etcd/{version}.txt", env!("CARGO_MANIFEST_DIR"));
        let body = std::fs::read(path).expect("fixture");
        let lines = body.split(|b| *b == b'\n').filter(|l| !l.is_empty() && !l.starts_with(b"#")).count();
        let mut cache = SeriesCache::default();
        let first = cache.read(&body, &Keep::default()).expect("reads");
        assert_eq!((first.samples.len(), first.added), (lines, lines as u64), "{version}");
        let again = cache.read(&body, &Keep::default()).expect("reads");
        assert_eq!((&again.samples, again.added), (&first.samples, 0), "{version}");
        assert!(Arc::ptr_eq(again.samples.list(), first.samples.list()), "{version}");
    }
}

#[test]
fn the_cap_and_drop_rules_leave_series_out() {
    let keep = Keep { max_series: 2, drop: vec![regex::Regex::new("go_.*|a").expect("regex")] };
    let mut cache = SeriesCache::default();
    let taken = cache.read(b"a 1\nab 2\ngo_x 3\nc 4\nd 5\nc 6\n", &keep).expect("reads");
    let names: Vec<_> = taken.samples.iter().map(|(labels, value)| (labels.metric_name(), value)).collect();
    assert_eq!(names, [("ab", 2.0), ("c", 4.0)]);
    assert_eq!((taken.dropped, taken.added), (3, 2));
    let taken = cache.read(b"ab 2\n", &keep).expect("reads");
    assert_eq!((taken.samples.len(), cache.len()), (1, 1), "what is gone is forgotten");
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer_not_a_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = SeriesCache::default().read(&body, &Keep::default());
    }

    #[test]
    fn almost_valid_text_is_an_answer_not_a_panic(body in "[ab{}=\",\\\\ \n#\t0-9.N+e-]{0,80}") {
        let _ = SeriesCache::default().read(body.as_bytes(), &Keep::default());
    }

    #[test]
    fn what_is_written_is_read_in_any_order_and_through_any_cache(
        series in proptest::collection::btree_map("[a-c]{1,2}(:x)?", (".{0,6}", any::<f64>()), 0..8),
        scrapes in proptest::collection::vec(any::<proptest::sample::Index>(), 1..6),
    ) {
        let series: Vec<_> = series.into_iter().collect();
        let mut cache = SeriesCache::default();
        for cut in scrapes {
            let mut chosen = series.clone();
            if !chosen.is_empty() {
                let at = cut.index(chosen.len());
                chosen.rotate_left(at);
                chosen.truncate(at + 1);
            }
            let mut text = String::new();
            let mut wanted = BTreeMap::new();
            for (name, (label, value)) in &chosen {
                let labels = Labels::from_pairs([(METRIC_NAME, name.as_str()), ("l", label)]);
                let value = if value.is_nan() { 0.5 } else { *value };
                text.push_str(&format!("{name}{{{}}} {value}\n", labels.without(&[METRIC_NAME]).canonical()));
                wanted.insert(labels, value);
            }
            let taken = cache.read(text.as_bytes(), &Keep::default()).expect("what we wrote");
            let got: BTreeMap<_, _> = taken.samples.iter().map(|(labels, value)| (labels.clone(), value)).collect();
            prop_assert_eq!(got, wanted);
        }
    }
}

/// The bound is some sixty times below what a debug build does, so that a busy machine passes.
#[test]
fn the_steady_state_is_fast() {
    let path = format!("{}/tests/data/etcd/3.5.30/metrics.txt", env!("CARGO_MANIFEST_DIR"));
    let body = std::fs::read(path).expect("fixture");
    let mut cache = SeriesCache::default();
    let lines = cache.read(&body, &Keep::default()).expect("reads").samples.len();
    let rounds = 50;
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        assert_eq!(cache.read(&body, &Keep::default()).expect("reads").samples.len(), lines);
    }
    let per_second = (lines * rounds) as f64 / start.elapsed().as_secs_f64();
    assert!(per_second > 20_000.0, "{per_second:.0} samples/s");
}
