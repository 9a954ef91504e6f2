//! [`Flight`]: a question that is asked once for all who wait for its answer, and after a failure not again at once.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Flight {
    /// Held while the question is asked.
    turn: Mutex<()>,
    /// Why it failed the last time, and when it ended.
    failed: RwLock<Option<(String, Instant)>>,
}

impl Flight {
    /// Asks, unless it is done once it would be this caller's turn. For a while after a failure its reason is the answer,
    /// and for as long as somebody asks again.
    pub async fn ask_once(
        &self,
        is_done: impl Fn() -> bool,
        retry: Duration,
        question: impl Future<Output = Result<(), String>>,
    ) -> Result<(), String> {
        let _turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => match self.failure() {
                Some((why, _)) => return Err(why),
                None => self.turn.lock().await,
            },
        };
        if is_done() {
            return Ok(());
        }
        match self.failure() {
            Some((why, since)) if since.elapsed() < retry => Err(why),
            _ => self.keep(question.await),
        }
    }

    /// Asks, whatever came of it before.
    pub async fn ask(&self, question: impl Future<Output = Result<(), String>>) -> Result<(), String> {
        let _turn = self.turn.lock().await;
        self.keep(question.await)
    }

    /// Whether it failed, and not long ago.
    pub fn failed_within(&self, retry: Duration) -> bool {
        self.failure().is_some_and(|(_, since)| since.elapsed() < retry)
    }

    fn failure(&self) -> Option<(String, Instant)> {
        self.failed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, answer: Result<(), String>) -> Result<(), String> {
        let failed = answer.as_ref().err().map(|why| (why.clone(), Instant::now()));
        *self.failed.write().unwrap_or_else(PoisonError::into_inner) = failed;
        answer
    }
}
