//! What clients see when the store fails them: lost answers, broken watches, no connection, a cache that lags,
//! and a second server on the same store.

use std::sync::Arc;
use std::time::Duration;

use apiserver::cache::Cache;
use apiserver::cache_specs;
use base::{Shutdown, Supervisor};
use futures::FutureExt;
use http::Request;
use http_body_util::{BodyExt, Full};
use resources::ResourceSource;
use serde_json::{Value, json};
use store::memory::{Config, Part, Rates, WriteFault};
use store::{Error, Expect, ListRange, Memory, Store};

use crate::harness::{Answer, CONFIG_MAPS, Harness, config_map};
use crate::watching::Watch;

const JSON: &str = "application/json";
const A: &str = "/api/v1/namespaces/default/configmaps/a";

fn lost() -> Error {
    Error::Timeout("the answer was lost".into())
}

/// A store that says that others write to it too.
fn shared() -> Memory {
    Memory::new(Config { shared: true, ..Config::default() })
}

/// Two servers on one store, each with a connection of its own.
async fn two() -> (Harness, Harness) {
    let store = shared();
    let second = store.another();
    (Harness::on(store).await, Harness::on(second).await)
}

async fn names(harness: &Harness, path: &str) -> Vec<String> {
    let list = harness.get(path).await.ok();
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn unavailable(answer: &Answer, operation: &str) {
    assert_eq!((answer.status, answer.json()["reason"].as_str()), (500, Some("ServerTimeout")));
    let message = format!(
        "The {operation} operation against configmaps could not be completed at this time, please try again."
    );
    assert_eq!(answer.json()["message"], message);
    assert_eq!(answer.json()["details"], json!({"kind": "configmaps", "retryAfterSeconds": 2}));
    assert_eq!(answer.headers["retry-after"], "2");
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_told_as_unknown_and_is_there() {
    let harness = Harness::start().await;
    let mut watch = Watch::open(&harness, &format!("{CONFIG_MAPS}?watch=true"), JSON).await;
    harness.store.faults().next_write(WriteFault::AnswerLost(lost()));
    let answer = harness.post(CONFIG_MAPS, &config_map("a")).await;
    assert_eq!((answer.status, answer.json()["reason"].as_str()), (504, Some("Timeout")));
    assert!(!answer.headers.contains_key("retry-after"), "clients would create it twice unseen");
    let made = watch.next().await.unwrap()["object"].clone();
    assert_eq!(harness.get(A).await.ok(), made);
    harness.post(CONFIG_MAPS, &config_map("a")).await.refused(409);

    // A change bound to a version is made once, however often it is tried.
    let mut changed = made.clone();
    changed["data"] = json!({"a": "2"});
    harness.store.faults().next_write(WriteFault::AnswerLost(lost()));
    harness.put(A, &changed).await.refused(504);
    let seen = watch.next().await.unwrap()["object"].clone();
    assert_eq!(seen["data"], json!({"a": "2"}));
    harness.put(A, &changed).await.refused(409);

    harness.store.faults().next_write(WriteFault::AnswerLost(lost()));
    harness.delete(A).await.refused(504);
    assert_eq!(watch.next().await.unwrap()["type"], "DELETED");
    harness.delete(A).await.refused(404);
}

#[tokio::test]
async fn a_write_that_the_store_refuses_changes_nothing() {
    let harness = Harness::start().await;
    let refuse =
        || harness.store.faults().next_write(WriteFault::Refused(Error::Unavailable("no leader".into())));
    refuse();
    unavailable(&harness.post(CONFIG_MAPS, &config_map("a")).await, "create");
    harness.get(A).await.refused(404);
    let made = harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    refuse();
    unavailable(&harness.merge(A, &json!({"data": {"a": "2"}})).await, "update");
    refuse();
    unavailable(&harness.delete(A).await, "delete");
    assert_eq!(harness.get(A).await.ok(), made);
    harness.store.faults().next_write(WriteFault::Refused(Error::DiskFull("no room".into())));
    harness.delete(A).await.refused(503);
}

#[tokio::test(start_paused = true)]
async fn clients_do_not_notice_that_the_stores_watch_broke() {
    let harness = Harness::start().await;
    let mut watch = Watch::open(&harness, &format!("{CONFIG_MAPS}?watch=true"), JSON).await;
    for n in 0..5 {
        harness.store.faults().break_watches(Error::Unavailable("reset".into()));
        let made = harness.post(CONFIG_MAPS, &config_map(&format!("c{n}"))).await.ok();
        assert_eq!(harness.get(&format!("{CONFIG_MAPS}/c{n}")).await.ok(), made);
        assert_eq!(watch.next().await.unwrap(), json!({"type": "ADDED", "object": made}));
    }
}

#[tokio::test]
async fn a_write_is_answered_when_the_servers_own_cache_has_it() {
    let harness = Harness::start().await;
    harness.store.faults().hold(Part::Watches);
    let map = config_map("a");
    let mut write = Box::pin(harness.post(CONFIG_MAPS, &map));
    assert!(write.as_mut().now_or_never().is_none());
    tokio::task::yield_now().await;
    assert!(write.as_mut().now_or_never().is_none(), "it is stored, but not seen yet");
    harness.store.faults().let_go(Part::Watches);
    let made = write.await.ok();
    assert_eq!(harness.get(A).await.ok(), made);
    assert_eq!(names(&harness, CONFIG_MAPS).await, ["a"]);
}

#[tokio::test]
async fn what_one_server_has_acknowledged_the_other_shows() {
    let (one, other) = two().await;
    let mut watch = Watch::open(&other, &format!("{CONFIG_MAPS}?watch=true"), JSON).await;
    let mut last = Value::Null;
    for n in 0..50 {
        let (writer, reader) = if n % 2 == 0 { (&one, &other) } else { (&other, &one) };
        last = match n {
            0 => writer.post(CONFIG_MAPS, &config_map("a")).await.ok(),
            _ => writer.merge(A, &json!({"data": {"n": n.to_string()}})).await.ok(),
        };
        assert_eq!(reader.get(A).await.ok(), last);
        let list = reader.get(CONFIG_MAPS).await.ok();
        assert_eq!(list["items"][0]["metadata"]["resourceVersion"], last["metadata"]["resourceVersion"]);
        assert_eq!(watch.next().await.unwrap()["object"], last);
    }
    one.put(A, &last).await.ok();
    one.delete(A).await.ok();
    other.delete(A).await.refused(404);
    other.post(CONFIG_MAPS, &config_map("a")).await.ok();
    one.post(CONFIG_MAPS, &config_map("a")).await.refused(409);
}

#[tokio::test]
async fn a_read_waits_for_a_cache_that_lags_behind_another_server() {
    let (one, other) = two().await;
    other.store.faults().hold(Part::Watches);
    let made = one.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let mut read = Box::pin(other.get(A));
    assert!(read.as_mut().now_or_never().is_none());
    let old = other.get(&format!("{CONFIG_MAPS}?resourceVersion=0")).await.ok();
    assert_eq!(old["items"], json!([]), "who asks for anything gets what is there");
    other.get(&format!("{A}?resourceVersion=0")).await.refused(404);
    other.store.faults().let_go(Part::Watches);
    assert_eq!(read.await.ok(), made);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_lags_too_long_is_gone_around_or_told() {
    let (one, other) = two().await;
    other.store.faults().hold(Part::Watches);
    one.post(CONFIG_MAPS, &config_map("a")).await.ok();
    // Its own write too is answered, if late: the other server sees it at once.
    let begun = tokio::time::Instant::now();
    let own = other.post(CONFIG_MAPS, &config_map("b")).await.ok();
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    assert_eq!(one.get(&format!("{CONFIG_MAPS}/b")).await.ok(), own);
    assert_eq!(names(&other, CONFIG_MAPS).await, ["a", "b"], "a list comes from the store then");
    let late = other.get(A).await;
    assert_eq!(late.headers["retry-after"], "1");
    assert!(late.refused(504).starts_with("Timeout: Too large resource version"));
    other.store.faults().let_go(Part::Watches);
    other.get(A).await.ok();
}

#[tokio::test(start_paused = true)]
async fn progress_tells_the_cache_of_revisions_that_do_not_concern_it() {
    let (one, other) = two().await;
    one.post(CONFIG_MAPS, &config_map("a")).await.ok();
    assert_eq!(names(&other, CONFIG_MAPS).await, ["a"]);
    let begun = tokio::time::Instant::now();
    let moved = one.store.put("/elsewhere", "".into(), Expect::Anything, None).await.unwrap().mod_revision;
    let list = other.get(CONFIG_MAPS).await.ok();
    assert_eq!(list["metadata"]["resourceVersion"], moved.to_string());
    assert_eq!(begun.elapsed(), Duration::ZERO);
    // A watch that broke while it was asked is asked again.
    other.store.faults().hold(Part::Progress);
    one.store.put("/elsewhere", "".into(), Expect::Anything, None).await.unwrap();
    let mut read = Box::pin(other.get(A));
    assert!(read.as_mut().now_or_never().is_none());
    other.store.faults().break_watches(lost());
    other.store.faults().let_go(Part::Progress);
    read.await.ok();
}

#[tokio::test(start_paused = true)]
async fn a_store_out_of_reach_is_told_and_comes_back() {
    let (one, other) = two().await;
    let made = one.post(CONFIG_MAPS, &config_map("a")).await.ok();
    assert_eq!(other.get(A).await.ok(), made);
    let mut watch = Watch::open(&other, &format!("{CONFIG_MAPS}?watch=true"), JSON).await;
    watch.next().await.unwrap();
    other.store.faults().cut_off();
    unavailable(&other.get(A).await, "get");
    unavailable(&other.get(CONFIG_MAPS).await, "list");
    unavailable(&other.post(CONFIG_MAPS, &config_map("b")).await, "create");
    unavailable(&other.delete(A).await, "delete");
    assert_eq!(other.get(&format!("{A}?resourceVersion=0")).await.ok(), made);
    let later = one.post(CONFIG_MAPS, &config_map("c")).await.ok();
    other.store.faults().reconnect();
    assert_eq!(names(&other, CONFIG_MAPS).await, ["a", "c"]);
    assert_eq!(watch.next().await.unwrap()["object"], later);
}

#[tokio::test]
async fn a_server_alone_with_its_store_reads_on_while_that_is_out_of_reach() {
    let harness = Harness::start().await;
    let made = harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    harness.store.faults().cut_off();
    assert_eq!(harness.get(A).await.ok(), made);
    unavailable(&harness.delete(A).await, "delete");
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_lost_its_history_loads_anew_and_ends_its_watches() {
    let harness = Harness::start().await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let mut watch = Watch::open(&harness, &format!("{CONFIG_MAPS}?watch=true"), JSON).await;
    watch.next().await.unwrap();
    harness.store.faults().hold(Part::Watches);
    let elsewhere = harness.store.another();
    let key = "/registry/configmaps/default/b";
    let value = json!({"metadata": {"name": "b", "namespace": "default"}}).to_string();
    let last = elsewhere.put(key, value.into(), Expect::Absent, None).await.unwrap().mod_revision;
    elsewhere.compact(last).await.unwrap();
    harness.store.faults().let_go(Part::Watches);
    assert_eq!(watch.next().await, None, "nobody knows what it missed");
    assert_eq!(names(&harness, CONFIG_MAPS).await, ["a", "b"]);
}

/// Adds to the count in `a` until it is `target`; returns how many changes were acknowledged.
async fn count_to(harness: &Harness, target: u64) -> u64 {
    let mut acknowledged = 0;
    let mut least = 0;
    loop {
        let answer = harness.get(A).await;
        if answer.status != 200 {
            continue;
        }
        let mut object = answer.json();
        let now: u64 = object["data"]["n"].as_str().unwrap().parse().unwrap();
        assert!(now >= least, "an acknowledged write is seen");
        if now >= target {
            return acknowledged;
        }
        object["data"]["n"] = (now + 1).to_string().into();
        let answer = harness.put(A, &object).await;
        match answer.status {
            200 => (acknowledged, least) = (acknowledged + 1, now + 1),
            409 | 500 | 504 => {}
            other => panic!("{other}: {:?}", answer.body),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn through_every_fault_two_servers_count_each_change_once() {
    let (one, other) = two().await;
    let mut first = config_map("a");
    first["data"] = json!({"n": "0"});
    one.post(CONFIG_MAPS, &first).await.ok();
    let rates = Rates {
        refused: 50,
        answer_lost: 100,
        slow: 200,
        watch_broken: 30,
        watch_slow: 200,
        slowness: Duration::from_millis(100),
    };
    for (harness, mut seed) in [(&one, 1_u64), (&other, 2)] {
        harness.store.faults().by_chance(rates, move |below| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below.max(1)
        });
    }
    let writers = [&one, &other, &one, &other].map(|harness| count_to(harness, 60));
    let acknowledged: u64 = futures::future::join_all(writers).await.iter().sum();
    assert!(acknowledged <= 60, "{acknowledged}");
    for harness in [&one, &other] {
        harness.store.faults().heal();
    }
    let stored = one.store.list(ListRange::default()).await.unwrap().items;
    let value: Value = serde_json::from_slice(&stored[0].value).unwrap();
    assert_eq!((stored.len(), value["data"]["n"].as_str()), (1, Some("60")));
    for harness in [&one, &other] {
        let seen = harness.get(A).await.ok();
        assert_eq!(seen["data"], json!({"n": "60"}));
        assert_eq!(seen["metadata"]["resourceVersion"], stored[0].mod_revision.to_string());
        assert!(harness.cache.revision() >= stored[0].mod_revision);
    }
}

#[tokio::test]
async fn asking_a_shared_store_for_its_revision_is_counted() {
    let harness = Harness::on(shared()).await;
    let counted = async || -> u64 {
        let text = String::from_utf8_lossy(&harness.get("/metrics").await.body).into_owned();
        let name = r#"etcd_requests_total{operation="get",group="",resource=""} "#;
        text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).expect("the store was asked")
    };
    let before = counted().await;
    harness.get(CONFIG_MAPS).await.ok();
    assert_eq!(counted().await, before + 1);
}

#[tokio::test]
async fn what_others_have_made_unreadable_is_not_gone() {
    let harness = Harness::start().await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let watch = Request::get(format!("{CONFIG_MAPS}?watch=true&resourceVersion=0&allowWatchBookmarks=false"));
    let mut watch = harness.raw(watch.body(Full::default()).unwrap()).await;
    harness
        .store
        .put("/registry/configmaps/default/a", "garbage".into(), Expect::Anything, None)
        .await
        .unwrap();
    // The cache has seen what came before this.
    harness.post(CONFIG_MAPS, &config_map("b")).await.ok();
    assert_eq!(harness.get(&path).await.ok()["data"]["a"], "1", "as it was");
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("\"name\":\"b\"") {
        seen.extend_from_slice(&watch.body_mut().frame().await.unwrap().unwrap().into_data().unwrap());
    }
    assert!(!String::from_utf8_lossy(&seen).contains("DELETED"));
    // A server that begins does not take it for absent either.
    let supervisor = Supervisor::new(Shutdown::new());
    let store = Arc::new(harness.store.clone());
    let begun = Cache::start(store, &supervisor, cache_specs(&resources::Builtin.table())).await;
    let why = begun.err().expect("refused").to_string();
    assert!(why.contains("/registry/configmaps/default/a"), "{why}");
}
