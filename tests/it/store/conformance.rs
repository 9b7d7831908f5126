//! Every backend passes one suite.

use bytes::Bytes;
use etcd_monitor::model::{JobRun, Outcome};
use etcd_monitor::store::key::{self, Prefix, SequenceKey};
use etcd_monitor::store::sequence::{self, Appended};
use etcd_monitor::store::{Create, Store, StoreConfig, Writer, ledger, samples};
use futures::future::join_all;

use super::rows;
use crate::azure::Azurite;
use crate::s3::S3Server;

#[tokio::test]
async fn memory_conforms() {
    conforms(&Store::in_memory()).await;
}

#[tokio::test]
async fn local_folder_conforms() {
    let folder = tempfile::tempdir().expect("a folder");
    conforms(&local(&folder).await).await;
}

#[tokio::test]
async fn moto_conforms() {
    let server = S3Server::moto();
    conforms(&server.store("a/prefix").await).await;
}

#[tokio::test]
async fn seaweed_conforms() {
    let server = S3Server::seaweed();
    conforms(&server.store("prefix").await).await;
}

#[tokio::test]
async fn azurite_conforms() {
    let server = Azurite::start();
    conforms(&server.store("a/prefix").await).await;
}

pub async fn local(folder: &tempfile::TempDir) -> Store {
    let url = folder.path().join("store").display().to_string();
    Store::open(&StoreConfig { url, ..StoreConfig::default() }, &|_| None).await.expect("opens")
}

async fn conforms(store: &Store) {
    objects_are_created_once(store).await;
    one_of_sixteen_creators_wins(store).await;
    listings_are_sorted(store).await;
    the_site_is_overwritten(store).await;
    racing_writers_make_one_sequence(store).await;
    a_slot_runs_once(store).await;
    samples_come_back(store).await;
}

async fn objects_are_created_once(store: &Store) {
    let key = key::receipt("alerts/{a=\"b\"}", 1, "slack");
    assert_eq!(store.get(&key).await.expect("reads"), None);
    assert_eq!(store.create(&key, "one".into()).await.expect("creates"), Create::Won);
    assert_eq!(store.create(&key, "one".into()).await.expect("creates"), Create::Won);
    assert_eq!(store.create(&key, "two".into()).await.expect("creates"), Create::Exists("one".into()));
    assert_eq!(store.get(&key).await.expect("reads"), Some(Bytes::from("one")));
    let empty = key::receipt("g", 2, "slack");
    assert_eq!(store.create(&empty, Bytes::new()).await.expect("creates"), Create::Won);
    assert_eq!(store.get(&empty).await.expect("reads"), Some(Bytes::new()));
}

async fn one_of_sixteen_creators_wins(store: &Store) {
    for round in 0..4 {
        let key = key::claim("race", round, "c", 1);
        let races = (0..16_u8).map(|id| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move { store.create(&key, Bytes::from(vec![id; 64])).await.expect("creates") })
        });
        let results: Vec<Create> = join_all(races).await.into_iter().map(|r| r.expect("runs")).collect();
        let there = store.get(&key).await.expect("reads").expect("someone won");
        let won: Vec<usize> = (0..16).filter(|id| results[*id] == Create::Won).collect();
        assert_eq!(won.len(), 1, "round {round}");
        assert_eq!(there, vec![u8::try_from(won[0]).expect("small"); 64]);
        assert!(results.iter().all(|r| *r == Create::Won || *r == Create::Exists(there.clone())));
    }
}

async fn listings_are_sorted(store: &Store) {
    for slot in [3, 1, 2, 12, 7] {
        store.create(&key::evaluation("g", slot * 60_000), "{}".into()).await.expect("creates");
    }
    let listed = store.list(&Prefix::evaluations("g")).await.expect("lists");
    let slots: Vec<_> = listed.iter().filter_map(|entry| key::evaluation_slot_ms(&entry.key)).collect();
    assert_eq!(slots, [60_000, 120_000, 180_000, 420_000, 720_000]);
    assert!(listed.iter().all(|entry| entry.size_bytes == 2 && entry.modified_ms > 1_600_000_000_000));
    assert_eq!(store.list(&Prefix::evaluations("none")).await.expect("lists"), []);
}

async fn the_site_is_overwritten(store: &Store) {
    for body in ["old", "new"] {
        store.put_site("a/index.html", body.into(), "text/html", "no-cache").await.expect("puts");
    }
    assert_eq!(store.get_site("a/index.html").await.expect("reads"), Some("new".into()));
    store.delete_site("a/index.html").await.expect("deletes");
    store.delete_site("a/index.html").await.expect("deletes what is gone");
    assert_eq!(store.get_site("a/index.html").await.expect("reads"), None);
}

/// Four writers append 6 states each; every state lands once, in a sequence without holes.
async fn racing_writers_make_one_sequence(store: &Store) {
    let sequence = SequenceKey::incident("race");
    let writers = (0..4_u128).map(|id| {
        let (store, sequence) = (store.clone(), sequence.clone());
        tokio::spawn(async move {
            let writer = Writer::new(1, id);
            for state in 0..6 {
                loop {
                    let next = sequence::latest::<(u128, u32)>(&store, &sequence).await.expect("reads");
                    let number = next.map_or(1, |(number, _)| number + 1);
                    let appended = sequence::append(&store, &sequence, number, &(id, state), &writer).await;
                    if appended.expect("appends") == Appended::Won {
                        break;
                    }
                }
            }
        })
    });
    for writer in join_all(writers).await {
        writer.expect("runs");
    }
    let listed = store.list(sequence.prefix()).await.expect("lists");
    let expected: Vec<_> = (1..=24).map(|number| sequence.number(number)).collect();
    assert_eq!(listed.into_iter().map(|entry| entry.key).collect::<Vec<_>>(), expected);
    let all = sequence::all_latest::<(u128, u32)>(store, &Prefix::incidents()).await.expect("reads");
    assert_eq!((all.len(), all[0].1, all[0].2.1), (1, 24, 5));
}

async fn a_slot_runs_once(store: &Store) {
    let claims = (0..8_u128).map(|id| {
        let store = store.clone();
        tokio::spawn(async move {
            let claim =
                ledger::Claim { job: "report", shard: "0", slot_ms: 60_000, timeout_ms: 900, now_ms: 60_001 };
            ledger::start(&store, &Writer::new(1, id), &claim).await.expect("asks")
        })
    });
    let started: Vec<_> = join_all(claims).await.into_iter().map(|r| r.expect("runs")).collect();
    let runs = started.iter().filter(|s| **s == ledger::Started::Run { attempt: 1 }).count();
    let waits = started.iter().filter(|s| **s == ledger::Started::Running { until_ms: 60_901 }).count();
    assert_eq!((runs, waits), (1, 7), "{started:?}");
    let run = JobRun {
        job: "report".to_owned(),
        shard: "0".to_owned(),
        slot_ms: 60_000,
        attempt: 1,
        host: "cli".to_owned(),
        started_ms: 60_001,
        ended_ms: 60_100,
        outcome: Outcome::Partial,
        summary: "3 pages".to_owned(),
        errors: vec!["one".to_owned()],
    };
    ledger::finish(store, &run).await.expect("ends");
    assert_eq!(ledger::latest(store, 0).await.expect("reads"), [run]);
}

async fn samples_come_back(store: &Store) {
    let scrapes = rows::Scrapes::synthetic(40, 2);
    for n in 0..3 {
        let scraped = scrapes.at(n);
        samples::write_segment(
            store,
            &Writer::new(1, 1),
            rows::START_MS + 15_000 * (n + 1),
            1,
            &scraped.rows(),
        )
        .await
        .expect("writes");
    }
    assert_eq!(rows::sum(store).await, scrapes.sum(0..3));
}
