//! What work in progress needs, so that removing images does not take it away.
//!
//! Owns counting: an item is held before anyone looks whether it is there, and for as long as the
//! work goes on. Deleting happens under the same lock, so nothing is deleted between the look and
//! the use. Never deletes by itself.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;

/// A thing on disk that images share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Item {
    Blob(Digest),
    /// An unpacked layer, by chain id.
    Layer(Digest),
}

/// Counts of who holds what.
#[derive(Debug, Default)]
pub struct Holds {
    counts: Mutex<HashMap<Item, usize>>,
}

impl Holds {
    pub fn add(&self, item: Item) {
        *self.lock().entry(item).or_default() += 1;
    }

    pub fn release(&self, items: &[Item]) {
        let mut counts = self.lock();
        for item in items {
            if let Some(count) = counts.get_mut(item) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(item);
                }
            }
        }
    }

    /// Runs `delete` for each of `items` that nobody holds; nobody can begin to hold one meanwhile.
    pub fn delete_unheld<E>(
        &self,
        items: &[Item],
        mut delete: impl FnMut(Item) -> Result<(), E>,
    ) -> Result<(), E> {
        let counts = self.lock();
        items.iter().filter(|item| !counts.contains_key(item)).try_for_each(|item| delete(*item))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Item, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
