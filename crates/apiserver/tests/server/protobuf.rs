//! Answers in protobuf: objects, lists, events and failures, and where there are none.

use api::GroupVersionKind;
use api::codec::Limits;
use api::codec::protobuf::decode;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::custom::{DEFINITIONS, establish};
use crate::harness::{Answer, CONFIG_MAPS, Harness, PODS, config_map, pod};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// An object in its envelope, of the kind that the envelope names.
fn read(bytes: &[u8]) -> Value {
    let told = |number: u8| {
        // The envelope's first field holds the version and the kind.
        let type_meta = &bytes[6..6 + usize::from(bytes[5])];
        let mut rest = type_meta;
        while let [key, length, tail @ ..] = rest {
            let (text, after) = tail.split_at(usize::from(*length));
            if *key == number << 3 | 2 {
                return String::from_utf8(text.to_vec()).unwrap();
            }
            rest = after;
        }
        String::new()
    };
    assert_eq!(&bytes[..5], b"k8s\0\x0a");
    let (api_version, kind) = (told(1), told(2));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let schema = resources::schema_of_kind(&GroupVersionKind::new(group, version, &kind))
        .unwrap_or_else(|| panic!("{kind} is a kind"));
    let limits = Limits { bytes: usize::MAX, ..Limits::default() };
    let object = decode(schema.types(), schema.messages().unwrap(), schema.id(), bytes, &limits).unwrap();
    object.into_value()
}

fn object(answer: &Answer) -> Value {
    assert_eq!(answer.headers["content-type"], PROTOBUF, "{}", String::from_utf8_lossy(&answer.body));
    read(&answer.body)
}

async fn send(harness: &Harness, method: &str, path: &str, kind: &str, body: Bytes) -> Answer {
    let request = Request::builder().method(method).uri(path).header("accept", PROTOBUF);
    harness.send(request.header("content-type", kind).body(Full::new(body)).unwrap()).await
}

async fn send_json(harness: &Harness, method: &str, path: &str, body: &Value) -> Answer {
    send(harness, method, path, "application/json", body.to_string().into()).await
}

#[tokio::test]
async fn every_verb_answers_in_protobuf() {
    let harness = Harness::start().await;
    let made = send_json(&harness, "POST", PODS, &pod("a")).await;
    assert_eq!(made.status, 201);
    let path = format!("{PODS}/a");
    assert_eq!(object(&made), harness.get(&path).await.ok());
    let shown = harness.get_as(&path, PROTOBUF).await;
    assert_eq!(object(&shown), object(&made));
    // What was read may be written as it is.
    let written = send(&harness, "PUT", &path, PROTOBUF, shown.body.clone()).await;
    assert_eq!((written.status, object(&written)), (200, object(&made)));
    let merge = "application/merge-patch+json";
    let patched = send(&harness, "PATCH", &path, merge, r#"{"metadata":{"labels":{"x":"y"}}}"#.into()).await;
    assert_eq!(object(&patched)["metadata"]["labels"]["x"], "y");
    harness.post(PODS, &pod("b")).await.ok();
    let listed = harness.get_as(&format!("{PODS}?limit=1"), PROTOBUF).await;
    let (mut told, shown) = (object(&listed), harness.get(&format!("{PODS}?limit=1")).await.ok());
    // Items say their kinds in JSON alone.
    for item in told["items"].as_array_mut().unwrap() {
        item["apiVersion"] = "v1".into();
        item["kind"] = "Pod".into();
    }
    let mut shown = shown;
    for item in shown["items"].as_array_mut().unwrap() {
        item["apiVersion"] = "v1".into();
        item["kind"] = "Pod".into();
    }
    assert_eq!((&told, told["items"].as_array().unwrap().len()), (&shown, 1));
    let all = object(&harness.get_as("/api/v1/pods", PROTOBUF).await);
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    let gone = send_json(&harness, "DELETE", &format!("{PODS}/b"), &json!({"gracePeriodSeconds": 0})).await;
    assert_eq!((gone.status, object(&gone)["metadata"]["name"].clone()), (200, json!("b")));
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let answer =
        send_json(&harness, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review).await;
    assert_eq!(object(&answer)["status"]["allowed"], true);
}

#[tokio::test]
async fn definitions_keep_their_schemas() {
    let harness = Harness::start().await;
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
        "size": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true},
        "parts": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string", "default": "a"}}, "required": ["name"]},
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        "any": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0.5, "enum": [1, 2.5]}},
        "kind": {"type": "string", "maxLength": 9, "x-kubernetes-validations": [{"rule": "self != ''", "message": "no"}]}}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"}, "versions": [{"name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}]}});
    harness.post(DEFINITIONS, &definition).await.ok();
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let shown = harness.get_as(&path, PROTOBUF).await;
    let version = |object: &Value| object["spec"]["versions"][0].clone();
    assert_eq!(version(&object(&shown)), version(&harness.get(&path).await.ok()));
    let written = send(&harness, "PUT", &path, PROTOBUF, shown.body.clone()).await;
    assert_eq!((written.status, version(&object(&written))), (200, version(&object(&shown))));
}

#[tokio::test]
async fn failures_come_in_the_form_that_was_asked_for() {
    let harness = Harness::start().await;
    let missing = harness.get_as(&format!("{PODS}/none"), &format!("{PROTOBUF},application/json")).await;
    assert_eq!(missing.status, 404);
    let told = object(&missing);
    assert_eq!(
        (&told["kind"], &told["reason"], &told["code"]),
        (&json!("Status"), &json!("NotFound"), &json!(404))
    );
    assert_eq!(told["message"], "pods \"none\" not found");
    assert_eq!(told, harness.get(&format!("{PODS}/none")).await.json());
    let yaml = harness.get_as(&format!("{PODS}/none"), "application/yaml").await;
    assert!(String::from_utf8_lossy(&yaml.body).contains("reason: NotFound"), "{:?}", yaml.body);
    let invalid = send_json(&harness, "POST", CONFIG_MAPS, &json!({"metadata": {"name": "Bad_Name"}})).await;
    assert_eq!(
        (invalid.status, object(&invalid)["details"]["causes"][0]["field"].clone()),
        (422, json!("metadata.name"))
    );
    // Who takes nothing that is served is told so in JSON.
    let odd = harness.get_as(PODS, "text/html").await;
    assert_eq!(
        (odd.status, odd.json()["message"].clone()),
        (
            406,
            json!(
                "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
            )
        )
    );
}

#[tokio::test]
async fn what_has_no_message_is_not_served_so() {
    let harness = Harness::start().await;
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"}, "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    harness.post(DEFINITIONS, &definition).await.ok();
    establish(&harness, "widgets.example.com").await;
    let widgets = "/apis/example.com/v1/namespaces/default/widgets";
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "labels": {"a": "b"}}, "x": 1});
    harness.post(widgets, &widget).await.ok();
    for path in [widgets.to_owned(), format!("{widgets}/w"), format!("{widgets}?watch=true")] {
        let refused = harness.get_as(&path, PROTOBUF).await;
        assert_eq!(
            (refused.status, object(&refused)["reason"].clone()),
            (406, json!("NotAcceptable")),
            "{path}"
        );
    }
    let either = harness.get_as(&format!("{widgets}/w"), &format!("{PROTOBUF},application/json")).await;
    assert_eq!(either.ok()["x"], 1);
    // Their metadata has a message as that of all objects.
    let metadata = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let listed = harness.get_as(widgets, &metadata).await;
    assert_eq!(
        (listed.status, &listed.headers["content-type"]),
        (200, &http::HeaderValue::from_static(PROTOBUF))
    );
    let has = |part: &[u8]| listed.body.windows(part.len()).any(|bytes| bytes == part);
    assert!(
        has(b"PartialObjectMetadataList") && has(b"\x0a\x01w") && has(b"\x0a\x01a\x12\x01b"),
        "{:?}",
        listed.body
    );
    let table = format!("{PROTOBUF};as=Table;g=meta.k8s.io;v=v1");
    assert_eq!(harness.get_as(PODS, &table).await.status, 406);
    let kubectl = format!("{table},application/json;as=Table;g=meta.k8s.io;v=v1,{PROTOBUF}");
    assert_eq!(harness.get_as(PODS, &kubectl).await.ok()["kind"], "Table");
    assert_eq!(
        harness.get_as("/apis", &format!("{PROTOBUF},application/json")).await.ok()["kind"],
        "APIGroupList"
    );
}

/// The next event: its type and object.
async fn event(body: &mut apiserver::Body, buffer: &mut Vec<u8>) -> (String, Value) {
    loop {
        if let Some(head) = buffer.first_chunk::<4>() {
            let length = u32::from_be_bytes(*head) as usize;
            if buffer.len() >= length + 4 {
                let frame: Vec<u8> = buffer.drain(..length + 4).skip(4).collect();
                let (name, raw) = frame[2..].split_at(usize::from(frame[1]));
                let start = raw.windows(4).position(|bytes| bytes == b"k8s\0").expect("an envelope");
                return (String::from_utf8(name.to_vec()).unwrap(), read(&raw[start..]));
            }
        }
        let frame = body.frame().await.expect("the watch goes on").unwrap();
        buffer.extend_from_slice(frame.data_ref().unwrap());
    }
}

#[tokio::test]
async fn events_come_in_frames() {
    let harness = Harness::start().await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let query =
        "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let request = Request::get(format!("{CONFIG_MAPS}?{query}"))
        .header("accept", format!("{PROTOBUF},application/json"));
    let response = harness.raw(request.body(Full::default()).unwrap()).await;
    assert_eq!(response.headers()["content-type"], "application/vnd.kubernetes.protobuf;stream=watch");
    let (mut body, mut buffer) = (response.into_body(), Vec::new());
    let (name, shown) = event(&mut body, &mut buffer).await;
    assert_eq!((name.as_str(), &shown), ("ADDED", &harness.get(&format!("{CONFIG_MAPS}/a")).await.ok()));
    let (name, mark) = event(&mut body, &mut buffer).await;
    assert_eq!(
        (name.as_str(), &mark["metadata"]["annotations"]["k8s.io/initial-events-end"]),
        ("BOOKMARK", &json!("true"))
    );
    harness
        .merge(&format!("{CONFIG_MAPS}/a"), &json!({"data": {"a": "2"}, "binaryData": {"b": "AP8="}}))
        .await
        .ok();
    let (name, shown) = event(&mut body, &mut buffer).await;
    assert_eq!(
        (name.as_str(), &shown["data"]["a"], &shown["binaryData"]["b"]),
        ("MODIFIED", &json!("2"), &json!("AP8="))
    );
    harness.delete(&format!("{CONFIG_MAPS}/a")).await.ok();
    let (name, shown) = event(&mut body, &mut buffer).await;
    assert_eq!((name.as_str(), &shown["metadata"]["name"]), ("DELETED", &json!("a")));
}
