//! One signal, seen by all tasks, that the process is to stop.

use tokio_util::sync::CancellationToken;

/// A cloneable stop signal. A child stops with its parent, never the other way round.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
}

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// A signal that is raised with this one and can also be raised alone.
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token() }
    }

    pub fn start(&self) {
        self.token.cancel();
    }

    pub fn is_started(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the stop begins. Cancellation safe.
    pub async fn started(&self) {
        self.token.cancelled().await;
    }
}
