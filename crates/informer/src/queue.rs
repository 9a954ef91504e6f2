//! [`Queue`]: keys that wait to be worked on, now or at a later time. A key is queued once however
//! often it is added, no two workers get the same key at a time, and a key that fails waits for its
//! back-off.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::Sparse;
use base::backoff::Policy;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::metrics::{Metrics, QueueFigures};

/// Upstream's default for controllers: 5 ms, doubling, up to 1000 s.
pub const DEFAULT_BACKOFF: Policy = Policy::new(Duration::from_millis(5), Duration::from_secs(1000));

struct State<T> {
    ready: VecDeque<T>,
    /// In `ready`, or added again while being worked on; since when.
    dirty: HashMap<T, Instant>,
    /// The keys that are worked on, and since when.
    working: HashMap<T, Instant>,
    later: BTreeMap<(Instant, u64), T>,
    due: HashMap<T, (Instant, u64)>,
    failures: HashMap<T, u32>,
    sequence: u64,
    closed: bool,
    figures: Option<QueueFigures>,
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
        Self::with(backoff, None)
    }

    /// A queue whose figures are shown under its name.
    pub fn named(name: &'static str, metrics: &Metrics) -> Self
    where
        T: Send + 'static,
    {
        let queue = Self::with(DEFAULT_BACKOFF, Some(metrics.queue(name)));
        let inner = Arc::downgrade(&queue.0);
        metrics.watch_running(name, move || match inner.upgrade() {
            Some(inner) => {
                let now = Instant::now();
                Self(inner).state().working.values().map(|since| now - *since).collect()
            }
            None => Vec::new(),
        });
        queue
    }

    fn with(backoff: Policy, figures: Option<QueueFigures>) -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashMap::new(),
            working: HashMap::new(),
            later: BTreeMap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
            closed: false,
            figures,
        };
        Self(Arc::new(Inner { state: Mutex::new(state), wake: Notify::new(), backoff }))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State<T>> {
        self.0.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Adds a key to be worked on now.
    pub fn add(&self, key: T) {
        let mut state = self.state();
        state.add(key);
        drop(state);
        self.0.wake.notify_one();
    }

    /// Adds a key to be worked on after `wait`, or earlier if an earlier time is already set.
    pub fn add_after(&self, key: T, wait: Duration) {
        if let Some(figures) = &self.state().figures {
            figures.retries.inc();
        }
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

    /// Records that the key failed: it is worked on again after its back-off.
    pub fn retry(&self, key: T) {
        let wait = {
            let mut state = self.state();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            *failures = failures.saturating_add(1);
            self.0.backoff.delay(*failures)
        };
        self.add_after(key, wait);
    }

    /// Records that the key succeeded: its back-off starts from the beginning.
    pub fn forget(&self, key: &T) {
        let mut state = self.state();
        state.failures.remove(key);
        state.failures.give_back();
    }

    /// The next key, which no other worker gets until [`Queue::done`]. `None` once closed. Cancellation safe.
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
                    state.begin(&key);
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

    /// Ends the work on a key. The key is queued again if it was added meanwhile.
    pub fn done(&self, key: &T) {
        let mut state = self.state();
        state.end(key);
        if state.dirty.contains_key(key) {
            state.ready.push_back(key.clone());
            state.tell_depth();
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
        if self.dirty.contains_key(&key) {
            return;
        }
        self.dirty.insert(key.clone(), Instant::now());
        if let Some(figures) = &self.figures {
            figures.adds.inc();
        }
        if let Some(slot) = self.due.remove(&key) {
            self.later.remove(&slot);
        }
        if !self.working.contains_key(&key) {
            self.ready.push_back(key);
            self.tell_depth();
        }
    }

    /// The key, taken out of `ready`, is worked on from now on.
    fn begin(&mut self, key: &T) {
        let now = Instant::now();
        if let (Some(since), Some(figures)) = (self.dirty.remove(key), &self.figures) {
            figures.waited.observe((now - since).as_secs_f64());
        }
        self.dirty.give_back();
        self.ready.give_back();
        self.working.insert(key.clone(), now);
        self.tell_depth();
    }

    fn end(&mut self, key: &T) {
        if let (Some(since), Some(figures)) = (self.working.remove(key), &self.figures) {
            figures.worked.observe(since.elapsed().as_secs_f64());
        }
    }

    fn tell_depth(&self) {
        if let Some(figures) = &self.figures {
            figures.depth.set(i64::try_from(self.ready.len()).unwrap_or(i64::MAX));
        }
    }

    /// Moves the keys that are due to `ready`; returns when the next key is due.
    fn promote(&mut self, now: Instant) -> Option<Instant> {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                return Some(entry.key().0);
            }
            let key = entry.remove();
            self.due.remove(&key);
            self.add(key);
        }
        self.due.give_back();
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
    async fn what_a_queue_does_is_shown_under_upstreams_names() {
        use base::metrics::{Format, strict};
        let process = base::Metrics::default();
        let queue = Queue::named("things", &Metrics::registered(&process));
        for key in ["a", "a", "b", "c"] {
            queue.add(key);
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(queue.next().await, Some("a"));
        assert_eq!(queue.next().await, Some("b"));
        tokio::time::advance(Duration::from_secs(3)).await;
        queue.done(&"a");
        queue.retry("a");
        let text = process.render(Format::Prometheus).expect("text");
        strict::read(&text, Format::Prometheus).unwrap_or_else(|why| panic!("{why}"));
        for line in [
            r#"workqueue_depth{name="things"} 1"#,
            r#"workqueue_adds_total{name="things"} 3"#,
            r#"workqueue_queue_duration_seconds_count{name="things"} 2"#,
            r#"workqueue_queue_duration_seconds_sum{name="things"} 4.0"#,
            r#"workqueue_work_duration_seconds_sum{name="things"} 3.0"#,
            r#"workqueue_work_duration_seconds_bucket{le="10.0",name="things"} 1"#,
            r#"workqueue_unfinished_work_seconds{name="things"} 3.0"#,
            r#"workqueue_longest_running_processor_seconds{name="things"} 3.0"#,
            r#"workqueue_retries_total{name="things"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
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
