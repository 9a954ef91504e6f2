use std::collections::BTreeMap;

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
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some("ns".into()),
            deletion_timestamp: Some(Time(jiff::Timestamp::UNIX_EPOCH)),
            ..ObjectMeta::default()
        },
        spec: Some(NamespaceSpec { finalizers: Some(vec![FINALIZER.into(), "other".into()]) }),
        ..Namespace::default()
    };
    let contents = Contents { remaining, failures: Vec::new() };
    let observed = Observed { namespace: Arc::new(namespace), contents };
    NamespaceController::reconcile(&observed, jiff::Timestamp::UNIX_EPOCH)
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

#[test]
fn conditions_read_as_upstream() {
    let plan = plan(vec![
        left("", "configmaps", &[], &[("x/y", 2)]),
        left("apps", "deployments", &["d"], &[("x/y", 1)]),
    ]);
    let Some(Action::Update { object, .. }) = plan.actions.first() else { panic!("{plan:?}") };
    let told: Vec<String> = object
        .at(&["status", "conditions"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|c| format!("{} {} {} {}", c["type"], c["status"], c["reason"], c["message"]).replace('"', ""))
        .collect();
    assert_eq!(
        told[2..],
        [
            "NamespaceDeletionContentFailure False ContentDeleted All content successfully deleted, may be waiting on finalization",
            "NamespaceContentRemaining True SomeResourcesRemain Some resources are remaining: configmaps. has 1 resource instances, deployments.apps has 1 resource instances",
            "NamespaceFinalizersRemaining True SomeFinalizersRemain Some content in the namespace has finalizers remaining: x/y in 3 resource instances",
        ]
    );
}
