//! What clients are warned of when they write pods and templates: deprecated labels, annotations and
//! fields, and what is allowed but does not do what its author expects.

use std::collections::{HashMap, HashSet};

use api::{Object, names};
use serde_json::Value;

use crate::validation::read;

/// (label of nodes, what to use in its place); `None` where it has no meaning any more.
const DEPRECATED_NODE_LABELS: [(&str, &str); 5] = [
    ("beta.kubernetes.io/arch", r#"deprecated since v1.14; use "kubernetes.io/arch" instead"#),
    ("beta.kubernetes.io/os", r#"deprecated since v1.14; use "kubernetes.io/os" instead"#),
    (
        "failure-domain.beta.kubernetes.io/region",
        r#"deprecated since v1.17; use "topology.kubernetes.io/region" instead"#,
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        r#"deprecated since v1.17; use "topology.kubernetes.io/zone" instead"#,
    ),
    (
        "beta.kubernetes.io/instance-type",
        r#"deprecated since v1.17; use "node.kubernetes.io/instance-type" instead"#,
    ),
];
/// Volumes that need what is no longer there: (source, warning).
const DEPRECATED_VOLUMES: [(&str, &str); 9] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

pub(crate) fn of_pod(pod: &Object) -> Vec<String> {
    let mut warnings = Vec::new();
    let faults = names::dns1123_label(pod.name());
    if !faults.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]",
            faults.join(" ")
        ));
    }
    spec(&mut warnings, "spec", read::top(pod, "spec"));
    warnings
}

/// Of a kind with a pod template in its spec.
pub(crate) fn of_template(object: &Object) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(found) = object.at(&["spec", "template", "spec"]) {
        spec(&mut warnings, "spec.template.spec", found);
    }
    warnings
}

fn spec(warnings: &mut Vec<String>, path: &str, spec: &Value) {
    for (key, _) in read::entries(spec, "nodeSelector") {
        if let Some((_, text)) = DEPRECATED_NODE_LABELS.iter().find(|(label, _)| *label == key) {
            warnings.push(format!("{path}.nodeSelector[{key}]: {text}"));
        }
    }
    for (i, volume) in read::list(spec, "volumes").iter().enumerate() {
        for (source, text) in DEPRECATED_VOLUMES {
            if read::get(volume, source).is_some() {
                warnings.push(format!("{path}.volumes[{i}].{source}: {text}"));
            }
        }
    }
    let mut seen = HashSet::new();
    for (i, alias) in read::list(spec, "hostAliases").iter().enumerate() {
        let address = read::text(alias, "ip");
        if seen.contains(&address) {
            warnings.push(format!("{path}.hostAliases[{i}].ip: duplicate ip {address:?}"));
        }
        seen.insert(address);
    }
    for (i, reference) in read::list(spec, "imagePullSecrets").iter().enumerate() {
        if read::text(reference, "name").is_empty() {
            let text = "invalid empty name";
            warnings.push(format!("{path}.imagePullSecrets[{i}].name: {text} {:?}", ""));
        }
    }
    if read::int(spec, "terminationGracePeriodSeconds").is_some_and(|s| s < 0) {
        warnings.push(format!(
            "{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    for list in ["containers", "initContainers"] {
        for (i, container) in read::list(spec, list).iter().enumerate() {
            of_container(warnings, &format!("{path}.{list}[{i}]"), container);
        }
    }
}

fn of_container(warnings: &mut Vec<String>, path: &str, container: &Value) {
    let mut seen = HashSet::new();
    for (i, variable) in read::list(container, "env").iter().enumerate() {
        let name = read::text(variable, "name");
        if seen.contains(&name) {
            warnings.push(format!(
                "{path}.env[{i}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
        seen.insert(name);
    }
    let mut ports = HashMap::new();
    for (i, port) in read::list(container, "ports").iter().enumerate() {
        let key =
            ["containerPort", "hostPort", "protocol", "hostIP"].map(|k| port.get(k).map(ToString::to_string));
        if let Some(first) = ports.get(&key) {
            warnings.push(format!("{path}.ports[{i}]: duplicate port definition with {path}.ports[{first}]"));
        }
        ports.entry(key).or_insert(i);
    }
    for kind in ["limits", "requests"] {
        let Some(resources) = read::get(container, "resources") else { continue };
        for (name, amount) in read::entries(resources, kind) {
            let fractional = matches!(name, "memory" | "ephemeral-storage")
                && super::super::amounts::parse(amount).is_some_and(|q| q.milli_value() % 1000 != 0);
            if fractional {
                let shown = amount.as_str().unwrap_or("");
                warnings.push(format!(
                    "{path}.resources.{kind}[{name}]: fractional byte value {shown:?} is invalid, must be an integer"
                ));
            }
        }
    }
}
