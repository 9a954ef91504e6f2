//! [`Gate`]: what a plugin of a test waits at until the test lets it through.

use std::sync::Arc;

use apiserver::Eventual;
use tokio::sync::Semaphore;

/// Clones are one gate.
#[derive(Clone)]
pub struct Gate {
    arrived: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        let closed = || Arc::new(Semaphore::new(0));
        Self { arrived: closed(), open: closed() }
    }
}

impl Gate {
    /// The answer, once the test lets it through.
    pub fn hold<'a, T: Send + 'a>(&self, answer: T) -> Eventual<'a, T> {
        let gate = self.clone();
        Eventual::later(async move {
            gate.pass().await;
            answer
        })
    }

    /// Waits to be let through.
    pub async fn pass(&self) {
        self.arrived.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }

    /// Runs `work` until somebody waits here who has not been seen before.
    ///
    /// # Panics
    /// When the work is done first.
    pub async fn reached_by<F: Future + Unpin>(&self, work: &mut F) {
        tokio::select! {
            _ = work => panic!("nothing waited"),
            arrival = self.arrived.acquire() => arrival.unwrap().forget(),
        }
    }

    /// Lets one through.
    pub fn open(&self) {
        self.open.add_permits(1);
    }
}
