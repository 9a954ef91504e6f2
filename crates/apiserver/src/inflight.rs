//! Limits the number of requests in progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::Error;

use crate::request::User;

/// Counts requests in progress, apart for readers and writers.
#[derive(Debug)]
pub(crate) struct InFlight {
    reading: Lane,
    mutating: Lane,
}

#[derive(Debug)]
struct Lane {
    now: Arc<AtomicUsize>,
    limit: usize,
}

/// A place among the requests in progress; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl InFlight {
    pub(crate) fn new(reading: usize, mutating: usize) -> Self {
        let lane = |limit| Lane { now: Arc::default(), limit };
        Self { reading: lane(reading), mutating: lane(mutating) }
    }

    /// Takes a place. Administrators always get one, so that an overloaded cluster can be repaired.
    pub(crate) fn enter(&self, read_only: bool, user: &User) -> Result<Slot, Error> {
        let lane = if read_only { &self.reading } else { &self.mutating };
        let before = lane.now.fetch_add(1, Ordering::Relaxed);
        let slot = Slot(Arc::clone(&lane.now));
        if before >= lane.limit && !user.groups.iter().any(|g| g == "system:masters") {
            return Err(Error::too_many_requests("too many requests, please try again later.", 1));
        }
        Ok(slot)
    }

    /// Requests in progress: (reading, mutating).
    pub(crate) fn now(&self) -> (usize, usize) {
        (self.reading.now.load(Ordering::Relaxed), self.mutating.now.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_fill_apart_and_empty_again() {
        let lanes = InFlight::new(1, 1);
        let user = User::default();
        let first = lanes.enter(true, &user).unwrap();
        assert_eq!(lanes.enter(true, &user).unwrap_err().code(), 429);
        let _write = lanes.enter(false, &user).unwrap();
        drop(first);
        assert_eq!(lanes.now(), (0, 1));
        let admin = User { groups: vec!["system:masters".into()], ..User::default() };
        lanes.enter(false, &admin).unwrap();
    }
}
