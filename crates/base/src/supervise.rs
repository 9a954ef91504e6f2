//! Every long-lived task runs under a [`Supervisor`], with a declared [`TaskKind`].

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    tasks: Arc<Mutex<JoinSet<()>>>,
    /// How many tasks of each name run.
    names: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Supervisor {
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, tasks: Arc::default(), names: Arc::default() }
    }

    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Starts `task`. It should end by itself once [`Supervisor::shutdown`] is started.
    pub fn spawn<F>(&self, kind: TaskKind, name: &'static str, task: F) -> AbortHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        *lock(&self.names).entry(name).or_default() += 1;
        let guard = EndGuard { kind, name, shutdown: self.shutdown.clone(), names: Arc::clone(&self.names) };
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let _guard = guard;
            task.await;
        })
    }

    /// Waits for every task, those too that tasks start meanwhile; what still runs after `patience` is aborted.
    pub async fn drain(&self, patience: std::time::Duration) {
        let end = tokio::time::Instant::now() + patience;
        loop {
            let mut tasks = std::mem::take(&mut *lock(&self.tasks));
            if tasks.is_empty() {
                return;
            }
            let all_ended = async { while tasks.join_next().await.is_some() {} };
            if tokio::time::timeout_at(end, all_ended).await.is_err() {
                let left: Vec<_> = lock(&self.names).keys().copied().collect();
                tracing::warn!(left = left.join(", "), "tasks did not end in time and are aborted");
                tasks.shutdown().await;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct EndGuard {
    kind: TaskKind,
    name: &'static str,
    shutdown: Shutdown,
    names: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let mut names = lock(&self.names);
        if let Some(count) = names.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                names.remove(self.name);
            }
        }
        drop(names);
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
