//! Silences that nobody created by hand: those of files, read again whenever they are asked for, and the
//! maintenance windows of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::{DeliverError, lock};
use crate::alert::{Maintenance, Silence, SilenceSource, silence_file};

/// Files and windows, with what was read last.
#[derive(Debug, Default)]
pub struct StandingSilences {
    files: Vec<PathBuf>,
    windows: Mutex<Vec<Maintenance>>,
    read: Mutex<BTreeMap<PathBuf, Read>>,
    /// Of one minute, as they change no faster and looking is not free.
    of_windows: Mutex<(i64, Arc<Vec<Silence>>)>,
}

#[derive(Debug, Default)]
struct Read {
    text: String,
    silences: Vec<Silence>,
    /// Taken out of the file, with the time that was seen as their end: so that what they kept quiet is told.
    removed: Vec<Silence>,
    error: Option<String>,
}

/// How long it is known that a silence was taken out of a file.
const REMOVED_KEPT_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;

impl StandingSilences {
    pub fn new(files: Vec<PathBuf>, windows: Vec<Maintenance>) -> Self {
        Self { files, windows: Mutex::new(windows), ..Self::default() }
    }

    /// Takes over the windows of another configuration of the same files.
    pub fn take_windows(&self, other: &Self) {
        lock(&self.windows).clone_from(&lock(&other.windows));
        // What was worked out for this minute is of the old ones.
        *lock(&self.of_windows) = Default::default();
    }

    /// Those of now, with what is wrong with a file. A file that cannot be used says what it said before.
    pub fn at(&self, now_ms: i64) -> (Vec<Silence>, Vec<DeliverError>) {
        let (mut silences, mut errors) = (Vec::new(), Vec::new());
        let mut read = lock(&self.read);
        for path in &self.files {
            let file = read.entry(path.clone()).or_default();
            file.refresh(path, now_ms);
            silences.extend(file.silences.iter().chain(&file.removed).cloned());
            errors.extend(file.error.clone().map(|reason| DeliverError::SilenceFile { reason }));
        }
        silences.extend(self.windows_at(now_ms).iter().cloned());
        (silences, errors)
    }

    fn windows_at(&self, now_ms: i64) -> Arc<Vec<Silence>> {
        let minute = now_ms.div_euclid(MINUTE_MS);
        let mut known = lock(&self.of_windows);
        if known.0 != minute {
            let silences = lock(&self.windows).iter().flat_map(|window| window.silences(now_ms)).collect();
            *known = (minute, Arc::new(silences));
        }
        Arc::clone(&known.1)
    }
}

impl SilenceSource for StandingSilences {
    fn silences(&self, now_ms: i64) -> Vec<Silence> {
        self.at(now_ms).0
    }
}

impl Read {
    fn refresh(&mut self, path: &std::path::Path, now_ms: i64) {
        self.removed.retain(|silence| now_ms.saturating_sub(silence.ends_ms) < REMOVED_KEPT_MS);
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                self.error = Some(format!("{} cannot be read: {error}", path.display()));
                return;
            }
        };
        if text == self.text {
            return;
        }
        match silence_file::parse(&path.display().to_string(), &text) {
            Ok(silences) => {
                let gone = self.silences.iter().filter(|old| silences.iter().all(|new| new.id != old.id));
                self.removed.extend(gone.filter_map(|silence| silence.expired(now_ms)));
                self.removed.retain(|old| silences.iter().all(|new| new.id != old.id));
                (self.silences, self.error, self.text) = (silences, None, text);
            }
            Err(errors) => {
                let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
                self.error = Some(said.join("; "));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_creates_and_ends_silences_and_a_broken_one_changes_nothing() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let write = |text: &str| std::fs::write(file.path(), text).expect("written");
        let standing = StandingSilences::new(vec![file.path().to_owned()], Vec::new());
        let states = |now_ms: i64| {
            let (silences, errors) = standing.at(now_ms);
            let active: Vec<bool> = silences.iter().map(|silence| silence.is_active(now_ms)).collect();
            (active, errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        };
        assert_eq!(states(1), (vec![], String::new()), "an empty file says nothing");
        write("silences:\n- {matchers: [a=b], ends-at: 2027-01-01T00:00:00Z}\n");
        assert_eq!(states(2), (vec![true], String::new()));
        write("silences:\n- {matchers: [], ends-at: 2027-01-01T00:00:00Z}\n");
        let (active, error) = states(3);
        assert!(active == [true] && error.contains(":2: ") && error.contains("matcher"), "{error}");
        write("silences: []\n");
        assert_eq!(states(4), (vec![false], String::new()), "known to have ended just now");
        assert_eq!(states(4 + REMOVED_KEPT_MS), (vec![], String::new()));
        write("silences:\n- {matchers: [a=b], ends-at: 2027-01-01T00:00:00Z}\n");
        assert_eq!(states(5), (vec![true], String::new()), "it may come back");
        std::fs::remove_file(file.path()).expect("removed");
        let (active, error) = states(6);
        assert!(active == [true] && error.contains("cannot be read"), "{error}");
    }
}
