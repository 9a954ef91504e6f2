//! The identity of a pod template: its hash, and equality that leaves the hash's own label out.

use k8s_openapi::api::core::v1::PodTemplateSpec;

use crate::template::{FNV_OFFSET, fnv1a, safe, without_zeros};

/// The label that distinguishes the pods and sets of one revision from those of the others.
pub(super) const HASH_LABEL: &str = "pod-template-hash";

/// The template's hash (FNV-1a, 32 bits, of its JSON with sorted keys), in safe characters. `collisions`
/// makes a different one when the name is taken.
pub(super) fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    // Through `Value`, whose maps are sorted: the order of fields in the type does not matter.
    let canonical = serde_json::to_value(template)
        .and_then(|value| serde_json::to_vec(&value))
        .expect("typed API objects serialize to JSON");
    let mut sum = fnv1a(FNV_OFFSET, &canonical);
    if let Some(collisions) = collisions {
        let mut bytes = [0u8; 8];
        bytes[..4].copy_from_slice(&collisions.to_le_bytes());
        sum = fnv1a(sum, &bytes);
    }
    safe(sum)
}

/// Whether two templates make the same pods.
pub(super) fn same(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    without_hash(a) == without_hash(b) && (a.spec == b.spec || plain(a) == plain(b))
}

/// The pods' specification as it is compared where the bytes differ.
fn plain(template: &PodTemplateSpec) -> serde_json::Value {
    without_zeros(serde_json::to_value(&template.spec).expect("typed API objects serialize to JSON"))
}

fn without_hash(template: &PodTemplateSpec) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
    let mut meta = template.metadata.clone().unwrap_or_default();
    if let Some(labels) = &mut meta.labels {
        labels.remove(HASH_LABEL);
    }
    meta.labels = meta.labels.filter(|labels| !labels.is_empty());
    meta.annotations = meta.annotations.filter(|annotations| !annotations.is_empty());
    meta
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_gained_fields_which_say_nothing_makes_the_same_pods() {
        let of = |container: serde_json::Value| -> PodTemplateSpec {
            serde_json::from_value(serde_json::json!({"spec": {"containers": [container]}}))
                .expect("a template")
        };
        let (old, new) =
            (of(serde_json::json!({"name": "a"})), of(serde_json::json!({"name": "a", "resources": {}})));
        assert!(old != new && same(&old, &new));
        assert!(!same(&old, &of(serde_json::json!({"name": "b", "resources": {}}))));
    }

    #[test]
    fn the_hash_is_stable_and_collisions_change_it() {
        let template = PodTemplateSpec::default();
        // This value must never change: it names the sets of running clusters.
        assert_eq!(hash(&template, None), "5859f96865");
        assert_ne!(hash(&template, Some(1)), hash(&template, None));
        assert_ne!(hash(&template, Some(1)), hash(&template, Some(2)));
    }
}
