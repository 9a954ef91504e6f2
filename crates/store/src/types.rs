//! The store's interface, which every backend implements and one test suite checks.

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
    pub revision: Revision,
    pub key: Arc<str>,
    /// The new value; `None` for a deletion (or expiry).
    pub value: Option<Bytes>,
    pub create_revision: Revision,
    /// The value before, where there was one.
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

/// Why the store did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// [`Expect`] was not met; the key's state at that moment is given.
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
    /// No room on the disk: nothing was written, reads go on.
    #[error("the disk is full: {0}")]
    DiskFull(Arc<str>),
    #[error("the store is closed")]
    Closed,
    /// Another process (or another handle in this one) has the data file open.
    #[error("the data file {path} is in use by another process")]
    Locked { path: Arc<str> },
    /// What is on the disk is not what the store wrote.
    #[error("the data file {path} is damaged: {reason}")]
    Corrupted { path: Arc<str>, reason: Arc<str> },
    #[error("store: {0}")]
    Io(Arc<str>),
}

/// Which keys a list wants.
#[derive(Debug, Clone, Default)]
pub struct ListRange {
    /// Keys with this prefix …
    pub prefix: String,
    /// … greater than this one (for paging); empty for all.
    pub after: String,
    /// At most so many; 0 for all.
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

/// A stream of committed changes in commit order. Changes of one revision come together in one batch.
/// Dropping it ends the watch. [`Error::Compacted`] when the reader fell so far behind that history is gone.
pub type Watch = futures::stream::BoxStream<'static, Result<Vec<Arc<Change>>, Error>>;

/// A revisioned store. All methods are cancellation safe: a cancelled write may still be committed.
///
/// Users hold an `Arc<dyn Store>`: which backend keeps the bytes is nobody's business but the binary's.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The value of a key now, with the revision it was read at.
    async fn get(&self, key: &str) -> Result<(Option<KeyValue>, Revision), Error>;

    /// Keys of a range, consistent at one revision.
    async fn list(&self, range: ListRange) -> Result<ListPage, Error>;

    /// Writes and answers once the write is on disk. `ttl_s`: the key is deleted so many seconds later,
    /// unless written again.
    async fn put(
        &self,
        key: &str,
        value: Bytes,
        expect: Expect,
        ttl_s: Option<u64>,
    ) -> Result<KeyValue, Error>;

    /// Deletes; answers what was there. `Ok(None)` with [`Expect::Anything`] when the key was absent.
    /// The second value is the revision of the deletion, or the current one where nothing was deleted.
    async fn delete(&self, key: &str, expect: Expect) -> Result<(Option<KeyValue>, Revision), Error>;

    /// Changes after `after` (exclusive) to keys with `prefix`. [`Error::Compacted`] when those are gone,
    /// [`Error::Future`] when `after` is not reached yet.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error>;

    /// Forgets what was before `revision`, which stays the oldest that can be listed or watched from.
    /// Current values stay. Does nothing where it is forgotten already.
    async fn compact(&self, revision: Revision) -> Result<(), Error>;

    /// The last committed revision.
    fn revision(&self) -> Revision;
}
