//! The cache over a real store.

use std::sync::Arc;
use std::time::Duration;

use base::{Shutdown, Supervisor};
use bytes::Bytes;
use store::{Config, Embedded, Error, Expect, Previous, Store};

use super::*;

struct Fixture {
    folder: tempfile::TempDir,
    store: Arc<Embedded>,
    supervisor: Supervisor,
    cache: Cache,
}

fn spec(prefix: &str, namespaced: bool) -> ResourceSpec {
    ResourceSpec {
        prefix: prefix.to_owned(),
        resource: api::GroupResource::new("", "things"),
        namespaced,
        field_names: vec!["spec.node".into()],
        triggers: vec![0],
        extract: by_paths(&[(vec!["spec", "node"], "")]),
        templates: Templates::default(),
    }
}

impl Fixture {
    async fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap()).await
    }

    async fn on(folder: tempfile::TempDir) -> Self {
        let store = Arc::new(Embedded::open(Config::new(folder.path().join("data"))).unwrap());
        let supervisor = Supervisor::new(Shutdown::new());
        let specs = vec![spec("things", true), spec("deep/things", true), spec("wide", false)];
        let cache = Cache::start(store.clone(), &supervisor, specs).await.unwrap();
        Self { folder, store, supervisor, cache }
    }

    fn things(&self) -> Arc<ResourceCache> {
        self.cache.resource("things").unwrap()
    }

    async fn put(&self, key: &str, node: &str) -> u64 {
        let name = key.rsplit('/').next().unwrap();
        let value = format!(
            r#"{{"kind":"Thing","metadata":{{"name":"{name}","labels":{{"node":"{node}"}}}},"spec":{{"node":"{node}"}}}}"#
        );
        let key = format!("/registry/{key}");
        let revision = self.store.put(&key, value.into(), Expect::Anything, None).await.unwrap().mod_revision;
        self.cache.wait_fresh(revision).await.unwrap();
        revision
    }

    async fn delete(&self, key: &str) -> u64 {
        let key = format!("/registry/{key}");
        let deleted = self.store.delete(&key, Expect::Anything, Previous::Unwanted).await.unwrap();
        let revision = deleted.revision;
        self.cache.wait_fresh(revision).await.unwrap();
        revision
    }

    async fn stop(self) -> tempfile::TempDir {
        self.supervisor.shutdown().start();
        self.supervisor.drain(Duration::from_secs(5)).await;
        self.store.close().await.unwrap();
        self.folder
    }
}

fn names(entries: &[Arc<Entry>]) -> Vec<String> {
    entries.iter().map(|e| format!("{}/{}", e.namespace(), e.name())).collect()
}

fn on_node(node: &'static str) -> Scope {
    let filter: Filter = Arc::new(move |entry: &Entry| entry.field("spec.node") == Some(node));
    Scope { filter: Some(filter), ..Scope::default() }
}

async fn kinds(watch: &mut CacheWatch) -> Vec<(EventKind, u64)> {
    watch.next().await.unwrap().iter().map(|e| (e.kind, e.revision())).collect()
}

#[tokio::test]
async fn objects_are_found_by_prefix_namespace_and_name() {
    let f = Fixture::new().await;
    f.put("things/a/x", "n1").await;
    f.put("things/a-b/x", "n1").await;
    f.put("deep/things/a/x", "n2").await;
    f.put("wide/x", "n3").await;
    f.put("unknown/a/x", "n3").await;
    assert_eq!(names(&f.things().snapshot(None).entries), ["a-b/x", "a/x"]);
    assert_eq!(names(&f.things().snapshot(Some("a")).entries), ["a/x"]);
    let entry = f.things().get("a", "x").unwrap();
    assert_eq!(
        entry.json.whole(),
        r#"{"kind":"Thing","metadata":{"name":"x","resourceVersion":"2","labels":{"node":"n1"}},"spec":{"node":"n1"}}"#
    );
    assert_eq!((entry.label("node"), entry.label("none")), (Some("n1"), None));
    assert_eq!((entry.field("metadata.name"), entry.field("spec.none")), (Some("x"), None));
    let deep = f.cache.resource("deep/things").unwrap().get("a", "x").unwrap();
    assert_eq!(deep.field("spec.node"), Some("n2"));
    assert_eq!(names(&f.cache.resource("wide").unwrap().snapshot(None).entries), ["/x"]);
    f.delete("things/a/x").await;
    assert!(f.things().get("a", "x").is_none());
    f.stop().await;
}

#[tokio::test]
async fn a_filter_turns_changes_into_coming_and_going() {
    let f = Fixture::new().await;
    let start = f.cache.revision();
    let mut all = f.things().watch(start, Scope::default()).await.unwrap();
    let mut one = f.things().watch(start, on_node("n1")).await.unwrap();
    let elsewhere: Filter = Arc::new(|entry: &Entry| entry.namespace() == "other");
    let other = Scope { filter: Some(elsewhere), ..Scope::default() };
    let mut other = f.things().watch(start, other).await.unwrap();
    for node in ["n2", "n1", "n1", "n2", "n1"] {
        f.put("things/a/x", node).await;
    }
    f.delete("things/a/x").await;
    use EventKind::{Added, Deleted, Modified};
    assert_eq!(
        kinds(&mut all).await,
        [(Added, 2), (Modified, 3), (Modified, 4), (Modified, 5), (Modified, 6), (Deleted, 7)]
    );
    let seen = one.next().await.unwrap();
    let shown: Vec<_> = seen.iter().map(|e| (e.kind, e.revision())).collect();
    assert_eq!(shown, [(Added, 3), (Modified, 4), (Deleted, 5), (Added, 6), (Deleted, 7)]);
    // One that ceases to match is shown as it was, with the revision of the change.
    let left: serde_json::Value = serde_json::from_slice(&seen[2].object().json.whole()).unwrap();
    assert_eq!(left["spec"]["node"], "n1");
    assert_eq!(left["metadata"]["resourceVersion"], "5");
    let gone: serde_json::Value = serde_json::from_slice(&seen[4].object().json.whole()).unwrap();
    assert_eq!(gone["metadata"]["resourceVersion"], "7");
    assert_eq!(other.progress(), None, "not looked at yet");
    assert!(tokio::time::timeout(Duration::from_millis(1), other.next()).await.is_err());
    assert_eq!(other.progress(), Some(7));
    f.stop().await;
}

#[tokio::test]
async fn pages_are_of_one_revision_though_objects_change_between_them() {
    let f = Fixture::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        f.put(&format!("things/ns/{name}"), "n1").await;
    }
    f.put("things/other/z", "n1").await;
    let query = PageQuery { scope: Scope::namespace("ns"), limit: 2, ..PageQuery::default() };
    let first = f.things().page(query.clone()).await.unwrap();
    assert_eq!((names(&first.entries), first.remaining), (vec!["ns/a".into(), "ns/b".into()], Some(3)));
    let token = Continue::decode(&first.next.unwrap().encode()).unwrap();
    let next = PageQuery { at: token.revision, after: token.after, ..query.clone() };
    // Nothing has changed: the cache answers.
    let again = f.things().page(next.clone()).await.unwrap();
    assert_eq!((names(&again.entries), again.remaining), (vec!["ns/c".into(), "ns/d".into()], Some(1)));
    f.delete("things/ns/c").await;
    f.put("things/ns/d", "n2").await;
    f.put("things/ns/cc", "n2").await;
    let second = f.things().page(next.clone()).await.unwrap();
    assert_eq!(names(&second.entries), ["ns/c", "ns/d"]);
    assert_eq!((second.revision, second.entries[1].field("spec.node")), (first.revision, Some("n1")));
    let token = second.next.unwrap();
    let last = PageQuery { after: token.after, ..next.clone() };
    let last = f.things().page(last).await.unwrap();
    assert_eq!((names(&last.entries), last.next), (vec!["ns/e".into()], None));
    let scope = Scope { filter: on_node("n2").filter, ..Scope::namespace("ns") };
    let filtered = PageQuery { scope, ..query };
    assert_eq!(names(&f.things().page(filtered).await.unwrap().entries), ["ns/cc", "ns/d"]);

    f.store.compact(f.cache.revision()).await.unwrap();
    assert!(matches!(f.things().page(next.clone()).await, Err(CacheError::Expired { .. })));
    let future = PageQuery { at: Some(999), ..PageQuery::default() };
    assert!(matches!(f.things().page(future).await, Err(CacheError::Future { .. })));
    let foreign = PageQuery { after: "/registry/things/other/z".into(), ..next };
    assert!(matches!(f.things().page(foreign).await, Err(CacheError::BadContinue(_))));
    for bad in ["", "x", "e30", "eyJ2IjoieCIsInJ2IjoxLCJzdGFydCI6IiJ9"] {
        assert!(Continue::decode(bad).is_err(), "{bad}");
    }
    f.stop().await;
}

#[tokio::test]
async fn a_slow_watch_ends_and_the_others_go_on() {
    let f = Fixture::new().await;
    let start = f.cache.revision();
    let mut slow = f.things().watch(start, Scope::default()).await.unwrap();
    let mut quick = f.things().watch(start, Scope::default()).await.unwrap();
    let large = Bytes::from(format!(r#"{{"metadata":{{"name":"x"}},"data":"{}"}}"#, "x".repeat(200 << 10)));
    for n in 0..100u64 {
        f.store.put("/registry/things/a/x", large.clone(), Expect::Anything, None).await.unwrap();
        assert_eq!(kinds(&mut quick).await.len(), 1, "{n}");
    }
    assert!(matches!(slow.next().await, Err(CacheError::Expired { asked: 1, .. })));
    f.store.compact(f.store.revision().await.unwrap() - 1).await.unwrap();
    let late = f.things().watch(start, Scope::default()).await.err().unwrap();
    let CacheError::Expired { asked: 1, oldest } = late else { panic!("{late}") };
    assert_eq!(late.to_string(), format!("too old resource version: 1 ({oldest})"));
    assert!(f.things().watch(oldest, Scope::default()).await.is_ok());
    f.stop().await;
}

#[tokio::test]
async fn a_restart_finds_everything() {
    let f = Fixture::new().await;
    for n in 0..1200 {
        let key = format!("/registry/things/ns/{n:04}");
        let value = format!(r#"{{"metadata":{{"name":"{n:04}"}}}}"#);
        // Not one by one: the load below is what takes several steps.
        tokio::task::yield_now().await;
        let store = f.store.clone();
        if n % 100 == 99 {
            store.put(&key, value.into(), Expect::Anything, None).await.unwrap();
        } else {
            f.supervisor.spawn(base::TaskKind::Background, "put", async move {
                store.put(&key, value.into(), Expect::Anything, None).await.unwrap();
            });
        }
    }
    f.supervisor.drain(Duration::ZERO).await;
    let last = f.store.revision().await.unwrap();
    let folder = f.stop().await;
    let f = Fixture::on(folder).await;
    assert_eq!((f.store.revision().await.unwrap(), f.cache.revision()), (last, last));
    let snapshot = f.things().snapshot(None);
    assert_eq!((snapshot.revision, snapshot.entries.len()), (last, (last - 1) as usize));
    let mut watch = f.things().watch(last, Scope::default()).await.unwrap();
    f.put("things/ns/0000", "n1").await;
    assert_eq!(kinds(&mut watch).await, [(EventKind::Modified, last + 1)]);
    f.stop().await;
}

#[tokio::test]
async fn watches_go_on_where_an_earlier_server_left_off() {
    let f = Fixture::new().await;
    let start = f.cache.revision();
    let made = f.put("things/ns/a", "n1").await;
    f.put("deep/things/ns/a", "n1").await;
    f.put("wide/a", "n1").await;
    let moved = f.put("things/ns/a", "n2").await;
    let gone = f.delete("things/ns/a").await;
    f.put("wide/b", "n1").await;
    let folder = f.stop().await;

    let f = Fixture::on(folder).await;
    let mut all = f.things().watch(start, Scope::default()).await.unwrap();
    let mut one = f.things().watch(start, on_node("n1")).await.unwrap();
    assert_eq!(all.progress(), None);
    let later = f.put("things/ns/b", "n1").await;
    let events = |list: &[(EventKind, u64)]| list.to_vec();
    let (added, modified, deleted) = (EventKind::Added, EventKind::Modified, EventKind::Deleted);
    let mut shown = Vec::new();
    while shown.len() < 4 {
        shown.extend(kinds(&mut all).await);
    }
    assert_eq!(shown, events(&[(added, made), (modified, moved), (deleted, gone), (added, later)]));
    let mut shown = Vec::new();
    while shown.len() < 3 {
        shown.extend(kinds(&mut one).await);
    }
    assert_eq!(shown, events(&[(added, made), (deleted, moved), (added, later)]));
    let last = f.put("things/ns/b", "n1").await;
    assert_eq!(kinds(&mut all).await, [(modified, last)]);
    assert_eq!(all.progress(), Some(last));

    f.store.compact(last).await.unwrap();
    let refused = f.things().watch(start, Scope::default()).await;
    assert!(matches!(refused, Err(CacheError::Expired { .. })));
    f.stop().await;
}

#[tokio::test]
async fn resources_come_and_go_while_running() {
    let f = Fixture::new().await;
    f.put("late/a/x", "n1").await;
    assert!(f.cache.resource("late").is_none());
    let late = f.cache.register(spec("late", true)).await.unwrap();
    assert_eq!(names(&late.snapshot(None).entries), ["a/x"]);
    let (snapshot, mut watch) = late.snapshot_and_watch(on_node("n2"));
    assert!(snapshot.entries.is_empty());
    f.put("late/a/y", "n2").await;
    assert_eq!(kinds(&mut watch).await, [(EventKind::Added, 3)]);
    f.cache.unregister("late").await.unwrap();
    assert!(matches!(watch.next().await, Err(CacheError::Closed)));
    f.put("late/a/z", "n2").await;
    assert!(f.cache.resource("late").is_none());
    f.stop().await;
}

#[tokio::test]
async fn the_end_of_the_store_ends_watches_and_waits() {
    let f = Fixture::new().await;
    let mut watch = f.things().watch(f.cache.revision(), Scope::default()).await.unwrap();
    f.store.close().await.unwrap();
    assert!(matches!(watch.next().await, Err(CacheError::Closed)));
    assert!(matches!(f.cache.wait_fresh(99).await, Err(CacheError::Closed)));
    assert!(matches!(f.store.get("/x").await, Err(Error::Closed)));
    f.supervisor.drain(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn values_that_are_no_objects_are_left_out() {
    let f = Fixture::new().await;
    let start = f.cache.revision();
    for (name, value) in [
        ("bad", "[1"),
        ("torn", r#"{"metadata":{"name":"torn"},"#),
        ("odd", r#"{"metadata":{"labels":7}}"#),
        ("good", "{}"),
    ] {
        f.store
            .put(&format!("/registry/things/a/{name}"), value.into(), Expect::Anything, None)
            .await
            .unwrap();
    }
    f.cache.wait_fresh(f.store.revision().await.unwrap()).await.unwrap();
    assert_eq!(names(&f.things().snapshot(None).entries), ["a/good", "a/odd"]);
    assert_eq!(f.things().get("a", "odd").unwrap().field("spec.node"), Some(""));
    let mut watch = f.things().watch(start, Scope::default()).await.unwrap();
    assert_eq!(kinds(&mut watch).await.len(), 2);
    f.stop().await;
}

#[tokio::test]
async fn only_the_watches_of_the_values_concerned_wake_up() {
    let f = Fixture::new().await;
    let things = f.things();
    let start = f.cache.revision();
    let mut watches = Vec::new();
    for scope in [
        Scope::default().with("spec.node", "n1"),
        Scope::default().with("spec.node", "n2"),
        Scope::namespace("a").with("metadata.name", "x"),
        Scope::namespace("a").with("metadata.name", "y"),
        Scope::namespace("a"),
        Scope::namespace("b"),
        Scope::default(),
    ] {
        watches.push(things.watch(start, scope).await.unwrap());
    }
    let mut expected = vec![Vec::new(); watches.len()];
    let mut see = async |revision: u64, woken: &[(usize, EventKind)]| {
        for (index, kind) in woken {
            expected[*index].push((*kind, revision));
        }
        for (index, watch) in watches.iter_mut().enumerate() {
            let wakes = woken.iter().any(|(i, _)| *i == index);
            assert_eq!(watch.is_woken(), wakes, "watch {index} at {revision}");
            if wakes {
                assert_eq!(kinds(watch).await, expected[index].split_off(0), "watch {index}");
            }
            // The others have come as far all the same.
            assert_eq!(watch.progress(), Some(revision));
        }
    };
    use EventKind::{Added, Deleted, Modified};
    see(f.put("things/a/x", "n1").await, &[(0, Added), (2, Added), (4, Added), (6, Added)]).await;
    see(f.put("things/b/x", "n1").await, &[(0, Added), (5, Added), (6, Added)]).await;
    let moved = [(0, Deleted), (1, Added), (2, Modified), (4, Modified), (6, Modified)];
    see(f.put("things/a/x", "n2").await, &moved).await;
    see(f.put("things/a/y", "").await, &[(3, Added), (4, Added), (6, Added)]).await;
    see(f.delete("things/a/x").await, &[(1, Deleted), (2, Deleted), (4, Deleted), (6, Deleted)]).await;
    f.stop().await;
}

#[tokio::test]
async fn a_quiet_watch_of_one_value_outlives_the_ring_and_a_slow_one_ends() {
    let f = Fixture::new().await;
    let start = f.cache.revision();
    let scope = |node: &str| Scope::default().with("spec.node", node);
    let mut quiet = f.things().watch(start, scope("n1")).await.unwrap();
    let mut slow = f.things().watch(start, scope("n2")).await.unwrap();
    let first = f.put("things/a/y", "n2").await;
    let large = "x".repeat(200 << 10);
    let large = format!(r#"{{"metadata":{{"name":"x"}},"spec":{{"node":"n2"}},"data":"{large}"}}"#);
    for _ in 0..100 {
        f.store.put("/registry/things/a/x", large.clone().into(), Expect::Anything, None).await.unwrap();
    }
    f.cache.wait_fresh(f.store.revision().await.unwrap()).await.unwrap();
    assert!(matches!(slow.next().await, Err(CacheError::Expired { asked, .. }) if asked < first));
    let seen = f.put("things/a/z", "n1").await;
    assert_eq!(kinds(&mut quiet).await, [(EventKind::Added, seen)]);
    // One that comes later goes on from what the ring still has.
    let from = f.put("things/a/z", "n3").await;
    let mut late = f.things().watch(from, scope("n1")).await.unwrap();
    let back = f.put("things/a/z", "n1").await;
    assert_eq!(kinds(&mut late).await, [(EventKind::Added, back)]);
    f.stop().await;
}

#[tokio::test]
async fn objects_are_looked_up_by_a_triggers_value() {
    let f = Fixture::new().await;
    for (name, node) in
        [("a/x", "n1"), ("a/y", "n2"), ("b/x", "n1"), ("b/y", ""), ("a/x", "n2"), ("b/z", "n1")]
    {
        f.put(&format!("things/{name}"), node).await;
    }
    f.delete("things/b/z").await;
    let on = |node: &str| Scope::default().with("spec.node", node);
    let found = |scope: Scope| names(&f.things().matching(&scope).entries);
    assert_eq!(found(on("n1")), ["b/x"]);
    assert_eq!(found(on("n2")), ["a/x", "a/y"]);
    assert_eq!(found(Scope { namespace: Some("b".into()), ..on("n1") }), ["b/x"]);
    assert_eq!(found(Scope { namespace: Some("a".into()), ..on("n1") }), Vec::<String>::new());
    assert_eq!(found(on("")), ["b/y"]);
    assert_eq!(found(on("n3")), Vec::<String>::new());
    let page = PageQuery { scope: on("n2"), limit: 1, ..PageQuery::default() };
    let page = f.things().page(page).await.unwrap();
    assert_eq!((names(&page.entries), page.next.is_some(), page.remaining), (vec!["a/x".into()], true, None));
    f.stop().await;
}

#[tokio::test(start_paused = true)]
async fn history_shrinks_to_its_share_while_nothing_happens() {
    let f = Fixture::new().await;
    let start = f.cache.revision();
    let value =
        |n: u64| Bytes::from(format!(r#"{{"metadata":{{"name":"x"}},"data":"{n}{}"}}"#, "x".repeat(4 << 10)));
    for n in 0..200 {
        f.store.put("/registry/things/a/x", value(n), Expect::Anything, None).await.unwrap();
    }
    let last = f.store.revision().await.unwrap();
    f.cache.wait_fresh(last).await.unwrap();
    tokio::time::sleep(2 * ring::SETTLED + Duration::from_millis(1)).await;
    let things = f.things();
    assert!(!things.remembers(start) && !things.remembers(last - 100));
    assert!(things.remembers(last - 40), "some events are always kept");
    // What the ring has lost is the store's.
    let mut late = things.watch(start, Scope::default()).await.unwrap();
    let mut seen = 0;
    while seen < 200 {
        seen += late.next().await.unwrap().len();
    }
    f.stop().await;
}
