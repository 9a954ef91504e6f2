//! What makes a pod the one of its ordinal: name, host, labels, volumes.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::names::{POD_INDEX, POD_NAME, REVISION, claims_of, pod_name, set_name};
use crate::template;

/// The pod of an ordinal, of a revision's template.
pub(super) fn pod(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    owner: &OwnerReference,
    (revision, made_of): (&str, &PodTemplateSpec),
    ordinal: i32,
) -> Pod {
    let namespace = set.metadata.namespace.as_deref().unwrap_or("");
    let mut pod = template::pod(made_of, namespace, owner);
    let name = pod_name(set_name(set), ordinal);
    let pod_spec = pod.spec.get_or_insert_default();
    pod_spec.hostname = Some(name.clone());
    pod_spec.subdomain = spec.service_name.clone().filter(|service| !service.is_empty());
    pod.metadata.name = Some(name);
    set_labels(&mut pod, ordinal);
    set_volumes(&mut pod, set_name(set), spec, ordinal);
    pod.metadata.labels.get_or_insert_default().insert(REVISION.to_owned(), revision.to_owned());
    pod
}

/// Gives a pod the labels of its identity.
pub(super) fn set_labels(pod: &mut Pod, ordinal: i32) {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.to_owned(), name);
    labels.insert(POD_INDEX.to_owned(), ordinal.to_string());
}

/// Gives a pod a volume for each claim template, in place of volumes of the same names.
pub(super) fn set_volumes(pod: &mut Pod, set: &str, spec: &StatefulSetSpec, ordinal: i32) {
    let of_claims = claims_of(set, spec, ordinal).map(|(template, claim)| Volume {
        name: template.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim,
            read_only: None,
        }),
        ..Volume::default()
    });
    let mut volumes: Vec<Volume> = of_claims.collect();
    let pod_spec = pod.spec.get_or_insert_default();
    for own in pod_spec.volumes.take().into_iter().flatten() {
        if !volumes.iter().any(|volume| volume.name == own.name) {
            volumes.push(own);
        }
    }
    pod_spec.volumes = (!volumes.is_empty()).then_some(volumes);
}

/// Whether a pod has the volumes of its claims.
pub(super) fn has_volumes(pod: &Pod, set: &str, spec: &StatefulSetSpec, ordinal: i32) -> bool {
    let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or(&[]);
    claims_of(set, spec, ordinal).all(|(template, claim)| {
        volumes.iter().any(|volume| {
            volume.name == template
                && volume.persistent_volume_claim.as_ref().is_some_and(|source| source.claim_name == claim)
        })
    })
}
