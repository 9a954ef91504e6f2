use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use informer::{Action, Controller, Plan};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimTemplate};
use serde_json::{Value, json};

use super::{PodClaimsController, ResourceClaimController, claim, pod};

fn a_pod(node: Option<&str>, status: Value) -> Arc<Pod> {
    let pod = json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {"nodeName": node,
        "containers": [], "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "t"}]}, "status": status});
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

fn a_claim(name: &str, with: Value) -> Arc<ResourceClaim> {
    let mut claim = json!({"metadata": {"name": name, "namespace": "ns", "uid": "c", "resourceVersion": "7",
        "annotations": {"resource.kubernetes.io/pod-claim-name": "gpu"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": true}]}, "spec": {}});
    for (key, value) in with.as_object().expect("an object") {
        let at = claim.pointer_mut(if key == "status" { "" } else { "/metadata" }).expect("a place");
        at[key] = value.clone();
    }
    Arc::new(serde_json::from_value(claim).expect("a claim"))
}

fn template() -> BTreeMap<String, Arc<ResourceClaimTemplate>> {
    let template = json!({"metadata": {"name": "t"}, "spec": {"metadata": {"labels": {"a": "b"}},
        "spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}}});
    BTreeMap::from([("t".to_owned(), Arc::new(serde_json::from_value(template).expect("a template")))])
}

fn plan(
    pod: Arc<Pod>,
    held: &[Arc<ResourceClaim>],
    templates: BTreeMap<String, Arc<ResourceClaimTemplate>>,
) -> Plan {
    let name = |claim: &Arc<ResourceClaim>| claim.metadata.name.clone().expect("a name");
    let claims = held.iter().map(|claim| (name(claim), claim.clone())).collect();
    let observed = pod::Observed { pod, claims, owned: held.to_vec(), templates };
    PodClaimsController::reconcile(&observed, Timestamp::UNIX_EPOCH)
}

#[test]
fn a_pod_gets_its_claim_from_the_template_then_its_name() {
    let made = plan(a_pod(None, json!({})), &[], template());
    let [Action::Create { object, .. }] = &made.actions[..] else { panic!("{made:?}") };
    assert_eq!(object.str_at(&["metadata", "generateName"]), Some("p-gpu-"));
    assert_eq!(object.label("a"), Some("b"));
    assert_eq!(object.at(&["metadata", "ownerReferences"]).expect("an owner")[0]["uid"], "u");
    assert_eq!(object.at(&["spec", "devices", "requests"]).expect("requests")[0]["name"], "r");

    let named = plan(a_pod(None, json!({})), &[a_claim("p-gpu-x", json!({}))], template());
    let [Action::StrategicPatch { patch, .. }] = &named.actions[..] else { panic!("{named:?}") };
    let statuses = json!([{"name": "gpu", "resourceClaimName": "p-gpu-x"}]);
    assert_eq!(patch["status"]["resourceClaimStatuses"], statuses);

    let told = json!({"resourceClaimStatuses": statuses});
    assert!(plan(a_pod(None, told.clone()), &[a_claim("p-gpu-x", json!({}))], template()).actions.is_empty());
    let again = plan(a_pod(None, told), &[], template());
    assert!(matches!(&again.actions[..], [Action::Create { .. }]), "it was deleted: {again:?}");
    let none = plan(a_pod(None, json!({"resourceClaimStatuses": [{"name": "gpu"}]})), &[], template());
    assert!(none.actions.is_empty(), "the status says that none is needed");

    let lacks = plan(a_pod(None, json!({})), &[], BTreeMap::new());
    let [Action::Event { reason, message, .. }] = &lacks.actions[..] else { panic!("{lacks:?}") };
    assert_eq!(
        (*reason, &**message),
        (
            "FailedResourceClaimCreation",
            "PodResourceClaim gpu: resource claim template \"t\": \
        resourceclaimtemplate.resource.k8s.io \"t\" not found"
        )
    );
}

#[test]
fn a_pod_that_has_its_node_gets_the_claim_reserved() {
    let told =
        json!({"phase": "Pending", "resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "c"}]});
    let reserved = |node, status: Value| {
        plan(a_pod(node, told.clone()), &[a_claim("c", json!({"status": status}))], template())
    };
    let plan = reserved(Some("n"), json!({"allocation": {}}));
    let [Action::Update { target, object }] = &plan.actions[..] else { panic!("{plan:?}") };
    assert_eq!(target.subresource, "status");
    assert_eq!(
        object.at(&["status", "reservedFor"]),
        Some(&json!([{"name": "p", "resource": "pods", "uid": "u"}]))
    );
    assert!(reserved(None, json!({"allocation": {}})).actions.is_empty(), "that is the scheduler's");
    assert!(reserved(Some("n"), json!({})).actions.is_empty(), "nothing is allocated");
}

fn free(claim: Arc<ResourceClaim>, gone: &[&str], owner_is_done: bool) -> Vec<Action> {
    let gone: HashSet<String> = gone.iter().map(|uid| (*uid).to_owned()).collect();
    let observed = claim::Observed { claim, gone, owner_is_done };
    ResourceClaimController::reconcile(&observed, Timestamp::UNIX_EPOCH).actions
}

#[test]
fn the_last_consumer_takes_the_allocation_then_the_finalizer_with_it() {
    let user = |uid: &str| json!({"resource": "pods", "name": uid, "uid": uid});
    let held = json!({"finalizers": ["other", "resource.kubernetes.io/delete-protection"],
        "status": {"allocation": {}, "reservedFor": [user("a"), user("b")]}});
    assert!(free(a_claim("c", held.clone()), &[], false).is_empty());
    let one = free(a_claim("c", held.clone()), &["a"], false);
    let [Action::Update { object, .. }] = &one[..] else { panic!("{one:?}") };
    assert_eq!(object.at(&["status"]), Some(&json!({"allocation": {}, "reservedFor": [user("b")]})));
    let all = free(a_claim("c", held), &["a", "b"], true);
    let [Action::Update { target, object }, Action::Delete { .. }] = &all[..] else { panic!("{all:?}") };
    assert_eq!((target.subresource, object.at(&["status"])), ("status", Some(&json!({}))));

    let freed = json!({"finalizers": ["other", "resource.kubernetes.io/delete-protection"], "status": {}});
    let then = free(a_claim("c", freed), &[], false);
    let [Action::Update { target, object }] = &then[..] else { panic!("{then:?}") };
    assert_eq!((target.subresource, object.at(&["metadata", "finalizers"])), ("", Some(&json!(["other"]))));

    let going = json!({"finalizers": ["resource.kubernetes.io/delete-protection"],
        "deletionTimestamp": "2026-01-01T00:00:00Z", "status": {"allocation": {}}});
    let going = free(a_claim("c", going), &[], true);
    let [Action::Update { object, .. }] = &going[..] else { panic!("{going:?}") };
    assert_eq!(object.at(&["status"]), Some(&json!({})), "allocated, used by nobody, and deleted");
    let idle =
        json!({"finalizers": ["resource.kubernetes.io/delete-protection"], "status": {"allocation": {}}});
    assert!(free(a_claim("c", idle), &[], false).is_empty(), "an allocation nobody uses yet stays");
}

#[test]
fn reservations_of_others_than_pods_stay() {
    let status = json!({"allocation": {}, "reservedFor": [{"apiGroup": "x.io", "resource": "ys", "name": "y", "uid": "y"}]});
    assert!(free(a_claim("c", json!({"status": status})), &[], true).is_empty());
}
