//! What is judged: a pod, or the template of what makes pods.

use std::collections::BTreeMap;

use api::Object;
use k8s_openapi::api::core::v1::{
    ContainerPort, Lifecycle, Pod, PodSpec, PodTemplateSpec, Probe, SecurityContext,
};
use serde_json::Value;

/// The annotations that name profiles, of old.
pub(super) const APPARMOR_PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
pub(super) const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
pub(super) const SECCOMP_PREFIX: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// Where the template stands in the kinds that make pods; `None` for all others.
pub(super) fn template_of(group: &str, plural: &str) -> Option<&'static [&'static str]> {
    match (group, plural) {
        ("", "podtemplates") => Some(&["template"]),
        ("", "replicationcontrollers")
        | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => Some(&["spec", "template"]),
        ("batch", "cronjobs") => Some(&["spec", "jobTemplate", "spec", "template"]),
        _ => None,
    }
}

/// A pod's annotations and specification.
pub(super) struct Subject {
    pub annotations: BTreeMap<String, String>,
    pub spec: PodSpec,
}

impl From<Pod> for Subject {
    fn from(pod: Pod) -> Self {
        Self { annotations: pod.metadata.annotations.unwrap_or_default(), spec: pod.spec.unwrap_or_default() }
    }
}

impl Subject {
    pub fn of_pod(pod: &Object) -> Result<Self, serde_json::Error> {
        pod.typed::<Pod>().map(Into::into)
    }

    /// `None` where the object has no template.
    pub fn of_template(object: &Object, path: &[&str]) -> Result<Option<Self>, serde_json::Error> {
        let Some(template) = object.at(path).filter(|template| !template.is_null()) else { return Ok(None) };
        let template: PodTemplateSpec = serde_json::from_value(template.clone())?;
        Ok(Some(Self {
            annotations: template.metadata.and_then(|meta| meta.annotations).unwrap_or_default(),
            spec: template.spec.unwrap_or_default(),
        }))
    }

    /// All containers, in the order in which they are told of: initial ones first.
    pub fn containers(&self) -> impl Iterator<Item = Container<'_>> {
        let ordinary = self.spec.init_containers.iter().flatten().chain(&self.spec.containers);
        let ephemeral = self.spec.ephemeral_containers.iter().flatten();
        ordinary
            .map(|c| Container {
                name: &c.name,
                security: c.security_context.as_ref(),
                ports: c.ports.as_deref().unwrap_or_default(),
                probes: [&c.liveness_probe, &c.readiness_probe, &c.startup_probe].map(Option::as_ref),
                lifecycle: c.lifecycle.as_ref(),
            })
            .chain(ephemeral.map(|c| Container {
                name: &c.name,
                security: c.security_context.as_ref(),
                ports: c.ports.as_deref().unwrap_or_default(),
                probes: [&c.liveness_probe, &c.readiness_probe, &c.startup_probe].map(Option::as_ref),
                lifecycle: c.lifecycle.as_ref(),
            }))
    }

    pub fn is_windows(&self) -> bool {
        self.spec.os.as_ref().is_some_and(|os| os.name == "windows")
    }

    /// Whether the pod's users are not the host's.
    pub fn has_own_users(&self) -> bool {
        self.spec.host_users == Some(false)
    }
}

/// What of a container is judged.
pub(super) struct Container<'a> {
    pub name: &'a str,
    pub security: Option<&'a SecurityContext>,
    pub ports: &'a [ContainerPort],
    pub probes: [Option<&'a Probe>; 3],
    pub lifecycle: Option<&'a Lifecycle>,
}

/// Whether an update of a pod changes something that is judged: an image, the number of containers, or the
/// annotations that name profiles. All else that can be judged cannot be changed.
pub(super) fn changes_matter(new: &Object, old: &Object) -> bool {
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    lists.iter().any(|list| images(new, list) != images(old, list)) || profiles(new) != profiles(old)
}

fn images<'o>(pod: &'o Object, list: &str) -> Vec<&'o str> {
    let containers = pod.at(&["spec", list]).and_then(Value::as_array).into_iter().flatten();
    containers.map(|c| c.get("image").and_then(Value::as_str).unwrap_or_default()).collect()
}

fn profiles(pod: &Object) -> Vec<(&str, &str)> {
    let named =
        |key: &str| key == SECCOMP_POD || key.starts_with(SECCOMP_PREFIX) || key.starts_with(APPARMOR_PREFIX);
    pod.annotations().filter(|(key, _)| named(key)).collect()
}
