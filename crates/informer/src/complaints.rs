//! [`Complaints`]: which failures of a loop that tries again are worth a warning in the log.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The last failure of each task of a controller's that is being tried again. A failure is worth one warning while it
/// lasts; its repetitions are debugging.
#[derive(Debug)]
pub struct Complaints<T> {
    controller: &'static str,
    last: Mutex<HashMap<T, String>>,
}

impl<T: Clone + Eq + Hash + fmt::Display> Complaints<T> {
    pub fn of(controller: &'static str) -> Self {
        Self { controller, last: Mutex::default() }
    }

    /// Logs that a task failed and comes again: `what` happened, and why.
    pub fn log(&self, task: &T, what: &'static str, why: &str) {
        let controller = self.controller;
        if self.is_news(task, why) {
            tracing::warn!(controller, key = %task, why, "{what}");
        } else {
            tracing::debug!(controller, key = %task, why, "{what}");
        }
    }

    /// Whether the task failed otherwise before, or not at all.
    fn is_news(&self, task: &T, why: &str) -> bool {
        let mut last = self.last();
        if last.get(task).is_some_and(|last| last == why) {
            return false;
        }
        last.insert(task.clone(), why.to_owned());
        true
    }

    /// The task is done: a failure that comes after is a new one.
    pub fn forget(&self, task: &T) {
        self.last().remove(task);
    }

    fn last(&self) -> MutexGuard<'_, HashMap<T, String>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_news_once_while_it_lasts() {
        let complaints = Complaints::of("a");
        assert!(complaints.is_news(&"a", "forbidden"));
        assert!(!complaints.is_news(&"a", "forbidden"));
        assert!(complaints.is_news(&"b", "forbidden"), "another task's");
        assert!(complaints.is_news(&"a", "no quota"), "another failure");
        assert!(complaints.is_news(&"a", "forbidden"), "the first one is back");
        complaints.forget(&"a");
        assert!(complaints.is_news(&"a", "forbidden"), "it went well in between");
    }
}
