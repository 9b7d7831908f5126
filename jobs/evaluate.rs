//! Evaluates the rule groups that no live `watch` owns, over the stored samples, and commits the incidents.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::correlate::LOOK_BACK_MS;
use crate::model::chain;
use crate::rules::{self, Owner, RuleGroup, Scope};
use crate::run::{CatchUp, Context, Host, JobSpec, Summary, When, hold_switch};
use crate::store::{events, readings, samples};
use crate::watch::is_live;

/// The `evaluate` job.
pub const JOB: JobSpec = JobSpec {
    name: "evaluate",
    about: "Evaluate the alert rules that watch does not own",
    when: When::Cron("20 * * * * *"),
    jitter: Duration::ZERO,
    catch_up: CatchUp::Skip,
    on_change: false,
    fails_open: true,
    timeout: Duration::from_secs(50),
    hosts: &[Host::Daemon, Host::Cli, Host::Lambda],
    run: |context| Box::pin(run(context)),
};

/// How far back the members of a cluster are looked for.
const SCOPE_REACH_MS: i64 = 3_600_000;

/// How often the answer to a template's question may lead to a further one.
const QUESTIONS_DEEP: usize = 3;

async fn run(context: Context) -> anyhow::Result<Summary> {
    let now_ms = context.now_ms();
    let live = is_live(context.store(), &context.config().watch, now_ms).await?;
    let owned = |group: &&RuleGroup| rules::owner(group, live) == Owner::Evaluate;
    let groups: Vec<RuleGroup> = context.config().groups.iter().filter(owned).cloned().collect();
    let interval_ms = context.config().rule_interval_ms();
    let mut selections = rules::selections(&groups, now_ms, interval_ms);
    let limit = context.config().query.max_samples;
    let judge = &context.services.judge;
    let mut loaded = samples::load(context.store(), &selections, limit).await?;
    for _ in 0..QUESTIONS_DEEP {
        let asked = rules::asked(&groups, &loaded.series, now_ms, judge.options());
        let new: Vec<_> = asked.into_iter().filter(|selection| !selections.contains(selection)).collect();
        if new.is_empty() {
            break;
        }
        selections.extend(new);
        loaded = samples::load(context.store(), &selections, limit).await?;
    }
    remember_events(&context, now_ms).await;
    let judged = judge.judge(&groups, &loaded.series, &scope(&context, now_ms).await?, now_ms).await;
    // A watch writes what its own groups record; the rest is written here, once for each slot.
    let recorded =
        samples::write_recorded(context.store(), &context.services.writer, now_ms, &judged.recorded).await;
    let configured: BTreeSet<String> =
        context.config().groups.iter().map(|group| group.name.clone()).collect();
    let retired = judge.deliverer().retire(&configured, now_ms).await;
    let happened = [judged.events, retired.events].concat();
    if !happened.is_empty() {
        events::write(context.store(), &context.services.writer, now_ms, &happened).await?;
        context.services.changed.notify_one();
    }
    let changed = judged.transitions + retired.transitions.len();
    let text = format!("{} group(s), {} finding(s), {changed} transition(s)", groups.len(), judged.findings);
    let unwritten = recorded.err().map(|error| chain(&error));
    let retiring = retired.errors.iter().map(|error| chain(error));
    let errors: Vec<String> = judged.errors.into_iter().chain(unwritten).chain(retiring).collect();
    // A live watch holds the switch itself, and rules that were not evaluated are nothing to speak for.
    let held = match live || !errors.is_empty() {
        true => Ok(()),
        false => hold_switch(&context, now_ms).await,
    };
    Ok(Summary::new(text).with_errors(errors).with_errors(held.err()))
}

/// Messages say what came before an incident; where no watch runs in this process only the store knows. A message
/// without it is better than none.
async fn remember_events(context: &Context, now_ms: i64) {
    let (start_ms, end_ms) = (now_ms - 2 * LOOK_BACK_MS, now_ms + LOOK_BACK_MS);
    let filter = events::Filter { start_ms, end_ms, ..events::Filter::default() };
    if let Ok(mut seen) = events::query(context.store(), &filter).await {
        seen.reverse();
        context.services.judge.deliverer().remember_events(&seen);
    }
}

/// The configured clusters with the members of their newest reading.
async fn scope(context: &Context, now_ms: i64) -> anyhow::Result<Scope> {
    let rows = readings::latest(context.store(), now_ms - SCOPE_REACH_MS, now_ms + SCOPE_REACH_MS).await?;
    let clusters = context.config().clusters.iter().map(|cluster| {
        let name = cluster.config.name.clone();
        let members: BTreeSet<_> =
            rows.iter().filter(|row| row.cluster == name).map(|row| row.instance.clone()).collect();
        (name, Some(members).filter(|members| !members.is_empty()))
    });
    Ok(clusters.collect())
}
