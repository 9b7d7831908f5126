//! What state objects stay however old they are.

use std::time::{SystemTime, UNIX_EPOCH};

use etcd_monitor::store::compact::{Plan, compact};
use etcd_monitor::store::key::{self, Prefix, SequenceKey};
use etcd_monitor::store::sequence::{self, Appended};
use etcd_monitor::store::{Store, Writer, heartbeat};

const DAY_MS: i64 = 86_400_000;

#[tokio::test]
async fn superseded_state_goes_and_the_newest_stays_for_ever() {
    let store = Store::in_memory();
    let writer = Writer::new(1, 1);
    let (incident, group) = (SequenceKey::incident("ab"), SequenceKey::group("g/1"));
    for number in 1..=3_u64 {
        for sequence in [&incident, &group] {
            let appended = sequence::append(&store, sequence, number, &number, &writer).await;
            assert_eq!(appended.expect("appends"), Appended::Won);
        }
        for key in [key::claim("g/1", number, "slack", 1), key::receipt("g/1", number, "slack")] {
            store.create(&key, "{}".into()).await.expect("creates");
        }
        let slot_ms = i64::try_from(number).expect("small") * 60_000;
        store.create(&key::evaluation("rules", slot_ms), "{}".into()).await.expect("creates");
        heartbeat::beat(&store, &writer, "0", slot_ms).await.expect("beats");
    }
    store.create(&key::receipt("gone", 1, "slack"), "{}".into()).await.expect("creates");
    let before = store.list(&Prefix::state()).await.expect("lists");

    // Objects are as old as the store says they are: they were made just now.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let now_ms = i64::try_from(now).expect("fits");
    compact(&store, &Plan::default(), now_ms + 6 * DAY_MS, &|_| {}).await.expect("compacts");
    assert_eq!(store.list(&Prefix::state()).await.expect("lists"), before, "younger than seven days");

    for days in [8, 800] {
        compact(&store, &Plan::default(), now_ms + days * DAY_MS, &|_| {}).await.expect("compacts");
        let left = store.list(&Prefix::state()).await.expect("lists");
        let left: Vec<String> = left.iter().map(|entry| entry.key.to_string()).collect();
        let mut expected = [
            incident.number(3),
            group.number(3),
            key::claim("g/1", 3, "slack", 1),
            key::receipt("g/1", 3, "slack"),
            key::evaluation("rules", 180_000),
        ]
        .map(|key| key.to_string());
        expected.sort();
        assert_eq!(left, expected, "after {days} days");
    }
    let next = sequence::append(&store, &incident, 4, &4_u64, &writer).await.expect("appends");
    assert_eq!(next, Appended::Won, "the sequence goes on where it was");
}
