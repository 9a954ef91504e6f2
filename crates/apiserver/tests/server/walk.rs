//! Every verb of every row of the kind table.

use resources::{Resource, Verb};
use serde_json::json;

use crate::harness::{Harness, as_item};
use crate::samples::{collection, named, sample};
use crate::watching::Watch;

#[tokio::test]
async fn each_verb_of_each_row() {
    let harness = Harness::start().await;
    let mut walked = 0;
    for row in resources::builtin().rows().filter(|row| row.question.is_none()) {
        if row.supports(Verb::Create) && row.supports(Verb::Get) {
            walk(&harness, row).await;
            walked += 1;
        }
    }
    assert!(walked > 50, "only {walked} kinds were walked");
}

async fn walk(harness: &Harness, row: &Resource) {
    let what = format!("{} {}", row.group_version(), row.kind);
    let path = collection(row);
    let name = named(&row.plural, "walked");
    let name = name.as_str();
    let object = format!("{path}/{name}");
    let mut watch = watch(harness, row, &path).await;
    let created = harness.post(&path, &sample(row, "walked")).await;
    assert_eq!(created.status, 201, "create {what}: {:?}", created.body);
    let created = created.ok();
    assert_eq!(created["kind"], *row.kind, "{what}");
    assert!(created["metadata"]["uid"].is_string() && created["metadata"]["resourceVersion"].is_string());
    assert_eq!(harness.post(&path, &sample(row, "walked")).await.status, 409, "{what}");

    let got = harness.get(&object).await.ok();
    assert_eq!(got, created, "get {what}");
    if let Some(watch) = &mut watch {
        let event = watch.next().await.expect("the watch goes on");
        assert_eq!(event, json!({"type": "ADDED", "object": created}), "watch {what}");
    }
    let listed = harness.get(&path).await.ok();
    assert_eq!(listed["kind"], format!("{}List", row.kind));
    assert_eq!(listed["items"], json!([as_item(&created)]), "list {what}");
    let table = harness.get_as(&path, "application/json;as=Table;v=v1;g=meta.k8s.io").await.ok();
    let columns = table["columnDefinitions"].as_array().map(Vec::len);
    assert_eq!(table["rows"][0]["cells"].as_array().map(Vec::len), columns, "table {what}");

    if row.supports(Verb::Update) {
        let mut changed = got.clone();
        changed["metadata"]["labels"]["put"] = "yes".into();
        let put = harness.put(&object, &changed).await;
        assert_eq!(put.status, 200, "update {what}: {:?}", put.body);
        assert_eq!(put.ok()["metadata"]["labels"]["put"], "yes");
        let stale = harness.put(&object, &changed).await;
        assert_eq!(stale.status, 409, "stale update {what}: {:?}", stale.body);
    }
    if row.supports(Verb::Patch) {
        patch(harness, row, &object, &what).await;
    }
    if row.part("status").is_some() {
        let status = harness.get(&format!("{object}/status")).await;
        assert_eq!(status.status, 200, "status of {what}");
        let put = harness.put(&format!("{object}/status"), &status.ok()).await;
        assert_eq!(put.status, 200, "status update of {what}: {:?}", put.body);
    }
    if row.scale().is_some() {
        let scaled = harness.merge(&format!("{object}/scale"), &json!({"spec": {"replicas": 3}})).await;
        assert_eq!(scaled.status, 200, "scale {what}: {:?}", scaled.body);
        assert_eq!(harness.get(&format!("{object}/scale")).await.ok()["spec"]["replicas"], 3, "{what}");
    }
    remove(harness, row, &path, &object, &what).await;
    if let Some(watch) = &mut watch {
        let mut last = watch.next().await.expect("the watch goes on");
        while last["object"]["metadata"]["name"] == name && last["type"] != "DELETED" {
            last = watch.next().await.expect("the watch goes on");
        }
        assert_eq!(
            (&last["type"], &last["object"]["metadata"]["name"]),
            (&json!("DELETED"), &json!(name)),
            "{what}"
        );
    }
}

/// A watch from the present on, where the kind can be watched.
async fn watch(harness: &Harness, row: &Resource, path: &str) -> Option<Watch> {
    if !row.supports(Verb::Watch) {
        return None;
    }
    let list = harness.get(path).await.ok();
    let version = list["metadata"]["resourceVersion"].as_str().expect("a list has a version");
    let url = format!("{path}?watch=true&resourceVersion={version}");
    Some(Watch::open(harness, &url, "application/json").await)
}

async fn patch(harness: &Harness, row: &Resource, object: &str, what: &str) {
    let change = |value: &str| json!({"metadata": {"annotations": {"patched": value}}});
    for (kind, body) in [
        ("application/merge-patch+json", change("merge")),
        ("application/strategic-merge-patch+json", change("strategic")),
        (
            "application/json-patch+json",
            json!([{"op": "replace", "path": "/metadata/annotations/patched", "value": "json"}]),
        ),
    ] {
        let patched = harness.patch(object, kind, &body).await;
        assert_eq!(patched.status, 200, "{kind} of {what}: {:?}", patched.body);
    }
    let mut config = sample(row, "walked");
    config["metadata"] = json!({"name": named(&row.plural, "walked"), "labels": {"applied": "yes"}});
    let url = format!("{object}?fieldManager=walker&force=true");
    let applied = harness.patch(&url, "application/apply-patch+yaml", &config).await;
    assert_eq!(applied.status, 200, "apply {what}: {:?}", applied.body);
    let applied = applied.ok();
    assert_eq!(applied["metadata"]["annotations"]["patched"], "json", "{what}");
    assert_eq!(applied["metadata"]["labels"]["applied"], "yes", "{what}");
}

async fn remove(harness: &Harness, row: &Resource, path: &str, object: &str, what: &str) {
    if row.supports(Verb::Delete) {
        let deleted =
            harness.delete(&format!("{object}?gracePeriodSeconds=0&propagationPolicy=Background")).await;
        assert_eq!(deleted.status, 200, "delete {what}: {:?}", deleted.body);
        end(harness, row, object, what).await;
        assert_eq!(harness.get(object).await.status, 404, "{what}");
    }
    if row.supports(Verb::DeleteCollection) {
        for name in ["one", "two"] {
            assert_eq!(harness.post(path, &sample(row, name)).await.status, 201, "{what}");
        }
        let url =
            format!("{path}?labelSelector=walk%3Dyes&gracePeriodSeconds=0&propagationPolicy=Background");
        let deleted = harness.delete(&url).await;
        assert_eq!(deleted.status, 200, "delete collection {what}: {:?}", deleted.body);
        for left in harness.get(path).await.ok()["items"].as_array().expect("a list") {
            let name = left["metadata"]["name"].as_str().expect("an object has a name");
            end(harness, row, &format!("{path}/{name}"), what).await;
        }
        assert_eq!(harness.get(path).await.ok()["items"], json!([]), "{what}");
    }
}

/// Takes away what holds an object that is marked, as the kind's controller does.
async fn end(harness: &Harness, row: &Resource, object: &str, what: &str) {
    let left = harness.get(object).await;
    if left.status != 200 {
        return;
    }
    let mut ended = left.ok();
    assert!(ended["metadata"]["deletionTimestamp"].is_string(), "{what} lingers unmarked");
    if row.part("finalize").is_some() {
        ended["spec"]["finalizers"] = json!([]);
        harness.put(&format!("{object}/finalize"), &ended).await.ok();
    } else {
        ended["metadata"]["finalizers"] = json!([]);
        harness.put(object, &ended).await.ok();
    }
}
