//! What every backend must do: each function takes a fresh one.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use jiff::SignedDuration;
use store::{Change, Error, Expect, KeyValue, ListRange, Previous, Store, Watch, WatchItem};

use crate::{Backend, Timed};

async fn put(store: &dyn Store, key: &str, value: &str) -> u64 {
    store.put(key, Bytes::from(value.to_owned()), Expect::Anything, None).await.unwrap().mod_revision
}

async fn keys(store: &dyn Store, range: ListRange) -> Vec<String> {
    store.list(range).await.unwrap().items.iter().map(|kv| kv.key.to_string()).collect()
}

async fn get(store: &dyn Store, key: &str) -> Option<KeyValue> {
    store.get(key).await.unwrap().0
}

/// The next changes, whatever progress comes before them.
async fn next(watch: &mut Watch) -> Vec<Arc<Change>> {
    loop {
        let item = watch.next().await.expect("the watch goes on").expect("the watch has no error");
        if let WatchItem::Changes(changes) = item {
            assert!(!changes.is_empty());
            return changes;
        }
    }
}

async fn delete(store: &dyn Store, key: &str) -> u64 {
    store.delete(key, Expect::Anything, Previous::Unwanted).await.unwrap().revision
}

async fn writes_are_compared_and_ordered<B: Backend>(backend: B) {
    let store = &*backend.store();
    assert_eq!(store.revision().await.unwrap(), 1);
    let made = store.put("/a", "1".into(), Expect::Absent, None).await.unwrap();
    assert_eq!((made.create_revision, made.mod_revision), (2, 2));
    let again = store.put("/a", "2".into(), Expect::Absent, None).await;
    assert!(matches!(again, Err(Error::Conflict { current: Some(kv) }) if kv == made));
    let stale = store.put("/a", "2".into(), Expect::Revision(1), None).await;
    assert!(matches!(stale, Err(Error::Conflict { .. })));
    let changed = store.put("/a", "2".into(), Expect::Revision(2), None).await.unwrap();
    assert_eq!((changed.create_revision, changed.mod_revision), (2, 3));
    assert_eq!(store.get("/a").await.unwrap(), (Some(changed.clone()), 3));

    let early = store.delete("/a", Expect::Revision(2), Previous::Wanted).await;
    assert!(matches!(early, Err(Error::Conflict { .. })));
    let deleted = store.delete("/a", Expect::Revision(3), Previous::Wanted).await.unwrap();
    assert_eq!((deleted.existed, deleted.previous, deleted.revision), (true, Some(changed), 4));
    assert_eq!(store.get("/a").await.unwrap(), (None, 4));
    let nothing = store.delete("/a", Expect::Anything, Previous::Wanted).await.unwrap();
    assert_eq!((nothing.existed, nothing.previous, nothing.revision), (false, None, 4));
    let absent = store.delete("/a", Expect::Revision(3), Previous::Wanted).await;
    assert!(matches!(absent, Err(Error::Conflict { current: None })));
    assert_eq!(put(store, "/a", "3").await, 5, "refused writes take no revision");
    assert_eq!(get(store, "/a").await.unwrap().create_revision, 5);
    let deleted = store.delete("/a", Expect::Anything, Previous::Unwanted).await.unwrap();
    assert_eq!((deleted.existed, deleted.previous, deleted.revision), (true, None, 6));
    assert_eq!(store.revision().await.unwrap(), 6);
    assert!(store.size_bytes().await.unwrap() > 0);
}

async fn lists_page_consistently_in_the_past<B: Backend>(backend: B) {
    let store = &*backend.store();
    for key in ["/p/b", "/p/d", "/p/a", "/q/x", "/o/x", "/p/c"] {
        put(store, key, "old").await;
    }
    let prefix = || ListRange { prefix: "/p/".into(), ..ListRange::default() };
    let first = store.list(ListRange { limit: 2, ..prefix() }).await.unwrap();
    assert_eq!((first.items.len(), first.more, first.revision), (2, true, 7));
    // What happens between the pages is not seen by the second.
    delete(store, "/p/d").await;
    put(store, "/p/c", "new").await;
    put(store, "/p/bb", "new").await;
    let rest = ListRange { after: "/p/b".into(), limit: 2, at: Some(first.revision), ..prefix() };
    let second = store.list(rest).await.unwrap();
    let seen: Vec<_> = second.items.iter().map(|kv| (kv.key.as_ref(), kv.value.as_ref())).collect();
    assert_eq!(seen, [("/p/c", &b"old"[..]), ("/p/d", b"old")]);
    assert_eq!((second.more, second.revision), (false, 7));
    assert_eq!(keys(store, prefix()).await, ["/p/a", "/p/b", "/p/bb", "/p/c"]);
    assert_eq!(keys(store, ListRange { at: Some(1), ..prefix() }).await, [""; 0]);
    let future = store.list(ListRange { at: Some(99), ..prefix() }).await;
    assert!(matches!(future, Err(Error::Future { asked: 99, current: 10 })));
}

async fn watches_replay_and_follow<B: Backend>(backend: B) {
    let store = &*backend.store();
    put(store, "/w/a", "1").await;
    put(store, "/other", "1").await;
    put(store, "/w/a", "2").await;
    let mut watch = store.watch("/w/", 1).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(next(&mut watch).await);
    }
    assert_eq!(seen.iter().map(|c| c.revision).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(seen[1].previous.as_ref().unwrap().value, "1");
    delete(store, "/w/a").await;
    let gone = next(&mut watch).await.remove(0);
    assert_eq!((gone.revision, gone.value.as_ref(), gone.create_revision), (5, None, 2));
    assert_eq!(gone.previous.as_ref().unwrap().mod_revision, 4);
    assert!(matches!(store.watch("/w/", 6).await, Err(Error::Future { asked: 6, current: 5 })));
}

async fn compaction_forgets_exactly_the_past<B: Backend>(backend: B) {
    let store = &*backend.store();
    put(store, "/a", "1").await;
    put(store, "/b", "1").await;
    put(store, "/a", "2").await;
    delete(store, "/b").await;
    put(store, "/a", "3").await;
    store.compact(4).await.unwrap();
    store.compact(3).await.unwrap();
    let old = store.list(ListRange { at: Some(3), ..ListRange::default() }).await;
    assert!(matches!(old, Err(Error::Compacted { asked: 3, oldest: 4 })));
    assert!(matches!(store.watch("", 3).await, Err(Error::Compacted { asked: 3, oldest: 4 })));
    assert_eq!(keys(store, ListRange { at: Some(4), ..ListRange::default() }).await, ["/a", "/b"]);
    let mut watch = store.watch("", 4).await.unwrap();
    let gone = next(&mut watch).await.remove(0);
    assert_eq!(gone.previous.as_ref().unwrap().value, "1");
    assert!(matches!(store.compact(9).await, Err(Error::Future { asked: 9, current: 6 })));
    store.compact(6).await.unwrap();
    assert_eq!(store.get("/a").await.unwrap().0.unwrap().value, "3");
}

async fn values_are_limited<B: Backend>(backend: B) {
    let store = &*backend.store();
    let much = store.put("/a", vec![0; 2 << 20].into(), Expect::Anything, None).await;
    assert!(matches!(much, Err(Error::TooLarge { limit: 1_572_864, .. })));
    store.put("/a", vec![0; 1 << 20].into(), Expect::Anything, None).await.unwrap();
}

async fn concurrent_creators_have_one_winner<B: Backend>(backend: B) {
    let store = backend.store();
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..64 {
        let store = store.clone();
        tasks.spawn(async move {
            let mine = store.put(&format!("/own/{i:02}"), "x".into(), Expect::Absent, None).await.unwrap();
            assert_eq!(store.get(&mine.key).await.unwrap().0, Some(mine.clone()));
            store.put("/one", "x".into(), Expect::Absent, None).await.is_ok()
        });
    }
    let winners = tasks.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!((winners, store.revision().await.unwrap()), (1, 66));
}

async fn progress_is_told_to_who_asks<B: Backend>(backend: B) {
    let store = &*backend.store();
    put(store, "/w/a", "1").await;
    let mut watch = store.watch("/w/", 1).await.unwrap();
    let mut idle = store.watch("/idle/", 1).await.unwrap();
    for n in 0..10 {
        put(store, &format!("/other/{n}"), "1").await;
    }
    let now = store.revision().await.unwrap();
    store.request_progress().await.unwrap();
    let mut seen = Vec::new();
    for (watch, name) in [(&mut watch, "busy"), (&mut idle, "idle")] {
        loop {
            match watch.next().await.unwrap().unwrap() {
                WatchItem::Changes(changes) => seen.extend(changes.iter().map(|c| (name, c.revision))),
                // A backend may have to commit something to learn how far it has come.
                WatchItem::Progress(upto) if upto >= now => break,
                WatchItem::Progress(_) => {}
            }
        }
    }
    assert_eq!(seen, [("busy", 2)], "progress comes after everything before it");
    // A watch that begins later owes nobody anything, and a new request is met anew.
    let mut late = store.watch("/w/", now).await.unwrap();
    let last = put(store, "/w/a", "2").await;
    assert_eq!(next(&mut late).await[0].revision, last);
    store.request_progress().await.unwrap();
    assert!(matches!(late.next().await, Some(Ok(WatchItem::Progress(upto))) if upto >= last));
}

async fn keys_expire_at_their_time_unless_written_again<B: Timed>(mut backend: B) {
    let ttl = SignedDuration::from_secs(10);
    let lease = SignedDuration::from_secs(B::LEASE_S);
    let put = async |store: &dyn Store, key: &str, value: &'static str, ttl_s| {
        store.put(key, value.into(), Expect::Anything, ttl_s).await.unwrap();
    };
    {
        let store = &*backend.store();
        put(store, "/short", "x", Some(10)).await;
        put(store, "/renewed", "x", Some(10)).await;
        put(store, "/kept", "x", Some(10)).await;
        backend.clock().advance(ttl - SignedDuration::from_secs(1));
        put(store, "/renewed", "y", Some(10)).await;
        put(store, "/kept", "y", None).await;
    }
    // The expiry is kept with the data, not in a timer.
    backend.reopen().await;
    let store = &*backend.store();
    assert!(get(store, "/short").await.is_some(), "never earlier");
    let mut watch = store.watch("/", 6).await.unwrap();
    backend.clock().advance(SignedDuration::from_secs(1) + lease);
    put(store, "/tick", "", None).await;
    let change = next(&mut watch).await.remove(0);
    assert_eq!((change.key.as_ref(), change.revision), ("/short", 7));
    assert!(change.value.is_none() && change.previous.is_some());
    assert!(get(store, "/renewed").await.is_some());
    backend.clock().advance(SignedDuration::from_secs(3600));
    put(store, "/tick", "", None).await;
    assert!(get(store, "/renewed").await.is_none());
    assert!(get(store, "/kept").await.is_some());
}

async fn the_past_is_found_by_time_and_by_key<B: Timed>(mut backend: B) {
    let start_ms = u64::try_from(crate::start().as_millisecond()).unwrap();
    let minute = SignedDuration::from_mins(1);
    {
        let store = &*backend.store();
        for value in ["one", "two"] {
            put(store, "/x", value).await;
            put(store, "/other", value).await;
            backend.clock().advance(minute);
        }
        delete(store, "/x").await;
        backend.clock().advance(minute);
        put(store, "/x", "three").await;
        backend.clock().advance(minute);
        put(store, "/other", "last").await;
    }
    backend.reopen().await;
    let store = &*backend.store();
    let at = async |seconds: u64| {
        let then = store.moment(start_ms + seconds * 1000).await.unwrap();
        let range = ListRange { prefix: "/x".into(), at: Some(then.revision), ..ListRange::default() };
        let page = store.list(range).await.unwrap();
        page.items.first().map(|found| String::from_utf8(found.value.to_vec()).unwrap())
    };
    let told = |text: &str| Some(text.to_owned());
    assert_eq!((at(1).await, at(59).await), (told("one"), told("one")));
    assert_eq!((at(61).await, at(119).await, at(121).await), (told("two"), told("two"), None));
    assert_eq!((at(181).await, at(1_000_000).await), (told("three"), told("three")));
    let past = store.versions("/x", 10).await.unwrap();
    let seen: Vec<_> =
        past.versions.iter().map(|v| ((v.time_ms - start_ms) / 1000, v.value.as_deref())).collect();
    let expected: [(u64, Option<&[u8]>); 4] =
        [(180, Some(b"three")), (120, None), (60, Some(b"two")), (0, Some(b"one"))];
    assert_eq!((&seen[..], past.more), (&expected[..], false));
    let last = store.versions("/x", 1).await.unwrap();
    assert_eq!((last.versions.len(), last.more), (1, true));
    assert_eq!(store.versions("/none", 10).await.unwrap().versions, []);
    // What is forgotten is refused, not guessed.
    store.compact(past.versions[1].revision).await.unwrap();
    assert!(matches!(store.moment(start_ms + 61_000).await, Err(Error::Compacted { .. })));
    assert_eq!(at(121).await, None);
    assert_eq!(store.versions("/x", 10).await.unwrap().versions[0], past.versions[0]);
    assert!(store.oldest().await.unwrap().revision >= past.versions[1].revision);
}

async fn a_lagging_watch_misses_nothing_and_is_told_when_history_is_gone<B: Backend>(backend: B) {
    let store = &*backend.store();
    let mut slow = store.watch("/", 1).await.unwrap();
    let mut lost = store.watch("/", 1).await.unwrap();
    // More than the embedded store keeps in memory.
    for _ in 0..40 {
        store.put("/x", vec![0; 200 << 10].into(), Expect::Anything, None).await.unwrap();
    }
    let mut revisions = Vec::new();
    while revisions.len() < 40 {
        revisions.extend(next(&mut slow).await.iter().map(|c| c.revision));
    }
    assert!(revisions.into_iter().eq(2..42));
    store.compact(30).await.unwrap();
    let mut seen = 1;
    let end = loop {
        match lost.next().await.expect("the watch goes on, or says why not") {
            Ok(WatchItem::Changes(changes)) => {
                assert!(
                    B::DELIVERS_COMPACTED
                        && changes.iter().zip(seen + 1..).all(|(c, next)| c.revision == next)
                );
                seen = changes.last().unwrap().revision;
            }
            Ok(WatchItem::Progress(_)) => {}
            Err(error) => break Some(error),
        }
        if seen == 41 {
            break None;
        }
    };
    match end {
        Some(Error::Compacted { asked, oldest: 30 }) => assert_eq!(asked, seen),
        Some(other) => panic!("{other}"),
        None => return,
    }
    assert!(lost.next().await.is_none());
}

async fn closing_ends_watches_and_refuses_the_rest<B: Backend>(backend: B) {
    let store = &*backend.store();
    let mut watch = store.watch("/", 1).await.unwrap();
    put(store, "/x", "x").await;
    store.close().await.unwrap();
    store.close().await.unwrap();
    // What was committed may still be delivered.
    let mut last = watch.next().await;
    while let Some(Ok(_)) = last {
        last = watch.next().await;
    }
    assert!(matches!(last, Some(Err(Error::Closed))));
    assert!(matches!(store.get("/x").await, Err(Error::Closed)));
    assert!(matches!(store.list(ListRange::default()).await, Err(Error::Closed)));
    assert!(matches!(store.revision().await, Err(Error::Closed)));
    assert!(matches!(store.watch("/", 1).await.err(), Some(Error::Closed)));
    assert!(matches!(store.request_progress().await, Err(Error::Closed)));
    assert!(matches!(store.compact(1).await, Err(Error::Closed)));
    assert!(matches!(store.size_bytes().await, Err(Error::Closed)));
    let late = store.put("/x", "y".into(), Expect::Anything, None).await;
    assert!(matches!(late, Err(Error::Closed)));
    let late = store.delete("/x", Expect::Anything, Previous::Unwanted).await;
    assert!(matches!(late, Err(Error::Closed)));
}

/// One test a function and backend.
macro_rules! suite {
    ($($backend:ident)*: $names:tt) => { $( suite!(@ $backend $names); )* };
    (@ $backend:ident { $($name:ident),* $(,)? }) => { mod $backend { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            crate::suite::$name(<crate::$backend::Fixture as crate::Backend>::new()).await;
        }
    )* } };
}

suite!(embedded memory etcd: {
    writes_are_compared_and_ordered,
    lists_page_consistently_in_the_past,
    watches_replay_and_follow,
    compaction_forgets_exactly_the_past,
    values_are_limited,
    concurrent_creators_have_one_winner,
    progress_is_told_to_who_asks,
    a_lagging_watch_misses_nothing_and_is_told_when_history_is_gone,
    closing_ends_watches_and_refuses_the_rest,
});

/// What goes by a clock that tests move, which etcd's does not.
mod timed {
    suite!(embedded memory: { keys_expire_at_their_time_unless_written_again, the_past_is_found_by_time_and_by_key });
}
