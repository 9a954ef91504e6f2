//! The durable backend: one file on this machine's disk, one process.
//!
//! Start with [`Embedded`]. Writes queue up for one committer thread (`committer`), which evaluates them in
//! order (`apply`), commits all waiting writes in one transaction with one fsync, publishes the changes to
//! the watchers (`hub`) and answers the writers. Reads (`read`) see the last commit and never wait for one
//! in progress; `past` tells when changes were made. `layout` defines how revisions are stored in the file, `open` opens and makes it; `compaction` removes old history
//! from the file. [`check()`] looks through a file that is not in use for damage, [`repair()`] makes a sound file of
//! what is intact.
//!
//! Never here: a lock held while the disk is written, except the one that swaps the file handle after a failure and that
//! gives the file's unused space back while nobody writes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base::{Clock, SystemClock};
use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};

use crate::types::{
    Deletion, Error, Expect, KeyValue, ListPage, ListRange, Moment, Previous, Revision, Store, Versions,
    Watch,
};

mod apply;
mod check;
mod committer;
mod compaction;
mod hub;
mod layout;
mod open;
mod past;
mod read;
mod repair;
mod shared;
mod upgrade;
mod watch;
mod write;

pub use check::{Damage, Report, check};
pub use layout::Record;
pub use repair::{Repaired, repair};

use committer::Command;
use shared::Shared;
use write::{Answer, Op};

/// Configuration of the embedded store. [`Config::new`] returns the defaults.
#[derive(Clone)]
pub struct Config {
    /// The data file. It is created if absent; its folder must exist.
    pub path: PathBuf,
    /// Memory for the file's pages, in bytes. The kernel's page cache stands behind it.
    pub cache_bytes: usize,
    /// How many bytes of old changes are kept before the oldest are forgotten; the file is at most about three times as
    /// large as these and the objects together.
    pub history_budget_bytes: u64,
    /// Changes younger than this are kept whatever their size.
    pub history_min_age: Duration,
    /// The largest key and value together, in bytes.
    pub limit_bytes: usize,
    /// The time that expiry goes by.
    pub clock: Arc<dyn Clock>,
}

impl Config {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            cache_bytes: 4 << 20,
            history_budget_bytes: 32 << 20,
            history_min_age: Duration::from_secs(300),
            limit_bytes: 3 << 19,
            clock: Arc::new(SystemClock),
        }
    }
}

/// Bytes that may wait for the committer; writers beyond that wait before they queue.
const QUEUE_KIB: usize = 64 << 10;

/// A handle of the open store; clones share it. When the last one is gone the file is closed.
#[derive(Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    queue: std::sync::mpsc::Sender<Command>,
    room: Arc<Semaphore>,
    limit_bytes: usize,
}

impl Embedded {
    /// Opens the file, after a crash with whatever repair it needs, and starts the committer. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Locked`] when the file is open already, [`Error::Corrupted`] when the file was not written by a store.
    pub fn open(config: Config) -> Result<Self, Error> {
        let limit_bytes = config.limit_bytes;
        let (shared, queue) = committer::start(config)?;
        let room = Arc::new(Semaphore::new(QUEUE_KIB));
        Ok(Self { inner: Arc::new(Inner { shared, queue, room, limit_bytes }) })
    }

    async fn submit(&self, op: Op, bytes: usize) -> Result<Answer, Error> {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(QUEUE_KIB as u32);
        let room = self.inner.room.clone().acquire_many_owned(kib).await.map_err(|_| Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.inner.queue.send(Command { op, reply, bytes, _room: room }).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Reads on a thread of its own what may take the disk long.
    async fn read_apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&redb::ReadTransaction) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = self.inner.shared.clone();
        tokio::task::spawn_blocking(move || shared.read(work))
            .await
            .map_err(|e| Error::Io(format!("the reading was aborted: {e}").into()))?
    }

    fn check_size(&self, bytes: usize) -> Result<(), Error> {
        let limit = self.inner.limit_bytes;
        if bytes > limit { Err(Error::TooLarge { bytes, limit }) } else { Ok(()) }
    }
}

#[async_trait]
impl Store for Embedded {
    /// The revision of the last commit on the disk. Watchers may receive that commit's changes a moment later.
    async fn revision(&self) -> Result<Revision, Error> {
        self.inner.shared.read(|txn| Ok(read::counters(txn)?.revision))
    }

    fn is_shared(&self) -> bool {
        false
    }

    /// Two look-ups in pages that are nearly always in memory: done on the caller's thread.
    async fn get(&self, key: &str) -> Result<(Option<KeyValue>, Revision), Error> {
        self.inner.shared.read(|txn| read::get(txn, key))
    }

    async fn list(&self, range: ListRange) -> Result<ListPage, Error> {
        self.read_apart(move |txn| read::list(txn, &range)).await
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        expect: Expect,
        ttl_s: Option<u64>,
    ) -> Result<KeyValue, Error> {
        let bytes = key.len() + value.len();
        self.check_size(bytes)?;
        match self.submit(Op::Put { key: key.into(), value, expect, ttl_s }, bytes).await? {
            Answer::Written(written) => Ok(written),
            Answer::Rejected(why) => Err(why),
            Answer::Deleted(..) | Answer::Done => {
                Err(Error::Io("a put was answered as something else".into()))
            }
        }
    }

    async fn delete(&self, key: &str, expect: Expect, wanted: Previous) -> Result<Deletion, Error> {
        self.check_size(key.len())?;
        match self.submit(Op::Delete { key: key.into(), expect }, key.len()).await? {
            Answer::Deleted(previous, revision) => Ok(Deletion {
                existed: previous.is_some(),
                previous: previous.filter(|_| wanted == Previous::Wanted),
                revision,
            }),
            Answer::Rejected(why) => Err(why),
            Answer::Written(_) | Answer::Done => {
                Err(Error::Io("a delete was answered as something else".into()))
            }
        }
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        watch::start(self.inner.shared.clone(), prefix, after)
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        match self.submit(Op::Compact { revision }, 0).await? {
            Answer::Rejected(why) => Err(why),
            _ => Ok(()),
        }
    }

    async fn moment(&self, time_ms: u64) -> Result<Moment, Error> {
        self.read_apart(move |txn| past::moment(txn, time_ms)).await
    }

    async fn oldest(&self) -> Result<Moment, Error> {
        self.read_apart(past::oldest).await
    }

    async fn versions(&self, key: &str, limit: usize) -> Result<Versions, Error> {
        let key: Arc<str> = key.into();
        self.read_apart(move |txn| past::versions(txn, &key, limit)).await
    }

    async fn request_progress(&self) -> Result<(), Error> {
        if self.inner.shared.hub.is_closed() {
            return Err(Error::Closed);
        }
        self.inner.shared.hub.ask_progress();
        Ok(())
    }

    async fn size_bytes(&self) -> Result<u64, Error> {
        self.inner.shared.size_bytes()
    }

    /// The file can be opened again at once.
    async fn close(&self) -> Result<(), Error> {
        match self.submit(Op::Close, 0).await {
            Ok(_) | Err(Error::Closed) => Ok(()),
            Err(other) => Err(other),
        }
    }
}
