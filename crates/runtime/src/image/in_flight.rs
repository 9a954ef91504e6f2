//! One download per blob at a time: a second one waits and then finds the blob stored.
//!
//! Owns one async lock per digest for as long as somebody uses it. Never blocks a thread.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::digest::Digest;

/// The downloads going on.
#[derive(Debug, Default)]
pub struct InFlight {
    locks: Mutex<HashMap<Digest, Weak<AsyncMutex<()>>>>,
}

impl InFlight {
    /// Waits until nobody else works on `digest`; others wait while the guard lives. Cancel safe.
    pub async fn enter(&self, digest: Digest) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            match locks.get(&digest).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    let lock = Arc::default();
                    locks.insert(digest, Arc::downgrade(&lock));
                    lock
                }
            }
        };
        lock.lock_owned().await
    }
}
