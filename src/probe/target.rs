//! One member as the prober knows it: its clients, limits, and what was last heard of it.

use std::time::{Duration, Instant};

use super::config::ScrapeConfig;
use super::exposition::SeriesCache;
use super::fallback;
use super::prober::Parts;
use crate::etcd::{Breaker, EtcdError, HttpClient, MemberClient, StatusAnswer, TokenBucket};
use crate::model::{
    ClusterId, ErrorKind, Instance, MemberId, MemberReading, ReadProbe, Scrape, ScrapedSample,
};

/// The promise to users: two requests a second and member, with a burst for the start.
const REQUESTS_PER_SECOND: f64 = 2.0;
const REQUESTS_BURST: u32 = 8;

pub(super) struct Target {
    pub(super) client: MemberClient,
    /// Configured endpoints stay; discovered ones go with the member list.
    pub(super) configured: bool,
    pub(super) id: Option<MemberId>,
    pub(super) quota_bytes: Option<u64>,
    /// The last scrape's samples, for a member that denies Status.
    pub(super) last_scrape: Vec<ScrapedSample>,
    cache: SeriesCache,
    series_known: usize,
    breaker: Breaker,
    bucket: TokenBucket,
    last_term: u64,
}

/// A member's part of a reading, and what it says about which cluster it is in.
pub(super) struct Heard {
    pub(super) reading: MemberReading,
    pub(super) cluster_id: Option<ClusterId>,
}

/// What the gRPC side brought.
#[derive(Default)]
struct Grpc {
    status: Option<StatusAnswer>,
    denied: bool,
    linearizable: Option<ReadProbe>,
    serializable: Option<ReadProbe>,
    errors: Vec<crate::model::ReadingError>,
}

impl Target {
    pub(super) fn new(client: MemberClient, configured: bool) -> Self {
        Self {
            client,
            configured,
            id: None,
            quota_bytes: None,
            last_scrape: Vec::new(),
            cache: SeriesCache::default(),
            series_known: 0,
            breaker: Breaker::new(3, Duration::from_secs(30)),
            bucket: TokenBucket::new(REQUESTS_PER_SECOND, REQUESTS_BURST),
            last_term: 0,
        }
    }

    /// Reads this member. gRPC and HTTP side by side: a hanging one does not hold the other up.
    pub(super) async fn read(
        &mut self,
        instance: &Instance,
        now_ms: i64,
        parts: Parts,
        limits: &Limits,
    ) -> Heard {
        let started = Instant::now();
        let http = self.client.http();
        let scrape_due = parts.scrape && self.bucket.take(now_ms);
        let may_ask = self.breaker.allows(now_ms) || parts.scrape;
        let (mut grpc, body) = tokio::join!(
            async { if may_ask { self.grpc(now_ms, parts).await } else { Grpc::default() } },
            async { if scrape_due { Some(fetch(&http, limits).await) } else { None } },
        );
        if !may_ask {
            let text = "left alone for a while after repeated failures";
            let error = EtcdError::new(self.client.url(), "status", ErrorKind::Unreachable, text);
            grpc.errors.push(error.for_reading(None));
        }
        let mut scrape = body.map(|body| self.scraped(now_ms, body, limits, &mut grpc.errors));
        let mut heard = self.assemble(instance, now_ms, grpc, &mut scrape, limits).await;
        heard.reading.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        heard.reading.scrape = scrape;
        let ok = heard.reading.reachable();
        if may_ask {
            self.breaker.record(ok, now_ms);
        }
        heard
    }

    async fn grpc(&mut self, now_ms: i64, parts: Parts) -> Grpc {
        let mut grpc = Grpc::default();
        if !(parts.status && self.bucket.take(now_ms)) {
            return grpc;
        }
        match self.client.status().await {
            Ok(status) => grpc.status = Some(status),
            Err(error) => {
                grpc.denied = matches!(error.kind, ErrorKind::Denied | ErrorKind::Auth);
                grpc.errors.push(error.for_reading(Some("Maintenance.Status (root role)")));
                if !grpc.denied {
                    // Who does not answer the cheapest call is not asked the others.
                    return grpc;
                }
            }
        }
        if parts.quorum_read && self.bucket.take(now_ms) {
            grpc.linearizable = Some(self.read_probe(true, &mut grpc.errors).await);
        }
        if parts.quorum_read && self.bucket.take(now_ms) {
            grpc.serializable = Some(self.read_probe(false, &mut grpc.errors).await);
        }
        grpc
    }

    async fn read_probe(
        &mut self,
        linearizable: bool,
        errors: &mut Vec<crate::model::ReadingError>,
    ) -> ReadProbe {
        match self.client.read(linearizable).await {
            Ok(took) => ReadProbe { ok: true, seconds: took.as_secs_f64() },
            Err(error) => {
                errors.push(error.for_reading(None));
                ReadProbe { ok: false, seconds: 0.0 }
            }
        }
    }

    fn scraped(
        &mut self,
        now_ms: i64,
        (body, took): (Result<String, EtcdError>, Duration),
        limits: &Limits,
        errors: &mut Vec<crate::model::ReadingError>,
    ) -> Scrape {
        let mut scrape = Scrape {
            ts_ms: now_ms,
            duration_seconds: took.as_secs_f64(),
            ok: false,
            body_bytes: 0,
            samples: Vec::new(),
            dropped_series: 0,
            series_added: 0,
        };
        let parsed = body.and_then(|body| {
            scrape.body_bytes = body.len() as u64;
            self.cache.parse(&body, limits.config.max_series_per_member).map_err(|error| {
                EtcdError::new(self.client.url(), "metrics", ErrorKind::Malformed, error.to_string())
            })
        });
        match parsed {
            Ok(parsed) => {
                scrape.ok = true;
                scrape.samples = parsed.samples;
                scrape.dropped_series = parsed.dropped;
                scrape.dropped_series += limits.drop_from(&mut scrape.samples);
                let known = scrape.samples.len();
                scrape.series_added = known.saturating_sub(self.series_known) as u64;
                self.series_known = known;
                self.quota_bytes = fallback::quota(&scrape.samples).or(self.quota_bytes);
                self.last_scrape.clone_from(&scrape.samples);
            }
            Err(error) => {
                self.series_known = 0;
                errors.push(error.for_reading(None));
            }
        }
        scrape
    }

    async fn assemble(
        &mut self,
        instance: &Instance,
        now_ms: i64,
        grpc: Grpc,
        scrape: &mut Option<Scrape>,
        limits: &Limits,
    ) -> Heard {
        let mut reading = MemberReading {
            instance: instance.clone(),
            member_id: self.id,
            name: None,
            is_learner: None,
            ts_ms: now_ms,
            duration_ms: 0,
            status: None,
            linearizable_read: grpc.linearizable,
            serializable_read: grpc.serializable,
            health: None,
            scrape: None,
            errors: grpc.errors,
        };
        let mut cluster_id = None;
        if let Some(answer) = grpc.status {
            self.id = Some(answer.member_id);
            self.last_term = answer.status.raft_term;
            reading.member_id = self.id;
            reading.is_learner = Some(answer.is_learner);
            cluster_id = Some(answer.cluster_id);
            reading.status = Some(answer.status);
            if let Some(status) = &mut reading.status {
                status.quota_bytes = status.quota_bytes.or(self.quota_bytes);
            }
        } else if grpc.denied {
            cluster_id = self.degraded(&mut reading, now_ms, scrape, limits).await;
        }
        Heard { reading, cluster_id }
    }

    /// Status is denied: MemberList's header has the term, `/metrics` the rest, `/health` the verdict. A new
    /// term makes the numbers of the last scrape old, so they are read again at once.
    async fn degraded(
        &mut self,
        reading: &mut MemberReading,
        now_ms: i64,
        scrape: &mut Option<Scrape>,
        limits: &Limits,
    ) -> Option<ClusterId> {
        let http = self.client.http();
        let list = if self.bucket.take(now_ms) { self.client.member_list().await.ok() } else { None };
        reading.health = http.health().await.ok().map(|health| health.healthy);
        if let Some(list) = &list {
            self.id = Some(list.member_id);
            reading.member_id = self.id;
            if list.raft_term != self.last_term && scrape.is_none() {
                *scrape = Some(self.scraped(now_ms, fetch(&http, limits).await, limits, &mut reading.errors));
            }
            self.last_term = list.raft_term;
        }
        if self.id.is_none() {
            self.id = fallback::member_id(&self.last_scrape);
            reading.member_id = self.id;
        }
        if reading.health.is_some() || list.is_some() {
            reading.status = fallback::status(&self.last_scrape, self.id, self.last_term);
        }
        list.map(|list| list.cluster_id)
    }
}

async fn fetch(http: &HttpClient, limits: &Limits) -> (Result<String, EtcdError>, Duration) {
    let started = Instant::now();
    let max_bytes = usize::try_from(limits.config.max_body.0).unwrap_or(usize::MAX);
    let body = http.metrics(limits.config.timeout.0, max_bytes).await;
    (body, started.elapsed())
}

/// The scrape's limits with their rules compiled.
pub(super) struct Limits {
    pub(super) config: ScrapeConfig,
    pub(super) drop: Vec<regex::Regex>,
}

impl Limits {
    fn drop_from(&self, samples: &mut Vec<ScrapedSample>) -> u64 {
        if self.drop.is_empty() {
            return 0;
        }
        let before = samples.len();
        samples.retain(|sample| !self.drop.iter().any(|rule| rule.is_match(sample.labels.metric_name())));
        (before - samples.len()) as u64
    }
}
