//! Writing single objects: conflicts, dry runs, strictness, finalizers, grace, apply.

use std::sync::Arc;

use apiserver::Eventual;
use apiserver::admission::{Admission, Review};
use serde_json::json;

use crate::harness::{CONFIG_MAPS, Harness, PODS, config_map, pod};

#[tokio::test]
async fn conflicts_are_told_and_patches_are_not_troubled_by_them() {
    let harness = Harness::start().await;
    let old = harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    harness.merge(&path, &json!({"data": {"b": "2"}})).await.ok();
    assert_eq!(
        harness.put(&path, &old).await.refused(409),
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    let stale =
        json!({"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "data": {"c": "3"}});
    harness.merge(&path, &stale).await.refused(409);
    let mut other = old.clone();
    other["metadata"]["uid"] = "someone-else".into();
    other["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    harness.put(&path, &other).await.refused(409);
    let mut patches = Vec::new();
    for i in 0..16 {
        let (harness, path) = (&harness, path.clone());
        patches.push(async move {
            harness.merge(&path, &json!({"data": {format!("k{i}"): "v"}})).await.ok();
        });
    }
    futures::future::join_all(patches).await;
    assert_eq!(harness.get(&path).await.ok()["data"].as_object().unwrap().len(), 18);
}

#[tokio::test]
async fn a_change_of_nothing_is_no_write() {
    let harness = Harness::start().await;
    let created = harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let same = harness.merge(&path, &json!({"data": {"a": "1"}})).await.ok();
    assert_eq!(same["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
    let put = harness.put(&path, &created).await.ok();
    assert_eq!(put["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn dry_runs_answer_and_keep_nothing() {
    let harness = Harness::start().await;
    let dry = harness.post(&format!("{CONFIG_MAPS}?dryRun=All"), &config_map("a")).await;
    assert_eq!(dry.status, 201);
    let path = format!("{CONFIG_MAPS}/a");
    assert_eq!(harness.get(&path).await.refused(404), "configmaps \"a\" not found");
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let dry = harness.merge(&format!("{path}?dryRun=All"), &json!({"data": {"a": "2"}})).await.ok();
    assert_eq!(dry["data"]["a"], "2");
    harness.delete(&format!("{path}?dryRun=All")).await.ok();
    assert_eq!(harness.get(&path).await.ok()["data"]["a"], "1");
}

#[tokio::test]
async fn unknown_fields_warn_or_refuse() {
    let harness = Harness::start().await;
    let mut body = config_map("a");
    body["datum"] = "x".into();
    let strict = harness.post(&format!("{CONFIG_MAPS}?fieldValidation=Strict"), &body).await.refused(400);
    assert_eq!(
        strict,
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"datum\""
    );
    let text = r#"{"datum": 1, "metadata": {"name": "a", "name": "b"}, "odd": {"x": 1, "x": 2}}"#;
    let said = |order: &str| {
        format!(
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: {order}"
        )
    };
    for (kind, order) in [
        (
            "application/json",
            r#"unknown field "datum", duplicate field "metadata.name", unknown field "odd""#,
        ),
        (
            "application/yaml",
            concat!(
                "yaml: unmarshal errors:\n  line 1: key \"name\" already set in map\n  ",
                "line 1: key \"x\" already set in map, unknown field \"datum\", unknown field \"odd\""
            ),
        ),
    ] {
        let request = http::Request::post(format!("{CONFIG_MAPS}?fieldValidation=Strict"))
            .header("content-type", kind)
            .body(http_body_util::Full::from(text))
            .unwrap();
        assert_eq!(harness.send(request).await.refused(400), said(order));
    }
    let warned = harness.post(CONFIG_MAPS, &body).await;
    assert_eq!(warned.headers["warning"], "299 - \"unknown field \\\"datum\\\"\"");
    assert!(warned.ok().get("datum").is_none());
    let wrong = json!({"metadata": {"name": "b"}, "data": []});
    harness.post(CONFIG_MAPS, &wrong).await.refused(400);
    for (version, kind, why) in [
        ("v1", "Secret", "converting (v1.Secret) to (core.ConfigMap): unknown conversion"),
        (
            "apps/v1",
            "ConfigMap",
            r#"no kind "ConfigMap" is registered for version "apps/v1" in scheme "k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30""#,
        ),
    ] {
        let refused =
            harness.post(CONFIG_MAPS, &json!({"apiVersion": version, "kind": kind})).await.refused(400);
        assert_eq!(refused, format!(r#"{kind} in version "v1" cannot be handled as a ConfigMap: {why}"#));
    }
    let bad = harness.post(CONFIG_MAPS, &config_map("Bad Name")).await.refused(422);
    assert!(
        bad.starts_with("ConfigMap \"Bad Name\" is invalid: metadata.name: Invalid value: \"Bad Name\""),
        "{bad}"
    );
    let unnamed = harness.post(CONFIG_MAPS, &json!({"metadata": {}})).await.refused(422);
    assert_eq!(
        unnamed,
        "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required"
    );
}

#[tokio::test(start_paused = true)]
async fn an_object_is_not_read_from_a_state_that_is_too_old() {
    let harness = Harness::start().await;
    let made = harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    let at = |version: &str| format!("{CONFIG_MAPS}/a?resourceVersion={version}");
    assert_eq!(harness.get(&at(version)).await.ok(), made);
    let late = harness.get(&at("99999999")).await.refused(504);
    assert!(late.starts_with("Timeout: Too large resource version: 99999999, current: "), "{late}");
}

#[tokio::test]
async fn names_are_generated() {
    let harness = Harness::start().await;
    let body = json!({"metadata": {"generateName": "gen-"}});
    let first = harness.post(CONFIG_MAPS, &body).await.ok();
    let second = harness.post(CONFIG_MAPS, &body).await.ok();
    let name = first["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("gen-") && name.len() == 9 && name != second["metadata"]["name"]);
}

/// Refuses all there is, by the name it sees first.
struct Refusing;

impl Admission for Refusing {
    fn name(&self) -> &'static str {
        "Refusing"
    }

    fn admit<'a>(
        &'a self,
        _: &'a Review<'_>,
        object: Option<&'a mut api::Object>,
    ) -> Eventual<'a, Result<(), api::Error>> {
        Err(api::Error::bad_request(format!("{:?}", object.map(|object| object.name().to_owned())))).into()
    }
}

#[tokio::test]
async fn no_name_is_made_up_for_what_admission_refuses() {
    let harness = Harness::with(vec![Arc::new(Refusing)], None).await;
    let body = json!({"metadata": {"generateName": "gen-"}});
    assert_eq!(harness.post(CONFIG_MAPS, &body).await.refused(400), "Some(\"\")");
}

#[tokio::test]
async fn finalizers_keep_an_object_until_the_last_is_gone() {
    let harness = Harness::start().await;
    let mut body = config_map("a");
    body["metadata"]["finalizers"] = json!(["example.com/hold"]);
    harness.post(CONFIG_MAPS, &body).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let marked = harness.delete(&path).await.ok();
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let again = harness.post(CONFIG_MAPS, &body).await.refused(409);
    assert_eq!(again, "object is being deleted: configmaps \"a\" already exists");
    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    let refused = harness.merge(&path, &more).await.refused(422);
    assert!(refused.contains("no new finalizers can be added if the object is being deleted"), "{refused}");
    harness.merge(&path, &json!({"metadata": {"finalizers": null}})).await.ok();
    harness.get(&path).await.refused(404);
}

#[tokio::test]
async fn deletes_check_preconditions_and_say_what_is_gone() {
    let harness = Harness::start().await;
    let created = harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let refused = harness.delete_with(&path, &json!({"preconditions": {"uid": "x"}})).await.refused(409);
    assert!(
        refused.contains("the UID in the precondition (x) does not match the UID in record"),
        "{refused}"
    );
    let status = harness.delete_with(&path, &json!({"kind": "DeleteOptions", "apiVersion": "v1"})).await.ok();
    assert_eq!(status["status"], "Success");
    assert_eq!(status["details"]["uid"], created["metadata"]["uid"]);
    harness.delete(&path).await.refused(404);
    let mut namespace = json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}});
    harness.post("/api/v1/namespaces", &namespace).await.ok();
    namespace = harness.delete("/api/v1/namespaces/n").await.ok();
    assert_eq!(namespace["status"]["phase"], "Terminating");
    namespace["spec"]["finalizers"] = json!([]);
    harness.put("/api/v1/namespaces/n/finalize", &namespace).await.ok();
    harness.get("/api/v1/namespaces/n").await.refused(404);
}

#[tokio::test]
async fn the_systems_priority_classes_stay() {
    const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let harness = Harness::start().await;
    for (name, value) in [("system-node-critical", 2_000_001_000), ("mine", 1)] {
        let class = json!({"metadata": {"name": name}, "value": value});
        harness.post(CLASSES, &class).await;
    }
    let refusal = r#"priorityclasses.scheduling.k8s.io "system-node-critical" is forbidden: this is a system priority class and cannot be deleted"#;
    for path in [&format!("{CLASSES}/system-node-critical"), CLASSES] {
        assert_eq!(harness.delete(path).await.refused(403), refusal, "{path}");
    }
    harness.get(&format!("{CLASSES}/system-node-critical")).await.ok();
    let selected = format!("{CLASSES}?fieldSelector=metadata.name%3Dmine");
    harness.delete(&selected).await.ok();
}

#[tokio::test]
async fn apply_creates_owns_and_conflicts() {
    let harness = Harness::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    let first = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: one\n";
    let created = harness.apply(&format!("{path}?fieldManager=alice"), first).await;
    assert_eq!(created.status, 201);
    let created = created.ok();
    assert_eq!(created["metadata"]["managedFields"][0]["manager"], "alice");
    let again = harness.apply(&format!("{path}?fieldManager=alice"), first).await.ok();
    assert_eq!(again["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
    let other = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: two\n";
    let conflict = harness.apply(&format!("{path}?fieldManager=bob"), other).await.refused(409);
    assert_eq!(conflict, "Apply failed with 1 conflict: conflict with \"alice\": .data.x");
    let forced = harness.apply(&format!("{path}?fieldManager=bob&force=true"), other).await.ok();
    assert_eq!(forced["data"]["x"], "two");
    harness.apply(&path, first).await.refused(422);
}

#[tokio::test]
async fn a_strategic_patch_merges_or_replaces_as_the_schema_says() {
    let harness = Harness::start().await;
    let strategic = "application/strategic-merge-patch+json";
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"metadata": {"name": "b", "labels": {"x": "1"}}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "1"}}}});
    harness.post(budgets, &budget).await.ok();
    let change =
        json!({"metadata": {"labels": {"y": "2"}}, "spec": {"selector": {"matchLabels": {"b": "2"}}}});
    let changed = harness.patch(&format!("{budgets}/b"), strategic, &change).await.ok();
    assert_eq!(changed["metadata"]["labels"], json!({"x": "1", "y": "2"}));
    assert_eq!(changed["spec"]["selector"], json!({"matchLabels": {"b": "2"}}));
    assert_eq!(changed["spec"]["minAvailable"], 1);
}

#[tokio::test]
async fn status_and_spec_are_written_apart() {
    let harness = Harness::start().await;
    let mut body = pod("p");
    body["status"] = json!({"phase": "Running"});
    harness.post(PODS, &body).await.ok();
    let path = format!("{PODS}/p");
    let change = json!({"status": {"message": "hi"}, "metadata": {"labels": {"x": "y"}}});
    let changed = harness.merge(&format!("{path}/status"), &change).await.ok();
    assert_eq!(changed["status"]["message"], "hi");
    let managed = changed["metadata"]["managedFields"].as_array().unwrap();
    assert!(managed.iter().any(|m| m["subresource"] == "status"), "{managed:?}");
}

#[tokio::test]
async fn bodies_that_are_no_objects_are_refused_with_a_reason() {
    let harness = Harness::start().await;
    let send = async |kind: &str, body: &'static [u8]| {
        let request = http::Request::post(CONFIG_MAPS)
            .header("content-type", kind)
            .body(http_body_util::Full::new(bytes::Bytes::from_static(body)))
            .unwrap();
        harness.send(request).await.status
    };
    assert_eq!(send("application/json", b"{\"metadata\":").await, 400);
    assert_eq!(send("application/json", b"[]").await, 400);
    assert_eq!(send("application/json", b"").await, 400);
    assert_eq!(send("application/json", b"\xff\xfe").await, 400);
    assert_eq!(send("application/cbor", b"\xa0").await, 415);
    assert_eq!(send("application/vnd.kubernetes.protobuf", b"{}").await, 400);
    assert_eq!(send("application/yaml", b"metadata: {name: from-yaml}\n").await, 201);
    let huge = vec![b' '; 4 * 1024 * 1024];
    let request = http::Request::post(CONFIG_MAPS).body(http_body_util::Full::new(huge.into())).unwrap();
    assert_eq!(harness.send(request).await.status, 413);
}

#[tokio::test]
async fn objects_may_come_as_protobuf() {
    let harness = Harness::start().await;
    // Unknown { type_meta: { v1, ConfigMap }, raw: { metadata: { name: a, namespace: "" }, data: { x: 1 } } }
    let body = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x0f\x0a\x05\x0a\x01a\x1a\x00\x12\x06\x0a\x01x\x12\x011";
    let request = http::Request::post(CONFIG_MAPS)
        .header("content-type", "application/vnd.kubernetes.protobuf")
        .body(http_body_util::Full::new(bytes::Bytes::from_static(body)))
        .unwrap();
    let created = harness.send(request).await.ok();
    assert_eq!(created["metadata"]["namespace"], "default");
    assert_eq!(created["data"], json!({"x": "1"}));
}

#[tokio::test]
async fn users_of_deprecated_kinds_are_warned() {
    let harness = Harness::start().await;
    let warning = |answer: &crate::harness::Answer| {
        answer.headers.get("warning").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let path = "/api/v1/namespaces/default/endpoints";
    let expect = "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"";
    assert_eq!(warning(&harness.get(path).await), expect);
    assert_eq!(warning(&harness.post(path, &json!({"metadata": {"name": "e"}})).await), expect);
    assert_eq!(warning(&harness.get(CONFIG_MAPS).await), "");
}

#[tokio::test]
async fn warnings_come_with_what_they_warn_of_and_not_with_later_labels() {
    let harness = Harness::start().await;
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    let set = json!({"metadata": {"name": "r"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "containers": [{"name": "c", "image": "i"}]}}}});
    assert!(harness.post(sets, &set).await.headers.contains_key("warning"));
    let path = format!("{sets}/r");
    let label = harness.merge(&path, &json!({"metadata": {"labels": {"x": "y"}}})).await;
    assert!(!label.headers.contains_key("warning"));
    let count = harness.merge(&path, &json!({"spec": {"replicas": 3}})).await;
    assert!(count.headers.contains_key("warning"));
    let mut held = config_map("held");
    held["metadata"]["finalizers"] = json!(["mine"]);
    let refused = harness.post(CONFIG_MAPS, &held).await.refused(422);
    assert!(
        refused.ends_with("name is neither a standard finalizer name nor is it fully qualified"),
        "{refused}"
    );
}

#[tokio::test]
async fn answers_are_laid_out_for_people() {
    let harness = Harness::start().await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    for path in [format!("{CONFIG_MAPS}/a"), CONFIG_MAPS.to_owned(), format!("{CONFIG_MAPS}/none")] {
        let plain = harness.get(&path).await;
        let pretty = harness.get(&format!("{path}?pretty=true")).await;
        assert_eq!(pretty.json(), plain.json());
        assert!(pretty.body.starts_with(b"{\n  \""), "{:?}", pretty.body);
        assert!(!plain.body.starts_with(b"{\n"), "{:?}", plain.body);
    }
}

#[tokio::test]
async fn all_namespaces_together_can_be_read_and_not_written() {
    let harness = Harness::start().await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let everywhere = "/api/v1/configmaps";
    let refused = harness.delete(everywhere).await.refused(405);
    assert_eq!(refused, "the server does not allow this method on the requested resource");
    harness.post(everywhere, &config_map("b")).await.refused(405);
    let held = harness.get(everywhere).await.ok();
    assert_eq!(held["items"].as_array().unwrap().len(), 1);
    assert_eq!(held["items"][0]["metadata"]["name"], "a");
}

#[tokio::test]
async fn a_creator_owns_what_it_sent_and_its_defaults_but_no_status() {
    let harness = Harness::start().await;
    let mut sent = pod("owned");
    sent["status"] = json!({"phase": "Running"});
    let created = harness.post(PODS, &sent).await.ok();
    let entries = created["metadata"]["managedFields"].as_array().unwrap().clone();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["manager"], "tester");
    let fields = &entries[0]["fieldsV1"];
    assert!(fields["f:spec"].get("f:dnsPolicy").is_some(), "{fields}");
    assert!(fields.get("f:status").is_none(), "{fields}");

    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "owned"},
        "target": {"kind": "Node", "name": "n"}});
    harness.post(&format!("{PODS}/owned/binding"), &binding).await.ok();
    let bound = harness.get(&format!("{PODS}/owned")).await.ok();
    assert_eq!(bound["spec"]["nodeName"], "n");
    assert_eq!(bound["metadata"]["managedFields"], json!(entries), "nobody manages what a binding sets");
}

#[tokio::test]
async fn warnings_are_given_on_the_writes_that_they_concern() {
    let harness = Harness::start().await;
    let warned = |answer: crate::harness::Answer| {
        assert!((200..300).contains(&answer.status), "{:?}", answer.body);
        answer.headers.get("warning").map(|text| text.to_str().unwrap().to_owned())
    };
    // A name is given once.
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    let set = json!({"metadata": {"name": "r.s"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let text = warned(harness.post(sets, &set).await).unwrap();
    assert!(text.contains("a DNS label is recommended: [must not contain dots]"), "{text}");
    assert_eq!(warned(harness.merge(&format!("{sets}/r.s"), &json!({"spec": {"replicas": 3}})).await), None);
    // A kind that does not count its changes is warned of at each, but not for its status.
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1500m"}}}});
    let fraction = Some(
        "299 - \"spec.resources.requests[storage]: fractional byte value \\\"1500m\\\" is invalid, must be an integer\""
            .to_owned(),
    );
    assert_eq!(warned(harness.post(claims, &claim).await), fraction);
    let path = format!("{claims}/c");
    let label = json!({"metadata": {"labels": {"x": "y"}}});
    assert_eq!(warned(harness.merge(&path, &label).await), fraction);
    let bound = json!({"status": {"phase": "Bound"}});
    assert_eq!(warned(harness.merge(&format!("{path}/status"), &bound).await), None);
}
