//! What every backend must do: each function takes a fresh store.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use store::{Change, Error, Expect, ListRange, Store, Watch};

use crate::Fixture;

async fn put(store: &dyn Store, key: &str, value: &str) -> u64 {
    store.put(key, Bytes::from(value.to_owned()), Expect::Anything, None).await.unwrap().mod_revision
}

async fn keys(store: &dyn Store, range: ListRange) -> Vec<String> {
    store.list(range).await.unwrap().items.iter().map(|kv| kv.key.to_string()).collect()
}

async fn next(watch: &mut Watch) -> Vec<Arc<Change>> {
    watch.next().await.expect("the watch goes on").expect("the watch has no error")
}

async fn writes_are_compared_and_ordered(store: &dyn Store) {
    assert_eq!(store.revision(), 1);
    let made = store.put("/a", "1".into(), Expect::Absent, None).await.unwrap();
    assert_eq!((made.create_revision, made.mod_revision), (2, 2));
    let again = store.put("/a", "2".into(), Expect::Absent, None).await;
    assert!(matches!(again, Err(Error::Conflict { current: Some(kv) }) if kv == made));
    let stale = store.put("/a", "2".into(), Expect::Revision(1), None).await;
    assert!(matches!(stale, Err(Error::Conflict { .. })));
    let changed = store.put("/a", "2".into(), Expect::Revision(2), None).await.unwrap();
    assert_eq!((changed.create_revision, changed.mod_revision), (2, 3));
    assert_eq!(store.get("/a").await.unwrap(), (Some(changed.clone()), 3));

    assert!(matches!(store.delete("/a", Expect::Revision(2)).await, Err(Error::Conflict { .. })));
    assert_eq!(store.delete("/a", Expect::Revision(3)).await.unwrap(), (Some(changed), 4));
    assert_eq!(store.get("/a").await.unwrap(), (None, 4));
    assert_eq!(store.delete("/a", Expect::Anything).await.unwrap(), (None, 4));
    let absent = store.delete("/a", Expect::Revision(3)).await;
    assert!(matches!(absent, Err(Error::Conflict { current: None })));
    assert_eq!(put(store, "/a", "3").await, 5, "refused writes take no revision");
    assert_eq!(store.get("/a").await.unwrap().0.unwrap().create_revision, 5);
}

async fn lists_page_consistently_in_the_past(store: &dyn Store) {
    for key in ["/p/b", "/p/d", "/p/a", "/q/x", "/o/x", "/p/c"] {
        put(store, key, "old").await;
    }
    let prefix = || ListRange { prefix: "/p/".into(), ..ListRange::default() };
    let first = store.list(ListRange { limit: 2, ..prefix() }).await.unwrap();
    assert_eq!((first.items.len(), first.more, first.revision), (2, true, 7));
    // What happens between the pages is not seen by the second.
    store.delete("/p/d", Expect::Anything).await.unwrap();
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

async fn watches_replay_and_follow(store: &dyn Store) {
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
    store.delete("/w/a", Expect::Anything).await.unwrap();
    let gone = next(&mut watch).await.remove(0);
    assert_eq!((gone.revision, gone.value.as_ref(), gone.create_revision), (5, None, 2));
    assert_eq!(gone.previous.as_ref().unwrap().mod_revision, 4);
    assert!(matches!(store.watch("/w/", 6).await, Err(Error::Future { asked: 6, current: 5 })));
}

async fn compaction_forgets_exactly_the_past(store: &dyn Store) {
    put(store, "/a", "1").await;
    put(store, "/b", "1").await;
    put(store, "/a", "2").await;
    store.delete("/b", Expect::Anything).await.unwrap();
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

async fn values_are_limited(store: &dyn Store) {
    let much = store.put("/a", vec![0; 2 << 20].into(), Expect::Anything, None).await;
    assert!(matches!(much, Err(Error::TooLarge { limit: 1_572_864, .. })));
    store.put("/a", vec![0; 1 << 20].into(), Expect::Anything, None).await.unwrap();
}

async fn concurrent_creators_have_one_winner(store: Arc<dyn Store>) {
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
    assert_eq!((winners, store.revision()), (1, 66));
}

/// One test a function, for the embedded backend.
macro_rules! embedded {
    ($($name:ident),* $(,)?) => { mod embedded { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let fixture = super::Fixture::new();
            super::$name(&fixture.store).await;
        }
    )* } };
}

embedded!(
    writes_are_compared_and_ordered,
    lists_page_consistently_in_the_past,
    watches_replay_and_follow,
    compaction_forgets_exactly_the_past,
    values_are_limited,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_concurrent_creators_have_one_winner() {
    let fixture = Fixture::new();
    concurrent_creators_have_one_winner(Arc::new(fixture.store.clone())).await;
}
