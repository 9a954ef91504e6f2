//! Every long-lived task runs under a [`Supervisor`], with a declared [`TaskKind`].

use std::future::Future;
use std::sync::Arc;

use tokio::task::{AbortHandle, JoinSet};

use crate::Shutdown;

/// How a task ends and what its failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// Lives as long as the process; if it ends or panics early, the whole role stops.
    Essential,
    /// May end at any time; a panic is logged and nothing else happens.
    Background,
}

/// Owns tasks, logs how they end and stops the role when an essential one fails.
#[derive(Clone)]
pub struct Supervisor {
    shutdown: Shutdown,
    tasks: Arc<std::sync::Mutex<JoinSet<()>>>,
}

impl Supervisor {
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, tasks: Arc::default() }
    }

    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Starts `task`. It should end by itself once [`Supervisor::shutdown`] is started.
    pub fn spawn<F>(&self, kind: TaskKind, name: &'static str, task: F) -> AbortHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let guard = EndGuard { kind, name, shutdown: self.shutdown.clone() };
        let mut tasks = self.tasks.lock().unwrap_or_else(|e| e.into_inner());
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let _guard = guard;
            task.await;
        })
    }

    /// Waits for every task; those still running after `patience` are aborted.
    pub async fn drain(&self, patience: std::time::Duration) {
        let mut tasks = {
            let mut held = self.tasks.lock().unwrap_or_else(|e| e.into_inner());
            std::mem::take(&mut *held)
        };
        let all_ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all_ended).await.is_err() {
            tracing::warn!(left = tasks.len(), "tasks did not end in time and are aborted");
            tasks.shutdown().await;
        }
    }
}

struct EndGuard {
    kind: TaskKind,
    name: &'static str,
    shutdown: Shutdown,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.name, "task panicked");
        }
        if self.kind == TaskKind::Essential && !self.shutdown.is_started() {
            tracing::error!(task = self.name, "an essential task ended; stopping");
            self.shutdown.start();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_essential_task_that_ends_stops_the_role() {
        let supervisor = Supervisor::new(Shutdown::new());
        supervisor.spawn(TaskKind::Background, "short", async {});
        supervisor.spawn(TaskKind::Essential, "core", async {});
        supervisor.shutdown().started().await;
        supervisor.drain(std::time::Duration::from_secs(1)).await;
    }
}
