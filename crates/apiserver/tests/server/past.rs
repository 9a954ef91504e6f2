//! Reading objects as they were.

use std::sync::Arc;

use base::ManualClock;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use store::{Memory, Store};

use crate::harness::{CONFIG_MAPS, Harness, config_map};

/// A server whose store goes by the same clock.
async fn server() -> (Harness, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap()));
    let store =
        Memory::new(store::memory::Config { clock: clock.clone(), ..store::memory::Config::default() });
    let shared = Arc::clone(&clock);
    (Harness::made_on(store, move |deps| deps.clock = shared).await, clock)
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn objects_and_lists_are_shown_as_they_were() {
    let (harness, clock) = server().await;
    let minute = SignedDuration::from_mins(1);
    let path = format!("{CONFIG_MAPS}/a");
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    harness.post(CONFIG_MAPS, &config_map("b")).await.ok();
    clock.advance(minute);
    harness.merge(&path, &json!({"data": {"a": "2"}})).await.ok();
    clock.advance(minute);
    harness.delete(&path).await.ok();
    clock.advance(minute);

    let then = harness.get(&format!("{path}?at=2m30s")).await;
    assert_eq!(then.headers["knarr-at"], "2026-01-01T00:00:30.000Z");
    assert_eq!(then.ok()["data"]["a"], "1");
    let named = harness.get(&format!("{path}?at=2026-01-01T00:01:30Z")).await.ok();
    assert_eq!(named["data"]["a"], "2");
    harness.get(&format!("{path}?at=30s")).await.refused(404);
    let list = harness.get(&format!("{CONFIG_MAPS}?at=90s")).await.ok();
    assert_eq!(names(&list), ["a", "b"]);
    let page = harness.get(&format!("{CONFIG_MAPS}?at=90s&limit=1")).await.ok();
    let token = page["metadata"]["continue"].as_str().unwrap();
    let rest = harness.get(&format!("{CONFIG_MAPS}?at=90s&limit=1&continue={token}")).await.ok();
    assert_eq!((names(&page), names(&rest)), (vec!["a"], vec!["b"]));
    // Ages are those of then.
    let form = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = harness.get_as(&format!("{path}?at=90s"), form).await.ok();
    assert_eq!(table["rows"][0]["cells"], json!(["a", 1, "90s"]));
}

#[tokio::test]
async fn an_object_has_a_history_also_when_it_is_gone() {
    let (harness, clock) = server().await;
    let path = format!("{CONFIG_MAPS}/a");
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    clock.advance(SignedDuration::from_mins(1));
    harness.merge(&path, &json!({"data": {"a": "2"}})).await.ok();
    harness.delete(&path).await.ok();

    let history = harness.get(&format!("{path}?history=10")).await.ok();
    let told: Vec<_> = history["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| {
            (
                version["time"].as_str().unwrap(),
                version["object"]["data"]["a"].as_str(),
                version["deleted"] == true,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("2026-01-01T00:01:00.000Z", None, true),
            ("2026-01-01T00:01:00.000Z", Some("2"), false),
            ("2026-01-01T00:00:00.000Z", Some("1"), false),
        ]
    );
    assert_eq!(history["more"], false);
    let cut = harness.get(&format!("{path}?history=1")).await.ok();
    assert_eq!((cut["versions"].as_array().unwrap().len(), &cut["more"]), (1, &json!(true)));
    harness.get(&format!("{CONFIG_MAPS}/never?history=10")).await.refused(404);
}

#[tokio::test]
async fn what_cannot_be_shown_is_refused() {
    let (harness, clock) = server().await;
    let path = format!("{CONFIG_MAPS}/a");
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    clock.advance(SignedDuration::from_mins(1));
    harness.merge(&path, &json!({"data": {"a": "2"}})).await.ok();
    for (query, why) in [
        ("at=soon", "neither a duration"),
        ("at=-5m", "lies ahead"),
        ("at=2030-01-01T00:00:00Z", "lies ahead"),
        ("at=5s&resourceVersion=1", "cannot be given together"),
        ("history=0", "between 1 and 1000"),
        ("history=x", "strconv.ParseInt"),
    ] {
        let told = harness.get(&format!("{path}?{query}")).await.refused(400);
        assert!(told.contains(why), "{query}: {told}");
    }
    harness.get(&format!("{CONFIG_MAPS}?watch=1&at=5s")).await.refused(400);
    harness.merge(&format!("{path}?at=5s"), &json!({"data": {"a": "3"}})).await.refused(400);
    harness.delete(&format!("{path}?history=1")).await.refused(400);
    // What is forgotten is gone, and said to be.
    let last = harness.store.revision().await.unwrap();
    harness.store.compact(last).await.unwrap();
    let told = harness.get(&format!("{path}?at=30s")).await.refused(410);
    assert!(told.contains("the past is kept from 2026-01-01T00:01:00Z on"), "{told}");
}
