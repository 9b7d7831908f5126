//! A run as others' tests need one.

use crate::model::{
    BENCH_FORMAT, BenchCleanUp, BenchClient, BenchLatency, BenchMember, BenchOutcome, BenchPart, BenchRun,
    BenchServer,
};

/// A complete run of one part.
pub(crate) fn example(operation: &str, rate: f64, p99: f64) -> BenchRun {
    let latency = BenchLatency {
        fastest: p99 / 10.0,
        slowest: p99 * 2.0,
        average: p99 / 2.0,
        stddev: p99 / 4.0,
        quantiles: vec![(0.5, p99 / 2.0), (0.99, p99)],
    };
    let part = BenchPart {
        name: operation.to_owned(),
        ok: 10_000,
        failed: 0,
        seconds: 10_000.0 / rate,
        rate,
        latency,
        uncorrected: None,
        histogram: String::new(),
        by_second: Vec::new(),
        errors: Vec::new(),
    };
    let member = BenchMember {
        instance: "10.0.0.1:2379".parse().expect("an instance"),
        is_leader: true,
        fsyncs: 5_000,
        fsync_p99: Some(0.004),
        commits: 100,
        commit_p99: Some(0.01),
        slow_applies: 0,
        failed_proposals: 0,
        cpu_seconds: Some(1.0),
        memory_bytes_before: Some(50 << 20),
        memory_bytes_after: Some(60 << 20),
        db_bytes_before: Some(1 << 20),
        db_bytes_after: Some(2 << 20),
        in_use_bytes_before: Some(1 << 20),
        in_use_bytes_after: Some(1 << 20),
    };
    BenchRun {
        format: BENCH_FORMAT,
        id: "20261124T050000-ABCDEF".to_owned(),
        cluster: "prod".parse().expect("a name"),
        profile: None,
        operation: operation.to_owned(),
        command: format!("etcd-monitor bench {operation} --seed=1"),
        options: [("clients", "100"), ("conns", "10"), ("total", "10000")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        seed: 1,
        targets: vec!["10.0.0.1:2379".parse().expect("an instance")],
        keys: None,
        started_ms: 1_795_496_400_000,
        finished_ms: 1_795_496_401_000,
        warm_up_seconds: 0.0,
        outcome: BenchOutcome::Complete,
        notes: Vec::new(),
        parts: vec![part],
        server: BenchServer {
            version: Some("3.5.16".to_owned()),
            leader: Some("10.0.0.1:2379".parse().expect("an instance")),
            leader_changes: 0,
            revision_before: Some(1),
            revision_after: Some(10_001),
            members: vec![member],
        },
        client: BenchClient::default(),
        hash_kv: None,
        clean_up: BenchCleanUp::default(),
    }
}
