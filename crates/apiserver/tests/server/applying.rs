//! Server-side apply of objects that client-side apply made: what is taken over without a conflict (the cases are those
//! of upstream's `managedfields/internal/lastappliedmanager_test.go`), and configurations of another type.

use serde_json::{Value, json};

use crate::harness::{Answer, CONFIG_MAPS, Harness};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
const APPLY: &str = "application/apply-patch+yaml";

fn deployment(spec: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec})
}

fn spec(replicas: i32, label: &str, image: &str) -> Value {
    json!({"replicas": replicas, "selector": {"matchLabels": {"app": "my-app"}}, "template": {
        "metadata": {"labels": {"app": "my-app", "tier": label}},
        "spec": {"containers": [{"name": "my-c", "image": image}]}}})
}

/// Makes an object as client-side apply makes it: with the configuration in the annotation.
async fn made_client_side(harness: &Harness, live: &Value, last_applied: &str) {
    let mut live = live.clone();
    live["metadata"]["annotations"] = json!({ANNOTATION: last_applied});
    let url = format!("{DEPLOYMENTS}?fieldManager=kubectl-client-side-apply");
    assert_eq!(harness.post(&url, &live).await.status, 201);
}

async fn applied_by(harness: &Harness, manager: &str, config: &Value) -> Answer {
    harness.patch(&format!("{DEPLOYMENTS}/d?fieldManager={manager}"), APPLY, config).await
}

#[tokio::test]
async fn what_client_side_apply_set_is_taken_over() {
    let harness = Harness::start().await;
    let first = deployment(&spec(3, "one", "v1"));
    made_client_side(&harness, &first, &first.to_string()).await;
    let second = deployment(&spec(5, "two", "v2"));
    let refused = applied_by(&harness, "not_kubectl", &second).await.refused(409);
    assert_eq!(
        refused,
        "Apply failed with 3 conflicts: conflicts with \"kubectl-client-side-apply\" using apps/v1:\n- .spec.replicas\n- .spec.template.metadata.labels.tier\n- .spec.template.spec.containers[name=\"my-c\"].image"
    );
    let applied = applied_by(&harness, "kubectl", &second).await.ok();
    assert_eq!(applied["spec"]["replicas"], 5);
    let entries = applied["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!((&entries[0]["manager"], &entries[0]["operation"]), (&json!("kubectl"), &json!("Apply")));
    assert_eq!(entries[0]["fieldsV1"]["f:spec"]["f:replicas"], json!({}));
    assert_eq!(entries[1]["manager"], "kubectl-client-side-apply");
    let theirs = &entries[1]["fieldsV1"]["f:spec"];
    assert_eq!(theirs["f:replicas"], Value::Null, "ownership moves: {theirs}");
    assert_ne!(theirs["f:selector"], Value::Null, "what did not change is both's: {theirs}");
    let mut kept = second.to_string();
    kept.push('\n');
    assert_eq!(applied["metadata"]["annotations"][ANNOTATION], kept);
}

#[tokio::test]
async fn what_others_changed_since_is_a_conflict_and_alone_is_named() {
    let harness = Harness::start().await;
    let last = deployment(&spec(3, "one", "v1"));
    made_client_side(&harness, &last, &last.to_string()).await;
    // Others have changed the number and the image since, and set a label of their own.
    let change = json!({"metadata": {"labels": {"app": "mine"}}, "spec": {"replicas": 100, "template": {"spec": {
        "containers": [{"name": "my-c", "image": "v2"}]}}}});
    let url = format!("{DEPLOYMENTS}/d?fieldManager=other");
    harness.patch(&url, "application/strategic-merge-patch+json", &change).await.ok();
    let mut config = deployment(&spec(333, "two", "new"));
    config["metadata"]["labels"] = json!({"app": "new"});
    let refused = applied_by(&harness, "kubectl", &config).await.refused(409);
    assert_eq!(
        refused,
        "Apply failed with 3 conflicts: conflicts with \"other\" using apps/v1:\n- .metadata.labels.app\n- .spec.replicas\n- .spec.template.spec.containers[name=\"my-c\"].image"
    );
    let mut agreeing = config;
    agreeing["metadata"]["labels"] = json!({"app": "mine"});
    agreeing["spec"]["replicas"] = json!(3);
    agreeing["spec"]["template"]["spec"]["containers"][0]["image"] = json!("v2");
    let refused = applied_by(&harness, "kubectl", &agreeing).await.refused(409);
    assert_eq!(
        refused,
        "Apply failed with 1 conflict: conflict with \"other\" using apps/v1: .spec.replicas"
    );
}

#[tokio::test]
async fn an_annotation_that_holds_no_such_configuration_allows_nothing() {
    let first = deployment(&spec(3, "one", "v1"));
    let with = |field: &str, value: Value| {
        let mut config = first.clone();
        config[field] = value;
        config.to_string()
    };
    for last in [
        String::new(),
        "no json".to_owned(),
        "[]".to_owned(),
        with("apiVersion", json!("extensions/v1beta1")),
        with("kind", json!("StatefulSet")),
        with("spec", json!({"replicas": 3, "unheard": "of"})),
        json!({"apiVersion": "foo", "kind": "bar", "spec": "no object"}).to_string(),
    ] {
        let harness = Harness::start().await;
        made_client_side(&harness, &first, &last).await;
        let refused =
            applied_by(&harness, "kubectl", &deployment(&spec(100, "one", "v1"))).await.refused(409);
        assert_eq!(
            refused,
            "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas",
            "{last}"
        );
    }
}

#[tokio::test]
async fn a_configuration_of_another_type_is_refused() {
    let harness = Harness::start().await;
    for (api_version, kind, told) in [
        ("apps/v1beta1", "Deployment", "apps/v1beta1, Kind=Deployment"),
        ("v1", "Pod", "/v1, Kind=Pod"),
        ("", "", "/, Kind="),
    ] {
        let mut config = deployment(&spec(1, "one", "v1"));
        config["apiVersion"] = json!(api_version);
        config["kind"] = json!(kind);
        let refused = applied_by(&harness, "kubectl", &config).await.refused(400);
        assert_eq!(refused, format!("invalid object type: {told}"));
    }
    let mut nameless = deployment(&spec(1, "one", "v1"));
    nameless["metadata"] = json!({});
    let refused = applied_by(&harness, "kubectl", &nameless).await.refused(400);
    assert_eq!(refused, "the name of the object (d based on URL) was undeterminable: name must be provided");
}

#[tokio::test]
async fn what_nobody_tracked_belongs_to_a_manager_of_the_written_part() {
    let harness = Harness::start().await;
    harness.post(DEPLOYMENTS, &deployment(&spec(3, "one", "v1"))).await.ok();
    for reset in [json!([]), json!([{}])] {
        harness
            .merge(
                &format!("{DEPLOYMENTS}/d"),
                &json!({"metadata": {"managedFields": [{"manager": "x",
            "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:replicas": {}}}}]}}),
            )
            .await
            .ok();
        let forget = json!({"metadata": {"managedFields": reset}});
        let forgotten = harness.merge(&format!("{DEPLOYMENTS}/d"), &forget).await.ok();
        assert_eq!(forgotten["metadata"]["managedFields"], Value::Null, "{reset}");
    }
    let mut config = deployment(&Value::Null);
    config["status"] = json!({"observedGeneration": 1});
    config.as_object_mut().unwrap().remove("spec");
    let url = format!("{DEPLOYMENTS}/d/status?fieldManager=me");
    let applied = harness.patch(&url, APPLY, &config).await.ok();
    let entries = applied["metadata"]["managedFields"].as_array().unwrap();
    let told: Vec<_> = entries.iter().map(|e| (&e["manager"], &e["operation"], &e["subresource"])).collect();
    let status = json!("status");
    assert_eq!(
        told,
        [(&json!("me"), &json!("Apply"), &status), (&json!("before-first-apply"), &json!("Update"), &status),]
    );
}

#[tokio::test]
async fn keys_given_again_are_told_with_their_lines() {
    let harness = Harness::start().await;
    let url = format!("{CONFIG_MAPS}/a?fieldManager=m");
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  foo: foo1\n  foo: foo2\n";
    let strict = harness.apply(&format!("{url}&fieldValidation=Strict"), yaml).await;
    assert_eq!(
        strict.refused(400),
        "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 7: key \"foo\" already set in map"
    );
    harness.get(&format!("{CONFIG_MAPS}/a")).await.refused(404);
    let warned = harness.apply(&url, yaml).await;
    assert_eq!(warned.headers["warning"], "299 - \"line 7: key \\\"foo\\\" already set in map\"");
    assert_eq!(warned.ok()["data"]["foo"], "foo2");
    let ignored = harness.apply(&format!("{url}&fieldValidation=Ignore"), yaml).await;
    assert_eq!(ignored.headers.get("warning"), None);
}
