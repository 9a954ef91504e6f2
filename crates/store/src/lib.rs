//! Revisioned bytes, in etcd's model: one global, gap-free order of commits; compare-and-swap on an
//! object's last revision; watch from a revision; compaction; expiry. Knows no kinds.
//!
//! An acknowledged write is on disk. Start with [`Store`]; the durable backend is [`Embedded`].
//!
//! Never here: anything about Kubernetes objects; keys and values are opaque.

pub mod embedded;
pub mod types;

pub use embedded::{Config, Embedded};
pub use types::{Change, Error, Expect, KeyValue, ListPage, ListRange, Revision, Store, Watch};
