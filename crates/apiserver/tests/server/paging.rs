//! Lists: selectors, pages of one state, resource versions, other views.

use std::sync::Arc;

use base::ManualClock;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::harness::{CONFIG_MAPS, Harness, PODS, config_map, pod};

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|i| i["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pages_show_one_state_whatever_is_written_between() {
    let harness = Harness::start().await;
    for i in 0..5 {
        harness.post(CONFIG_MAPS, &config_map(&format!("c{i}"))).await.ok();
    }
    let first = harness.get(&format!("{CONFIG_MAPS}?limit=2")).await.ok();
    assert_eq!(names(&first), ["c0", "c1"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    harness.delete(&format!("{CONFIG_MAPS}/c3")).await.ok();
    harness.post(CONFIG_MAPS, &config_map("c9")).await.ok();
    let mut seen = names(&first);
    let mut token = first["metadata"]["continue"].as_str().map(str::to_owned);
    while let Some(next) = token {
        let page = harness.get(&format!("{CONFIG_MAPS}?limit=2&continue={next}")).await.ok();
        assert_eq!(page["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
        seen.extend(names(&page));
        // Each page says how many follow, also of a state that is past.
        let left = 5 - seen.len();
        let told = page["metadata"].get("remainingItemCount").and_then(Value::as_u64);
        assert_eq!(told, (left > 0).then_some(left as u64));
        token = page["metadata"]["continue"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, ["c0", "c1", "c2", "c3", "c4"]);
    harness.get(&format!("{CONFIG_MAPS}?continue=junk")).await.refused(400);
}

#[tokio::test]
async fn who_comes_back_too_late_goes_on_with_what_is_there_now() {
    let clock = Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap()));
    let shared = Arc::clone(&clock);
    let harness = Harness::made_of(move |deps| deps.clock = shared).await;
    for i in 0..6 {
        harness.post(CONFIG_MAPS, &config_map(&format!("c{i}"))).await.ok();
    }
    let first = harness.get(&format!("{CONFIG_MAPS}?limit=2")).await.ok();
    let continued = |page: &Value| {
        let token = page["metadata"]["continue"].as_str().expect("a token");
        format!("{CONFIG_MAPS}?limit=2&continue={token}")
    };
    harness.delete(&format!("{CONFIG_MAPS}/c2")).await.ok();
    clock.advance(SignedDuration::from_mins(5));
    let second = harness.get(&continued(&first)).await.ok();
    assert_eq!(names(&second), ["c2", "c3"], "the state of the first page is still to be had");
    clock.advance(SignedDuration::from_mins(5));
    // Each page is as old as the first.
    let mut refused = Value::Null;
    for page in [&second, &first] {
        let answer = harness.get(&continued(page)).await;
        assert_eq!(answer.status, 410);
        refused = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(refused["reason"], "Expired");
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("or use the continue token in this response"), "{message}");
    }
    let rest = harness.get(&continued(&refused)).await.ok();
    assert_eq!(
        (names(&rest), &rest["metadata"]["remainingItemCount"]),
        (vec!["c3".to_owned(), "c4".to_owned()], &json!(1))
    );
    assert_ne!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    // From here on pages are of one state again.
    harness.post(CONFIG_MAPS, &config_map("c9")).await.ok();
    let last = harness.get(&continued(&rest)).await.ok();
    assert_eq!(names(&last), ["c5"]);
    assert_eq!(last["metadata"]["resourceVersion"], rest["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn resource_versions_choose_the_state() {
    let harness = Harness::start().await;
    let created = harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let version = created["metadata"]["resourceVersion"].as_str().unwrap();
    harness.post(CONFIG_MAPS, &config_map("b")).await.ok();
    let list = async |query: &str| harness.get(&format!("{CONFIG_MAPS}?{query}")).await;
    let exact = list(&format!("resourceVersion={version}&resourceVersionMatch=Exact")).await.ok();
    assert_eq!(names(&exact), ["a"]);
    let newer = list(&format!("resourceVersion={version}")).await.ok();
    assert_eq!(names(&newer), ["a", "b"]);
    assert_eq!(names(&list("resourceVersion=0").await.ok()), ["a", "b"]);
    let refused = list("resourceVersionMatch=Exact").await.refused(422);
    assert_eq!(
        refused,
        "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
    );
}

#[tokio::test]
async fn a_page_of_a_past_state_counts_what_follows() {
    let harness = Harness::start().await;
    for i in 0..5 {
        harness.post(CONFIG_MAPS, &config_map(&format!("c{i}"))).await.ok();
    }
    let past =
        harness.get(CONFIG_MAPS).await.ok()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    harness.post(CONFIG_MAPS, &config_map("c9")).await.ok();
    let exact = format!("{CONFIG_MAPS}?limit=2&resourceVersion={past}&resourceVersionMatch=Exact");
    let page = harness.get(&exact).await.ok();
    assert_eq!(
        (names(&page), &page["metadata"]["remainingItemCount"]),
        (vec!["c0".to_owned(), "c1".to_owned()], &json!(3))
    );
    let selected = harness.get(&format!("{CONFIG_MAPS}?limit=2&labelSelector=!x")).await.ok();
    assert!(
        selected["metadata"].get("remainingItemCount").is_none(),
        "a selector leaves it unknown, as upstream"
    );
}

#[tokio::test]
async fn a_creation_takes_no_version_but_one_that_is_none() {
    let harness = Harness::start().await;
    let mut body = config_map("a");
    body["metadata"]["resourceVersion"] = "7".into();
    harness.post(CONFIG_MAPS, &body).await.refused(400);
    for none in ["nonsense", "0", ""] {
        body["metadata"] = json!({"generateName": "a-", "resourceVersion": none});
        let created = harness.post(CONFIG_MAPS, &body).await;
        assert_eq!(created.status, 201, "{none}: {:?}", created.body);
    }
}

#[tokio::test]
async fn selectors_select() {
    let harness = Harness::start().await;
    for (name, node, tier) in [("a", "n1", "web"), ("b", "n2", "db"), ("c", "", "web")] {
        let mut body = pod(name);
        body["metadata"]["labels"] = json!({"tier": tier});
        if !node.is_empty() {
            body["spec"]["nodeName"] = node.into();
        }
        harness.post(PODS, &body).await.ok();
    }
    let list = async |query: &str| harness.get(&format!("{PODS}?{query}")).await;
    assert_eq!(names(&list("labelSelector=tier%3Dweb").await.ok()), ["a", "c"]);
    assert_eq!(names(&list("labelSelector=tier+in+(db),tier").await.ok()), ["b"]);
    assert_eq!(names(&list("fieldSelector=spec.nodeName%3Dn1").await.ok()), ["a"]);
    assert_eq!(names(&list("fieldSelector=spec.nodeName%3D").await.ok()), ["c"]);
    assert_eq!(names(&list("fieldSelector=metadata.name!%3Da,spec.nodeName!%3D").await.ok()), ["b"]);
    assert_eq!(names(&list("fieldSelector=metadata.name%3Db").await.ok()), ["b"]);
    assert_eq!(names(&list("fieldSelector=spec.hostNetwork%3Dfalse").await.ok()).len(), 3);
    assert_eq!(
        list("fieldSelector=spec.bogus%3D1").await.refused(400),
        "field label not supported: spec.bogus"
    );
    for (name, unschedulable) in [("n1", true), ("n2", false)] {
        let node = json!({"metadata": {"name": name}, "spec": {"unschedulable": unschedulable}});
        harness.post("/api/v1/nodes", &node).await.ok();
    }
    harness.post("/api/v1/nodes", &json!({"metadata": {"name": "n3"}})).await.ok();
    let open = harness.get("/api/v1/nodes?fieldSelector=spec.unschedulable%3Dfalse").await.ok();
    assert_eq!(names(&open), ["n2", "n3"]);
    list("labelSelector=a%20b").await.refused(400);
    assert_eq!(names(&harness.get("/api/v1/pods?labelSelector=tier%3Ddb").await.ok()), ["b"]);
}

#[tokio::test]
async fn objects_have_other_views() {
    let harness = Harness::start().await;
    harness.post(PODS, &pod("a")).await.ok();
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let listed = harness.get_as(PODS, table).await.ok();
    assert_eq!(listed["kind"], "Table");
    assert_eq!(listed["columnDefinitions"][0]["name"], "Name");
    assert_eq!(listed["rows"][0]["cells"][0], "a");
    assert_eq!(listed["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let whole = harness.get_as(&format!("{PODS}/a?includeObject=Object"), table).await.ok();
    assert_eq!(whole["rows"][0]["object"]["kind"], "Pod");
    let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let partial = harness.get_as(PODS, partial).await.ok();
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert!(partial["items"][0].get("spec").is_none());
    let yaml = harness.get_as(&format!("{PODS}/a"), "application/yaml").await;
    assert!(String::from_utf8_lossy(&yaml.body).contains("kind: Pod"), "{:?}", yaml.body);
    assert_eq!(harness.get_as(PODS, "application/cbor").await.status, 406);
}

#[tokio::test]
async fn large_lists_are_compressed_for_those_who_take_it() {
    use std::io::Read;
    let harness = Harness::start().await;
    for i in 0..3 {
        let mut body = config_map(&format!("c{i}"));
        body["data"]["big"] = "x".repeat(100_000).into();
        harness.post(CONFIG_MAPS, &body).await.ok();
    }
    let plain = harness.get(CONFIG_MAPS).await;
    let request = http::Request::get(CONFIG_MAPS)
        .header("accept-encoding", "gzip")
        .body(http_body_util::Full::default())
        .unwrap();
    let packed = harness.send(request).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.body.len() < plain.body.len() / 10);
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
}
