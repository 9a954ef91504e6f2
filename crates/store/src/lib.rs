//! Revisioned bytes, in etcd's model: one global, gap-free order of commits; compare-and-swap on an
//! object's last revision; watch from a revision; compaction; expiry. Knows no kinds.
//!
//! Start with [`Store`]. The durable backend is [`Embedded`]: an acknowledged write is on disk. [`Memory`] is the
//! backend of tests: nothing is durable, and delays and faults are made at will.
//!
//! Never here: anything about Kubernetes objects; keys and values are opaque.

pub mod embedded;
pub mod memory;
pub mod types;

pub use embedded::{Config, Embedded};
pub use memory::Memory;
pub use types::{
    Change, Deletion, Error, Expect, KeyValue, ListPage, ListRange, Moment, Previous, Revision, Store,
    Version, Versions, Watch, WatchItem,
};
