//! Answers that come late: asked for in one reading and taken in a later one, so that a slow member holds up nobody.

use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// One question at a time, open from when it is asked until its answer is taken.
#[derive(Debug)]
pub(super) struct Late<T>(Mutex<Option<AbortOnDropHandle<T>>>);

impl<T> Default for Late<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Send + 'static> Late<T> {
    /// The answer, if it comes within `patience`, however long it takes without one. Nothing is asked while a
    /// question is open: its answer is waited for.
    pub(super) async fn within(
        &self,
        patience: Option<Duration>,
        ask: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let open = self.open().take();
        let mut open = open.unwrap_or_else(|| AbortOnDropHandle::new(tokio::spawn(ask)));
        let Some(patience) = patience else { return taken(open.await) };
        match timeout(patience, &mut open).await {
            Ok(answer) => taken(answer),
            Err(_) => {
                *self.open() = Some(open);
                None
            }
        }
    }

    /// The answer to what was asked before, if it is there.
    pub(super) async fn arrived(&self) -> Option<T> {
        let open = self.open().take_if(|open| open.is_finished())?;
        taken(open.await)
    }

    fn open(&self) -> MutexGuard<'_, Option<AbortOnDropHandle<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A panic goes on where the answer is taken. A task that was ended with the runtime gives none.
fn taken<T>(answer: Result<T, JoinError>) -> Option<T> {
    match answer.map_err(JoinError::try_into_panic) {
        Ok(answer) => Some(answer),
        Err(Ok(panic)) => resume_unwind(panic),
        Err(Err(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_late_is_taken_later_and_nothing_is_asked_meanwhile() {
        let late = Late::default();
        let second = Duration::from_secs(1);
        let after = |seconds: u32| async move {
            tokio::time::sleep(second * seconds).await;
            seconds
        };
        assert_eq!(late.within(Some(second * 2), after(1)).await, Some(1));
        assert_eq!(late.within(Some(second), after(3)).await, None);
        assert_eq!(late.arrived().await, None);
        // Not the answer to this question, but to the one before it.
        assert_eq!(late.within(Some(second * 3), after(9)).await, Some(3));
        assert_eq!(late.within(None, after(20)).await, Some(20));
        assert_eq!(late.within(Some(second), after(2)).await, None);
        tokio::time::sleep(second * 2).await;
        assert_eq!(late.arrived().await, Some(2));
        assert_eq!(late.arrived().await, None);
    }

    #[tokio::test]
    #[should_panic(expected = "in the answer")]
    async fn a_panic_goes_on_where_the_answer_is_taken() {
        Late::<()>::default().within(None, async { panic!("in the answer") }).await;
    }
}
