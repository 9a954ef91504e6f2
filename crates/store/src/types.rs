//! The store's interface, which every backend implements and one test suite checks
//! (`crates/store/tests/backends/suite.rs`).
//!
//! The interface promises only what etcd v3 can promise too: a backend may be on the other side of a network,
//! have other writers, and lose an answer on its way.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

/// A position in the global order of commits; the empty store is at 1, as etcd's.
pub type Revision = u64;

/// A key with its current value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    pub key: Arc<str>,
    pub value: Bytes,
    /// The commit that made the key (since it was last absent).
    pub create_revision: Revision,
    /// The last commit that wrote it.
    pub mod_revision: Revision,
}

/// A committed change, as watchers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The commit it is part of. Keys that expire together may go in one commit, as those of one etcd lease do.
    pub revision: Revision,
    pub key: Arc<str>,
    /// The new value; `None` for a deletion (or expiry).
    pub value: Option<Bytes>,
    pub create_revision: Revision,
    /// The value before the change, if the key existed.
    pub previous: Option<KeyValue>,
}

/// What a write demands of the key's present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Anything,
    Absent,
    /// The key's `mod_revision`.
    Revision(Revision),
}

/// Why the store did not do what it was asked to.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// [`Expect`] was not met; `current` is the key's state at that moment.
    #[error("the key's state is not the expected one")]
    Conflict { current: Option<KeyValue> },
    /// The revision asked for is older than the history that is kept.
    #[error("revision {asked} has been compacted; the oldest kept is {oldest}")]
    Compacted { asked: Revision, oldest: Revision },
    /// The revision asked for is not reached yet.
    #[error("revision {asked} is in the future; the current one is {current}")]
    Future { asked: Revision, current: Revision },
    #[error("the value has {bytes} bytes, more than the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// The backend does not keep when its changes were made.
    #[error("this store does not keep its past by time")]
    NoPast,
    /// No room on the disk: nothing was written, reads go on.
    #[error("the disk is full: {0}")]
    DiskFull(Arc<str>),
    #[error("the store is closed")]
    Closed,
    /// The backend cannot be reached or has no leader. Nothing was done.
    #[error("the store is unavailable: {0}")]
    Unavailable(Arc<str>),
    /// No answer came in time. A write may have been committed, or may still be.
    #[error("the store did not answer in time: {0}")]
    Timeout(Arc<str>),
    /// Another process (or another handle in this one) has the data file open.
    #[error("the data file {path} is in use by another process")]
    Locked { path: Arc<str> },
    /// The data on the disk is not what the store wrote.
    #[error("the data file {path} is damaged: {reason}")]
    Corrupted { path: Arc<str>, reason: Arc<str> },
    /// A value that others wrote in a form that this program does not read.
    #[error("the value of {key} cannot be read: {reason}")]
    Unreadable { key: Arc<str>, reason: Arc<str> },
    #[error("store: {0}")]
    Io(Arc<str>),
}

impl Error {
    /// Whether a write that failed with this may have been committed all the same, or may still be.
    pub const fn leaves_outcome_open(&self) -> bool {
        match self {
            Self::Timeout(_)
            | Self::Closed
            | Self::Corrupted { .. }
            | Self::Unreadable { .. }
            | Self::Io(_) => true,
            Self::Conflict { .. }
            | Self::Compacted { .. }
            | Self::Future { .. }
            | Self::TooLarge { .. }
            | Self::NoPast
            | Self::DiskFull(_)
            | Self::Unavailable(_)
            | Self::Locked { .. } => false,
        }
    }
}

/// Which keys a list wants.
#[derive(Debug, Clone, Default)]
pub struct ListRange {
    /// Keys with this prefix …
    pub prefix: String,
    /// … greater than this one (for paging); empty for all.
    pub after: String,
    /// The largest number of keys to return; 0 for all.
    pub limit: usize,
    /// As of this revision; `None` for now.
    pub at: Option<Revision>,
}

/// Keys in order, and the revision they stand for.
#[derive(Debug, Clone)]
pub struct ListPage {
    pub items: Vec<KeyValue>,
    pub revision: Revision,
    /// More keys follow the last one.
    pub more: bool,
}

/// A state of the whole store, and a time at which that was its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub revision: Revision,
    /// In milliseconds since 1970.
    pub time_ms: u64,
}

/// What one change left of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub revision: Revision,
    /// When the change was made, in milliseconds since 1970.
    pub time_ms: u64,
    /// `None` where the change was the key's deletion (or expiry).
    pub value: Option<Bytes>,
}

/// A key's past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// The newest first.
    pub versions: Vec<Version>,
    /// Older ones than these have been there: they are forgotten, or the limit was reached.
    pub more: bool,
}

/// The result of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Whether the key existed and was deleted.
    pub existed: bool,
    /// The deleted key and value, if asked for with [`Previous::Wanted`].
    pub previous: Option<KeyValue>,
    /// The revision of the deletion, or the current one where nothing was deleted.
    pub revision: Revision,
}

/// Whether a deletion returns the deleted value. Over a network the value is sent back only if it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Previous {
    Wanted,
    Unwanted,
}

/// One item of a watch's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchItem {
    /// Committed changes in commit order, at least one. Changes of one revision are never torn apart.
    Changes(Vec<Arc<Change>>),
    /// Every change up to this revision that concerns the watch has been yielded.
    Progress(Revision),
}

/// A stream of [`WatchItem`]s. Dropping it ends the watch; it ends by itself only with an error:
/// [`Error::Compacted`] when the reader fell so far behind that history is gone, [`Error::Closed`] with the
/// store, any other when the backend broke off. Then a new watch after the last revision seen misses nothing.
pub type Watch = futures::stream::BoxStream<'static, Result<WatchItem, Error>>;

/// A revisioned store. All methods are cancellation safe: a cancelled write may still be committed.
///
/// Users hold an `Arc<dyn Store>`: only the binary knows which backend keeps the bytes.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The last committed revision: at least that of every write acknowledged, by whatever handle, before the
    /// call.
    async fn revision(&self) -> Result<Revision, Error>;

    /// Whether others than the holders of this handle may commit. If no other handle commits, a holder that
    /// waits for the echo of its own writes is never behind and need not ask for the revision.
    fn is_shared(&self) -> bool;

    /// The value of a key now, with the revision it was read at.
    async fn get(&self, key: &str) -> Result<(Option<KeyValue>, Revision), Error>;

    /// Keys of a range, consistent at one revision.
    async fn list(&self, range: ListRange) -> Result<ListPage, Error>;

    /// Writes, and returns once the write is durable. `ttl_s`: the key is deleted that many seconds later,
    /// unless written again; never earlier, but later by the backend's granularity, as keys may share a lease.
    async fn put(
        &self,
        key: &str,
        value: Bytes,
        expect: Expect,
        ttl_s: Option<u64>,
    ) -> Result<KeyValue, Error>;

    /// Deletes. An absent key is no error with [`Expect::Anything`].
    async fn delete(&self, key: &str, expect: Expect, previous: Previous) -> Result<Deletion, Error>;

    /// Changes after `after` (exclusive) to keys with `prefix`. [`Error::Compacted`] when some of those may be
    /// gone, [`Error::Future`] when `after` is not reached yet. The backend may yield progress at any time, and
    /// does when asked with [`Store::request_progress`].
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error>;

    /// Has every open watch of this handle yield a [`WatchItem::Progress`] (or changes) of at least the revision
    /// at the time of this call, once it has yielded everything before.
    async fn request_progress(&self) -> Result<(), Error>;

    /// Whether the value of a key would lie otherwise in the backend if it were written again now, as after a change of
    /// what encrypts it.
    async fn is_outdated(&self, _key: &str) -> Result<bool, Error> {
        Ok(false)
    }

    /// Forgets history before `revision`, which stays the oldest revision that can be listed or
    /// watched from. Current values stay. Does nothing if that history is forgotten already.
    async fn compact(&self, revision: Revision) -> Result<(), Error>;

    /// The store's state at a time, in milliseconds since 1970: with every change that was made until
    /// then, and none that was made later. [`Error::Compacted`] for a time whose changes are forgotten,
    /// [`Error::NoPast`] where the backend keeps no times.
    async fn moment(&self, _time_ms: u64) -> Result<Moment, Error> {
        Err(Error::NoPast)
    }

    /// When the oldest state was that can be listed.
    async fn oldest(&self) -> Result<Moment, Error> {
        Err(Error::NoPast)
    }

    /// The last `limit` versions of a key that are kept, be the key there or not. [`Error::NoPast`] as above.
    async fn versions(&self, _key: &str, _limit: usize) -> Result<Versions, Error> {
        Err(Error::NoPast)
    }

    /// The size of the backend's data, in bytes.
    async fn size_bytes(&self) -> Result<u64, Error>;

    /// Finishes operations that have begun and releases files and locks. Watches end with [`Error::Closed`], as
    /// does every later call except this one.
    async fn close(&self) -> Result<(), Error>;
}
