//! Every backend against the obvious model: a map per revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use proptest::prelude::*;
use store::{Change, Error, Expect, ListRange, Previous, Store, WatchItem};

use crate::Backend;

#[derive(Debug, Clone)]
enum Step {
    Put {
        key: usize,
        value: u16,
        expect: Demand,
    },
    Delete {
        key: usize,
        expect: Demand,
    },
    /// The share of the known revisions, in 1/256.
    Compact(u8),
    List {
        at: u8,
        prefix: usize,
        after: usize,
        limit: usize,
    },
    Watch {
        after: u8,
        prefix: usize,
    },
    Reopen,
}

#[derive(Debug, Clone, Copy)]
enum Demand {
    Anything,
    Absent,
    Current,
    Stale,
}

const KEYS: [&str; 6] = ["/r/a", "/r/a/x", "/r/a-b", "/r/b", "/s/a", "/r"];
const PREFIXES: [&str; 4] = ["", "/r/", "/r/a", "/none"];

fn demand() -> impl Strategy<Value = Demand> {
    prop_oneof![
        3 => Just(Demand::Anything),
        1 => Just(Demand::Absent),
        2 => Just(Demand::Current),
        1 => Just(Demand::Stale),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..KEYS.len(), any::<u16>(), demand()).prop_map(|(key, value, expect)| Step::Put { key, value, expect }),
        4 => (0..KEYS.len(), demand()).prop_map(|(key, expect)| Step::Delete { key, expect }),
        1 => any::<u8>().prop_map(Step::Compact),
        4 => (any::<u8>(), 0..PREFIXES.len(), 0..KEYS.len(), 0..4usize)
            .prop_map(|(at, prefix, after, limit)| Step::List { at, prefix, after, limit }),
        2 => (any::<u8>(), 0..PREFIXES.len()).prop_map(|(after, prefix)| Step::Watch { after, prefix }),
        1 => Just(Step::Reopen),
    ]
}

/// (create revision, mod revision, value)
type Held = (u64, u64, String);

/// What the store must hold: every state there was, and who changed what.
struct Model {
    /// `states[n]` is the state at revision `n`.
    states: Vec<BTreeMap<String, Held>>,
    changed: Vec<String>,
    oldest: u64,
}

impl Model {
    fn new() -> Self {
        Self { states: vec![BTreeMap::new(); 2], changed: vec![String::new(); 2], oldest: 1 }
    }

    fn revision(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    fn now(&self) -> &BTreeMap<String, Held> {
        &self.states[self.states.len() - 1]
    }

    fn expect(&self, key: &str, demand: Demand) -> (Expect, bool) {
        let current = self.now().get(key).map(|held| held.1);
        match demand {
            Demand::Anything => (Expect::Anything, true),
            Demand::Absent => (Expect::Absent, current.is_none()),
            Demand::Current => (Expect::Revision(current.unwrap_or(1)), current.is_some()),
            Demand::Stale => (Expect::Revision(current.map_or(1, |r| r - 1)), false),
        }
    }

    fn commit(&mut self, key: &str, change: impl FnOnce(&mut BTreeMap<String, Held>, u64)) {
        let mut next = self.now().clone();
        change(&mut next, self.revision() + 1);
        self.states.push(next);
        self.changed.push(key.to_owned());
    }

    /// A revision among those there have been, the future a little included.
    fn pick(&self, share: u8) -> u64 {
        (self.revision() + 2) * u64::from(share) / 256
    }

    fn list(&self, range: &ListRange, at: u64) -> Vec<(String, Held)> {
        let state = &self.states[at as usize];
        let found = state.iter().filter(|(k, _)| k.starts_with(&range.prefix) && **k > range.after);
        found.map(|(k, held)| (k.clone(), held.clone())).collect()
    }

    fn check_change(&self, change: &Change) {
        let revision = change.revision as usize;
        let held = |state: &BTreeMap<String, Held>| state.get(change.key.as_ref()).cloned();
        let (before, after) = (held(&self.states[revision - 1]), held(&self.states[revision]));
        assert_eq!(self.changed[revision], change.key.as_ref());
        assert_eq!(text(change.value.as_ref()), after.as_ref().map(|h| h.2.clone()));
        let previous = change.previous.as_ref();
        assert_eq!(
            previous.map(|p| (p.create_revision, p.mod_revision)),
            before.as_ref().map(|h| (h.0, h.1))
        );
        assert_eq!(text(previous.map(|p| &p.value)), before.as_ref().map(|h| h.2.clone()));
        assert_eq!(change.create_revision, after.or(before).expect("a change is of something").0);
    }
}

fn text(value: Option<&Bytes>) -> Option<String> {
    value.map(|v| String::from_utf8_lossy(v).into_owned())
}

async fn run<B: Backend>(steps: Vec<Step>) {
    let mut backend = B::new();
    let mut store = backend.store();
    let mut model = Model::new();
    for step in steps {
        match step {
            Step::Reopen => store = reopen(&mut backend).await,
            Step::Put { key, value, expect } => put(&*store, &mut model, KEYS[key], value, expect).await,
            Step::Delete { key, expect } => delete(&*store, &mut model, KEYS[key], expect).await,
            Step::Compact(share) => compact(&*store, &mut model, share).await,
            Step::List { at, prefix, after, limit } => {
                let (prefix, after) = (PREFIXES[prefix].to_owned(), KEYS[after].to_owned());
                list(&*store, &model, ListRange { prefix, after, limit, at: Some(model.pick(at)) }).await;
            }
            Step::Watch { after, prefix } => {
                watch(&*store, &model, PREFIXES[prefix], model.pick(after)).await
            }
        }
        assert_eq!(store.revision().await.expect("an open store"), model.revision());
    }
    let store = reopen(&mut backend).await;
    let everything = ListRange { at: Some(model.revision()), ..ListRange::default() };
    list(&*store, &model, everything).await;
    watch(&*store, &model, "", model.oldest).await;
}

async fn reopen(backend: &mut impl Backend) -> Arc<dyn Store> {
    backend.reopen().await;
    backend.store()
}

async fn put(store: &dyn Store, model: &mut Model, key: &str, value: u16, demand: Demand) {
    let (expect, met) = model.expect(key, demand);
    let value = value.to_string().repeat(usize::from(value % 50));
    let written = store.put(key, value.clone().into(), expect, None).await;
    if !met {
        assert!(matches!(written, Err(Error::Conflict { .. })), "{written:?}");
        return;
    }
    model.commit(key, |state, revision| {
        let created = state.get(key).map_or(revision, |held| held.0);
        state.insert(key.to_owned(), (created, revision, value));
    });
    assert_eq!(written.expect("the write is accepted").mod_revision, model.revision());
}

async fn delete(store: &dyn Store, model: &mut Model, key: &str, demand: Demand) {
    let (expect, met) = model.expect(key, demand);
    let gone = store.delete(key, expect, Previous::Wanted).await;
    if !met {
        assert!(matches!(gone, Err(Error::Conflict { .. })), "{gone:?}");
        return;
    }
    let existed = model.now().contains_key(key);
    if existed {
        model.commit(key, |state, _| {
            state.remove(key);
        });
    }
    let gone = gone.expect("the deletion is accepted");
    let found = (gone.existed, gone.previous.is_some(), gone.revision);
    assert_eq!(found, (existed, existed, model.revision()));
}

async fn compact(store: &dyn Store, model: &mut Model, share: u8) {
    let upto = model.pick(share);
    let done = store.compact(upto).await;
    if upto > model.revision() {
        assert!(matches!(done, Err(Error::Future { .. })));
    } else {
        done.expect("the compaction is accepted");
        model.oldest = model.oldest.max(upto);
    }
}

async fn list(store: &dyn Store, model: &Model, range: ListRange) {
    let at = range.at.expect("the test asks for revisions");
    let page = store.list(range.clone()).await;
    if at.max(1) < model.oldest {
        assert!(
            matches!(page, Err(Error::Compacted { asked, oldest }) if (asked, oldest) == (at, model.oldest))
        );
        return;
    }
    if at > model.revision() {
        assert!(matches!(page, Err(Error::Future { .. })));
        return;
    }
    let page = page.expect("the list is answered");
    let mut all = model.list(&range, at);
    let more = range.limit > 0 && all.len() > range.limit;
    if more {
        all.truncate(range.limit);
    }
    let seen: Vec<(String, Held)> = page
        .items
        .iter()
        .map(|kv| {
            let value = String::from_utf8_lossy(&kv.value).into_owned();
            (kv.key.to_string(), (kv.create_revision, kv.mod_revision, value))
        })
        .collect();
    assert_eq!((seen, page.more, page.revision), (all, more, at));
}

async fn watch(store: &dyn Store, model: &Model, prefix: &str, after: u64) {
    let watch = store.watch(prefix, after).await;
    if after.max(1) < model.oldest {
        assert!(matches!(watch, Err(Error::Compacted { .. })));
        return;
    }
    if after > model.revision() {
        assert!(matches!(watch, Err(Error::Future { .. })));
        return;
    }
    let mut watch = watch.expect("the watch begins");
    let mut expected = (after.max(1) + 1..=model.revision())
        .filter(|r| model.changed[*r as usize].starts_with(prefix))
        .peekable();
    while expected.peek().is_some() {
        let item = watch.next().await.expect("the watch goes on").expect("the watch has no error");
        let WatchItem::Changes(changes) = item else { continue };
        for change in changes {
            assert_eq!(Some(change.revision), expected.next());
            model.check_change(&change);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_embedded_store_does_as_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        runtime.block_on(run::<crate::embedded::Fixture>(steps));
    }

    #[test]
    fn the_store_in_memory_does_as_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(run::<crate::memory::Fixture>(steps));
    }
}

proptest! {
    // Each case has an etcd of its own, a second or two.
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn etcd_does_as_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.expect("a runtime").block_on(run::<crate::etcd::Fixture>(steps));
    }
}
