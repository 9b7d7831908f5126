//! What providers hear when somebody takes an incident on, and gives it back.

use etcd_monitor::deliver::Person;
use serde_json::Value;

use super::http::Hook;
use super::providers::story;
use super::{Receiver, START_MS};

const MINUTE_MS: i64 = 60_000;

/// Path and body of everything that a provider was sent: fires, taken on, given back, over.
async fn told(provider: &str) -> Vec<(String, Value)> {
    let hook = Hook::start(&[]).await;
    let story = story(provider, &hook);
    story.down(START_MS).await;
    story.person(Person::Acknowledges, START_MS + MINUTE_MS).await;
    story.down(START_MS + 2 * MINUTE_MS).await;
    story.person(Person::GivesBack, START_MS + 3 * MINUTE_MS).await;
    story.down(START_MS + 4 * MINUTE_MS).await;
    story.removed(START_MS + 5 * MINUTE_MS).await;
    let log = hook.log.lock().expect("no panic");
    let calls = log.accepted.iter().map(|(head, body)| {
        let path = head.split(' ').nth(1).expect("a path").to_owned();
        (path, serde_json::from_str(body).expect("JSON"))
    });
    calls.collect()
}

#[tokio::test]
async fn pagerduty_hears_who_has_it_in_hand() {
    let told = told("pagerduty").await;
    let actions: Vec<_> = told.iter().map(|(_, event)| event["event_action"].as_str()).collect();
    assert_eq!(actions, [Some("trigger"), Some("acknowledge"), Some("trigger"), Some("resolve")]);
    assert!(told.iter().all(|(_, event)| event["dedup_key"] == told[0].1["dedup_key"]), "{told:?}");
    let reason = &told[1].1["payload"]["custom_details"]["reason"];
    assert_eq!(reason, "acknowledged by ann");
}

#[tokio::test]
async fn slack_shows_it_in_the_storys_first_message_and_says_nothing_new() {
    let told = told("slack_api").await;
    let calls: Vec<_> = told
        .iter()
        .map(|(path, body)| {
            let attachment = &body["attachments"][0];
            (path.as_str(), attachment["fallback"].as_str().unwrap_or_default(), attachment["color"].as_str())
        })
        .collect();
    let alert = "EtcdMemberDown prod-eu-1 (critical)";
    let (red, amber, green) = (Some("#b42318"), Some("#b54708"), Some("#067647"));
    let line = |status: &str| format!("[{status}] {alert}");
    let (firing, acked, over) = (line("FIRING:1"), line("ACKNOWLEDGED:1"), line("RESOLVED"));
    assert_eq!(
        calls,
        [
            ("/api/chat.postmessage", firing.as_str(), red),
            ("/api/chat.update", &acked, amber),
            ("/api/chat.update", &firing, red),
            ("/api/chat.postmessage", &over, green),
            ("/api/chat.update", &over, green),
        ]
    );
    assert!(told[1].1["attachments"].to_string().contains("ACKED since"), "{}", told[1].1);
    assert_eq!(told[3].1["thread_ts"], told[1].1["ts"], "the thread goes on");
}

#[tokio::test]
async fn who_only_reads_is_spared() {
    for provider in ["webhook", "slack_webhook", "alertmanager", "twilio"] {
        let hook = Hook::start(&[]).await;
        let story = story(provider, &hook);
        story.down(START_MS).await;
        story.person(Person::Acknowledges, START_MS + MINUTE_MS).await;
        assert_eq!(hook.accepted().len(), 1, "{provider}");
    }
}
