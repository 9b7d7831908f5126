//! The Lambda adapter: the same jobs under the same guard, started by the Lambda runtime.
//!
//! A function runs one job, named by `ETCD_MONITOR_JOB` or else by the function's handler. The event's
//! `scheduled_time` (EventBridge Scheduler's `<aws.scheduler.scheduled-time>`, or `time` of a rule's
//! envelope) is the slot, so a repeated delivery finds its slot done.
//!
//! A request by a function URL is not a job: it is a link to acknowledge with, whatever job the function runs.
//!
//! A job without an end (`watch`) runs in shifts: it is told to stop before the function's deadline, and the next
//! shift may begin before that. Of two shifts the older writes the samples, and takes back its heartbeats when it
//! ends, so that the younger takes over without a gap.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::ack_desk::{self, Ask};
use super::clock::Clock;
use super::context::Services;
use super::execute::{Executed, execute_within};
use super::spec::{Host, JobSpec};
use crate::config::{Config, Environment, Overrides, process_environment};
use crate::model::{Outcome, chain};

/// Whether this process is a Lambda function.
pub fn is_lambda() -> bool {
    process_environment().contains_key("AWS_LAMBDA_RUNTIME_API")
}

/// Serves invocations until the runtime ends the process.
///
/// # Errors
/// When the job's name or the configuration is wrong, or the store cannot be opened.
pub async fn serve(jobs: &'static [&'static JobSpec]) -> anyhow::Result<()> {
    let environment = process_environment();
    let spec = job_of(jobs, &environment)?;
    let path = environment.get("ETCD_MONITOR_CONFIG").map(std::path::PathBuf::from);
    // Most jobs need no cluster: they work on the store.
    let known_jobs = Some(jobs.iter().map(|spec| spec.name).collect());
    let overrides = Overrides { clusters_optional: true, known_jobs, ..Overrides::default() };
    let mut config = Config::load(path.as_deref(), &environment, overrides)?;
    config.log.format = crate::config::LogFormat::Json;
    super::telemetry::start(&config.log, std::io::stderr, false);
    let services = Arc::new(
        Services::start(config, &environment, Clock::System, Host::Lambda, CancellationToken::new()).await?,
    );
    let handler = service_fn(move |event: LambdaEvent<Value>| {
        let services = Arc::clone(&services);
        async move {
            match Visit::of(&event.payload) {
                Some(visit) => Ok(answer(&services, &visit).await?),
                None => invoke(spec, &services, &event).await,
            }
        }
    });
    lambda_runtime::run(handler).await.map_err(|error| anyhow!("the Lambda runtime ended: {error}"))
}

fn job_of(jobs: &'static [&'static JobSpec], environment: &Environment) -> anyhow::Result<&'static JobSpec> {
    let name = environment.get("ETCD_MONITOR_JOB").or_else(|| environment.get("_HANDLER"));
    let name = name.context("neither ETCD_MONITOR_JOB nor _HANDLER names the job")?;
    let spec =
        jobs.iter().find(|spec| spec.name == name).with_context(|| format!("there is no job {name:?}"))?;
    anyhow::ensure!(spec.hosts.contains(&Host::Lambda), "the job {name:?} does not run on Lambda");
    Ok(spec)
}

async fn invoke(
    spec: &'static JobSpec,
    services: &Arc<Services>,
    event: &LambdaEvent<Value>,
) -> Result<Value, lambda_runtime::Error> {
    let now_ms = services.clock.now_ms();
    let slot_ms = slot_of(&event.payload).unwrap_or(now_ms);
    let deadline_ms = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
    let left = Duration::from_millis(deadline_ms.saturating_sub(now_ms).max(0).unsigned_abs());
    let stop = services.shutdown.child_token();
    let mut work = std::pin::pin!(execute_within(spec, services, slot_ms, left, stop.clone()));
    let executed = match tokio::time::timeout(left.saturating_sub(handover(left)), &mut work).await {
        Ok(executed) => executed,
        Err(_) => {
            stop.cancel();
            work.await
        }
    };
    match executed.map_err(|error| chain(error.as_ref()))? {
        Executed::Ran(run) | Executed::AlreadyDone(run) => match run.outcome {
            Outcome::Done | Outcome::Partial => Ok(json!(run)),
            // An error makes the failure visible in Lambda's own metrics too.
            _ => Err(format!("{} {}: {}", run.job, run.outcome.as_str(), run.errors.join("; ")).into()),
        },
        Executed::RunningElsewhere { until_ms } => Ok(json!({ "running_until_ms": until_ms })),
    }
}

/// A request as a function URL hands it over (payload format 2.0).
#[derive(Debug, PartialEq)]
struct Visit {
    method: String,
    path: String,
    query: String,
    body: Vec<u8>,
}

impl Visit {
    /// `None` for any other event.
    fn of(event: &Value) -> Option<Self> {
        let text = |place: &str| event.pointer(place).and_then(Value::as_str).map(str::to_owned);
        let method = text("/requestContext/http/method")?;
        let body = text("/body").unwrap_or_default().into_bytes();
        let encoded = event.get("isBase64Encoded").and_then(Value::as_bool).unwrap_or_default();
        // What does not decode is no form, which has only optional fields.
        let body = if encoded { BASE64_STANDARD.decode(body).unwrap_or_default() } else { body };
        let (path, query) = (text("/rawPath")?, text("/rawQueryString").unwrap_or_default());
        Some(Self { method, path, query, body })
    }
}

async fn answer(services: &Services, visit: &Visit) -> Result<Value, lambda_runtime::Error> {
    let desk = services.ack_desk().await.map_err(|error| chain(error.as_ref()))?;
    let Some(desk) = desk.filter(|_| visit.path.starts_with(ack_desk::PATH)) else {
        return Ok(
            json!({ "statusCode": 404, "headers": { "content-type": "text/plain" }, "body": "not found" }),
        );
    };
    let ask = Ask { method: &visit.method, path: &visit.path, query: &visit.query, body: &visit.body };
    let answer = desk.answer(ask, services.clock.now_ms()).await;
    let mut headers: serde_json::Map<String, Value> =
        ack_desk::HEADERS.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    headers.insert("content-type".to_owned(), answer.content_type.into());
    Ok(json!({ "statusCode": answer.status, "headers": headers, "body": answer.body }))
}

/// How long before its deadline a shift begins to end: a flush to a slow bucket must fit.
fn handover(left: Duration) -> Duration {
    (left / 4).min(Duration::from_secs(20))
}

/// The slot of a scheduled event: `scheduled_time` of our input, or `time` of an EventBridge rule's event.
fn slot_of(event: &Value) -> Option<i64> {
    let text = event.get("scheduled_time").or_else(|| event.get("time"))?.as_str()?;
    chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_keeps_time_for_its_end() {
        for (left, kept) in [(900, 20), (60, 15), (0, 0)] {
            assert_eq!(handover(Duration::from_secs(left)), Duration::from_secs(kept));
        }
    }

    #[test]
    fn the_slot_comes_from_either_kind_of_event() {
        let slot = Some(1_764_072_000_000);
        assert_eq!(slot_of(&json!({"scheduled_time": "2025-11-25T12:00:00Z"})), slot);
        assert_eq!(slot_of(&json!({"source": "aws.events", "time": "2025-11-25T12:00:00Z"})), slot);
        assert_eq!(slot_of(&json!({})), None);
        assert_eq!(slot_of(&json!({"scheduled_time": "noon"})), None);
    }
}
