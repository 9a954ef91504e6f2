//! etcd v3 as the store: several API servers may share one etcd, and an etcd of several members survives the loss of
//! some.
//!
//! Start with [`Etcd`], which implements [`store::Store`]; the suite of all backends checks it
//! (`crates/store/tests/backends`). Keys and values are where upstream puts them. [`Etcd::compactor`] forgets history
//! as upstream's API servers do, beside theirs.
//!
//! Never here: kinds. A write is sent again only when it surely was not carried out.
//!
//! `generated.rs` is made from `proto/rpc.proto`, the part of etcd's API that is used, by `tonic_prost_build`
//! (client only, `bytes::Bytes` for bytes), and never edited.

mod backend;
mod compactor;
mod config;
mod connection;
mod failure;
mod history;
mod keys;
mod leases;
mod link;
#[cfg(feature = "testing")]
pub mod testing;
mod watch;
mod write;

#[expect(clippy::allow_attributes_without_reason, reason = "generated code keeps its generator's attributes")]
#[rustfmt::skip]
#[path = "generated.rs"]
pub mod v3;

pub use backend::Etcd;
pub use compactor::{INTERVAL as COMPACTION_INTERVAL, Turn};
pub use config::{Config, ConfigError, Endpoint, Progress, TlsFiles, Translate};
pub use connection::connect_member;
