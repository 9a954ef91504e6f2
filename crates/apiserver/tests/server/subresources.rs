//! Subresources with behaviour of their own, and reviews.

use std::sync::{Arc, Mutex};

use api::{Error, Object};
use apiserver::admission::{Immediate, Review};
use serde_json::{Value, json};

use crate::harness::{Harness, PODS, pod};
use crate::samples::signing_request;

#[tokio::test]
async fn a_binding_assigns_a_pod_once() {
    let harness = Harness::start().await;
    harness.post(PODS, &pod("p")).await.ok();
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "n1"},
    });
    let path = format!("{PODS}/p");
    assert_eq!(harness.post(&format!("{path}/binding"), &binding).await.status, 201);
    let bound = harness.get(&path).await.ok();
    assert_eq!(bound["spec"]["nodeName"], "n1");
    // What a binding sets is no change of what was asked for.
    assert_eq!(bound["metadata"]["generation"], 1);
    let conditions = bound["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|c| c["type"] == "PodScheduled" && c["status"] == "True"));
    let again = harness.post("/api/v1/namespaces/default/bindings", &binding).await.refused(409);
    assert_eq!(
        again,
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\""
    );
}

#[tokio::test]
async fn the_labels_of_a_binding_become_those_of_the_pod() {
    let harness = Harness::start().await;
    let mut own = pod("p");
    own["metadata"]["labels"] = json!({"app": "a", "topology.kubernetes.io/zone": "own"});
    harness.post(PODS, &own).await.ok();
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": "p", "labels": {"topology.kubernetes.io/zone": "z1"}},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "n1"},
    });
    assert_eq!(harness.post(&format!("{PODS}/p/binding"), &binding).await.status, 201);
    let bound = harness.get(&format!("{PODS}/p")).await.ok();
    assert_eq!(bound["metadata"]["labels"], json!({"app": "a", "topology.kubernetes.io/zone": "z1"}));
}

/// Notes what it is asked about.
#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Vec<String>>>);

impl Immediate for Witness {
    fn name(&self) -> &'static str {
        "Witness"
    }

    fn check(&self, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let a = review.attributes;
        let kind = object.and_then(|object| object.str_at(&["kind"])).unwrap_or("nothing");
        let (operation, name, part) = (review.operation.as_str(), &a.name, &a.subresource);
        self.0.lock().unwrap().push(format!("{operation} {kind} {name}/{part} dry={}", review.dry_run));
        Ok(())
    }
}

#[tokio::test]
async fn admission_sees_the_binding_and_the_eviction_and_not_what_becomes_of_the_pod() {
    let witness = Witness::default();
    let harness = Harness::with(vec![Arc::new(witness.clone())], None).await;
    harness.post(PODS, &pod("p")).await.ok();
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "n1"},
    });
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    witness.0.lock().unwrap().clear();
    assert_eq!(harness.post(&format!("{PODS}/p/binding?dryRun=All"), &binding).await.status, 201);
    assert_eq!(harness.post(&format!("{PODS}/p/binding"), &binding).await.status, 201);
    assert_eq!(harness.post(&format!("{PODS}/p/eviction"), &eviction).await.status, 201);
    assert_eq!(
        *witness.0.lock().unwrap(),
        [
            "CREATE Binding p/binding dry=true",
            "CREATE Binding p/binding dry=false",
            "CREATE Eviction p/eviction dry=false",
        ]
    );
}

#[tokio::test]
async fn parts_of_a_pod_change_through_their_subresource_alone() {
    let harness = Harness::start().await;
    let mut created = pod("p");
    created["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}});
    harness.post(PODS, &created).await.ok();
    let path = format!("{PODS}/p/ephemeralcontainers");
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox"}]}});
    let kind = "application/strategic-merge-patch+json";
    let patched = harness.patch(&path, kind, &debug).await.ok();
    assert_eq!(patched["spec"]["ephemeralContainers"][0]["name"], "debug");
    let none = json!([{"op": "remove", "path": "/spec/ephemeralContainers"}]);
    harness.patch(&path, "application/json-patch+json", &none).await.refused(422);
    let misnamed = json!({"spec": {"ephemeralContainers": [{"name": "No Name", "image": "busybox"}]}});
    harness.patch(&path, kind, &misnamed).await.refused(422);
    let path = format!("{PODS}/p/resize");
    let limit = |resources| json!({"spec": {"containers": [{"name": "c", "resources": resources}]}});
    let more = "must be greater than or equal to 0";
    let negative = harness.patch(&path, kind, &limit(json!({"limits": {"cpu": "-1"}}))).await.refused(422);
    assert!(negative.contains(more), "{negative}");
    let excess = harness.patch(&path, kind, &limit(json!({"requests": {"cpu": "2"}}))).await.refused(422);
    assert!(excess.contains("must be less than or equal to cpu limit"), "{excess}");
    let none = json!({"requests": null, "limits": null});
    let other_class = harness.patch(&path, kind, &limit(none)).await.refused(422);
    assert!(other_class.contains("Pod QOS Class may not change"), "{other_class}");
    let lost = "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed";
    assert!(other_class.contains(lost), "{other_class}");
    let renamed = json!([{"op": "replace", "path": "/spec/containers/0/name", "value": "x"}]);
    let renamed = harness.patch(&path, "application/json-patch+json", &renamed).await.refused(422);
    let why = "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize";
    assert!(renamed.contains(why), "{renamed}");
    let other = limit(json!({"requests": {"ephemeral-storage": "1Gi"}}));
    let other = harness.patch(&path, kind, &other).await.refused(422);
    assert!(other.contains("spec: Forbidden: only cpu and memory resources are mutable"), "{other}");
    let resized = harness.patch(&path, kind, &limit(json!({"limits": {"cpu": "2"}}))).await.ok();
    assert_eq!(resized["spec"]["containers"][0]["resources"]["limits"]["cpu"], "2");
    assert_eq!(resized["spec"]["containers"][0]["image"], "busybox");
}

#[tokio::test]
async fn what_a_pod_has_as_a_whole_is_resized() {
    let harness = Harness::start().await;
    let mut created = pod("p");
    let whole = |cpu: &str| json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu}});
    created["spec"]["resources"] = whole("50m");
    harness.post(PODS, &created).await.ok();
    let resize = json!({"spec": {"resources": whole("70m"), "terminationGracePeriodSeconds": 1}});
    let kind = "application/strategic-merge-patch+json";
    let resized = harness.patch(&format!("{PODS}/p/resize"), kind, &resize).await.ok();
    assert_eq!(resized["spec"]["resources"], whole("70m"));
    assert_eq!(resized["metadata"]["generation"], 2);
    assert_eq!(resized["spec"]["terminationGracePeriodSeconds"], 30, "nothing else changes");
    let plain =
        harness.patch(&format!("{PODS}/p"), kind, &json!({"spec": {"resources": whole("80m")}})).await;
    plain.refused(422);
}

#[tokio::test]
async fn scale_shows_and_sets_the_count() {
    let harness = Harness::start().await;
    let set = json!({"metadata": {"name": "r"}, "spec": {"replicas": 2,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    harness.post(sets, &set).await.ok();
    let path = format!("{sets}/r/scale");
    let mut scale = harness.get(&path).await.ok();
    assert_eq!((&scale["kind"], &scale["status"]["selector"]), (&json!("Scale"), &json!("a=b")));
    scale["spec"]["replicas"] = 5.into();
    harness.put(&path, &scale).await.ok();
    assert_eq!(harness.get(&format!("{sets}/r")).await.ok()["spec"]["replicas"], 5);
    harness.put(&path, &scale).await.refused(409);
    let table = harness.get_as(&path, "application/json;as=Table;g=meta.k8s.io;v=v1").await.ok();
    let names: Vec<_> = table["columnDefinitions"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["Name", "Desired", "Available", "Age"]);
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], [json!("r"), json!(5), json!(0)]);
    harness.merge(&path, &json!({"spec": {"replicas": -1}})).await.refused(422);
}

/// Upstream: `k8s.io/apimachinery/pkg/util/managedfields/scalehandler.go`.
#[tokio::test]
async fn a_scale_is_applied_and_its_owner_is_the_objects() {
    let harness = Harness::start().await;
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r"}, "spec": {"replicas": 2,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let url = "/apis/apps/v1/namespaces/default/replicasets/r";
    let kind = "application/apply-patch+yaml";
    harness.patch(&format!("{url}?fieldManager=first"), kind, &set).await.ok();
    let scale = |replicas: u32| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "r"}, "spec": {"replicas": replicas}});
    let scaled = format!("{url}/scale?fieldManager=second");
    let taken = harness.patch(&scaled, kind, &scale(5)).await.refused(409);
    assert_eq!(taken, r#"Apply failed with 1 conflict: conflict with "first": .spec.replicas"#);
    let forced = harness.patch(&format!("{scaled}&force=true"), kind, &scale(5)).await.ok();
    assert_eq!((&forced["kind"], &forced["spec"]["replicas"]), (&json!("Scale"), &json!(5)));
    let owners = async || {
        let object = harness.get(url).await.ok();
        let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let owns = |entry: &&Value| entry["fieldsV1"]["f:spec"]["f:replicas"].is_object();
        let told = |entry: &Value| {
            ["manager", "operation", "apiVersion", "subresource"]
                .map(|key| entry[key].as_str().unwrap_or("").to_owned())
        };
        entries.iter().filter(owns).map(told).collect::<Vec<_>>()
    };
    assert_eq!(owners().await, [["second", "Apply", "apps/v1", "scale"].map(str::to_owned)]);
    assert_eq!(harness.get(url).await.ok()["spec"]["replicas"], 5);
    // Who owns the count may change it, and others may own the same one.
    harness.patch(&scaled, kind, &scale(6)).await.ok();
    harness.patch(&format!("{url}/scale?fieldManager=third"), kind, &scale(6)).await.ok();
    assert_eq!(owners().await.len(), 2);
    harness.patch(&format!("{url}/scale"), kind, &scale(6)).await.refused(422);
    let absent = "/apis/apps/v1/namespaces/default/replicasets/none/scale?fieldManager=second";
    harness.patch(absent, kind, &scale(1)).await.refused(404);
}

#[tokio::test]
async fn reviews_are_answered_and_not_kept() {
    let harness = Harness::start().await;
    let may = |user: &str| {
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
               "spec": {"user": user, "resourceAttributes": {"verb": "get", "resource": "pods"}}})
    };
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    assert_eq!(harness.post(path, &may("somebody")).await.ok()["status"]["allowed"], true);
    assert_eq!(harness.post(path, &may("nobody")).await.ok()["status"]["allowed"], false);
    let me = harness.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &json!({})).await.ok();
    assert_eq!(me["status"]["userInfo"]["username"], "tester");
    assert!(me["metadata"]["creationTimestamp"].is_string(), "{me}");
    let token = json!({"spec": {"token": "token-jane"}});
    let review = harness.post("/apis/authentication.k8s.io/v1/tokenreviews", &token).await.ok();
    assert_eq!(review["status"]["user"]["username"], "jane");
    harness.get(path).await.refused(405);
}

#[tokio::test]
async fn streams_say_what_is_missing() {
    let harness = Harness::start().await;
    let mut body = pod("p");
    body["spec"]["containers"] = json!([{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]);
    harness.post(PODS, &body).await.ok();
    let log = harness.get(&format!("{PODS}/p/log")).await.refused(400);
    assert_eq!(log, "a container name must be specified for pod p, choose one of: [a b]");
    assert_eq!(harness.get(&format!("{PODS}/p/log?container=a")).await.body, "");
    let exec = harness.post(&format!("{PODS}/p/exec?container=a&command=ls"), &json!({})).await.refused(400);
    assert_eq!(exec, "pod p does not have a host assigned");
    harness.get("/api/v1/nodes/none/proxy/").await.refused(404);
}

#[tokio::test]
async fn an_approval_changes_metadata_and_conditions_and_nothing_else() {
    let harness = Harness::start().await;
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let body = json!({"metadata": {"name": "c", "labels": {"old": "1"}}, "spec": {
        "signerName": "example.com/a", "usages": ["client auth"],
        "request": signing_request()}});
    let made = harness.post(requests, &body).await.ok();
    let change = json!({"metadata": {"labels": {"old": null, "new": "2"}, "annotations": {"by": "me"}},
        "spec": {"request": "b3RoZXI=", "signerName": "example.com/b"},
        "status": {"certificate": "b3RoZXI=", "conditions": [
            {"type": "Approved", "status": "True", "reason": "Checked", "message": "by hand"}]}});
    let (path, approval) = (format!("{requests}/c"), format!("{requests}/c/approval"));
    for kind in ["application/strategic-merge-patch+json", "application/merge-patch+json"] {
        let approved = harness.patch(&approval, kind, &change).await.ok();
        assert_eq!(approved["metadata"]["labels"], json!({"new": "2"}), "{kind}");
        assert_eq!(approved["metadata"]["annotations"], json!({"by": "me"}), "{kind}");
        assert_eq!(approved["metadata"]["uid"], made["metadata"]["uid"], "{kind}");
        assert_eq!(approved["spec"], made["spec"], "{kind}");
        let status = approved["status"].as_object().unwrap();
        assert_eq!(status.keys().collect::<Vec<_>>(), ["conditions"], "{kind}");
        let condition = &status["conditions"][0];
        assert_eq!((&condition["reason"], &condition["message"]), (&json!("Checked"), &json!("by hand")));
        assert!(condition["lastUpdateTime"].is_string() && condition["lastTransitionTime"].is_string());
        let entries = approved["metadata"]["managedFields"].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["subresource"] == "approval").unwrap();
        assert_eq!(entry["fieldsV1"]["f:metadata"]["f:labels"]["f:new"], json!({}), "{entry}");
        assert!(entry["fieldsV1"]["f:status"]["f:conditions"].is_object(), "{entry}");
        assert_eq!(harness.get(&path).await.ok(), approved, "{kind}");
    }
    // The request itself changes neither by its own path nor by its status.
    let denied = json!({"status": {"conditions": [{"type": "Denied", "status": "True"}]}});
    harness.merge(&path, &denied).await.ok();
    let refused = harness.merge(&format!("{path}/status"), &denied).await.refused(422);
    assert!(refused.contains("updates may not remove a condition of type \"Approved\""), "{refused}");
    assert_eq!(harness.get(&path).await.ok()["status"]["conditions"][0]["type"], "Approved");
}
