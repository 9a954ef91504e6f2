//! What client libraries send and expect at the edges: versions that are none, methods, forms of answers, bodies that
//! say nothing.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::{Answer, CONFIG_MAPS, Harness, config_map};

async fn send(harness: &Harness, method: Method, url: &str, kind: &str, body: impl Into<Bytes>) -> Answer {
    let request = Request::builder().method(method).uri(url).header("content-type", kind);
    harness.send(request.body(Full::new(body.into())).expect("a request that can be sent")).await
}

#[track_caller]
fn refusal(answer: Answer, code: u16) -> String {
    assert_eq!(answer.status, code, "{:?}", answer.body);
    answer.json()["message"].as_str().expect("a message").to_owned()
}

#[tokio::test]
async fn resource_versions_that_are_no_numbers_are_refused() {
    let harness = Harness::start().await;
    let mut object = harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let one = format!("{CONFIG_MAPS}/a");
    let why = refusal(harness.get(&format!("{one}?resourceVersion=abc")).await, 400);
    assert!(why.ends_with(r#"strconv.ParseUint: parsing "abc": invalid syntax"#), "{why}");
    object["metadata"]["resourceVersion"] = "abc".into();
    let why = refusal(harness.put(&one, &object).await, 400);
    assert_eq!(why, r#"strconv.ParseUint: parsing "abc": invalid syntax"#);
}

#[tokio::test]
async fn methods_that_are_not_served_are_refused_with_details() {
    let harness = Harness::start().await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    for url in [CONFIG_MAPS.to_owned(), format!("{CONFIG_MAPS}/a")] {
        assert_eq!(send(&harness, Method::HEAD, &url, "application/json", "").await.status, 405, "{url}");
    }
    let answer = send(&harness, Method::PUT, CONFIG_MAPS, "application/json", "{}").await;
    assert_eq!((answer.status, &answer.json()["details"]), (405, &json!({})));
}

#[tokio::test]
async fn metadata_comes_in_the_form_that_was_asked_for_or_not_at_all() {
    let harness = Harness::start().await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let one = format!("{CONFIG_MAPS}/a");
    let accept = |form: &str, version: &str| format!("application/json;as={form};g=meta.k8s.io;v={version}");
    for version in ["v1", "v1beta1"] {
        let object = harness.get_as(&one, &accept("PartialObjectMetadata", version)).await.ok();
        let list = harness.get_as(CONFIG_MAPS, &accept("PartialObjectMetadataList", version)).await.ok();
        assert_eq!(object["apiVersion"], format!("meta.k8s.io/{version}"));
        assert_eq!(list["kind"], "PartialObjectMetadataList");
        assert_eq!(
            (&list["apiVersion"], &list["items"][0]["apiVersion"]),
            (&object["apiVersion"], &object["apiVersion"])
        );
    }
    let why = refusal(harness.get_as(CONFIG_MAPS, &accept("PartialObjectMetadata", "v1")).await, 406);
    assert_eq!(
        why,
        "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)"
    );
    let why = refusal(harness.get_as(&one, &accept("PartialObjectMetadataList", "v1")).await, 406);
    assert_eq!(
        why,
        "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)"
    );
    let why = refusal(harness.get_as(&format!("{one}?includeObject=Foo"), &accept("Table", "v1")).await, 400);
    assert_eq!(
        why,
        "Unable to convert to Table as requested: includeObject: Invalid value: \"Foo\": must be 'Metadata', 'Object', 'None', or empty"
    );
}

#[tokio::test]
async fn bodies_are_judged_as_go_reads_them() {
    let harness = Harness::start().await;
    let post = |body: &'static str| send(&harness, Method::POST, CONFIG_MAPS, "application/json", body);
    let why = refusal(post("null").await, 422);
    assert!(why.contains("name or generateName is required"), "{why}");
    let why = refusal(post("{\"kind\": \"ConfigMap\",}").await, 400);
    assert!(why.contains("invalid character '}' looking for beginning of object key string"), "{why}");
    let why = refusal(post("{\"kind\":").await, 400);
    assert!(why.contains("unexpected end of JSON input"), "{why}");
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let one = format!("{CONFIG_MAPS}/a");
    for (patch, code) in [
        (json!([{"op": "bogus", "path": "/data"}]), 422),
        (json!([{"op": "add", "path": "/data/b"}]), 422),
        (json!([1]), 400),
    ] {
        let answer = harness.patch(&one, "application/json-patch+json", &patch).await;
        assert_eq!(answer.status, code, "{patch}: {:?}", answer.body);
    }
    let deleted = send(&harness, Method::DELETE, &one, "application/json", "null").await;
    assert_eq!(deleted.status, 200, "{:?}", deleted.body);
    assert_eq!(harness.get(&one).await.status, 404);
}

/// Members that upstream's types never leave out, and a write of the same object that changes nothing.
#[tokio::test]
async fn objects_have_the_fields_that_are_always_written() {
    let harness = Harness::start().await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let created = harness.post(roles, &json!({"metadata": {"name": "none"}})).await.ok();
    assert_eq!(created.get("rules"), Some(&Value::Null));
    let one = format!("{roles}/none");
    let read = harness.get(&one).await.ok();
    assert_eq!(read, created);
    let again = harness.put(&one, &json!({"metadata": {"name": "none"}})).await.ok();
    assert_eq!(again["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}});
    let event = harness.post("/api/v1/namespaces/default/events", &event).await.ok();
    assert_eq!((event.get("eventTime"), &event["reportingComponent"]), (Some(&Value::Null), &json!("")));
}
