//! Warnings to clients that write pods and templates: deprecated labels, annotations and fields, and
//! what is allowed but does not do what its author expects.

use std::collections::{HashMap, HashSet};

use api::{Object, names};
use serde_json::Value;

use crate::validation::{amounts, claim_spec, read};

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

/// Annotations that do nothing any more: (annotation, what to use in its place).
const DEAD_ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        r#"non-functional in v1.16+; use the "priorityClassName" field instead"#,
    ),
    ("security.alpha.kubernetes.io/sysctls", r#"non-functional in v1.11+; use the "sysctls" field instead"#),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        r#"non-functional in v1.11+; use the "sysctls" field instead"#,
    ),
];
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const SECCOMP_GONE: &str = r#"non-functional in v1.27+; use the "seccompProfile" field instead"#;
const APPARMOR_CONTAINER: &str = "container.apparmor.security.beta.kubernetes.io/";
const APPARMOR_OLD: &str = r#"deprecated since v1.30; use the "appArmorProfile" field instead"#;
const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";
/// Resources counted in whole bytes.
const BYTES: [&str; 2] = ["memory", "ephemeral-storage"];

pub(crate) fn of_pod(pod: &Object) -> Vec<String> {
    let mut warnings = Vec::new();
    let faults = names::dns1123_label(pod.name());
    if !faults.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]",
            faults.join(" ")
        ));
    }
    of_parts(&mut warnings, "", read::top(pod, "metadata"), read::top(pod, "spec"));
    warnings
}

/// Of a kind with a pod template in its spec.
pub(crate) fn of_template(object: &Object) -> Vec<String> {
    of_template_at(object, &["spec", "template"])
}

/// Of a kind with a pod template at the path.
pub(crate) fn of_template_at(object: &Object, path: &[&str]) -> Vec<String> {
    let mut warnings = Vec::new();
    let Some((top, inner)) = path.split_first() else { return warnings };
    let top = read::top(object, top);
    let template = if inner.is_empty() { Some(top) } else { read::at(top, inner) };
    if let Some(template) = template {
        let part = |key: &str| read::get(template, key).unwrap_or(&Value::Null);
        of_parts(&mut warnings, &format!("{}.", path.join(".")), part("metadata"), part("spec"));
    }
    warnings
}

/// `at` is the prefix of `metadata` and `spec` in paths.
fn of_parts(warnings: &mut Vec<String>, at: &str, metadata: &Value, spec: &Value) {
    let path = format!("{at}spec");
    of_placement(warnings, &path, spec);
    for (key, text) in DEAD_ANNOTATIONS {
        if annotated(metadata, key) {
            warnings.push(format!("{at}metadata.annotations[{key}]: {text}"));
        }
    }
    for (i, volume) in read::list(spec, "volumes").iter().enumerate() {
        let made = read::get(volume, "ephemeral").and_then(|made| read::get(made, "volumeClaimTemplate"));
        if let Some(claim) = made {
            let at = format!("{path}.volumes[{i}].ephemeral.volumeClaimTemplate.spec");
            claim_spec::warnings(warnings, &at, read::of(claim, "spec"));
        }
        for (source, text) in DEPRECATED_VOLUMES {
            if read::get(volume, source).is_some() {
                // Upstream's path of these is not the field's name.
                let shown = if source == "storageos" { "storageOS" } else { source };
                warnings.push(format!("{path}.volumes[{i}].{shown}: {text}"));
            }
        }
    }
    hidden_tokens(warnings, &path, spec);
    repeated(warnings, &path, spec, "hostAliases", "ip");
    repeated(warnings, &path, spec, "imagePullSecrets", "name");
    for (i, reference) in read::list(spec, "imagePullSecrets").iter().enumerate() {
        if read::text(reference, "name").is_empty() {
            warnings.push(format!("{path}.imagePullSecrets[{i}].name: invalid empty name \"\""));
        }
    }
    fractional(warnings, &format!("{path}.overhead"), spec, "overhead");
    if !has_profile(spec, "seccompProfile") && annotated(metadata, SECCOMP_POD) {
        warnings.push(format!("{at}metadata.annotations[{SECCOMP_POD}]: {SECCOMP_GONE}"));
    }
    for (place, container) in containers(&path, spec) {
        of_container(warnings, &place, container);
        of_profiles(warnings, at, metadata, spec, container);
    }
    of_ports(warnings, &path, spec);
    if read::int(spec, "terminationGracePeriodSeconds").is_some_and(|s| s < 0) {
        warnings.push(format!(
            "{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    of_pod_affinity(warnings, &path, spec);
}

/// Files of projected volumes that have the path of a token. Upstream's paths leave out which source it is.
fn hidden_tokens(warnings: &mut Vec<String>, path: &str, spec: &Value) {
    let sources = || {
        let volumes = read::list(spec, "volumes").iter().enumerate();
        volumes.flat_map(|(i, volume)| {
            let projected = read::get(volume, "projected").map_or(&[][..], |p| read::list(p, "sources"));
            projected.iter().map(move |source| (i, source))
        })
    };
    let tokens: HashSet<&str> = sources()
        .filter_map(|(_, source)| Some(read::text(read::get(source, "serviceAccountToken")?, "path")))
        .collect();
    let mut warn = |at: String, file: &str| {
        if tokens.contains(file) {
            warnings.push(format!("{at}: has duplicated path with ServiceAccountToken {file:?}"));
        }
    };
    for (i, source) in sources() {
        let at = format!("{path}.volumes[{i}].projected.sources");
        for (kind, shown) in
            [("configMap", "configMap"), ("secret", "secrets"), ("downwardAPI", "downwardAPI")]
        {
            let Some(of_kind) = read::get(source, kind) else { continue };
            for (j, item) in read::list(of_kind, "items").iter().enumerate() {
                warn(format!("{at}.{shown}[{j}]"), read::text(item, "path"));
            }
        }
        if let Some(bundle) = read::get(source, "clusterTrustBundle") {
            warn(format!("{at}.ClusterTrustBundle"), read::text(bundle, "path"));
        }
    }
}

/// All containers with their paths, in the order they start.
fn containers<'v>(path: &str, spec: &'v Value) -> Vec<(String, &'v Value)> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    let place = |list: &str, i: usize| format!("{path}.{list}[{i}]");
    lists
        .into_iter()
        .flat_map(|list| read::list(spec, list).iter().enumerate().map(move |(i, c)| (place(list, i), c)))
        .collect()
}

fn annotated(metadata: &Value, key: &str) -> bool {
    read::get(metadata, "annotations").is_some_and(|annotations| read::get(annotations, key).is_some())
}

fn has_profile(owner: &Value, profile: &str) -> bool {
    read::get(owner, "securityContext").is_some_and(|context| read::get(context, profile).is_some())
}

pub(in crate::validation) fn old_label(key: &str) -> Option<&'static str> {
    DEPRECATED_NODE_LABELS.iter().find(|(label, _)| *label == key).map(|(_, text)| *text)
}

/// Where the pod wants to run.
fn of_placement(warnings: &mut Vec<String>, path: &str, spec: &Value) {
    for (key, _) in read::entries(spec, "nodeSelector") {
        if let Some(text) = old_label(key) {
            warnings.push(format!("{path}.nodeSelector[{key}]: {text}"));
        }
    }
    let affinity = read::get(spec, "affinity").and_then(|a| read::get(a, "nodeAffinity"));
    if let Some(affinity) = affinity {
        let at = format!("{path}.affinity.nodeAffinity");
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        let terms = read::get(affinity, required).map_or(&[][..], |r| read::list(r, "nodeSelectorTerms"));
        for (i, term) in terms.iter().enumerate() {
            of_term(warnings, &format!("{at}.{required}.nodeSelectorTerms[{i}]"), term);
        }
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        for (i, weighted) in read::list(affinity, preferred).iter().enumerate() {
            if let Some(term) = read::get(weighted, "preference") {
                of_term(warnings, &format!("{at}.{preferred}[{i}].preference"), term);
            }
        }
    }
    for (i, constraint) in read::list(spec, "topologySpreadConstraints").iter().enumerate() {
        let at = format!("{path}.topologySpreadConstraints[{i}]");
        let key = read::text(constraint, "topologyKey");
        if let Some(text) = old_label(key) {
            warnings.push(format!("{at}.topologyKey: {key} is {text}"));
        }
        if read::get(constraint, "labelSelector").is_none() {
            warnings.push(format!("{at}.labelSelector: {NO_SELECTOR}"));
        }
    }
}

pub(in crate::validation) fn of_term(warnings: &mut Vec<String>, path: &str, term: &Value) {
    for (i, expression) in read::list(term, "matchExpressions").iter().enumerate() {
        let key = read::text(expression, "key");
        if let Some(text) = old_label(key) {
            warnings.push(format!("{path}.matchExpressions[{i}].key: {key} is {text}"));
        }
    }
}

/// Which pods it wants to be near or far from.
fn of_pod_affinity(warnings: &mut Vec<String>, path: &str, spec: &Value) {
    let Some(affinity) = read::get(spec, "affinity") else { return };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(terms) = read::get(affinity, kind) else { continue };
        let at = format!("{path}.affinity.{kind}");
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        for (i, term) in read::list(terms, required).iter().enumerate() {
            if read::get(term, "labelSelector").is_none() {
                warnings.push(format!("{at}.{required}[{i}].labelSelector: {NO_SELECTOR}"));
            }
        }
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        for (i, weighted) in read::list(terms, preferred).iter().enumerate() {
            let term = read::get(weighted, "podAffinityTerm");
            if term.and_then(|t| read::get(t, "labelSelector")).is_none() {
                warnings.push(format!("{at}.{preferred}[{i}].podAffinityTerm.labelSelector: {NO_SELECTOR}"));
            }
        }
    }
}

/// Items of a list that name the same thing.
fn repeated(warnings: &mut Vec<String>, path: &str, spec: &Value, list: &str, field: &str) {
    let mut seen = HashSet::new();
    for (i, item) in read::list(spec, list).iter().enumerate() {
        let value = read::text(item, field);
        if !seen.insert(value) {
            warnings.push(format!("{path}.{list}[{i}].{field}: duplicate {field} {value:?}"));
        }
    }
}

/// Security profiles that are asked for the old way, by annotations of the pod.
fn of_profiles(warnings: &mut Vec<String>, at: &str, metadata: &Value, spec: &Value, container: &Value) {
    let name = read::text(container, "name");
    let key = format!("{SECCOMP_CONTAINER}{name}");
    if !has_profile(container, "seccompProfile") && annotated(metadata, &key) {
        warnings.push(format!("{at}metadata.annotations[{key}]: {SECCOMP_GONE}"));
    }
    let key = format!("{APPARMOR_CONTAINER}{name}");
    let field = [spec, container].into_iter().any(|owner| has_profile(owner, "appArmorProfile"));
    if !field && annotated(metadata, &key) {
        warnings.push(format!("{at}metadata.annotations[{key}]: {APPARMOR_OLD}"));
    }
}

fn of_container(warnings: &mut Vec<String>, path: &str, container: &Value) {
    if let Some(resources) = read::get(container, "resources") {
        for kind in ["limits", "requests"] {
            fractional(warnings, &format!("{path}.resources.{kind}"), resources, kind);
        }
    }
    let mut seen = HashSet::new();
    for (i, variable) in read::list(container, "env").iter().enumerate() {
        let (name, value) = (read::text(variable, "name"), read::text(variable, "value"));
        if seen.insert(name) {
            continue;
        }
        // Adding to what was there before is no hiding.
        let before = format!("$({name})");
        let adds = value.contains(&before) && value != before && read::get(variable, "valueFrom").is_none();
        if !adds {
            warnings.push(format!(
                "{path}.env[{i}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
}

fn fractional(warnings: &mut Vec<String>, path: &str, owner: &Value, list: &str) {
    for (name, amount) in read::entries(owner, list).filter(|(name, _)| BYTES.contains(name)) {
        if amounts::parse(amount).is_some_and(|quantity| quantity.milli_value() % 1000 != 0) {
            let shown = amount.as_str().unwrap_or("");
            warnings.push(format!(
                "{path}[{name}]: fractional byte value {shown:?} is invalid, must be an integer"
            ));
        }
    }
}

/// How many ports of one number are compared with each other: all with all would take quadratic time.
const PORTS_COMPARED: usize = 64;

/// A port seen already.
struct Port<'a> {
    at: String,
    host_ip: &'a str,
    host_port: i64,
}

/// Ports of all containers that are the same.
fn of_ports(warnings: &mut Vec<String>, path: &str, spec: &Value) {
    let mut known: HashMap<(i64, &str), Vec<Port<'_>>> = HashMap::new();
    for (place, container) in containers(path, spec) {
        for (i, port) in read::list(container, "ports").iter().enumerate() {
            let at = format!("{place}.ports[{i}]");
            let number = |key: &str| read::int(port, key).unwrap_or(0);
            let (host_ip, host_port) = (read::text(port, "hostIP"), number("hostPort"));
            if !host_ip.is_empty() && host_port == 0 {
                let [name, protocol] = ["name", "protocol"].map(|key| read::text(port, key));
                let own = number("containerPort");
                warnings.push(format!(
                    "{at}: hostIP set without hostPort: {{Name:{name} HostPort:0 ContainerPort:{own} Protocol:{protocol} HostIP:{host_ip}}}"
                ));
            }
            let others = known.entry((number("containerPort"), read::text(port, "protocol"))).or_default();
            if others.len() == PORTS_COMPARED {
                continue;
            }
            for other in others.iter() {
                let why = if host_ip == other.host_ip && host_port == other.host_port {
                    "duplicate"
                } else if host_port == 0 || other.host_port == 0 {
                    "overlapping"
                } else if host_port == other.host_port && (host_ip.is_empty() != other.host_ip.is_empty()) {
                    "dangerously ambiguous"
                } else {
                    continue;
                };
                warnings.push(format!("{at}: {why} port definition with {}", other.at));
            }
            others.push(Port { at, host_ip, host_port });
        }
    }
}
