//! The one thread that writes: takes the queued writes, commits them together, publishes the changes to watchers,
//! answers the writers.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Config;
use super::apply::{Applied, Writer};
use super::compaction::{self, Old};
use super::hub::Hub;
use super::layout::{self, Counters, storage_error};
use super::open;
use super::read;
use super::shared::Shared;
use super::write::{Answer, Op};
use crate::types::{Error, Revision};

/// One transaction takes at most so many writes and bytes.
const BATCH_WRITES: usize = 512;
const BATCH_BYTES: usize = 4 << 20;
/// Keys that expire in one transaction.
const BATCH_EXPIRIES: usize = 500;
/// How long expiry rests after a commit failed.
const EXPIRY_RETRY: Duration = Duration::from_secs(5);
/// How long no write may have come before the file is made smaller, which writers and readers would wait for.
const QUIET_MS: u64 = 200;

pub(super) struct Command {
    pub op: Op,
    pub reply: oneshot::Sender<Result<Answer, Error>>,
    pub bytes: usize,
    /// Room in the queue, given back when the command is answered.
    pub _room: OwnedSemaphorePermit,
}

struct Committer {
    shared: Arc<Shared>,
    config: Config,
    queue: Receiver<Command>,
    counters: Counters,
    next_expiry_ms: Option<u64>,
    /// When there is more to do for the size of history and file, if no write comes before.
    next_tidying_ms: Option<u64>,
    /// History was forgotten, and the file has not been looked at since.
    may_shrink: bool,
    /// The last commit failed: expiry must not try again at once.
    failed: bool,
}

/// Opens the file and starts the thread, which ends with the last sender or at [`Op::Close`].
pub(super) fn start(config: Config) -> Result<(Arc<Shared>, Sender<Command>), Error> {
    let db = open::open(&config.path, config.cache_bytes)?;
    let hub = Hub::new(layout::FIRST_REVISION);
    let shared = Arc::new(Shared::new(config.path.clone(), config.cache_bytes, db, hub));
    let (counters, next_expiry_ms) =
        shared.read(|txn| Ok((read::counters(txn)?, read::next_expiry_ms(txn)?)))?;
    shared.hub.restore(counters.revision);
    let (sender, queue) = channel();
    let mut committer = Committer {
        shared: shared.clone(),
        config,
        queue,
        counters,
        next_expiry_ms,
        next_tidying_ms: None,
        may_shrink: true,
        failed: false,
    };
    committer.tidy(false);
    std::thread::Builder::new()
        .name("store-commit".into())
        .spawn(move || {
            // Also when it panics: callers must learn that nobody will answer.
            let _closing = CloseAtEnd(committer.shared.clone());
            committer.run();
        })
        .map_err(|e| Error::Io(format!("no thread for the store: {e}").into()))?;
    Ok((shared, sender))
}

struct CloseAtEnd(Arc<Shared>);

impl Drop for CloseAtEnd {
    fn drop(&mut self) {
        self.0.close();
    }
}

enum Wake {
    Command(Command),
    Due,
    Gone,
}

impl Committer {
    fn run(mut self) {
        loop {
            let first = match self.wait() {
                Wake::Command(command) => Some(command),
                Wake::Due => None,
                Wake::Gone => return,
            };
            let quiet = first.is_none();
            let (writes, control) = self.gather(first);
            self.commit_and_answer(writes);
            match control {
                Some(Command { op: Op::Compact { revision }, reply, .. }) => {
                    let answer = self.compact(revision);
                    // The caller may have gone: nothing to tell then.
                    let _ = reply.send(answer);
                }
                Some(Command { op: Op::Close, reply, .. }) => {
                    self.shared.close();
                    let _ = reply.send(Ok(Answer::Done));
                    return;
                }
                _ => {}
            }
            self.tidy(quiet);
        }
    }

    fn wait(&self) -> Wake {
        let Some(at) = self.next_expiry_ms.into_iter().chain(self.next_tidying_ms).min() else {
            return self.queue.recv().map_or(Wake::Gone, Wake::Command);
        };
        let mut timeout = Duration::from_millis(at.saturating_sub(self.now_ms()));
        if self.failed {
            timeout = timeout.max(EXPIRY_RETRY);
        }
        match self.queue.recv_timeout(timeout) {
            Ok(command) => Wake::Command(command),
            Err(RecvTimeoutError::Timeout) => Wake::Due,
            Err(RecvTimeoutError::Disconnected) => Wake::Gone,
        }
    }

    /// All waiting writes, up to a limit and up to the first command that is not a write.
    fn gather(&self, first: Option<Command>) -> (Vec<Command>, Option<Command>) {
        let mut writes = Vec::new();
        let mut bytes = 0;
        let mut next = first;
        loop {
            match next {
                Some(command) if matches!(command.op, Op::Compact { .. } | Op::Close) => {
                    return (writes, Some(command));
                }
                Some(command) => {
                    bytes += command.bytes;
                    writes.push(command);
                }
                None => {}
            }
            if writes.len() >= BATCH_WRITES || bytes >= BATCH_BYTES {
                return (writes, None);
            }
            next = match self.queue.try_recv() {
                Ok(command) => Some(command),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return (writes, None),
            };
        }
    }

    fn commit_and_answer(&mut self, writes: Vec<Command>) {
        let now_ms = self.now_ms();
        let expiry_due = self.next_expiry_ms.is_some_and(|at| at <= now_ms);
        if writes.is_empty() && !expiry_due {
            return;
        }
        match self.commit(&writes, now_ms) {
            Ok(answers) => {
                for (command, answer) in writes.into_iter().zip(answers) {
                    let _ = command.reply.send(Ok(answer));
                }
            }
            Err(error) => {
                tracing::error!(%error, writes = writes.len(), "a commit failed");
                self.recover();
                for command in writes {
                    let _ = command.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// One transaction, one fsync; then the changes are published to the watchers.
    fn commit(&mut self, writes: &[Command], now_ms: u64) -> Result<Vec<Answer>, Error> {
        if !self.shared.is_open() {
            self.reopen()?;
        }
        let (answers, applied) = self.shared.with_db(|db| {
            let txn = db.begin_write().map_err(storage_error)?;
            let mut writer = Writer::new(&txn, now_ms)?;
            writer.expire(BATCH_EXPIRIES)?;
            let answers = writes.iter().map(|w| writer.apply(&w.op)).collect::<Result<Vec<_>, _>>()?;
            let applied = writer.finish(&txn)?;
            if applied.changes.is_empty() {
                txn.abort().map_err(storage_error)?;
            } else {
                txn.commit().map_err(storage_error)?;
            }
            Ok((answers, applied))
        })?;
        self.publish(applied);
        Ok(answers)
    }

    fn publish(&mut self, applied: Applied) {
        self.failed = false;
        self.counters = applied.counters;
        self.next_expiry_ms = applied.next_expiry_ms;
        self.shared.hub.publish(applied.changes);
    }

    /// After a failure the engine requires that the file be opened again. A commit whose fsync failed may
    /// have happened after all: then its changes are published, although its writers received an error.
    fn recover(&mut self) {
        self.failed = true;
        if let Err(error) = self.reopen() {
            tracing::error!(%error, "the data file cannot be opened again; the next write tries once more");
        }
    }

    fn reopen(&mut self) -> Result<(), Error> {
        self.shared.reopen()?;
        self.counters = self.shared.read(read::counters)?;
        let mut published = self.shared.hub.revision();
        while published < self.counters.revision {
            let changes = self.shared.read(|txn| read::changes_after(txn, published, BATCH_WRITES))?;
            self.shared.hub.publish(changes);
            published = self.shared.hub.revision();
        }
        Ok(())
    }

    fn compact(&mut self, upto: Revision) -> Result<Answer, Error> {
        let current = self.counters.revision;
        if upto > current {
            return Ok(Answer::Rejected(Error::Future { asked: upto, current }));
        }
        while self.counters.oldest < upto {
            self.forget(upto, None)?;
        }
        Ok(Answer::Done)
    }

    fn forget(&mut self, upto: Revision, enough_bytes: Option<u64>) -> Result<(), Error> {
        match self.shared.with_db(|db| compaction::step(db, upto, enough_bytes)) {
            Ok(counters) => {
                self.counters = counters;
                self.may_shrink = true;
                Ok(())
            }
            Err(error) => {
                self.recover();
                Err(error)
            }
        }
    }

    /// Forgets a step's worth of history when there is too much of it, else looks whether the file is too large for
    /// what it holds. Failures are logged: the next commit tries again.
    fn tidy(&mut self, quiet: bool) {
        self.next_tidying_ms = None;
        if self.failed {
            return;
        }
        let done = if self.counters.history_bytes > self.config.history_budget_bytes {
            self.forget_old()
        } else {
            Ok(())
        };
        let done = match (done, self.next_tidying_ms) {
            (Ok(()), None) if self.may_shrink => self.shrink(quiet),
            (done, _) => done,
        };
        if let Err(error) = done {
            tracing::error!(%error, "old history could not be forgotten");
        }
    }

    fn forget_old(&mut self) -> Result<(), Error> {
        let now_ms = self.now_ms();
        let min_age_ms = u64::try_from(self.config.history_min_age.as_millis()).unwrap_or(u64::MAX);
        let young_from_ms = now_ms.saturating_sub(min_age_ms);
        match self.shared.with_db(|db| compaction::old_at(db, &self.counters, young_from_ms))? {
            Old::Upto(upto) => {
                self.forget(upto, Some(self.config.history_budget_bytes / 8 * 7))?;
                self.next_tidying_ms = Some(now_ms);
            }
            Old::NothingBefore(at_ms) => self.next_tidying_ms = Some(at_ms.saturating_add(min_age_ms)),
        }
        Ok(())
    }

    /// Gives space back where the file is too large for what it holds and nobody writes.
    fn shrink(&mut self, quiet: bool) -> Result<(), Error> {
        let before = self.shared.size_bytes()?;
        if !compaction::is_loose(before, &self.counters) {
            self.may_shrink = false;
        } else if quiet {
            self.may_shrink = false;
            if let Err(error) = self.shared.alone(compaction::shrink) {
                self.recover();
                return Err(error);
            }
            let after = self.shared.size_bytes()?;
            tracing::info!(before, after, "the data file has given space back");
        } else {
            self.next_tidying_ms = Some(self.now_ms().saturating_add(QUIET_MS));
        }
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.config.clock.now().as_millisecond()).unwrap_or(0)
    }
}
