//! Searching a month of events for text, as `etcd-monitor events --since 30d WORD` does.

use std::path::Path;
use std::time::Instant;

use etcd_monitor::model::{Event, EventKind, Severity};
use etcd_monitor::store::compact::{Plan, compact};
use etcd_monitor::store::{RetentionConfig, Store, StoreConfig, Writer, events};

use crate::block_on;

const DAYS: i64 = 30;
const DAY_MS: i64 = 86_400_000;
const START_MS: i64 = 1_790_000_000_000 / DAY_MS * DAY_MS;

/// Kinds as a fleet has them: most are compactions.
const KINDS: [EventKind; 8] = [
    EventKind::Compaction,
    EventKind::Compaction,
    EventKind::Compaction,
    EventKind::Compaction,
    EventKind::AlertFiring,
    EventKind::AlertResolved,
    EventKind::LeaderChanged,
    EventKind::MemberUnreachable,
];

/// Words that many, few and no events have, alone and with other filters.
const SEARCHES: [&[&str]; 5] =
    [&["m1"], &["10.0.17.2"], &["revision 99"], &["nothing has it"], &["prod-7", "leader"]];

pub fn run(dir: &Path, count: i64, rounds: usize) {
    block_on(async {
        let config = StoreConfig { url: dir.display().to_string(), ..StoreConfig::default() };
        let store = Store::open(&config, &|_| None).await.unwrap();
        write(&store, count).await;
        let mut taken_ms = Vec::new();
        let mut found = 0;
        for _ in 0..rounds {
            for words in SEARCHES {
                let filter = events::Filter {
                    words: words.iter().map(|word| (*word).to_owned()).collect(),
                    start_ms: START_MS,
                    end_ms: START_MS + DAYS * DAY_MS,
                    limit: Some(1_000),
                    ..events::Filter::default()
                };
                let began = Instant::now();
                found += events::query(&store, &filter).await.unwrap().len();
                taken_ms.push(began.elapsed().as_secs_f64() * 1e3);
            }
        }
        taken_ms.sort_by(f64::total_cmp);
        let at = |share: f64| taken_ms[((taken_ms.len() - 1) as f64 * share) as usize];
        let searches = taken_ms.len();
        println!(
            "events={count} searches={searches} found={found} p50_ms={:.1} p95_ms={:.1}",
            at(0.5),
            at(0.95)
        );
    });
}

async fn write(store: &Store, count: i64) {
    let writer = Writer::new(START_MS, 1);
    for day in 0..DAYS {
        let of_day: Vec<Event> = (0..count / DAYS).map(|n| event(day, n, count / DAYS)).collect();
        events::write(store, &writer, START_MS + (day + 1) * DAY_MS - 1, &of_day).await.unwrap();
    }
    let retention = RetentionConfig::default();
    let plan = Plan { retention, size_bytes_max: None, rollup_metrics: std::collections::HashSet::new() };
    for pass in 0..3 {
        let now_ms = START_MS + (DAYS + 2) * DAY_MS + pass * 3_600_000;
        compact(store, &plan, now_ms, &|_| ()).await.unwrap();
    }
}

fn event(day: i64, n: i64, of_day: i64) -> Event {
    let cluster = format!("prod-{}", n % 54).parse().unwrap();
    let kind = KINDS[usize::try_from(n % 8).unwrap()];
    let instance = format!("10.0.{}.{}:2379", n % 54, n % 3 + 1);
    let revision = day * 1_000_000 + n * 37;
    Event {
        id: Event::id_of(&cluster, kind, &instance, &format!("{day} {n}")),
        cluster,
        ts_ms: START_MS + day * DAY_MS + n * DAY_MS / of_day,
        kind,
        severity: if n % 5 == 0 { Severity::Warning } else { Severity::Info },
        text: format!("m{} ({instance}) did {} at revision {revision}", n % 3 + 1, kind.as_str()),
        subject: instance,
        actor: None,
        details: serde_json::json!({ "revision": revision, "term": 7 + day, "member": format!("m{}", n % 3 + 1) }),
    }
}
