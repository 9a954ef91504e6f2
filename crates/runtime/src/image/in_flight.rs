//! One download per registry and blob at a time: a second one waits and then finds the blob stored.
//!
//! Owns one async lock per pair for as long as somebody uses it. The same blob may come from two
//! registries at once, so that a slow one holds up nobody who asks another. Never blocks a thread.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::digest::Digest;

/// A registry's host and a blob of it.
type Source = (String, Digest);

/// The downloads going on.
#[derive(Debug, Default)]
pub struct InFlight {
    locks: Mutex<HashMap<Source, Weak<AsyncMutex<()>>>>,
}

impl InFlight {
    /// Waits until nobody else fetches `digest` from `host`; others wait while the guard lives. Cancel safe.
    pub async fn enter(&self, host: &str, digest: Digest) -> OwnedMutexGuard<()> {
        let key = (host.to_owned(), digest);
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            match locks.get(&key).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    let lock = Arc::default();
                    locks.insert(key, Arc::downgrade(&lock));
                    lock
                }
            }
        };
        lock.lock_owned().await
    }
}
