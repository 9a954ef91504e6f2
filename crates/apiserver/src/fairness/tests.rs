//! Levels as the server runs them: who is let in when, with objects that come and go. Time is paused.

use serde_json::{Value, json};

use super::*;
use crate::testing::Fixture;
use base::SystemClock;

const LEVELS: &str = "prioritylevelconfigurations";
const SCHEMAS: &str = "flowschemas";

/// Where an object is stored.
fn key(plural: &str, name: &str) -> String {
    let row = resources::builtin().find(GROUP, "v1", plural).expect("the kind is served");
    format!("{}/{name}", row.storage_prefix)
}

/// A server's fairness alone, with objects that tests store.
struct Scene {
    fixture: Fixture,
    fairness: Arc<Fairness>,
}

fn user(name: &str) -> User {
    User { name: name.to_owned(), groups: vec!["system:authenticated".to_owned()], ..User::default() }
}

impl Scene {
    async fn new(total: usize) -> Self {
        let fixture = Fixture::new().await;
        let fairness = Fairness::start(
            total,
            Duration::from_secs(60),
            &fixture.cache,
            &fixture.supervisor,
            FairnessMetrics::default(),
        );
        Self { fixture, fairness: Arc::new(fairness) }
    }

    /// Stores an object, and waits until requests are judged by it.
    async fn put(&self, at: &str, name: &str, spec: Value) {
        let before = self.fairness.shared.config.load_full();
        let object = json!({"metadata": {"name": name, "uid": format!("uid-{name}")}, "spec": spec});
        self.fixture.put(&key(at, name), &object).await;
        while Arc::ptr_eq(&self.fairness.shared.config.load_full(), &before) {
            tokio::task::yield_now().await;
        }
    }

    /// A level that lends a part of its seats, and a schema of it for some users.
    async fn level(&self, name: &str, (shares, lent): (u32, u32), response: Value, users: &[&str]) {
        let spec = json!({"type": "Limited", "limited": {
            "nominalConcurrencyShares": shares, "lendablePercent": lent, "limitResponse": response}});
        self.put(LEVELS, name, spec).await;
        let subjects: Vec<Value> =
            users.iter().map(|user| json!({"kind": "User", "user": {"name": user}})).collect();
        let rule = json!({"subjects": subjects,
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]});
        let schema = json!({"priorityLevelConfiguration": {"name": name}, "matchingPrecedence": 500,
            "distinguisherMethod": {"type": "ByUser"}, "rules": [rule]});
        self.put(SCHEMAS, name, schema).await;
    }

    fn class(&self, name: &str) -> Arc<Class> {
        self.fairness.class(&user(name), &RequestInfo::default())
    }

    async fn enter(&self, name: &str) -> Result<Seat, Error> {
        enter(self.fairness.clone(), name, self.fixture.cache.clone()).await
    }

    /// Enters as often as that is possible without a wait.
    async fn fill(&self, name: &str) -> Vec<Seat> {
        let mut seats = Vec::new();
        loop {
            let entering = std::pin::pin!(self.enter(name));
            match futures::poll!(entering) {
                std::task::Poll::Ready(Ok(seat)) => seats.push(seat),
                _ => return seats,
            }
        }
    }

    fn limit(&self, name: &str) -> u32 {
        let config = self.fairness.shared.config.load();
        let entry = config.levels.iter().find(|entry| *entry.handle.name == *name);
        entry.expect("there is the level").handle.level().limit()
    }

    fn at_rest(&self) -> bool {
        format!("{:?}", self.fairness.shared.balance.lock().unwrap()).contains("next: None")
    }
}

async fn enter(fairness: Arc<Fairness>, name: &str, cache: Cache) -> Result<Seat, Error> {
    let (user, info, query) = (user(name), RequestInfo::default(), Query::parse(""));
    let request = Request { user: &user, info: &info, query: &query, clock: &SystemClock };
    let class = fairness.class(&user, &info);
    fairness.enter(&class, &request, &cache, resources::builtin()).await
}

fn queue(length: u32) -> Value {
    json!({"type": "Queue", "queuing": {"queues": 16, "handSize": 2, "queueLengthLimit": length}})
}

#[tokio::test(start_paused = true)]
async fn mandatory_objects_count_before_they_are_stored() {
    let scene = Scene::new(10).await;
    assert_eq!(format!("{:?}", scene.class("a")), r#"Class { schema: "catch-all", level: "catch-all" }"#);
    let seats = scene.fill("a").await;
    assert_eq!(seats.len(), 10);
    let refused = scene.enter("a").await.err().expect("the level is full");
    assert_eq!(
        (refused.code(), refused.message.as_str()),
        (429, "Too many requests, please try again later.")
    );
    let admin = User { groups: vec!["system:masters".to_owned()], ..User::default() };
    let class = scene.fairness.class(&admin, &RequestInfo::default());
    assert!(class.exempt);
    drop(seats);
    assert_eq!(scene.fairness.now(), (0, 0));
    assert_eq!(scene.fill("a").await.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_stored_schema_counts_from_its_event_on() {
    let scene = Scene::new(20).await;
    scene.level("own", (15, 0), json!({"type": "Reject"}), &["a"]).await;
    assert_eq!(format!("{:?}", scene.class("a")), r#"Class { schema: "own", level: "own" }"#);
    assert_eq!(format!("{:?}", scene.class("b")), r#"Class { schema: "catch-all", level: "catch-all" }"#);
    let mut headers = http::HeaderMap::new();
    scene.class("a").mark(&mut headers);
    assert_eq!(headers["x-kubernetes-pf-flowschema-uid"], "uid-own");
    assert_eq!(headers["x-kubernetes-pf-prioritylevel-uid"], "uid-own");
}

#[tokio::test(start_paused = true)]
async fn who_floods_waits_and_who_does_not_is_served() {
    let scene = Scene::new(20).await;
    scene.level("own", (95, 0), queue(10), &["greedy", "modest"]).await;
    let mut held = scene.fill("greedy").await;
    assert!(!held.is_empty());
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (fairness, cache) = (scene.fairness.clone(), scene.fixture.cache.clone());
        waiting.spawn(async move { enter(fairness, "greedy", cache).await });
    }
    tokio::task::yield_now().await;
    let modest = scene.enter("modest");
    let mut modest = std::pin::pin!(modest);
    assert!(futures::poll!(&mut modest).is_pending());
    let mut ended = 0;
    while futures::poll!(&mut modest).is_pending() {
        held.pop().expect("the modest is served before all of the greedy's have ended");
        ended += 1;
        tokio::task::yield_now().await;
    }
    assert!(ended <= 4, "{ended} requests had to end");
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_after_a_quarter_of_the_time_a_request_has() {
    let scene = Scene::new(20).await;
    scene.level("own", (95, 0), queue(10), &["a"]).await;
    let _held = scene.fill("a").await;
    let begun = Instant::now();
    let refused = scene.enter("a").await.err().expect("nobody ends");
    assert_eq!((refused.code(), begun.elapsed()), (429, Duration::from_secs(15)));
    let config = scene.fairness.shared.config.load_full();
    assert!(config.levels.iter().all(|entry| entry.handle.level().waiting == 0));
}

#[tokio::test(start_paused = true)]
async fn seats_go_where_they_are_needed_and_all_is_quiet_after_that() {
    let scene = Scene::new(100).await;
    scene.level("busy", (45, 50), queue(10), &["a"]).await;
    scene.level("idle", (50, 50), queue(10), &["b"]).await;
    let before = scene.limit("busy");
    assert!(scene.at_rest());
    let mut held = scene.fill("a").await;
    assert_eq!(held.len(), before as usize);
    let more = scene.enter("a");
    let mut more = std::pin::pin!(more);
    assert!(futures::poll!(&mut more).is_pending());
    // The balance is told, and gives the level what the other lends.
    held.push(more.await.expect("there are seats that nobody needs"));
    assert!(scene.limit("busy") > before, "{} seats", scene.limit("busy"));
    assert!(scene.limit("idle") >= 25, "a level lends but half of its seats");
    assert!(!scene.at_rest());
    drop(held);
    tokio::time::sleep(Duration::from_secs(10 * 32)).await;
    assert!(scene.at_rest());
    assert_eq!(scene.limit("busy"), before);
}

#[tokio::test(start_paused = true)]
async fn a_level_that_goes_serves_those_who_wait() {
    let scene = Scene::new(20).await;
    scene.level("own", (95, 0), queue(10), &["a"]).await;
    let mut held = scene.fill("a").await;
    let more = scene.enter("a");
    let mut more = std::pin::pin!(more);
    assert!(futures::poll!(&mut more).is_pending());
    let before = scene.fairness.shared.config.load_full();
    scene.fixture.delete(&key(LEVELS, "own")).await;
    while Arc::ptr_eq(&scene.fairness.shared.config.load_full(), &before) {
        tokio::task::yield_now().await;
    }
    assert_eq!(format!("{:?}", scene.class("a")), r#"Class { schema: "catch-all", level: "catch-all" }"#);
    let text = scene.fairness.dump("dump_priority_levels", false).unwrap();
    assert!(text.contains("own,               1,            false,  true,        1,"), "{text}");
    let text = scene.fairness.dump("dump_requests", true).unwrap();
    assert!(text.lines().nth(1).is_some_and(|line| line.starts_with("own,               own,")), "{text}");
    held.pop();
    more.await.expect("it is served by the level that it came to");
}
