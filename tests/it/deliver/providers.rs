//! Every channel over HTTP against a server that misbehaves in every way, and what each of them says.

use std::fmt::Write as _;

use etcd_monitor::deliver::SendError;

use super::http::Hook;
use super::{Answer, Receiver, START_MS, Story, conforms};

/// Name, and the channel as configuration writes it, without what all have.
const CHANNELS: [(&str, &str); 8] = [
    ("webhook", "type = \"webhook\"\nurl = \"BASE/hook\""),
    ("alertmanager", "type = \"alertmanager\"\nurl = \"BASE/prefix\""),
    ("pagerduty", "type = \"pagerduty\"\nurl = \"BASE/v2/enqueue\"\nrouting-key = { env = \"PD\" }"),
    ("slack_webhook", "type = \"slack\"\nurl-secret = { env = \"BASE/services/T/B/x\" }"),
    ("slack_api", "type = \"slack\"\napi-url = \"BASE/api\"\ntoken = { env = \"SLACK\" }\nchannel = \"C1\""),
    (
        "ses",
        "type = \"ses\"\nurl = \"BASE\"\nregion = \"eu-west-1\"\nfrom = \"monitor@example.com\"\n\
         to = [\"sre@example.com\"]",
    ),
    ("sns", "type = \"sns\"\nurl = \"BASE/\"\nregion = \"eu-west-1\"\nto = [\"+4915112345678\"]"),
    (
        "twilio",
        "type = \"twilio\"\nurl = \"BASE\"\naccount-sid = \"AC1\"\nauth-token = { env = \"TW\" }\n\
         from = \"+15550001111\"\nto = [\"+4915112345678\"]",
    ),
];

fn toml_of(name: &str, hook: &Hook) -> String {
    let (_, text) = CHANNELS.iter().find(|(known, _)| *known == name).expect("in the table");
    let base = format!("http://127.0.0.1:{}", hook.port);
    format!("{}\nallow-private = true\ntimeout = \"500ms\"", text.replace("BASE", &base))
}

pub fn story(name: &str, hook: &Hook) -> Story {
    Story::new(toml::from_str(&toml_of(name, hook)).unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// The conformance suite for each channel of the table.
macro_rules! conform {
    ($($name:ident)+) => {$(
        mod $name {
            use super::*;

            struct Provider(Hook);

            impl Receiver for Provider {
                async fn start(answers: &[Answer]) -> Self {
                    Self(Hook::start(answers).await)
                }

                fn toml(&self) -> String {
                    toml_of(stringify!($name), &self.0)
                }

                fn accepted(&self) -> Vec<String> {
                    self.0.accepted()
                }
            }

            #[tokio::test]
            async fn conforms_to_what_every_channel_does() {
                conforms::<Provider>().await;
            }
        }
    )+
        #[test]
        fn every_channel_of_the_table_conforms() {
            let names = CHANNELS.map(|(name, _)| name);
            assert_eq!(vec![$(stringify!($name)),+], names);
        }
    };
}

conform!(webhook alertmanager pagerduty slack_webhook slack_api ses sns twilio);

/// What one answer leads to. Three tries are made; a wish of an hour ends them.
#[tokio::test]
async fn every_answer_is_a_retry_a_refusal_or_a_receipt() {
    futures::future::join_all(CHANNELS.map(|(name, _)| survives(name))).await;
}

async fn survives(name: &str) {
    for (what, answers, accepted, permanent, said) in [
        ("garbage, then ok", &[Answer::Garbage, Answer::Accept][..], 1, None, ""),
        ("garbage for ever", &[Answer::Garbage; 3], 0, Some(false), "cannot reach"),
        ("never an answer", &[Answer::Hang; 3], 0, Some(false), "no answer within 0.5 s"),
        ("500 for ever", &[Answer::Busy(None); 3], 0, Some(false), "answered 500"),
        ("429 for a second", &[Answer::Busy(Some(1)), Answer::Accept], 1, None, ""),
        ("429 for an hour", &[Answer::Busy(Some(3600)), Answer::Accept], 0, Some(false), "answered 429"),
        ("wrong key for ever", &[Answer::Unauthorized; 3], 0, Some(false), "check its credentials"),
        ("404", &[Answer::Refuse, Answer::Accept], 0, Some(true), "answered 404"),
        ("redirect", &[Answer::Redirect, Answer::Accept], 0, Some(true), "not followed"),
    ] {
        let hook = Hook::start(answers).await;
        let report = story(name, &hook).down(START_MS).await;
        let told = (report.accepted.len(), hook.accepted().len());
        assert_eq!(told, (accepted, accepted), "{name}, {what}: {report:?}");
        let error = report.failures.first().map(|failure| &failure.error);
        let refused = error.map(|error| matches!(error, SendError::Permanent { .. }));
        assert_eq!(refused, permanent, "{name}, {what}: {report:?}");
        let text = error.map(ToString::to_string).unwrap_or_default();
        assert!(text.contains(said), "{name}, {what}: {text}");
        assert!(!text.contains("secret of") && !text.contains("/services/"), "{name}, {what}: {text}");
        // What was not refused waits for the next sweep: nothing is lost.
        assert_eq!(report.undelivered, usize::from(permanent == Some(false)), "{name}, {what}");
    }
}

const DOWN: [(&str, &str); 4] = [
    ("alertname", "EtcdMemberDown"),
    ("cluster", "prod-eu-1"),
    ("instance", "10.0.0.1:2379"),
    ("severity", "critical"),
];
const HOSTILE: [(&str, &str); 4] = [
    ("alertname", "EtcdMemberDown"),
    ("cluster", "prod-eu-1"),
    ("instance", "<!channel> `*<script>alert(1)</script>&\r\nBcc: all@example.com"),
    ("severity", "critical"),
];

/// All requests of a story: one member falls, another with a hostile name follows, both return.
async fn told(name: &str) -> String {
    let hook = Hook::start(&[]).await;
    let story = story(name, &hook);
    let (down, hostile) = (
        Story::finding(&DOWN, "member 10.0.0.1:2379 is down"),
        Story::finding(&HOSTILE, "*<!here> <https://evil.example|click>*\r\nSubject: x"),
    );
    story.find(vec![down.clone()], START_MS).await;
    story.find(vec![down, hostile], START_MS + 120_000).await;
    story.removed(START_MS + 240_000).await;
    let log = hook.log.lock().expect("no panic");
    let mut text = String::new();
    for (head, body) in &log.accepted {
        let kept = |line: &&str| {
            !["content-length", "host:", "accept", "user-agent"].iter().any(|name| line.starts_with(name))
        };
        let head: Vec<&str> = head.lines().filter(kept).collect();
        let body = match serde_json::from_str::<serde_json::Value>(body) {
            Ok(json) => serde_json::to_string_pretty(&json).expect("serialises"),
            Err(_) => body.replace('&', "\n&"),
        };
        let _ = writeln!(text, "{}\n\n{body}\n----", head.join("\n"));
    }
    // The host is signed, and its port is another one every time.
    text = text.replace(&hook.port.to_string(), "PORT");
    text.lines().map(|line| line.split("signature=").next().unwrap_or(line).to_owned() + "\n").collect()
}

#[tokio::test]
async fn what_each_provider_is_told() {
    for (name, _) in CHANNELS {
        insta::assert_snapshot!(name, told(name).await);
    }
}

#[tokio::test]
async fn slack_has_one_thread_per_story_and_paints_its_first_message() {
    let hook = Hook::start(&[]).await;
    let story = story("slack_api", &hook);
    story.down(START_MS).await;
    story.removed(START_MS + 120_000).await;
    let log = hook.log.lock().expect("no panic");
    let calls: Vec<(String, serde_json::Value)> = log
        .accepted
        .iter()
        .map(|(head, body)| {
            let path = head.split(' ').nth(1).expect("a path").to_owned();
            (path, serde_json::from_str(body).expect("JSON"))
        })
        .collect();
    let paths: Vec<&str> = calls.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["/api/chat.postmessage", "/api/chat.postmessage", "/api/chat.update"]);
    assert!(calls[0].1["thread_ts"].is_null());
    assert_eq!(calls[1].1["thread_ts"], "1764000000.1");
    assert_eq!(calls[2].1["ts"], "1764000000.1");
    assert_eq!(calls[2].1["attachments"][0]["color"], "#067647");
}

#[tokio::test]
async fn a_private_address_needs_the_flag() {
    let hook = Hook::start(&[]).await;
    let toml = toml_of("webhook", &hook).replace("allow-private = true\n", "");
    let refused = etcd_monitor::deliver::open(
        &[("way".to_owned(), toml::from_str(&toml).expect("valid"))].into(),
        &|_| Err("none".to_owned()),
    );
    let text = refused.err().expect("refused")[0].to_string();
    assert!(text.contains("127.0.0.1 is a private address; set allow-private"), "{text}");
    assert!(hook.accepted().is_empty());
}

/// The name does not look private; where it leads is seen when it is resolved for the connection.
#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_not_connected_to() {
    let hook = Hook::start(&[]).await;
    let hosts = std::fs::read_to_string("/etc/hosts").expect("readable");
    let names = hosts.lines().filter(|line| line.starts_with("127.") || line.starts_with("::1"));
    let name = names.flat_map(|line| line.split_whitespace().skip(1)).find(|name| *name != "localhost");
    let name = name.expect("/etc/hosts has another name of the loopback, such as ip6-localhost");
    let toml = format!("type = \"webhook\"\nurl = \"https://{name}:{}/\"", hook.port);
    let report = Story::new(toml::from_str(&toml).expect("valid")).down(START_MS).await;
    let said = report.failures[0].error.to_string();
    assert!(said.contains("private address; set allow-private = true"), "{said}");
    assert_eq!((report.undelivered, hook.accepted().len()), (1, 0));
}
