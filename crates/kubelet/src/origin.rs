//! Where the node has a pod from, as the pod's annotations say (upstream `pkg/kubelet/types`). Pure.

use informer::Cached;
use k8s_openapi::api::core::v1::Pod;

/// Upstream's, on every pod that tells of one which no API object asked for.
pub const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// Where the node has a pod from: `file` or `http`; pods of the API have `api`, if anything. Mirrors of the parts of the
/// node's own process have `process`.
pub const SOURCE_ANNOTATION: &str = "kubernetes.io/config.source";
/// What tells one static pod of a name from another: its uid.
pub const HASH_ANNOTATION: &str = "kubernetes.io/config.hash";
/// Since when the node knows a pod.
pub const SEEN_ANNOTATION: &str = "kubernetes.io/config.seen";

fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str)
}

/// Whether what [`SOURCE_ANNOTATION`] says is a source of static pods.
pub fn is_elsewhere(source: &str) -> bool {
    matches!(source, "file" | "http")
}

fn is_from_elsewhere(pod: &Pod) -> bool {
    annotation(pod, SOURCE_ANNOTATION).is_some_and(is_elsewhere)
}

/// Whether an object of the API tells of what runs, and asks for nothing.
pub fn is_mirror(pod: &Cached<Pod>) -> bool {
    pod.typed().is_some_and(|pod| mirrored_uid(pod).is_some())
}

/// The uid of the static pod that a mirror shows, or what stands for it; `None` of what is no mirror.
pub fn mirrored_uid(pod: &Pod) -> Option<&str> {
    annotation(pod, MIRROR_ANNOTATION)
}

/// Whether the node has the pod from elsewhere than the API. Of pods of the API [`of_api`] makes sure that they do not
/// say so.
pub fn is_static(pod: &Pod) -> bool {
    is_from_elsewhere(pod) && mirrored_uid(pod).is_none()
}

/// Whether a pod is the mirror of a static pod, as opposed to one of the node's own process.
pub fn is_mirror_of_static(pod: &Pod) -> bool {
    is_from_elsewhere(pod) && mirrored_uid(pod).is_some()
}

/// A pod of the API, whatever its annotations say of where it is from.
pub fn of_api(mut pod: std::sync::Arc<Pod>) -> std::sync::Arc<Pod> {
    if is_from_elsewhere(&pod) {
        let annotations = std::sync::Arc::make_mut(&mut pod).metadata.annotations.get_or_insert_default();
        annotations.insert(SOURCE_ANNOTATION.to_owned(), "api".to_owned());
    }
    pod
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_pod_of_the_api_passes_for_a_static_one() {
        let pod = json!({"metadata": {"annotations": {SOURCE_ANNOTATION: "file", HASH_ANNOTATION: "x"}}});
        let pod = std::sync::Arc::new(serde_json::from_value(pod).expect("a pod"));
        assert!(is_static(&pod));
        assert!(!is_static(&of_api(pod)));
    }
}
