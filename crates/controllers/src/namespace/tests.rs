use std::collections::BTreeMap;

use api::GroupVersion;
use informer::Target;
use k8s_openapi::api::core::v1::NamespaceSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ObjectMeta;
use serde_json::{Value, json};

use super::contents::Remaining;
use super::*;

fn left(group: &str, resource: &str, undeleted: &[&str], finalizers: &[(&str, usize)]) -> Remaining {
    Remaining {
        target: Target::new(group, "v1", resource, "ns", ""),
        count: undeleted.len().max(1),
        undeleted: undeleted.iter().map(|n| (*n).to_owned()).collect(),
        finalizers: finalizers.iter().map(|(f, n)| ((*f).to_owned(), *n)).collect::<BTreeMap<_, _>>(),
        at_once: true,
    }
}

fn plan(remaining: Vec<Remaining>) -> Plan {
    plan_at(remaining, jiff::Timestamp::UNIX_EPOCH)
}

fn plan_at(remaining: Vec<Remaining>, now: jiff::Timestamp) -> Plan {
    decide(Contents { remaining, ..Contents::default() }, now)
}

fn decide(contents: Contents, now: jiff::Timestamp) -> Plan {
    let observed = Observed { namespace: Arc::new(going()), contents };
    NamespaceController::reconcile(&observed, now)
}

/// A namespace that is being deleted.
fn going() -> Namespace {
    Namespace {
        metadata: ObjectMeta {
            name: Some("ns".into()),
            deletion_timestamp: Some(Time(jiff::Timestamp::UNIX_EPOCH)),
            ..ObjectMeta::default()
        },
        spec: Some(NamespaceSpec { finalizers: Some(vec![FINALIZER.into(), "other".into()]) }),
        ..Namespace::default()
    }
}

fn deleted(plan: &Plan) -> Vec<String> {
    let batches = plan.actions.iter().filter_map(|a| match a {
        Action::Batch(batch) => Some(batch),
        _ => None,
    });
    let path = |action: &Action| match action {
        Action::DeleteCollection { target, .. } => target.path(),
        other => format!("{other:?}"),
    };
    batches.flatten().map(path).collect()
}

#[test]
fn pods_go_first_then_the_rest_then_the_finalizer() {
    let everything = vec![left("", "configmaps", &["a"], &[]), left("", "pods", &["p"], &[])];
    let first = plan(everything);
    assert_eq!(deleted(&first), ["/api/v1/namespaces/ns/pods"]);
    assert_eq!(first.again_after, Some(Duration::ZERO));

    let stopping = plan(vec![left("", "configmaps", &["a"], &[]), left("", "pods", &[], &[])]);
    assert_eq!(deleted(&stopping), [""; 0], "while pods stop, what they use stays");

    let rest = plan(vec![left("", "configmaps", &["a"], &[]), left("apps", "deployments", &["d"], &[])]);
    assert_eq!(
        deleted(&rest),
        ["/api/v1/namespaces/ns/configmaps", "/apis/apps/v1/namespaces/ns/deployments"]
    );

    match &plan(Vec::new()).actions[..] {
        [Action::Update { target, object }] => {
            assert_eq!(target.path(), "/api/v1/namespaces/ns/finalize");
            assert_eq!(object.at(&["spec", "finalizers"]), Some(&json!(["other"])));
        }
        other => panic!("{other:?}"),
    }
}

fn conditions(plan: &Plan) -> Vec<String> {
    let Some(Action::Update { object, .. }) = plan.actions.first() else { return Vec::new() };
    object
        .at(&["status", "conditions"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|c| format!("{} {} {} {}", c["type"], c["status"], c["reason"], c["message"]).replace('"', ""))
        .collect()
}

#[test]
fn conditions_read_as_upstream() {
    let left_over =
        vec![left("", "configmaps", &[], &[("x/y", 2)]), left("apps", "deployments", &[], &[("x/y", 1)])];
    assert_eq!(
        conditions(&plan(left_over))[2..],
        [
            "NamespaceDeletionContentFailure False ContentDeleted All content successfully deleted, may be waiting on finalization",
            "NamespaceContentRemaining True SomeResourcesRemain Some resources are remaining: configmaps. has 1 resource instances, deployments.apps has 1 resource instances",
            "NamespaceFinalizersRemaining True SomeFinalizersRemain Some content in the namespace has finalizers remaining: x/y in 3 resource instances",
        ]
    );
}

#[test]
fn only_what_outlives_its_deletion_is_told() {
    let deleting = vec![left("", "configmaps", &[], &[("x/y", 1)]), left("apps", "deployments", &["d"], &[])];
    assert_eq!(conditions(&plan(deleting)), [""; 0]);

    let stopping = vec![left("", "configmaps", &["a"], &[("x/y", 1)]), left("", "pods", &[], &[])];
    assert_eq!(
        conditions(&plan(stopping))[3..],
        [
            "NamespaceContentRemaining True SomeResourcesRemain Some resources are remaining: pods. has 1 resource instances",
            "NamespaceFinalizersRemaining False ContentHasNoFinalizers All content-preserving finalizers finished",
        ],
        "the rest is not yet asked to go"
    );
}

#[test]
fn the_longer_others_take_the_less_often_it_looks() {
    let wait = |second| {
        let now = jiff::Timestamp::from_second(second).expect("a time");
        plan_at(vec![left("", "configmaps", &[], &[("x/y", 1)])], now)
            .again_after
            .expect("a time to look again")
    };
    assert_eq!([0, 4, 20, 9999].map(wait), [1, 1, 5, 8].map(Duration::from_secs));
    assert_eq!(wait(-100), Duration::from_secs(1), "a clock set back");
}

#[test]
fn a_namespace_stays_while_nobody_says_what_a_version_holds() {
    let undiscovered =
        vec![GroupVersion::new("b.example.com", "v1"), GroupVersion::new("a.example.com", "v2")];
    let stuck = decide(Contents { undiscovered, ..Contents::default() }, jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(
        conditions(&stuck)[0],
        "NamespaceDeletionDiscoveryFailure True DiscoveryFailed Discovery failed for some groups, 2 failing: unable to \
         retrieve the complete list of server APIs: a.example.com/v2: stale GroupVersion discovery: a.example.com/v2, \
         b.example.com/v1: stale GroupVersion discovery: b.example.com/v1"
    );
    assert_eq!(stuck.again_after, Some(FINALIZER_WAIT));
}

#[test]
fn a_namespace_that_others_hold_tells_that_it_is_empty_and_is_then_finalized() {
    let mut namespace = going();
    namespace.metadata.finalizers = Some(vec!["x.io/y".to_owned()]);
    let decide = |namespace: &Namespace| {
        let observed = Observed { namespace: Arc::new(namespace.clone()), contents: Contents::default() };
        NamespaceController::reconcile(&observed, jiff::Timestamp::UNIX_EPOCH)
    };
    let first = decide(&namespace);
    let [Action::Update { target, object }] = &first.actions[..] else { panic!("{:?}", first.actions) };
    assert_eq!(target.path(), "/api/v1/namespaces/ns/status");
    let told = object.at(&["status", "conditions"]).and_then(Value::as_array).expect("conditions");
    assert!(told.len() == 5 && told.iter().all(|condition| condition["status"] == "False"), "{told:?}");
    namespace.status =
        serde_json::from_value(object.at(&["status"]).cloned().expect("a status")).expect("a status");
    let [Action::Update { target, .. }] = &decide(&namespace).actions[..] else { panic!("not finalized") };
    assert_eq!(target.path(), "/api/v1/namespaces/ns/finalize");
}
