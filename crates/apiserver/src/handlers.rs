//! The generic verbs: one handler for each, over a row of the kind table.
//!
//! Start with `write` (how objects are created and changed) and `storage` (how they are read and
//! committed). `list`, `watch` and `table` serve reads. Never here: a kind's name.

pub(crate) mod decode;
pub(crate) mod delete;
pub(crate) mod deletion;
pub(crate) mod exchange;
pub(crate) mod freshness;
mod gzip;
pub(crate) mod list;
pub(crate) mod metadata;
pub(crate) mod options;
pub(crate) mod past;
pub(crate) mod patch;
pub(crate) mod post;
pub(crate) mod put;
pub(crate) mod read;
pub(crate) mod scale;
pub(crate) mod select;
pub(crate) mod storage;
pub(crate) mod table;
pub(crate) mod watch;
pub(crate) mod write;
