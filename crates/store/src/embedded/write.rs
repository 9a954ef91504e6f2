//! What callers want written, and what became of it.

use std::sync::Arc;

use bytes::Bytes;

use crate::types::{Error, Expect, KeyValue, Revision};

/// What a caller wants written.
pub(super) enum Op {
    Put { key: Arc<str>, value: Bytes, expect: Expect, ttl_s: Option<u64> },
    Delete { key: Arc<str>, expect: Expect },
    Compact { revision: Revision },
    Close,
}

/// The outcome of a write.
pub(super) enum Answer {
    Written(KeyValue),
    Deleted(Option<KeyValue>, Revision),
    /// This write changed nothing; the other writes of the transaction took effect.
    Rejected(Error),
    Done,
}
