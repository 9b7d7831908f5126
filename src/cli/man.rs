//! `man`: the manual pages, one for the program and one for each subcommand.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::builder::StyledStr;
use clap::{Args, Command, CommandFactory};
use clap_mangen::roff::{Roff, roman};

use super::{Cli, Stop, output};
use crate::run::exit_code::Exit;

/// How a paragraph of [`super::help`] begins, and what its section is called.
const TITLES: [(&str, &str); 3] =
    [("Examples:", "EXAMPLES"), ("Exit codes", "EXIT STATUS"), ("Environment:", "ENVIRONMENT")];

#[derive(Debug, Args)]
pub struct Man {
    /// Where to write them; made when it is not there
    folder: PathBuf,
}

impl Man {
    pub fn execute(self) -> Result<ExitCode, Stop> {
        let shown = self.folder.display();
        std::fs::create_dir_all(&self.folder).with_context(|| format!("{shown} cannot be made"))?;
        let mut program = Cli::command().disable_help_subcommand(true);
        program.build();
        write(&program, &self.folder).with_context(|| format!("the pages cannot be written to {shown}"))?;
        output::line(format_args!("the pages are in {shown}: man -l {shown}/etcd-monitor.1"));
        Ok(Exit::Ok.into())
    }
}

/// The page of a command, and those of its subcommands.
fn write(command: &Command, folder: &Path) -> io::Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        write(subcommand, folder)?;
    }
    let extra = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let page = clap_mangen::Man::new(command.clone().after_help(StyledStr::new()));
    let mut text = Vec::new();
    page.render(&mut text)?;
    sections(&extra).to_writer(&mut text)?;
    std::fs::write(folder.join(page.get_filename()), text)
}

/// The paragraphs below the options as sections, each line kept as it is: they hold commands to copy.
fn sections(extra: &str) -> Roff {
    let mut roff = Roff::new();
    for paragraph in extra.split("\n\n") {
        let (title, body) = TITLES
            .iter()
            .find_map(|(words, title)| Some((*title, paragraph.strip_prefix(words)?)))
            .unwrap_or(("NOTES", paragraph));
        roff.control("SH", [title]);
        roff.control("nf", []);
        for line in body.trim_matches('\n').lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_become_sections_with_their_lines() {
        let text = sections("Examples:\n  a -b\n  c\n\nSo it is.\n\nExit codes: 0 done.").render();
        for wanted in [".SH EXAMPLES\n.nf\n  a \\-b\n  c\n.fi", ".SH NOTES", ".SH \"EXIT STATUS\"\n.nf\n"] {
            assert!(text.contains(wanted), "wanted {wanted}\n{text}");
        }
    }
}
