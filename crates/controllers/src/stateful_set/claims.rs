//! The volume claims of a set's pods: their names, and those that are missing.

use informer::Action;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::core::ObjectMeta;

use super::names::{self, Claims, claims_of};
use super::{retention, words};
use crate::replicas::pod::Replica;
use crate::target::{controller_reference, dynamic, target};

/// The names of all claims that a round looks at: of the pods that are wanted, and of those that are there.
pub(super) fn looked_at(set: &StatefulSet, pods: &[Replica]) -> Vec<String> {
    let Some(spec) = &set.spec else { return Vec::new() };
    if spec.volume_claim_templates.as_ref().is_none_or(Vec::is_empty) {
        return Vec::new();
    }
    let wanted = names::wanted(spec);
    let others = pods.iter().filter_map(|pod| names::ordinal(set, pod.name()));
    let others: Vec<i32> = others.filter(|ordinal| !wanted.contains(ordinal)).collect();
    let all = wanted.chain(others);
    all.flat_map(|ordinal| claims_of(names::set_name(set), spec, ordinal).map(|(_, claim)| claim)).collect()
}

/// Makes the claims of a pod that do not exist.
pub(super) fn missing(set: &StatefulSet, spec: &StatefulSetSpec, held: &Claims, ordinal: i32) -> Vec<Action> {
    let name = names::set_name(set);
    let templates = spec.volume_claim_templates.iter().flatten();
    let wanted =
        templates.zip(claims_of(name, spec, ordinal)).filter(|(_, (_, claim))| !held.contains_key(claim));
    let namespace = set.metadata.namespace.as_deref().unwrap_or("");
    wanted
        .map(|(template, (_, claim))| {
            let words = words::claim_created(set, &names::pod_name(name, ordinal), &claim);
            let object = dynamic(&object(set, spec, template, claim));
            Action::Create { target: target::<PersistentVolumeClaim>(namespace, ""), object }.told(words)
        })
        .collect()
}

fn object(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    template: &PersistentVolumeClaim,
    name: String,
) -> PersistentVolumeClaim {
    let mut labels = template.metadata.labels.clone().unwrap_or_default();
    labels.extend(spec.selector.match_labels.clone().unwrap_or_default());
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels).filter(|labels| !labels.is_empty()),
            // With the set, if the claim is to go with the set: it has no pod yet.
            owner_references: retention::of(spec).when_deleted.then(|| vec![controller_reference(set)]),
            ..template.metadata.clone()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// The first claim of a pod that is being deleted, for whose end the pod has to wait.
pub(super) fn ending(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    held: &Claims,
    ordinal: i32,
) -> Option<String> {
    claims_of(names::set_name(set), spec, ordinal)
        .map(|(_, claim)| claim)
        .find(|claim| held.get(claim).is_some_and(|claim| claim.is_being_deleted()))
}
