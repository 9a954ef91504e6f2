//! [`Queue`]: keys to look at, each once however often it was added, never two workers on one key,
//! now or later, with back-off for those that fail.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::backoff::Policy;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Upstream's default for controllers: 5 ms, doubling, up to 1000 s.
pub const DEFAULT_BACKOFF: Policy = Policy::new(Duration::from_millis(5), Duration::from_secs(1000));

struct State<T> {
    ready: VecDeque<T>,
    /// In `ready`, or added again while being worked on.
    dirty: HashSet<T>,
    working: HashSet<T>,
    later: BTreeMap<(Instant, u64), T>,
    due: HashMap<T, (Instant, u64)>,
    failures: HashMap<T, u32>,
    sequence: u64,
    closed: bool,
}

struct Inner<T> {
    state: Mutex<State<T>>,
    wake: Notify,
    backoff: Policy,
}

/// A work queue of keys. Cheap to clone.
pub struct Queue<T>(Arc<Inner<T>>);

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone + Eq + Hash> Default for Queue<T> {
    fn default() -> Self {
        Self::new(DEFAULT_BACKOFF)
    }
}

impl<T: Clone + Eq + Hash> Queue<T> {
    pub fn new(backoff: Policy) -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            working: HashSet::new(),
            later: BTreeMap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
            closed: false,
        };
        Self(Arc::new(Inner { state: Mutex::new(state), wake: Notify::new(), backoff }))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State<T>> {
        self.0.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// To be looked at now.
    pub fn add(&self, key: T) {
        let mut state = self.state();
        state.add(key);
        drop(state);
        self.0.wake.notify_one();
    }

    /// To be looked at after `wait`, or earlier if an earlier time is already set.
    pub fn add_after(&self, key: T, wait: Duration) {
        if wait.is_zero() {
            return self.add(key);
        }
        let mut state = self.state();
        let at = Instant::now() + wait;
        if let Some(old) = state.due.get(&key).copied() {
            if old.0 <= at {
                return;
            }
            state.later.remove(&old);
        }
        state.sequence += 1;
        let slot = (at, state.sequence);
        state.due.insert(key.clone(), slot);
        state.later.insert(slot, key);
        drop(state);
        self.0.wake.notify_one();
    }

    /// The key failed: look again after its back-off.
    pub fn retry(&self, key: T) {
        let wait = {
            let mut state = self.state();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            *failures = failures.saturating_add(1);
            self.0.backoff.delay(*failures)
        };
        self.add_after(key, wait);
    }

    /// The key went well: its back-off starts anew.
    pub fn forget(&self, key: &T) {
        self.state().failures.remove(key);
    }

    /// The next key, which nobody else gets until [`Queue::done`]. `None` once closed. Cancellation safe.
    pub async fn next(&self) -> Option<T> {
        loop {
            let notified = self.0.wake.notified();
            let due = {
                let mut state = self.state();
                if state.closed {
                    return None;
                }
                let due = state.promote(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.dirty.remove(&key);
                    state.working.insert(key.clone());
                    let more = !state.ready.is_empty() || due.is_some();
                    drop(state);
                    if more {
                        self.0.wake.notify_one();
                    }
                    return Some(key);
                }
                due
            };
            match due {
                Some(at) => tokio::select! {
                    () = notified => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => notified.await,
            }
        }
    }

    /// Work on the key ended. It comes again if it was added meanwhile.
    pub fn done(&self, key: &T) {
        let mut state = self.state();
        state.working.remove(key);
        if state.dirty.contains(key) {
            state.ready.push_back(key.clone());
            drop(state);
            self.0.wake.notify_one();
        }
    }

    /// Ends every [`Queue::next`].
    pub fn close(&self) {
        self.state().closed = true;
        self.0.wake.notify_waiters();
        self.0.wake.notify_one();
    }

    /// Keys ready to be worked on.
    pub fn len(&self) -> usize {
        self.state().ready.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Clone + Eq + Hash> State<T> {
    fn add(&mut self, key: T) {
        if !self.dirty.insert(key.clone()) {
            return;
        }
        if let Some(slot) = self.due.remove(&key) {
            self.later.remove(&slot);
        }
        if !self.working.contains(&key) {
            self.ready.push_back(key);
        }
    }

    /// Moves what is due to `ready`; answers when the next one is due.
    fn promote(&mut self, now: Instant) -> Option<Instant> {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                return Some(entry.key().0);
            }
            let key = entry.remove();
            self.due.remove(&key);
            self.add(key);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_never_worked_on_twice_at_once_and_never_lost() {
        let queue = Queue::default();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.next().await, Some("a"));
        queue.add("a");
        assert!(queue.is_empty(), "the key is being worked on");
        queue.done(&"a");
        assert_eq!(queue.next().await, Some("a"));
        queue.done(&"a");
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_and_longer_until_forgotten() {
        let queue = Queue::new(Policy::new(Duration::from_secs(1), Duration::from_secs(60)));
        let start = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..3 {
            queue.retry("a");
            assert_eq!(queue.next().await, Some("a"));
            queue.done(&"a");
            waits.push(start.elapsed().as_secs());
        }
        assert_eq!(waits, [1, 3, 7]);
        queue.forget(&"a");
        queue.retry("a");
        assert_eq!(queue.next().await, Some("a"));
        assert_eq!(start.elapsed().as_secs(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_time_wins() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(10));
        queue.add_after("a", Duration::from_secs(2));
        queue.add_after("a", Duration::from_secs(5));
        assert_eq!(queue.next().await, Some("a"));
        assert_eq!(start.elapsed().as_secs(), 2);
    }
}
