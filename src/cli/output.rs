//! What the program prints: data on stdout, everything else on stderr.

#![expect(clippy::print_stderr, reason = "this is where printing lives")]

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// Prints one line of data.
pub fn line(text: impl Display) {
    // A closed pipe (`| head`) is no error of ours.
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints a value as indented JSON.
pub fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Says something to the person at the terminal that is no data.
pub fn note(text: impl Display) {
    eprintln!("{text}");
}

/// Prints an error; each line of it gets the program's name.
pub fn error(text: impl Display) {
    for line in text.to_string().lines() {
        eprintln!("etcd-monitor: {line}");
    }
}

/// Whether stderr may have colours: a terminal, and `NO_COLOR` (<https://no-color.org>) is not set.
pub fn colours_on_stderr() -> bool {
    let refused = crate::config::process_environment().get("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !refused
}

/// A table with a header and plain rules, as wide as the terminal allows.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(if io::stdout().is_terminal() {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    });
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for text in table.lines() {
        line(text.trim_end());
    }
}
