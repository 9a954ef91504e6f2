//! A component of a role that is built and not running yet.

use std::pin::Pin;

use base::Shutdown;

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a `build` returns: everything that can fail at the start has been done.
pub struct Built(Box<dyn FnOnce(Shutdown) -> Running + Send>);

impl Built {
    pub fn new<F: Future<Output = ()> + Send + 'static>(
        run: impl FnOnce(Shutdown) -> F + Send + 'static,
    ) -> Self {
        Self(Box::new(move |shutdown| Box::pin(run(shutdown))))
    }

    /// Works until `shutdown` starts.
    pub async fn run(self, shutdown: Shutdown) {
        (self.0)(shutdown).await;
    }
}
