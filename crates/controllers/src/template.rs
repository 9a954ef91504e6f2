//! Pods made of a template, and the hashes by which templates are told apart.

use std::fmt::Display;

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::ObjectMeta;
use serde_json::Value;

/// The characters upstream encodes hashes with (`k8s.io/apimachinery/pkg/util/rand.SafeEncodeString`): no
/// vowels, no words.
const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A number in characters that may stand in names.
pub(crate) fn safe(number: impl Display) -> String {
    number.to_string().bytes().map(|b| SAFE[usize::from(b) % SAFE.len()] as char).collect()
}

/// FNV-1a, 32 bits.
pub(crate) fn fnv1a(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Where [`fnv1a`] starts.
pub(crate) const FNV_OFFSET: u32 = 0x811c_9dc5;

/// A pod of the template, which gets its name when it is made (upstream's `GetPodFromTemplate`).
pub(crate) fn pod(template: &PodTemplateSpec, namespace: &str, owner: &OwnerReference) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(name_prefix(&owner.name)),
            namespace: Some(namespace.to_owned()),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner.clone()]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// The owner's name and a dash, as long as that can begin a pod's name.
fn name_prefix(owner: &str) -> String {
    let prefix = format!("{owner}-");
    let faults = api::names::object_name(api::names::dns1123_subdomain, &prefix, true);
    if faults.is_empty() { prefix } else { owner.to_owned() }
}

/// The template's JSON without what says nothing: what the API writes of such fields has changed between versions, and
/// a template that only gained them is still the same.
pub(crate) fn without_zeros(mut template: Value) -> Value {
    drop_zeros(&mut template);
    template
}

fn drop_zeros(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.retain(|key, value| {
            drop_zeros(value);
            match key.as_str() {
                "resources" | "metadata" => value.as_object().is_none_or(|fields| !fields.is_empty()),
                "divisor" => value != "0",
                _ => true,
            }
        }),
        Value::Array(items) => items.iter_mut().for_each(drop_zeros),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_says_nothing_is_left_out() {
        let template = json!({"metadata": {}, "spec": {
            "containers": [{"name": "a", "resources": {}}, {"resources": {"limits": {"cpu": "1"}}}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        }});
        let plain = json!({"spec": {
            "containers": [{"name": "a"}, {"resources": {"limits": {"cpu": "1"}}}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        }});
        assert_eq!(without_zeros(template), plain);
    }

    #[test]
    fn hashes_are_those_of_the_published_vectors() {
        assert_eq!(fnv1a(FNV_OFFSET, b"foobar"), 0xbf9c_f968);
        assert_eq!(safe(0xbf9c_f968_u32).len(), 10);
    }
}
