//! A member's HTTP side: `/metrics` and `/health`, without redirects and with caps.

use std::time::Duration;

use super::error::EtcdError;
use super::member::{Answer, Connection};
use crate::model::ErrorKind;

/// What `/health` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub healthy: bool,
    pub reason: String,
}

/// Cloning shares the connections.
#[derive(Clone)]
pub struct HttpClient {
    metrics_url: String,
    timeout: Duration,
    http: reqwest::Client,
}

impl HttpClient {
    /// # Errors
    /// When the TLS material cannot be used.
    pub fn new(connection: &Connection, endpoint: &str) -> Answer<Self> {
        let metrics_url = connection.config.metrics_url_of(endpoint);
        let builder = reqwest::Client::builder()
            // A redirect could lead anywhere, with our certificate.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(connection.timeout())
            .pool_max_idle_per_host(1)
            .no_proxy()
            .gzip(true);
        let http = connection.apply_http(builder).and_then(reqwest::ClientBuilder::build);
        let http = http.map_err(|error| EtcdError::of_http(&metrics_url, "connect", &error))?;
        Ok(Self { metrics_url, timeout: connection.timeout(), http })
    }

    /// GET `/health`, on the port of the metrics.
    pub async fn health(&self) -> Answer<Health> {
        let url = format!("{}/health", self.metrics_url.trim_end_matches("/metrics"));
        let (_, body) = self.fetch("health", &url, self.timeout, 64 << 10).await?;
        let malformed =
            || EtcdError::new(&url, "health", ErrorKind::Malformed, "what came is no health answer");
        let json: serde_json::Value = serde_json::from_str(&body).map_err(|_| malformed())?;
        let text = |name: &str| json.get(name).and_then(|value| value.as_str()).map(ToOwned::to_owned);
        // etcd writes the boolean as text.
        let healthy = text("health").ok_or_else(malformed)? == "true";
        Ok(Health { healthy, reason: text("reason").unwrap_or_default() })
    }

    /// GET `/metrics`, decoded; refused above `max_bytes`.
    pub async fn metrics(&self, timeout: Duration, max_bytes: usize) -> Answer<String> {
        let url = self.metrics_url.clone();
        let (status, body) = self.fetch("metrics", &url, timeout, max_bytes).await?;
        if status == 200 {
            return Ok(body);
        }
        Err(EtcdError::new(&url, "metrics", ErrorKind::Malformed, format!("HTTP status {status}")))
    }

    /// Status and body; `/health` answers 503 with a body when it is not healthy.
    async fn fetch(
        &self,
        call: &'static str,
        url: &str,
        timeout: Duration,
        max_bytes: usize,
    ) -> Answer<(u16, String)> {
        let work = async {
            let response = self.http.get(url).send().await;
            let mut response = response.map_err(|error| EtcdError::of_http(url, call, &error))?;
            let status = response.status().as_u16();
            let mut body = Vec::new();
            while let Some(chunk) =
                response.chunk().await.map_err(|error| EtcdError::of_http(url, call, &error))?
            {
                if body.len() + chunk.len() > max_bytes {
                    let message = format!(
                        "the answer is larger than {}",
                        crate::model::unit::ByteSize(max_bytes as u64)
                    );
                    return Err(EtcdError::new(url, call, ErrorKind::TooLarge, message));
                }
                body.extend_from_slice(&chunk);
            }
            let text = String::from_utf8(body);
            let text =
                text.map_err(|_| EtcdError::new(url, call, ErrorKind::Malformed, "the answer is not UTF-8"))?;
            Ok((status, text))
        };
        tokio::time::timeout(timeout, work)
            .await
            .unwrap_or_else(|_| Err(EtcdError::timeout(url, call, timeout)))
    }
}
