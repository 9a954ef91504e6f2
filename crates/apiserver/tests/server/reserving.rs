//! What a write reserves is confirmed by its commit, released without one, and left open when nobody knows.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use api::{Error, Object};
use apiserver::Eventual;
use apiserver::admission::{
    Admission, Attempt, Committed, Hold, Immediate, Operation, Reservation, Reserver, Review,
};
use futures::FutureExt;
use serde_json::json;
use store::memory::{Part, WriteFault};
use store::{Expect, Store};

use crate::gate::Gate;
use crate::harness::{CONFIG_MAPS, Harness, config_map};

const A: &str = "/api/v1/namespaces/default/configmaps/a";

/// What the pool was told, in order.
type Log = Arc<Mutex<Vec<String>>>;

/// Gives each write of a config map a number.
#[derive(Clone, Default)]
struct Pool {
    log: Log,
    last: Arc<AtomicU64>,
    /// Where reservations wait, if they do.
    gate: Option<Gate>,
}

/// One number, set aside.
struct Number {
    number: u64,
    log: Log,
}

impl Number {
    fn tell(&self, what: &str) {
        self.log.lock().unwrap().push(format!("{} {what}", self.number));
    }
}

impl Hold for Number {
    fn confirm(self: Box<Self>, committed: Committed) {
        self.tell(&format!("{committed:?}"));
    }

    fn release(self: Box<Self>) {
        self.tell("released");
    }

    fn leave_open(self: Box<Self>, attempt: &Attempt) {
        let Attempt { namespace, name, uid, base, committed } = attempt;
        let based = if base.is_some() { "changed" } else { "created" };
        assert!(!uid.is_empty());
        self.tell(&format!("{namespace}/{name} perhaps {based}: {committed:?}"));
    }
}

impl Reserver for Pool {
    fn reserve<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a mut Object>,
        held: Option<Reservation>,
    ) -> Eventual<'a, Result<Option<Reservation>, Error>> {
        if &*review.resource.plural != "configmaps" {
            return Ok(None).into();
        }
        let known = held.as_ref().and_then(Reservation::hold::<Number>).map(|number| number.number);
        let number = known.unwrap_or_else(|| self.last.fetch_add(1, Ordering::Relaxed) + 1);
        if let Some(object) = object {
            object.set_at(&["data", "number"], number.to_string().into());
        }
        let fresh = || Reservation::new(Number { number, log: self.log.clone() });
        let reservation = held.unwrap_or_else(fresh);
        match &self.gate {
            None => Ok(Some(reservation)).into(),
            Some(gate) => gate.hold(Ok(Some(reservation))),
        }
    }
}

impl Pool {
    fn waiting(gate: &Gate) -> Self {
        Self { gate: Some(gate.clone()), ..Self::default() }
    }

    async fn serve(&self) -> Harness {
        self.serve_with(|_| ()).await
    }

    async fn serve_with(&self, change: impl FnOnce(&mut apiserver::Deps)) -> Harness {
        Harness::made_of(|deps| {
            deps.reservers.push(Arc::new(self.clone()));
            change(deps);
        })
        .await
    }

    /// What was told since it was last asked.
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

/// Lets other tasks run until `what` holds.
async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::task::yield_now().await;
    }
}

/// Polls once; the future must have to wait.
fn begin(future: &mut (impl Future + Unpin)) {
    assert!(future.now_or_never().is_none());
}

#[tokio::test]
async fn a_commit_confirms_what_was_reserved() {
    let pool = Pool::default();
    let harness = pool.serve().await;
    let made = harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    assert_eq!(made["data"]["number"], "1");
    assert_eq!(pool.told(), ["1 Written"]);
    harness.merge(A, &json!({"metadata": {"finalizers": ["x/y"]}})).await.ok();
    harness.delete(A).await.ok();
    assert_eq!(pool.told(), ["2 Written", "3 Written"], "the finalizer holds the object");
    harness.merge(A, &json!({"metadata": {"finalizers": null}})).await.ok();
    assert_eq!(pool.told(), ["4 Removed"]);
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    harness.delete(A).await.ok();
    assert_eq!(pool.told(), ["5 Written", "6 Removed"]);
}

#[tokio::test]
async fn what_is_not_written_releases_it() {
    let pool = Pool::default();
    let harness = pool.serve().await;
    harness.post(&format!("{CONFIG_MAPS}?dryRun=All"), &config_map("a")).await.ok();
    assert_eq!(pool.told(), ["1 released"]);
    harness.post(CONFIG_MAPS, &config_map("Not A Name")).await.refused(422);
    assert_eq!(pool.told(), ["2 released"]);
    let made = harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    harness.post(CONFIG_MAPS, &config_map("a")).await.refused(409);
    assert_eq!(pool.told(), ["3 Written", "4 released"]);
    harness.put(&format!("{A}?dryRun=All"), &made).await.ok();
    harness.delete_with(A, &json!({"dryRun": ["All"]})).await.ok();
    assert_eq!(pool.told(), ["5 released", "6 released"]);
    harness.store.faults().next_write(WriteFault::Refused(store::Error::Unavailable("no leader".into())));
    harness.merge(A, &json!({"data": {"a": "2"}})).await.refused(500);
    harness.store.faults().next_write(WriteFault::Refused(store::Error::DiskFull("no room".into())));
    harness.delete(A).await.refused(503);
    assert_eq!(pool.told(), ["7 released", "8 released"]);
}

#[tokio::test]
async fn a_refusal_by_one_reserver_releases_what_the_others_hold() {
    struct Refuses;
    impl Reserver for Refuses {
        fn reserve<'a>(
            &'a self,
            review: &'a Review<'_>,
            _object: Option<&'a mut Object>,
            _held: Option<Reservation>,
        ) -> Eventual<'a, Result<Option<Reservation>, Error>> {
            Err(Error::forbidden(&review.resource.group_resource(), "a", "exceeded quota")).into()
        }
    }
    let pool = Pool::default();
    let harness = pool.serve_with(|deps| deps.reservers.push(Arc::new(Refuses))).await;
    let refused = harness.post(CONFIG_MAPS, &config_map("a")).await.refused(403);
    assert!(refused.ends_with("exceeded quota"), "{refused}");
    assert_eq!(pool.told(), ["1 released"]);
}

#[tokio::test]
async fn a_try_after_a_lost_race_keeps_what_it_holds() {
    let gate = Gate::default();
    let pool = Pool::waiting(&gate);
    let harness = pool.serve().await;
    gate.open();
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let change = json!({"data": {"a": "2"}});
    let mut write = Box::pin(harness.merge(A, &change));
    begin(&mut write);
    // Somebody else writes between the reservation and the commit.
    let key = "/registry/configmaps/default/a";
    let stored = harness.store.get(key).await.unwrap().0.unwrap();
    harness.store.put(key, stored.value, Expect::Anything, None).await.unwrap();
    gate.open();
    gate.open();
    let written = write.await.ok();
    assert_eq!(written["data"], json!({"a": "2", "number": "2"}));
    assert_eq!(pool.told(), ["1 Written", "2 Written"]);
    // The race of a create is lost for good.
    let again = config_map("b");
    let mut create = Box::pin(harness.post(CONFIG_MAPS, &again));
    begin(&mut create);
    let value = json!({"metadata": {"name": "b", "namespace": "default"}}).to_string();
    let key = "/registry/configmaps/default/b";
    harness.store.put(key, value.into(), Expect::Absent, None).await.unwrap();
    gate.open();
    create.await.refused(409);
    assert_eq!(pool.told(), ["3 released"]);
}

#[tokio::test]
async fn a_request_that_is_given_up_releases_before_the_commit_and_confirms_after() {
    let gate = Gate::default();
    let pool = Pool::waiting(&gate);
    let harness = pool.serve().await;
    let map = config_map("a");
    let mut write = Box::pin(harness.post(CONFIG_MAPS, &map));
    begin(&mut write);
    drop(write);
    assert_eq!(pool.told(), ["1 released"]);
    harness.get(A).await.refused(404);

    harness.store.faults().hold(Part::Writes);
    gate.open();
    let mut write = Box::pin(harness.post(CONFIG_MAPS, &map));
    begin(&mut write);
    // The commit is a task of its own by now, which the store holds.
    tokio::task::yield_now().await;
    drop(write);
    assert_eq!(pool.told(), Vec::<String>::new());
    harness.store.faults().let_go(Part::Writes);
    until(|| !pool.log.lock().unwrap().is_empty()).await;
    assert_eq!(pool.told(), ["2 Written"]);
    let stored = harness.store.get("/registry/configmaps/default/a").await.unwrap();
    assert!(stored.0.is_some());
}

#[tokio::test]
async fn a_panic_releases_it() {
    struct Panics;
    impl Immediate for Panics {
        fn name(&self) -> &'static str {
            "Panics"
        }

        fn check(&self, review: &Review<'_>, _object: Option<&Object>) -> Result<(), Error> {
            assert_ne!(review.operation, Operation::Create, "a fault in a plugin");
            Ok(())
        }
    }
    let pool = Pool::default();
    let plugin: Arc<dyn Admission> = Arc::new(Panics);
    let harness = pool.serve_with(|deps| deps.admission.push(plugin)).await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.refused(500);
    assert_eq!(pool.told(), ["1 released"]);
    harness.get(A).await.refused(404);
}

#[tokio::test]
async fn an_unknown_outcome_leaves_it_open() {
    let pool = Pool::default();
    let harness = pool.serve().await;
    let lose = || {
        let lost = store::Error::Timeout("the answer was lost".into());
        harness.store.faults().next_write(WriteFault::AnswerLost(lost));
    };
    lose();
    harness.post(CONFIG_MAPS, &config_map("a")).await.refused(504);
    assert_eq!(pool.told(), ["1 default/a perhaps created: Written"]);
    lose();
    harness.merge(A, &json!({"data": {"a": "2"}})).await.refused(504);
    assert_eq!(pool.told(), ["2 default/a perhaps changed: Written"]);
    lose();
    harness.delete(A).await.refused(504);
    assert_eq!(pool.told(), ["3 default/a perhaps changed: Removed"]);
    // Nothing was written here, which the store does not say.
    let lost = store::Error::Timeout("no answer".into());
    harness.store.faults().next_write(WriteFault::Refused(lost));
    harness.post(CONFIG_MAPS, &config_map("b")).await.refused(504);
    assert_eq!(pool.told(), ["4 default/b perhaps created: Written"]);
    // The task of the commit ends with the server.
    harness.store.faults().hold(Part::Writes);
    let map = config_map("c");
    let mut write = Box::pin(harness.post(CONFIG_MAPS, &map));
    begin(&mut write);
    tokio::task::yield_now().await;
    harness.supervisor.shutdown().start();
    harness.supervisor.drain(std::time::Duration::ZERO).await;
    assert_eq!(pool.told(), ["5 default/c perhaps created: Written"]);
    write.await.refused(500);
}
