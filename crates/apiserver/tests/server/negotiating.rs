//! Requests whose `Accept` names only a form that their answer does not have: refused, before anything is written.

use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::{Answer, Harness, PODS, pod};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const METADATA: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";

async fn sent(harness: &Harness, method: Method, path: &str, accept: &str, body: &Value) -> Answer {
    let kind =
        if method == Method::PATCH { "application/strategic-merge-patch+json" } else { "application/json" };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("accept", accept)
        .header("content-type", kind)
        .body(Full::new(body.to_string().into()))
        .unwrap();
    harness.send(request).await
}

/// What has no columns (upstream: the storages that are no `TableConvertor`).
fn without_columns() -> Vec<(Method, String, Value)> {
    let review = |group: &str, resource: &str, spec: Value| {
        (Method::POST, format!("/apis/{group}.k8s.io/v1/{resource}"), json!({"spec": spec}))
    };
    let attributes =
        json!({"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}});
    let mut about = attributes.clone();
    about["user"] = json!("jane");
    let target = json!({"apiVersion": "v1", "kind": "Node", "name": "n"});
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": target});
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox"}]}});
    let local = json!({"metadata": {"namespace": "default"}, "spec": about.clone()});
    let namespace = json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["x/y"]}});
    vec![
        (Method::POST, format!("{PODS}/p/binding"), binding.clone()),
        (Method::POST, "/api/v1/namespaces/default/bindings".to_owned(), binding),
        (Method::POST, format!("{PODS}/p/eviction"), eviction),
        (
            Method::POST,
            "/api/v1/namespaces/default/serviceaccounts/a/token".to_owned(),
            json!({"spec": {"audiences": ["x"]}}),
        ),
        (Method::GET, format!("{PODS}/p/ephemeralcontainers"), Value::Null),
        (Method::PATCH, format!("{PODS}/p/ephemeralcontainers"), debug),
        (Method::GET, format!("{PODS}/p/resize"), Value::Null),
        (Method::PATCH, format!("{PODS}/p/resize"), json!({"spec": {}})),
        (Method::PUT, "/api/v1/namespaces/n/finalize".to_owned(), namespace),
        review("authorization", "selfsubjectaccessreviews", attributes),
        review("authorization", "subjectaccessreviews", about),
        (
            Method::POST,
            "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews".to_owned(),
            local,
        ),
        review("authorization", "selfsubjectrulesreviews", json!({"namespace": "default"})),
        review("authentication", "selfsubjectreviews", json!({})),
        review("authentication", "tokenreviews", json!({"token": "token-jane"})),
    ]
}

async fn furnished() -> Harness {
    let harness = Harness::start().await;
    harness.post("/api/v1/namespaces", &json!({"metadata": {"name": "n"}})).await.ok();
    harness
        .post("/api/v1/namespaces/default/serviceaccounts", &json!({"metadata": {"name": "a"}}))
        .await
        .ok();
    harness.post(PODS, &pod("p")).await.ok();
    harness
}

#[tokio::test]
async fn a_table_of_what_has_no_columns_is_not_acceptable_and_nothing_is_done() {
    let harness = furnished().await;
    let before = harness.get(&format!("{PODS}/p")).await.ok();
    for (method, path, body) in without_columns() {
        let what = format!("{method} {path}");
        let refused = sent(&harness, method, &path, TABLE, &body).await;
        assert_eq!(
            (refused.status, refused.json()["reason"].as_str()),
            (406, Some("NotAcceptable")),
            "{what}"
        );
    }
    assert_eq!(harness.get(&format!("{PODS}/p")).await.ok(), before);
}

#[tokio::test]
async fn who_also_takes_the_object_gets_it_and_metadata_can_be_had_of_all() {
    for accept in [format!("{TABLE},application/json"), METADATA.to_owned()] {
        for (method, path, body) in without_columns() {
            let what = format!("{method} {path} as {accept}");
            let harness = furnished().await;
            let answer = sent(&harness, method, &path, &accept, &body).await;
            assert!(matches!(answer.status, 200 | 201), "{what}: {:?}", answer.body);
            let kind = answer.json()["kind"].clone();
            // A Status stays one.
            let partial = accept == METADATA
                && !path.ends_with("binding")
                && !path.ends_with("bindings")
                && !path.ends_with("eviction");
            assert_eq!(kind == "PartialObjectMetadata", partial, "{what}: {kind}");
            assert_ne!(kind, "Table", "{what}");
        }
    }
}

#[tokio::test]
async fn a_scale_is_not_written_for_who_cannot_take_the_answer() {
    let harness = Harness::start().await;
    let set = json!({"metadata": {"name": "r"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    harness.post(SETS, &set).await.ok();
    let path = format!("{SETS}/r/scale");
    let five = json!({"spec": {"replicas": 5}});
    sent(&harness, Method::PATCH, &path, "application/xml", &five).await.refused(406);
    assert_eq!(harness.get(&path).await.ok()["spec"]["replicas"], 2);
    let table = sent(&harness, Method::PATCH, &path, TABLE, &five).await.ok();
    assert_eq!(table["rows"][0]["cells"][1], 5);
}
