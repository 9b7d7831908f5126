//! What a member says of its own health: `/health`, and `/livez` and `/readyz` where it has them (3.4.29, 3.5.11 and later).

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;

use super::fetch::fetch;
use crate::etcd::Member;
use crate::model::{EndpointHealth, ErrorKind, ReadingError};

/// `/health` reads a key of its quorum; etcd gives that five seconds, and who takes three is not well.
const TIMEOUT: Duration = Duration::from_secs(3);
const MAX_BYTES: u64 = 64 << 10;

/// Paths below the client URL.
const ENDPOINTS: [&str; 3] = ["health", "livez", "readyz"];

/// What each endpoint says, by its path. One that the member does not have, or does not show us, is absent; one that
/// does not answer in time says that it is not well.
pub(super) async fn ask(member: &Member, patience: Option<Duration>) -> BTreeMap<String, EndpointHealth> {
    let timeout = patience.map_or(TIMEOUT, |patience| patience.min(TIMEOUT));
    let asked = ENDPOINTS.map(|endpoint| async move {
        let said = of(member, endpoint, timeout).await;
        let silent = |why: ReadingError| EndpointHealth { healthy: false, reason: Some(why.message) };
        let health = match said {
            Ok(health) => health,
            Err(why) if why.kind == ErrorKind::Timeout => silent(why),
            Err(_) => return None,
        };
        Some((endpoint.to_owned(), health))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// What `/health` says.
///
/// # Errors
/// When it does not answer as etcd does.
pub(super) async fn health(member: &Member) -> Result<EndpointHealth, ReadingError> {
    of(member, "health", TIMEOUT).await
}

async fn of(
    member: &Member,
    endpoint: &'static str,
    timeout: Duration,
) -> Result<EndpointHealth, ReadingError> {
    let url = format!("{}/{endpoint}", member.url());
    let body = fetch(member, &url, endpoint, timeout, MAX_BYTES).await?;
    let (healthy, reason) = if endpoint == "health" {
        #[derive(serde::Deserialize)]
        struct Health {
            health: String,
            #[serde(default)]
            reason: String,
        }
        let answer: Health = serde_json::from_slice(&body.bytes).map_err(|e| {
            let message = format!("health at {url}: not what etcd answers: {e}");
            super::member::error(ErrorKind::Malformed, "health", message)
        })?;
        (body.success && answer.health == "true", answer.reason)
    } else {
        (body.success, failed_checks(&String::from_utf8_lossy(&body.bytes)))
    };
    Ok(EndpointHealth { healthy, reason: Some(reason).filter(|reason| !healthy && !reason.is_empty()) })
}

/// Of the lines `[+]name ok` and `[-]name failed: why` those that failed.
fn failed_checks(text: &str) -> String {
    let failed = text.lines().filter_map(|line| line.trim().strip_prefix("[-]"));
    failed.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_that_failed_are_the_reason() {
        let text =
            "[+]serializable_read ok\n[-]data_corruption failed: alarm activated: CORRUPT\n[-]x failed\n";
        assert_eq!(failed_checks(text), "data_corruption failed: alarm activated: CORRUPT; x failed");
        assert_eq!(failed_checks("ok\n"), "");
    }
}
