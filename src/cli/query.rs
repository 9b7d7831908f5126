//! `query`: PromQL over the stored samples.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::progress::Progress;
use super::tags::Tags;
use super::{Global, Stop, open_with_found, output};
use crate::config::Overrides;
use crate::model::unit::{parse_duration, rfc3339};
use crate::model::{ClusterName, Labels, MatchOp, Matcher, Series};
use crate::promql::{self, EvalOptions, EvalRange, Expr, Value};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::store::samples::{Loaded, RollupSpan};
use crate::store::{Store, samples};

#[derive(Debug, Args)]
pub struct Query {
    /// The PromQL expression, e.g. 'rate(etcd_server_proposals_committed_total[5m])'
    expression: String,
    /// Evaluate at this time (RFC 3339 or seconds since the epoch) [default: now]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["start", "end", "step", "since"], value_parser = parse_time)]
    time: Option<i64>,
    /// A range query over the last so long, e.g. 1h
    #[arg(long, value_name = "DURATION", conflicts_with = "start", value_parser = parse_duration)]
    since: Option<Duration>,
    /// Start of a range query
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    start: Option<i64>,
    /// End of a range query [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    end: Option<i64>,
    /// Step of a range query [default: a 250th of the range, at least 15s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    step: Option<Duration>,
    #[command(flatten)]
    tags: Tags,
    /// Print the `data` object of Prometheus' HTTP API
    #[arg(long)]
    json: bool,
}

/// What an expression came to, and what of it the raw samples could not answer.
struct Answer {
    rollups: Vec<RollupSpan>,
    value: Shape,
}

enum Shape {
    Range(Vec<Series>),
    Instant { value: Value, at_ms: i64 },
}

/// RFC 3339, or seconds since the epoch with or without a fraction.
pub(super) fn parse_time(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>()
        && seconds.is_finite()
    {
        return Ok((seconds * 1000.0) as i64);
    }
    chrono::DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_millis())
        .map_err(|_| "write a time like 2026-11-23T14:05:00Z or as seconds since the epoch".to_owned())
}

impl Query {
    pub async fn execute(self, global: &Global) -> Result<ExitCode, Stop> {
        let expr = promql::parse(&self.expression)
            .map_err(|error| Stop::Usage(explain(&self.expression, &error)))?;
        let (config, store) = open_with_found(global.load(Overrides::store_only())?).await?;
        let among = among(self.tags.clusters(&config, &store, Clock::System.now_ms()).await?)?;
        let options = EvalOptions { max_samples: config.query.max_samples, ..EvalOptions::default() };
        let limit = config.query.timeout.0;
        let progress = Progress::new(global, self.json).watch("query", &store);
        let work = self.evaluate(&expr, &store, &options, among.as_ref());
        let done = tokio::time::timeout(limit, work).await;
        drop(progress);
        let answer =
            done.map_err(|_| anyhow::anyhow!("the query took longer than query.timeout ({limit:?})"))??;
        self.print(&answer)?;
        Ok(Exit::Ok.into())
    }

    async fn evaluate(
        &self,
        expr: &Expr,
        store: &Store,
        options: &EvalOptions,
        among: Option<&Matcher>,
    ) -> anyhow::Result<Answer> {
        let now_ms = Clock::System.now_ms();
        let at_ms = self.time.unwrap_or(now_ms);
        let asked = self.range(now_ms);
        let range = asked.unwrap_or(EvalRange { start_ms: at_ms, end_ms: at_ms, step_ms: 1000 });
        let Loaded { series, rollups, .. } = load(expr, store, &range, options, among).await?;
        let value = match asked {
            Some(range) => promql::eval_range(expr, &series, &range, options).map(Shape::Range),
            None => promql::eval_instant(expr, &series, at_ms, options)
                .map(|value| Shape::Instant { value, at_ms }),
        };
        Ok(Answer { rollups, value: value.context("evaluation failed")? })
    }

    fn print(&self, answer: &Answer) -> anyhow::Result<()> {
        for span in &answer.rollups {
            output::note(format_args!(
                "{} to {} is beyond the raw retention: answered from the {} s rollup",
                rfc3339(span.start_ms),
                rfc3339(span.end_ms),
                span.resolution_ms / 1000
            ));
        }
        match &answer.value {
            Shape::Range(series) => self.print_range(series),
            Shape::Instant { value, at_ms } => self.print_instant(value, *at_ms),
        }
    }

    fn range(&self, now_ms: i64) -> Option<EvalRange> {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let end_ms = self.end.unwrap_or(now_ms);
        let start_ms = self.since.map(|since| end_ms - ms(since)).or(self.start)?;
        let step_ms = self.step.map_or_else(|| ((end_ms - start_ms) / 250).max(15_000), ms);
        Some(EvalRange { start_ms, end_ms, step_ms })
    }

    fn print_range(&self, result: &[Series]) -> anyhow::Result<()> {
        if self.json {
            return output::json(&promql::json::range(result));
        }
        for series in result {
            output::line(&series.labels);
            for (ts_ms, value) in series.ts_ms.iter().zip(&series.values) {
                output::line(format_args!("  {}  {value}", rfc3339(*ts_ms)));
            }
        }
        empty_note(result.is_empty());
        Ok(())
    }

    fn print_instant(&self, value: &Value, at_ms: i64) -> anyhow::Result<()> {
        if self.json {
            return output::json(&promql::json::instant(value, at_ms));
        }
        match value {
            Value::Scalar(scalar) => output::line(scalar),
            Value::String(text) => output::line(text),
            Value::Vector(samples) => {
                let width = samples.iter().map(|s| shown(&s.labels).chars().count()).max().unwrap_or(0);
                for sample in samples {
                    output::line(format_args!("{:width$}  {}", shown(&sample.labels), sample.value));
                }
                empty_note(samples.is_empty());
            }
            Value::Matrix(series) => self.print_range(series)?,
        }
        Ok(())
    }
}

fn shown(labels: &Labels) -> String {
    labels.to_string()
}

fn empty_note(empty: bool) {
    if empty {
        output::note("no data: nothing in the store fits the expression at that time");
    }
}

async fn load(
    expr: &Expr,
    store: &Store,
    range: &EvalRange,
    options: &EvalOptions,
    among: Option<&Matcher>,
) -> anyhow::Result<Loaded> {
    let mut selections = promql::selections(expr, range, options);
    selections.iter_mut().for_each(|selection| selection.matchers.extend(among.cloned()));
    samples::load(store, &selections, options.max_samples).await.context("the samples cannot be read")
}

/// What only series of these clusters fit.
fn among(clusters: Option<BTreeSet<ClusterName>>) -> anyhow::Result<Option<Matcher>> {
    let Some(clusters) = clusters else { return Ok(None) };
    // A name has no character that means something in a regular expression.
    let names: Vec<&str> = clusters.iter().map(ClusterName::as_str).collect();
    Ok(Some(Matcher::new("cluster", MatchOp::Regex, &names.join("|"))?))
}

/// The expression with a mark under the place of the error.
fn explain(expression: &str, error: &promql::ParseError) -> String {
    let line = expression.lines().nth(error.line.saturating_sub(1)).unwrap_or(expression);
    format!("{error}\n  {line}\n  {}^", " ".repeat(error.column.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_or_seconds() {
        assert_eq!(parse_time("2025-11-24T16:00:00Z"), Ok(1_764_000_000_000));
        assert_eq!(parse_time("1764000000.5"), Ok(1_764_000_000_500));
        assert!(parse_time("yesterday").is_err() && parse_time("nan").is_err());
    }
}
