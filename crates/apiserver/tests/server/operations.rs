//! What the OpenAPI document says of each operation, held against what the server answers: the code and the kind.

use std::collections::BTreeSet;

use resources::{Resource, Verb};
use serde_json::{Value, json};

use crate::harness::{Answer, Harness};
use crate::samples::{named, sample};

/// Operations that answer with a Status, as upstream's do, though its document names the kind that was sent.
const ANSWERED_WITH_STATUS: [&str; 3] = [
    "createCoreV1NamespacedBinding",
    "createCoreV1NamespacedPodBinding",
    "createCoreV1NamespacedPodEviction",
];
const NAME: &str = "walked";

/// The name of the object that a path is about.
fn name_in(template: &str) -> String {
    let plural = template.split("/{name}").next().and_then(|path| path.rsplit('/').next());
    named(plural.unwrap_or_default(), NAME)
}

struct Walk {
    harness: Harness,
    document: Value,
    walked: BTreeSet<String>,
}

/// The kind an answer is of, as `group/version/Kind`.
fn kind_of(value: &Value) -> String {
    let version = value["apiVersion"].as_str().unwrap_or_default();
    let slash = if version.contains('/') { "" } else { "/" };
    format!("{slash}{version}/{}", value["kind"].as_str().unwrap_or_default())
}

impl Walk {
    async fn start() -> Self {
        let harness = Harness::start().await;
        let document = harness.get("/openapi/v2").await.ok();
        Self { harness, document, walked: BTreeSet::new() }
    }

    fn operation(&self, template: &str, method: &str) -> Option<Value> {
        self.document["paths"].get(template)?.get(method).cloned()
    }

    /// The kinds that a definition stands for.
    fn kinds(&self, operation: &Value, code: &str) -> Vec<String> {
        let reference = operation["responses"][code]["schema"]["$ref"].as_str().unwrap_or_default();
        let name = reference.rsplit('/').next().unwrap_or_default();
        let kinds = self.document["definitions"][name]["x-kubernetes-group-version-kind"].as_array();
        kinds
            .into_iter()
            .flatten()
            .map(|kind| {
                [&kind["group"], &kind["version"], &kind["kind"]].map(|part| part.as_str().unwrap()).join("/")
            })
            .collect()
    }

    /// Sends a request and compares its answer with the document. Gives the answer.
    async fn call(&mut self, template: &str, method: &str, body: &Value) -> Value {
        let what = format!("{method} {template}");
        let operation = self.operation(template, method).unwrap_or_else(|| panic!("{what} is not described"));
        let path = template.replace("{namespace}", "walk").replace("{name}", &name_in(template));
        let answer = self.send(&path, method, body).await;
        let code = answer.status.to_string();
        assert!(operation["responses"].get(&code).is_some(), "{what}: {code} {:?}", answer.body);
        assert!(answer.status < 300, "{what}: {:?}", answer.body);
        let value = answer.json();
        let id = operation["operationId"].as_str().expect("an id").to_owned();
        let kind = kind_of(&value);
        let collection = operation["x-kubernetes-action"] == "deletecollection";
        // Finalizers hold what a deletion marks; what is marked is shown, whatever the document says. A collection
        // is answered with the list of what was there, as upstream's is.
        let marked = method == "delete" && value["metadata"].get("deletionTimestamp").is_some();
        let kinds = self.kinds(&operation, &code);
        if ANSWERED_WITH_STATUS.contains(&id.as_str()) {
            assert_eq!(kind, "/v1/Status", "{what}");
        } else if collection {
            assert!(kind.ends_with("List"), "{what}: {kind}");
        } else if !marked {
            assert!(kinds.contains(&kind), "{what} is {kind}, not one of {kinds:?}");
        }
        self.walked.insert(id);
        value
    }

    async fn send(&self, path: &str, method: &str, body: &Value) -> Answer {
        match method {
            "get" => self.harness.get(path).await,
            "post" => self.harness.post(path, body).await,
            "put" => self.harness.put(path, body).await,
            "patch" => self.harness.merge(path, body).await,
            _ => {
                let now = format!("{path}?gracePeriodSeconds=0&propagationPolicy=Background");
                self.harness.delete(&now).await
            }
        }
    }

    async fn objects(&mut self, row: &Resource) {
        let base = template(row, row.namespaced());
        let one = format!("{base}/{{name}}");
        let nothing = Value::Null;
        if row.supports(Verb::Create) {
            self.call(&base, "post", &sample(row, NAME)).await;
        }
        if row.supports(Verb::List) {
            self.call(&base, "get", &nothing).await;
            if row.namespaced() {
                self.call(&template(row, false), "get", &nothing).await;
            }
        }
        if !row.supports(Verb::Create) {
            return;
        }
        let mut object = self.call(&one, "get", &nothing).await;
        if row.supports(Verb::Update) {
            object = self.call(&one, "put", &object).await;
        }
        if row.supports(Verb::Patch) {
            self.call(&one, "patch", &json!({"metadata": {"labels": {"patched": "yes"}}})).await;
        }
        self.parts(row, &one, &object).await;
        if row.supports(Verb::Delete) {
            // An eviction has deleted it already.
            if self.harness.get(&self.path(&one)).await.status == 404 {
                self.call(&base, "post", &sample(row, NAME)).await;
            }
            self.call(&one, "delete", &nothing).await;
        }
        if row.supports(Verb::DeleteCollection) {
            self.call(&base, "delete", &nothing).await;
        }
    }

    fn path(&self, template: &str) -> String {
        template.replace("{namespace}", "walk").replace("{name}", &name_in(template))
    }

    async fn parts(&mut self, row: &Resource, one: &str, object: &Value) {
        // The one that deletes is last.
        let mut parts: Vec<_> =
            row.parts.iter().filter(|part| !part.handler.connects() && part.name != "log").collect();
        parts.sort_by_key(|part| part.name == "eviction");
        for part in parts {
            let path = format!("{one}/{}", part.name);
            if self.operation(&path, "get").is_some() {
                let shown = self.call(&path, "get", &Value::Null).await;
                self.call(&path, "put", &shown).await;
                self.call(&path, "patch", &json!({})).await;
            } else if self.operation(&path, "put").is_some() {
                let mut now = self.harness.get(&self.path(one)).await.ok();
                now["spec"] = object["spec"].clone();
                self.call(&path, "put", &now).await;
            }
            if self.operation(&path, "post").is_some() {
                let body = json!({
                    "apiVersion": part.kind.group_version().to_string(), "kind": part.kind.kind,
                    "metadata": {"name": NAME}, "target": {"kind": "Node", "name": "n"}, "spec": {"audiences": []},
                    "deleteOptions": {"gracePeriodSeconds": 0},
                });
                let known = match &*part.name {
                    "binding" => vec!["apiVersion", "kind", "metadata", "target"],
                    "eviction" => vec!["apiVersion", "kind", "metadata", "deleteOptions"],
                    _ => vec!["apiVersion", "kind", "metadata", "spec"],
                };
                let body: serde_json::Map<String, Value> =
                    known.into_iter().map(|key| (key.to_owned(), body[key].clone())).collect();
                self.call(&path, "post", &Value::Object(body)).await;
            }
        }
    }

    async fn question(&mut self, row: &Resource) {
        let attributes = json!({"verb": "get", "resource": "pods", "namespace": "walk"});
        let spec = match &*row.kind {
            "Binding" => {
                let pod = self.harness.post("/api/v1/namespaces/walk/pods", &crate::harness::pod(NAME)).await;
                assert_eq!(pod.status, 201, "{:?}", pod.body);
                let binding = json!({"metadata": {"name": NAME}, "target": {"kind": "Node", "name": "n"}});
                self.call(&template(row, true), "post", &binding).await;
                self.harness.delete("/api/v1/namespaces/walk/pods/walked?gracePeriodSeconds=0").await.ok();
                return;
            }
            "TokenReview" => json!({"token": "t"}),
            "SelfSubjectRulesReview" => json!({"namespace": "walk"}),
            "SelfSubjectAccessReview" => json!({"resourceAttributes": attributes}),
            "SelfSubjectReview" => Value::Null,
            _ => json!({"user": "u", "resourceAttributes": attributes}),
        };
        let mut body = json!({"metadata": {}});
        if !spec.is_null() {
            body["spec"] = spec;
        }
        self.call(&template(row, row.namespaced()), "post", &body).await;
    }
}

fn template(row: &Resource, namespaced: bool) -> String {
    let gv = row.group_version();
    let root = if gv.group.is_empty() { format!("/api/{gv}") } else { format!("/apis/{gv}") };
    let namespace = if namespaced { "namespaces/{namespace}/" } else { "" };
    format!("{root}/{namespace}{}", row.plural)
}

#[tokio::test]
async fn each_operation_answers_what_the_document_says() {
    let mut walk = Walk::start().await;
    for row in resources::builtin().rows() {
        if row.question.is_some() {
            walk.question(row).await;
        } else {
            walk.objects(row).await;
        }
    }
    let mut left = Vec::new();
    for (path, item) in walk.document["paths"].as_object().expect("paths") {
        for operation in
            item.as_object().into_iter().flatten().filter_map(|(_, operation)| operation.as_object())
        {
            let id = operation["operationId"].as_str().expect("an id");
            let action = operation.get("x-kubernetes-action").and_then(Value::as_str);
            // Streams and proxies answer with what others say; watches are lists.
            let of_another =
                path.ends_with("/log") || matches!(action, Some("connect" | "watch" | "watchlist") | None);
            if !of_another && !walk.walked.contains(id) {
                left.push(id);
            }
        }
    }
    // Of what is only seen when it is asked for, nothing can be made to be read.
    let seen = ["CoreV1ComponentStatus", "MetricsV1beta1NamespacedPodMetrics", "MetricsV1beta1NodeMetrics"];
    assert_eq!(left, seen.map(|what| format!("read{what}")));
}

#[tokio::test]
async fn kinds_that_return_what_was_deleted_do_so_as_it_was() {
    let harness = Harness::start().await;
    let path = "/api/v1/namespaces/default/serviceaccounts";
    let made = harness.post(path, &json!({"metadata": {"name": "a", "labels": {"l": "1"}}})).await.ok();
    let gone = harness.delete(&format!("{path}/a")).await.ok();
    assert_eq!(
        (&gone["kind"], &gone["metadata"]["uid"]),
        (&json!("ServiceAccount"), &made["metadata"]["uid"])
    );
    assert_eq!(gone["metadata"]["labels"], json!({"l": "1"}));
    let version =
        |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(version(&gone) > version(&made), "the version is that of the deletion");
}
