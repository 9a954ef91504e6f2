//! What is particular to the store in memory: the faults it makes.

use std::sync::Arc;
use std::time::Duration;

use base::{Clock, ManualClock};
use futures::{FutureExt, StreamExt};
use store::memory::{Config, Part, Rates, WriteFault};
use store::{Error, Expect, ListRange, Memory, Previous, Store, Watch, WatchItem};

use crate::{Backend, Timed};

/// A store in memory whose keys share leases, and a clock that the test moves.
pub(crate) struct Fixture {
    clock: ManualClock,
    store: Memory,
}

impl Timed for Fixture {
    const LEASE_S: i64 = 4;

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

impl Backend for Fixture {
    fn new() -> Self {
        let clock = ManualClock::new(crate::start());
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        Self { clock, store: Memory::new(Config { clock: shared, lease_s: 4, ..Config::default() }) }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    async fn reopen(&mut self) {
        let again = self.store.another();
        self.store.close().await.expect("the store closes");
        self.store = again;
    }
}

async fn put(store: &Memory, key: &str, value: &str) -> Result<u64, Error> {
    let put = store.put(key, value.to_owned().into(), Expect::Anything, None).await;
    put.map(|written| written.mod_revision)
}

async fn value(store: &Memory, key: &str) -> Option<String> {
    let found = store.get(key).await.unwrap().0;
    found.map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
}

fn lost() -> Error {
    Error::Timeout("lost".into())
}

async fn revisions(watch: &mut Watch) -> Vec<u64> {
    match watch.next().await.unwrap().unwrap() {
        WatchItem::Changes(changes) => changes.iter().map(|c| c.revision).collect(),
        WatchItem::Progress(_) => Vec::new(),
    }
}

#[tokio::test]
async fn a_planned_fault_meets_one_write() {
    let store = Memory::new(Config::default());
    let faults = store.faults();
    faults.next_write(WriteFault::Refused(Error::Unavailable("no leader".into())));
    faults.next_write(WriteFault::AnswerLost(lost()));
    assert!(matches!(put(&store, "/a", "1").await, Err(Error::Unavailable(_))));
    assert_eq!(value(&store, "/a").await, None);
    assert!(matches!(put(&store, "/a", "2").await, Err(Error::Timeout(_))));
    assert_eq!(value(&store, "/a").await.as_deref(), Some("2"), "it was written all the same");
    assert_eq!(put(&store, "/a", "3").await.unwrap(), 3);
}

#[tokio::test]
async fn held_writes_wait_before_or_after_they_take_effect() {
    let store = Memory::new(Config::default());
    store.faults().hold(Part::Writes);
    let mut first = Box::pin(put(&store, "/a", "1"));
    assert!(first.as_mut().now_or_never().is_none());
    assert_eq!(value(&store, "/a").await, None);
    store.faults().hold(Part::Answers);
    store.faults().let_go(Part::Writes);
    assert!(first.as_mut().now_or_never().is_none());
    assert_eq!(value(&store, "/a").await.as_deref(), Some("1"));
    store.faults().let_go(Part::Answers);
    assert_eq!(first.await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn slow_writes_go_by_the_paused_clock() {
    let store = Memory::new(Config::default());
    let (before, after) = (Duration::from_secs(3), Duration::from_secs(4));
    store.faults().next_write(WriteFault::Slow { before, after });
    let begun = tokio::time::Instant::now();
    put(&store, "/a", "1").await.unwrap();
    assert_eq!(begun.elapsed(), before + after);
}

#[tokio::test]
async fn held_watches_lag_and_then_miss_nothing() {
    let store = Memory::new(Config::default());
    let mut watch = store.watch("/", 1).await.unwrap();
    store.faults().hold(Part::Watches);
    for n in 0..3 {
        put(&store, "/a", &n.to_string()).await.unwrap();
    }
    store.request_progress().await.unwrap();
    assert!(watch.next().now_or_never().is_none());
    store.faults().hold(Part::Progress);
    store.faults().let_go(Part::Watches);
    assert_eq!(revisions(&mut watch).await, [2, 3, 4]);
    assert!(watch.next().now_or_never().is_none());
    store.faults().let_go(Part::Progress);
    assert!(matches!(watch.next().await, Some(Ok(WatchItem::Progress(4)))));
}

#[tokio::test]
async fn broken_watches_end_and_new_ones_go_on_where_they_were() {
    let store = Memory::new(Config::default());
    let mut watch = store.watch("/", 1).await.unwrap();
    put(&store, "/a", "1").await.unwrap();
    assert_eq!(revisions(&mut watch).await, [2]);
    store.faults().break_watches(lost());
    put(&store, "/a", "2").await.unwrap();
    assert!(matches!(watch.next().await, Some(Err(Error::Timeout(_)))));
    assert!(watch.next().await.is_none());
    let mut again = store.watch("/", 2).await.unwrap();
    assert_eq!(revisions(&mut again).await, [3]);
}

#[tokio::test]
async fn a_store_out_of_reach_does_nothing_until_it_is_back() {
    let store = Memory::new(Config::default());
    let other = store.another();
    let mut watch = store.watch("/", 1).await.unwrap();
    store.faults().cut_off();
    assert!(matches!(put(&store, "/a", "1").await, Err(Error::Unavailable(_))));
    assert!(matches!(store.get("/a").await, Err(Error::Unavailable(_))));
    assert!(matches!(store.revision().await, Err(Error::Unavailable(_))));
    assert!(matches!(watch.next().await, Some(Err(Error::Unavailable(_)))));
    assert_eq!(put(&other, "/a", "1").await.unwrap(), 2, "other handles go on");
    store.faults().reconnect();
    assert_eq!(value(&store, "/a").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn keys_of_one_lease_go_in_one_commit() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    for key in ["/a", "/b"] {
        store.put(key, "x".into(), Expect::Anything, Some(2)).await.unwrap();
    }
    let mut watch = store.watch("/", 3).await.unwrap();
    fixture.clock.advance(jiff::SignedDuration::from_secs(4));
    assert_eq!(store.revision().await.unwrap(), 4);
    assert_eq!(revisions(&mut watch).await, [4, 4]);
}

/// Counts with compare-and-swap until `target`, through every fault: what a careful writer does.
async fn count_to(store: &Memory, target: u64) -> u64 {
    let mut acknowledged = 0;
    loop {
        let Ok((held, _)) = store.get("/n").await else { continue };
        let now: u64 = held.as_ref().map_or(0, |kv| String::from_utf8_lossy(&kv.value).parse().unwrap());
        if now == target {
            return acknowledged;
        }
        let expect = held.map_or(Expect::Absent, |kv| Expect::Revision(kv.mod_revision));
        match store.put("/n", (now + 1).to_string().into(), expect, None).await {
            Ok(_) => acknowledged += 1,
            Err(Error::Conflict { .. } | Error::Unavailable(_) | Error::Timeout(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

/// Follows to the end through breaks, and returns all that was seen.
async fn follow(store: &Memory, last: u64) -> Vec<u64> {
    let mut seen = Vec::new();
    let mut position = 1;
    while position < last {
        let mut watch = store.watch("/", position).await.unwrap();
        while let Some(Ok(item)) = watch.next().await {
            if let WatchItem::Changes(changes) = item {
                position = changes.last().unwrap().revision;
                seen.extend(changes.iter().map(|c| c.revision));
            }
            if position >= last {
                break;
            }
        }
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn chance_is_repeatable_and_loses_no_acknowledged_write() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let store = Memory::new(Config::default());
        let rates = Rates {
            refused: 100,
            answer_lost: 150,
            slow: 300,
            watch_broken: 200,
            watch_slow: 200,
            slowness: Duration::from_millis(50),
        };
        let mut seed: u64 = 7;
        store.faults().by_chance(rates, move |below| {
            // Knuth's MMIX constants; the upper bits are the random ones.
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below.max(1)
        });
        let counts = futures::future::join_all((0..4).map(|_| count_to(&store, 50)));
        let watching = follow(&store, 51);
        let (counts, seen) = futures::join!(counts, watching);
        let acknowledged: u64 = counts.iter().sum();
        assert!(acknowledged < 50, "some answers were lost");
        assert!(seen.into_iter().eq(2..52), "every revision once, in order");
        let page = store.list(ListRange { at: Some(20), ..ListRange::default() }).await.unwrap();
        assert_eq!(page.items[0].value, "19", "a commit a number");
        store.faults().heal();
        store.delete("/n", Expect::Revision(51), Previous::Unwanted).await.unwrap();
        runs.push(counts);
    }
    assert_eq!(runs[0], runs[1]);
}
