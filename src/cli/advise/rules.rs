//! `advise rules`: the rules that there are.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::Stop;
use crate::advise::{Condition, Rule, rules};
use crate::cli::output;
use crate::run::exit_code::Exit;

#[derive(Debug, Args)]
pub struct Rules {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Rules {
    pub fn execute(self) -> Result<ExitCode, Stop> {
        if self.json {
            let all = rules().iter().map(|rule| {
                json!({
                    "rule": rule.id, "title": rule.title, "area": rule.area(), "term": rule.term.as_str(),
                    "found": found(rule), "query": rule.query, "fact": rule.fact, "weight": rule.weight,
                    "effort": rule.effort, "confidence": rule.confidence, "why": rule.why, "gain": rule.gain,
                    "commands": rule.commands, "link": rule.link, "needs": rule.needs, "explains": rule.explains,
                    "checklist": rule.checklist.map(|line| line.text()),
                })
            });
            output::json(&all.collect::<Vec<_>>())?;
            return Ok(Exit::Ok.into());
        }
        let rows = rules().iter().map(|rule| {
            let area = rule.area().as_str();
            [rule.id.as_str(), area, &found(rule), &rule.title].map(str::to_owned).to_vec()
        });
        output::table(&["rule", "area", "found where", "recommendation"], rows.collect());
        Ok(Exit::Ok.into())
    }
}

/// The limit: `above 10 ms over 6h`.
fn found(rule: &Rule) -> String {
    let limit = match rule.condition() {
        Condition::Above(limit) => format!("above {}", rule.unit.text(limit)),
        Condition::Below(limit) => format!("below {}", rule.unit.text(limit)),
        Condition::Is(words) => words.join(" or "),
    };
    match rule.window {
        Some(window) => format!("{limit} over {}", crate::model::unit::format_duration(window.0)),
        None => limit,
    }
}

/// The rule of that id.
pub(super) fn named(id: &str) -> Result<&'static Rule, Stop> {
    let found = rules().iter().find(|rule| rule.id == id);
    found.ok_or_else(|| Stop::Usage(format!("there is no rule {id}; `etcd-monitor advise rules` lists them")))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    /// What rules tell people to type, this program understands.
    #[test]
    fn our_own_commands_in_rules_are_commands() {
        let mut wrong = Vec::new();
        for rule in rules() {
            let commands = rule.commands.iter().filter(|text| text.starts_with("etcd-monitor "));
            for command in commands {
                let plain = command.split("   #").next().unwrap_or(command);
                let filled = [("{cluster}", "prod"), ("{directory}", "/data"), ("{suggested}", "x")];
                let filled =
                    filled.iter().fold(plain.to_owned(), |text, (name, value)| text.replace(name, value));
                let words = words(&filled);
                if let Err(error) = Cli::try_parse_from(&words)
                    && error.kind() != clap::error::ErrorKind::DisplayHelp
                {
                    wrong.push(format!(
                        "{}: {filled}: {}",
                        rule.id,
                        error.to_string().lines().next().unwrap_or("")
                    ));
                }
                if let Some(at) = words.iter().position(|word| word == "query") {
                    let query = words.get(at + 1).expect("an expression");
                    crate::promql::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// As a shell takes them apart, as far as rules use that.
    fn words(text: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quoted = false;
        for letter in text.chars() {
            match letter {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                letter => words.last_mut().expect("one").push(letter),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }
}
