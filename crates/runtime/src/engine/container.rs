//! One container as the engine holds it.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use cri::v1::{ContainerConfig, ContainerMetadata, ContainerState};
use tokio::sync::watch;

use super::Sandbox;
use crate::records::{ContainerRecord, Record};
use shim::protocol::{Exit, Started};

/// A container, started or not.
pub struct Container {
    pub id: String,
    pub sandbox: Arc<Sandbox>,
    pub dir: PathBuf,
    pub config: ContainerConfig,
    record: Mutex<ContainerRecord>,
    life: watch::Sender<Life>,
    /// One operation at a time.
    pub gate: tokio::sync::Mutex<()>,
}

/// The container's state; an exit may be reported before the reply to the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Life {
    pub started: Option<Started>,
    pub exit: Option<Exit>,
}

impl Life {
    pub fn state(self) -> ContainerState {
        match (self.started, self.exit) {
            (_, Some(_)) => ContainerState::ContainerExited,
            (Some(_), None) => ContainerState::ContainerRunning,
            (None, None) => ContainerState::ContainerCreated,
        }
    }

    fn end(&mut self, started: Option<Started>, exit: Exit) -> bool {
        let new = self.exit.is_none();
        self.started = self.started.or(started);
        self.exit = self.exit.or(Some(exit));
        new
    }
}

impl Container {
    pub fn new(sandbox: Arc<Sandbox>, dir: PathBuf, record: ContainerRecord, life: Life) -> Self {
        Self {
            id: record.id.clone(),
            sandbox,
            dir,
            config: record.config.clone(),
            record: Mutex::new(record),
            life: watch::Sender::new(life),
            gate: tokio::sync::Mutex::new(()),
        }
    }

    pub fn record(&self) -> MutexGuard<'_, ContainerRecord> {
        self.record.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Changes the record, in memory and on disk.
    pub fn update(&self, change: impl FnOnce(&mut ContainerRecord)) -> io::Result<()> {
        let record = {
            let mut record = self.record();
            change(&mut record);
            record.clone()
        };
        record.save(&self.dir)
    }

    pub fn life(&self) -> Life {
        *self.life.borrow()
    }

    pub fn is_running(&self) -> bool {
        self.life().state() == ContainerState::ContainerRunning
    }

    pub fn set_started(&self, started: Started) {
        self.life.send_modify(|life| life.started = Some(started));
    }

    /// Notes the end, and the start where the answer to the start is not read yet: nobody sees an ended
    /// container that never started. False when its end was known already.
    pub fn set_exit(&self, started: Option<Started>, exit: Exit) -> bool {
        self.life.send_if_modified(|life| life.end(started, exit))
    }

    /// Resolves once it has ended. Cancellation safe.
    pub async fn ended(&self) -> Exit {
        let mut life = self.life.subscribe();
        match life.wait_for(|life| life.exit.is_some()).await.map(|life| life.exit) {
            Ok(Some(exit)) => exit,
            // The sender lives as long as this container does.
            _ => Exit { code: 255, oom_killed: false, at_ns: 0 },
        }
    }

    pub fn metadata(&self) -> ContainerMetadata {
        self.config.metadata.clone().unwrap_or_default()
    }

    /// The name that may exist once.
    pub fn unique_name(&self) -> String {
        let m = self.metadata();
        format!("{}_{}_{}", m.name, m.attempt, self.sandbox.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_told_before_the_answer_to_the_start_knows_when_that_was() {
        let started = Started { pid: 7, at_ns: 5 };
        let (first, second) =
            (Exit { code: 1, oom_killed: false, at_ns: 9 }, Exit { code: 2, oom_killed: false, at_ns: 11 });
        let mut life = Life::default();
        assert!(life.end(Some(started), first));
        assert_eq!(life, Life { started: Some(started), exit: Some(first) });
        assert!(!life.end(None, second));
        assert_eq!(life, Life { started: Some(started), exit: Some(first) });
    }
}
