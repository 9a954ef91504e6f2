//! Custom kinds whose versions a webhook converts, as upstream's example does: `hostPort` of `v1` is `host` and `port` of
//! `v2`.

use serde_json::{Value, json};

use crate::custom::{DEFINITIONS, establish};
use crate::harness::Harness;
use crate::watching::Watch;
use crate::webhook_server::{Hook, MUTATING, Reply, allow, configure, server, webhook};

const V1: &str = "/apis/example.com/v1/namespaces/default/sites";
const V2: &str = "/apis/example.com/v2/namespaces/default/sites";

/// Converts all objects of a review.
fn converted(review: &Value) -> Reply {
    let request = &review["request"];
    let to = request["desiredAPIVersion"].as_str().unwrap();
    let objects = request["objects"].as_array().unwrap().iter().map(|object| {
        let mut object = object.clone();
        let fields = object.as_object_mut().unwrap();
        if to.ends_with("/v2") {
            let joined = fields.remove("hostPort").unwrap();
            let (host, port) = joined.as_str().unwrap().split_once(':').unwrap();
            fields.insert("host".to_owned(), host.into());
            fields.insert("port".to_owned(), port.into());
        } else {
            let part = |value: Option<Value>| value.unwrap().as_str().unwrap().to_owned();
            let (host, port) = (part(fields.remove("host")), part(fields.remove("port")));
            fields.insert("hostPort".to_owned(), format!("{host}:{port}").into());
        }
        fields.insert("apiVersion".to_owned(), to.into());
        object
    });
    let objects: Vec<Value> = objects.collect();
    Reply::Json(json!({"kind": "ConversionReview", "apiVersion": review["apiVersion"], "response":
        {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": objects}}))
}

fn definition(client: &Value, stored: &str) -> Value {
    let version = |name: &str, fields: &[&str]| {
        let fields: serde_json::Map<String, Value> =
            fields.iter().map(|field| ((*field).to_owned(), json!({"type": "string"}))).collect();
        let selectable: Vec<Value> =
            fields.keys().map(|field| json!({"jsonPath": format!(".{field}")})).collect();
        json!({"name": name, "served": true, "storage": name == stored, "selectableFields": selectable,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": fields}}})
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "sites.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "sites", "kind": "Site"},
            "versions": [version("v1", &["hostPort"]), version("v2", &["host", "port"])],
            "conversion": {"strategy": "Webhook", "webhook": {
                "clientConfig": client, "conversionReviewVersions": ["v1", "v1beta1"]}}}})
}

async fn serving(hook: &Hook) -> Harness {
    let harness = server(hook).await;
    let client = json!({"service": {"namespace": "default", "name": "hook", "path": "/convert"}, "caBundle": hook.ca()});
    let made = harness.post(DEFINITIONS, &definition(&client, "v1")).await;
    assert_eq!(made.headers.get("warning"), None);
    made.ok();
    establish(&harness, "sites.example.com").await;
    harness
}

fn site(name: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Site", "metadata": {"name": name}, "hostPort": "localhost:8080"})
}

#[tokio::test]
async fn a_webhook_converts_between_versions() {
    let hook = Hook::start(|_, review| converted(review)).await;
    let harness = serving(&hook).await;
    let made = harness.post(V1, &site("a")).await.ok();
    // What is stored as it was sent is nobody's to convert.
    assert!(hook.asked().is_empty());
    let read = harness.get(&format!("{V2}/a")).await.ok();
    assert_eq!(
        (&read["apiVersion"], &read["host"], &read["port"]),
        (&json!("example.com/v2"), &json!("localhost"), &json!("8080"))
    );
    assert_eq!(read["metadata"]["uid"], made["metadata"]["uid"]);
    let [(path, review)] = &hook.asked()[..] else { panic!("asked once") };
    assert_eq!(path, "/convert?timeout=30s");
    assert_eq!(
        (&review["kind"], &review["apiVersion"]),
        (&json!("ConversionReview"), &json!("apiextensions.k8s.io/v1"))
    );
    let other = json!({"apiVersion": "example.com/v2", "kind": "Site", "metadata": {"name": "b"}, "host": "x", "port": "1"});
    assert_eq!(harness.post(V2, &other).await.ok()["port"], "1");
    assert_eq!(harness.get(&format!("{V1}/b")).await.ok()["hostPort"], "x:1");
    let patched = harness.merge(&format!("{V2}/b"), &json!({"port": "2"})).await.ok();
    assert_eq!((&patched["host"], &patched["port"]), (&json!("x"), &json!("2")));
    assert_eq!(harness.get(&format!("{V1}/b")).await.ok()["hostPort"], "x:2");
    // A list is one question.
    hook.asked();
    let list = harness.get(V2).await.ok();
    let hosts: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| item["host"].clone()).collect();
    assert_eq!(hosts, ["localhost", "x"]);
    assert_eq!(hook.asked().len(), 1);
    let mut watch =
        Watch::open(&harness, &format!("{V2}?watch=true&resourceVersion=0"), "application/json").await;
    let event = watch.next().await.expect("an event");
    assert_eq!((&event["type"], &event["object"]["host"]), (&json!("ADDED"), &json!("localhost")));
}

#[tokio::test]
async fn fields_are_selected_in_the_version_that_is_asked_for() {
    let hook = Hook::start(|_, review| converted(review)).await;
    let harness = serving(&hook).await;
    for (name, host, port) in [("a", "x", "1"), ("b", "x", "2"), ("c", "y", "1")] {
        let site = json!({"apiVersion": "example.com/v2", "kind": "Site", "metadata": {"name": name},
            "host": host, "port": port});
        harness.post(V2, &site).await.ok();
    }
    let listed = async |path: &str| {
        let list = harness.get(path).await.ok();
        let names = list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].clone());
        (names.collect::<Vec<_>>(), list["metadata"]["continue"].as_str().map(str::to_owned))
    };
    for (selector, names) in [
        ("host%3Dx", json!(["a", "b"])),
        ("host!%3Dx", json!(["c"])),
        ("host%3Dx,port%3D2", json!(["b"])),
        ("port%3D1,metadata.name!%3Da", json!(["c"])),
        ("host%3D", json!([])),
        ("metadata.name%3Da,host%3Dx", json!(["a"])),
        ("metadata.name%3Da,host%3Dy", json!([])),
    ] {
        assert_eq!(json!(listed(&format!("{V2}?fieldSelector={selector}")).await.0), names, "{selector}");
    }
    assert_eq!(listed(&format!("{V1}?fieldSelector=hostPort%3Dx:2")).await.0, ["b"]);
    harness.get(&format!("{V1}?fieldSelector=host%3Dx")).await.refused(400);
    // A page is full of what is selected, whatever lies between.
    let (names, token) = listed(&format!("{V2}?fieldSelector=port%3D1&limit=1")).await;
    assert_eq!(names, ["a"]);
    let rest = format!("{V2}?fieldSelector=port%3D1&limit=1&continue={}", token.expect("there is more"));
    assert_eq!(listed(&rest).await, (vec![json!("c")], None));
    harness.delete(&format!("{V2}?fieldSelector=host!%3Dx")).await.ok();
    assert_eq!(listed(V1).await.0, ["a", "b"]);
}

#[tokio::test]
async fn a_watch_selects_in_the_version_that_is_asked_for() {
    let hook = Hook::start(|_, review| converted(review)).await;
    let harness = serving(&hook).await;
    harness.post(V1, &site("a")).await.ok();
    let url = format!("{V2}?watch=true&resourceVersion=0&fieldSelector=port%3D1");
    let mut watch = Watch::open(&harness, &url, "application/json").await;
    let mut b = site("b");
    b["hostPort"] = "x:1".into();
    harness.post(V1, &b).await.ok();
    for change in ["y:1", "y:2", "y:3", "z:1"] {
        harness.merge(&format!("{V1}/b"), &json!({"hostPort": change})).await.ok();
    }
    harness.delete(&format!("{V1}/a")).await.ok();
    harness.delete(&format!("{V1}/b")).await.ok();
    for (kind, host) in
        [("ADDED", "x"), ("MODIFIED", "y"), ("DELETED", "y"), ("ADDED", "z"), ("DELETED", "z")]
    {
        let event = watch.next().await.expect("an event");
        assert_eq!((&event["type"], &event["object"]["host"]), (&json!(kind), &json!(host)));
        assert_eq!(
            (&event["object"]["metadata"]["name"], &event["object"]["port"]),
            (&json!("b"), &json!("1"))
        );
    }
}

#[tokio::test]
async fn objects_of_an_older_storage_version_are_served_as_well() {
    let hook = Hook::start(|_, review| converted(review)).await;
    let harness = serving(&hook).await;
    harness.post(V1, &site("a")).await.ok();
    let versions =
        harness.get(&format!("{DEFINITIONS}/sites.example.com")).await.ok()["spec"]["versions"].clone();
    let mut versions = versions;
    versions[0]["storage"] = false.into();
    versions[1]["storage"] = true.into();
    let change = json!({"spec": {"versions": versions}});
    harness.merge(&format!("{DEFINITIONS}/sites.example.com"), &change).await.ok();
    assert_eq!(harness.get(&format!("{V1}/a")).await.ok()["hostPort"], "localhost:8080");
    assert_eq!(harness.get(&format!("{V2}/a")).await.ok()["host"], "localhost");
    harness.merge(&format!("{V1}/a"), &json!({"hostPort": "y:3"})).await.ok();
    assert_eq!(harness.get(&format!("{V2}/a")).await.ok()["port"], "3");
    harness.delete(&format!("{V2}/a")).await.ok();
}

#[tokio::test]
async fn a_conversion_that_fails_says_so() {
    let hook = Hook::start(|_, review| {
        Reply::Json(json!({"kind": "ConversionReview", "apiVersion": review["apiVersion"], "response":
            {"uid": review["request"]["uid"], "result": {"status": "Failure", "message": "never heard of it"}}}))
    })
    .await;
    let harness = serving(&hook).await;
    harness.post(V1, &site("a")).await.ok();
    let told = "conversion webhook for example.com/v1, Kind=Site failed: never heard of it";
    assert_eq!(harness.get(&format!("{V2}/a")).await.refused(500), told);
    assert_eq!(harness.get(V2).await.refused(500), told);
    // The stored version needs nobody.
    assert_eq!(harness.get(&format!("{V1}/a")).await.ok()["hostPort"], "localhost:8080");
}

#[tokio::test]
async fn an_admission_webhook_sees_the_version_that_it_wants() {
    let hook = Hook::start(|path, review| match path.split('?').next().unwrap() {
        "/convert" => converted(review),
        _ => Reply::Json(allow(review)),
    })
    .await;
    let harness = serving(&hook).await;
    let rules = json!({"rules": [{"operations": ["CREATE"], "apiGroups": ["example.com"], "apiVersions": ["v2"],
        "resources": ["sites"]}]});
    configure(&harness, MUTATING, "a", &[webhook("w.example.com", &hook.url("/see"), &rules)]).await;
    harness.post(V1, &site("a")).await.ok();
    let asked = hook.asked();
    let seen = asked.iter().find(|(path, _)| path.starts_with("/see")).expect("asked");
    assert_eq!(seen.1["request"]["object"]["host"], "localhost");
}
