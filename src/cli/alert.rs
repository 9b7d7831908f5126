//! `alert test`: one marked story through one channel, and the receipts.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use ring::rand::{SecureRandom, SystemRandom};

use super::{Global, Stop, open_store, output};
use crate::config::{Config, Overrides};
use crate::deliver::{Deliverer, Receipt, ReceiptOutcome};
use crate::run::clock::Clock;
use crate::run::exit_code::Exit;
use crate::store::Writer;

#[derive(Debug, Subcommand)]
pub enum AlertCommand {
    /// Send a test that fires and resolves through one channel, and print the receipts
    Test(Test),
}

#[derive(Debug, Args)]
pub struct Test {
    /// The name of a configured channel
    #[arg(long, value_name = "NAME")]
    channel: String,
    /// Print the receipts as JSON
    #[arg(long)]
    json: bool,
}

impl AlertCommand {
    pub async fn execute(&self, global: &Global) -> Result<ExitCode, Stop> {
        let Self::Test(test) = self;
        let config = global.load(Overrides { clusters_optional: true, ..Overrides::default() })?;
        test.execute(&config).await
    }
}

impl Test {
    async fn execute(&self, config: &Config) -> Result<ExitCode, Stop> {
        if !config.channels.contains_key(&self.channel) {
            return Err(Stop::Usage(unknown(&self.channel, config)));
        }
        let store = open_store(config).await?;
        let now_ms = Clock::System.now_ms();
        let mut random = [0; 16];
        let filled = SystemRandom::new().fill(&mut random);
        filled.map_err(|_| Stop::Failed(anyhow::anyhow!("the system gives no random bytes")))?;
        let writer = Writer::new(now_ms, u128::from_ne_bytes(random));
        let deliverer = Deliverer::new(store, writer, config.channels.clone(), config.routes.clone())
            .with_external_url(config.report.public_url.clone());
        let tested = deliverer.test(&self.channel, now_ms).await;
        for error in &tested.errors {
            output::error(crate::model::chain(error));
        }
        if self.json {
            output::json(&tested.receipts)?;
        } else {
            tested.receipts.iter().for_each(print);
        }
        if let Some(failure) = tested.failures.first() {
            output::error(format_args!("channel {}: {}", failure.channel, failure.error));
            return Ok(Exit::Failed.into());
        }
        Ok(if tested.errors.is_empty() { Exit::Ok } else { Exit::Partial }.into())
    }
}

fn print(receipt: &Receipt) {
    let outcome = match receipt.outcome {
        ReceiptOutcome::Accepted => "accepted",
        ReceiptOutcome::Refused => "refused",
        ReceiptOutcome::Expired => "expired",
    };
    output::line(format_args!("{}: {outcome}, key {}", receipt.channel, receipt.idempotency_key));
}

fn unknown(name: &str, config: &Config) -> String {
    let known: Vec<&str> = config.channels.keys().map(String::as_str).collect();
    match known.as_slice() {
        [] => format!("there is no channel {name:?}: none is configured; add [channel.<name>]"),
        known => format!("there is no channel {name:?}; there are {}", known.join(", ")),
    }
}
