//! One line on the terminal about work that takes long: what, for how long, how much was read.
//!
//! Owns: when there is one. It comes after a second, goes when the work ends, and is never in a pipe, a log or
//! beside JSON. Refuses colours and anything a program could want to read.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Global;
use crate::model::unit::human_bytes;
use crate::store::Store;

/// What ends sooner needs no progress.
const PATIENCE: Duration = Duration::from_secs(1);
const REFRESH: Duration = Duration::from_millis(100);

const WAITING: &str = "{spinner} {prefix}{msg}, {elapsed}";
const STREAMING: &str =
    "{spinner} {prefix}: {bytes} of {total_bytes}, {bytes_per_sec}, {elapsed}, {eta} left";
const COUNTING: &str = "{spinner} {prefix}: {pos} of {len} files{msg}, {elapsed}, {eta} left";

const WORKING: &str = "{spinner} {prefix}: {pos} of {len} {msg}, {per_sec}, {elapsed}, {eta} left";

/// How far something is.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    pub done: u64,
    pub of: u64,
    /// What is counted.
    pub what: &'static str,
}

/// A line of progress; dropping it takes it off the terminal.
pub struct Progress {
    bar: ProgressBar,
    /// The thread that draws, and what it waits for: threads go on while the work keeps the runtime busy.
    drawing: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
    shown: bool,
}

impl Progress {
    /// Nothing is drawn before [`Self::watch`], and nothing at all when `global` says `--quiet`, stderr is no
    /// terminal or one that cannot go back in a line, or `json` is asked for.
    pub fn new(global: &Global, json: bool) -> Self {
        let dumb = crate::config::process_environment().get("TERM").is_none_or(|term| term == "dumb");
        let shown = !global.quiet && !json && !dumb && io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Self { bar, drawing: None, shown }
    }

    /// Shows progress of `what` from now on, with what is read from `store`.
    pub fn watch(mut self, what: &str, store: &Store) -> Self {
        if !self.shown {
            return self;
        }
        self.bar.set_prefix(what.to_owned());
        self.style(WAITING);
        let (bar, store) = (self.bar.clone(), store.clone());
        let (quit, quitting) = mpsc::channel();
        let before = store.reads();
        let thread = std::thread::spawn(move || {
            let waits = |time| quitting.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
            if !waits(PATIENCE) {
                return;
            }
            bar.set_draw_target(ProgressDrawTarget::stderr());
            loop {
                let bytes = store.reads().bytes - before.bytes;
                if bytes > 0 {
                    bar.set_message(format!(", {} read", human_bytes(bytes as f64)));
                }
                bar.tick();
                if !waits(REFRESH) {
                    break;
                }
            }
            bar.finish_and_clear();
        });
        self.drawing = Some((quit, thread));
        self
    }

    /// Shows how far `what` is: `far` says how many bytes of how many, 0 of 0 while that is not known.
    pub fn bytes(mut self, what: &str, far: impl Fn() -> (u64, u64) + Send + 'static) -> Self {
        if !self.shown {
            return self;
        }
        self.bar.set_prefix(what.to_owned());
        self.style(WAITING);
        let bar = self.bar.clone();
        let (quit, quitting) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let waits = |time| quitting.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
            if !waits(PATIENCE) {
                return;
            }
            bar.set_draw_target(ProgressDrawTarget::stderr());
            loop {
                let (done, total) = far();
                if total > 0 && bar.length() != Some(total) {
                    bar.set_length(total);
                    if let Ok(style) = ProgressStyle::with_template(STREAMING) {
                        bar.set_style(style);
                    }
                }
                bar.set_position(done);
                bar.tick();
                if !waits(REFRESH) {
                    break;
                }
            }
            bar.finish_and_clear();
        });
        self.drawing = Some((quit, thread));
        self
    }

    /// Shows how far `what` is: `far` says how much of how much of what, 0 of 0 while that is not known.
    pub fn amount(mut self, what: &str, far: impl Fn() -> Amount + Send + 'static) -> Self {
        if !self.shown {
            return self;
        }
        self.bar.set_prefix(what.to_owned());
        self.style(WAITING);
        let bar = self.bar.clone();
        let (quit, quitting) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let waits = |time| quitting.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
            if !waits(PATIENCE) {
                return;
            }
            bar.set_draw_target(ProgressDrawTarget::stderr());
            loop {
                let Amount { done, of, what } = far();
                let known = bar.length() == Some(of);
                if of > 0 && !known {
                    bar.reset();
                    bar.set_length(of);
                    if let Ok(style) = ProgressStyle::with_template(WORKING) {
                        bar.set_style(style);
                    }
                }
                bar.set_message(what);
                bar.set_position(done);
                bar.tick();
                if !waits(REFRESH) {
                    break;
                }
            }
            bar.finish_and_clear();
        });
        self.drawing = Some((quit, thread));
        self
    }

    /// `done` of `total` files are done.
    pub fn files(&self, done: u64, total: u64) {
        if self.bar.length() != Some(total) {
            self.bar.set_length(total);
            self.style(COUNTING);
        }
        self.bar.set_position(done);
    }

    /// A writer to stderr that moves the line out of the way of a log line.
    pub fn stderr(&self) -> impl Fn() -> Beside + Send + Sync + 'static + use<> {
        let bar = self.bar.clone();
        move || Beside(bar.clone())
    }

    fn style(&self, template: &str) {
        // The templates are constants; one that did not parse would leave indicatif's own.
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((quit, thread)) = self.drawing.take() {
            drop(quit);
            let _ = thread.join();
        }
    }
}

/// Stderr beside a line of progress.
pub struct Beside(ProgressBar);

impl Write for Beside {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
