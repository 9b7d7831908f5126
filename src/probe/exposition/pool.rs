//! Series texts that several members expose, parsed once and held once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::labels;
use crate::model::{Label, Labels, METRIC_NAME, TargetSeries};

/// The series of all members that share the pool. Most of an etcd's series are those of every other one, so a
/// fleet needs little more memory for them than one member does.
#[derive(Debug, Default)]
pub struct SeriesPool(Mutex<Pool>);

/// A series with the text as it stands in the exposition.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) text: Arc<str>,
    pub(super) series: Arc<TargetSeries>,
}

#[derive(Debug, Default)]
struct Pool {
    series: HashMap<Arc<str>, Arc<Written>>,
    /// Names, values and canonical texts.
    texts: HashSet<Arc<str>>,
    /// Entries at which to look for those that no member has any more.
    sweep_at: usize,
}

const FIRST_SWEEP: usize = 4096;

impl SeriesPool {
    /// The series of a text.
    ///
    /// # Errors
    /// When it is no series.
    pub(super) fn get(&self, text: &str) -> Result<Arc<Written>, &'static str> {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(written) = pool.series.get(text) {
            return Ok(Arc::clone(written));
        }
        let written: Arc<str> = text.into();
        let labels = labels(text)?;
        let labels = labels.iter().map(|l| Label { name: pool.text(&l.name), value: pool.text(&l.value) });
        let labels = Labels::new(labels.collect());
        let text = pool.text(&labels.without(&[METRIC_NAME]).canonical().into());
        let series = Arc::new(TargetSeries::with_text(labels, text));
        pool.sweep();
        let written = Arc::new(Written { text: written, series });
        pool.series.insert(Arc::clone(&written.text), Arc::clone(&written));
        Ok(written)
    }

    /// Series held.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).series.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Pool {
    fn text(&mut self, text: &Arc<str>) -> Arc<str> {
        match self.texts.get(text) {
            Some(there) => Arc::clone(there),
            None => {
                self.texts.insert(Arc::clone(text));
                Arc::clone(text)
            }
        }
    }

    /// Forgets what nobody else holds, each time the pool has doubled.
    fn sweep(&mut self) {
        if self.series.len() < self.sweep_at.max(FIRST_SWEEP) {
            return;
        }
        self.series.retain(|_, written| Arc::strong_count(written) > 1);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.sweep_at = 2 * self.series.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_object_and_what_nobody_holds_goes() {
        let pool = SeriesPool::default();
        let get = |text: &str| pool.get(text).expect("a series");
        let (a, b) = (get("a{le=\"1\"}"), get("b{le=\"1\"}"));
        assert!(Arc::ptr_eq(&a, &get("a{le=\"1\"}")));
        assert!(Arc::ptr_eq(a.series.text(), b.series.text()) && !Arc::ptr_eq(&a, &b));
        assert!(pool.get("a{").is_err());
        for n in 0..3 * FIRST_SWEEP {
            get(&format!("gone{{n=\"{n}\"}}"));
        }
        assert!(pool.len() <= FIRST_SWEEP);
        assert!(Arc::ptr_eq(&b, &get("b{le=\"1\"}")), "it is held and stays");
    }
}
