//! Warnings to clients that write what is no pod and no pod template: deprecated annotations and fields, and what is
//! allowed but does not do what its author expects. Those of pods are in [`super::pod`].

use std::net::{IpAddr, Ipv4Addr};

use api::{Object, names};
use serde_json::Value;

use super::claim_spec::warnings as claim_warnings;
use super::network_policy::range_warnings;
use super::pod::{old_label, term_warnings};
use super::read;

const BETA_STORAGE_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const BETA_MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";
/// Sources of volumes whose plugins upstream has removed, as its warnings call them.
const REMOVED_VOLUMES: [(&str, &str, &str); 6] = [
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
];
const INGRESS_CLASS: &str = "kubernetes.io/ingress.class";
const MOUNTABLE_SECRETS: &str = "kubernetes.io/enforce-mountable-secrets";
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";

/// Of a kind whose name becomes part of the names of pods.
pub(crate) fn of_pods_name(object: &Object) -> Option<String> {
    let faults = names::dns1123_label(object.name());
    (!faults.is_empty()).then(|| {
        format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [{}]",
            faults.join(" ")
        )
    })
}

/// Upstream: `networking/ingress/strategy.go`.
pub(crate) fn ingress(object: &Object) -> Vec<String> {
    let spec = read::top(object, "spec");
    if object.annotation(INGRESS_CLASS).is_none() || read::get(spec, "ingressClassName").is_some() {
        return Vec::new();
    }
    vec![format!("annotation {INGRESS_CLASS:?} is deprecated, please use 'spec.ingressClassName' instead")]
}

/// Upstream: `pkg/registry/core/serviceaccount/strategy.go`.
pub(crate) fn service_account(object: &Object) -> Vec<String> {
    if object.annotation(MOUNTABLE_SECRETS).is_none() {
        return Vec::new();
    }
    vec![format!(
        "metadata.annotations[{MOUNTABLE_SECRETS}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
    )]
}

/// Upstream: `pkg/api/service/warnings.go`.
pub(crate) fn service(object: &Object) -> Vec<String> {
    let mut warnings = Vec::new();
    let spec = read::top(object, "spec");
    let (kind, balancer) = (read::text(spec, "type"), read::text(spec, "loadBalancerIP"));
    let external = read::list(spec, "externalIPs");
    let named = kind == "ExternalName";
    let headless = kind == "ClusterIP" && read::text(spec, "clusterIP") == "None";
    if object.annotation(TOPOLOGY_HINTS).is_some() {
        warnings
            .push(format!("annotation {TOPOLOGY_HINTS} is deprecated, please use {TOPOLOGY_MODE} instead"));
    }
    addresses(&mut warnings, "spec.clusterIPs", read::list(spec, "clusterIPs"));
    if headless {
        if !balancer.is_empty() {
            warnings.push("spec.loadBalancerIP is ignored for headless services".to_owned());
        }
        if !external.is_empty() {
            warnings.push("spec.externalIPs is ignored for headless services".to_owned());
        }
        if read::text(spec, "sessionAffinity") != "None" {
            warnings.push("spec.SessionAffinity is ignored for headless services".to_owned());
        }
    }
    addresses(&mut warnings, "spec.externalIPs", external);
    if !external.is_empty() && !headless && !named {
        warnings.push(
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters".to_owned(),
        );
    }
    warnings.extend(address("spec.loadBalancerIP", balancer));
    for (i, range) in read::texts(spec, "loadBalancerSourceRanges").enumerate() {
        range_warnings(&mut warnings, &format!("spec.loadBalancerSourceRanges[{i}]"), range);
    }
    if named && !external.is_empty() {
        warnings.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if !named && !read::text(spec, "externalName").is_empty() {
        warnings.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    if read::text(spec, "trafficDistribution") == "PreferClose" {
        warnings.push(
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".to_owned(),
        );
    }
    warnings
}

fn addresses(warnings: &mut Vec<String>, path: &str, values: &[Value]) {
    for (i, value) in values.iter().enumerate() {
        warnings.extend(address(&format!("{path}[{i}]"), value.as_str().unwrap_or("")));
    }
}

/// Of an address in a form that is not the usual one (upstream: `GetWarningsForIP`).
fn address(path: &str, value: &str) -> Option<String> {
    let parsed = value.parse::<IpAddr>();
    let usual = match parsed {
        Ok(IpAddr::V6(parsed)) => parsed.to_ipv4_mapped(),
        Ok(IpAddr::V4(_)) => None,
        Err(_) => with_leading_zeros(value),
    };
    if let Some(inner) = usual {
        return Some(format!(
            "{path}: non-standard IP address {value:?} will be considered invalid in a future Kubernetes release: use \"{inner}\""
        ));
    }
    let Ok(IpAddr::V6(parsed)) = parsed else { return None };
    let canonical = parsed.to_string();
    (canonical != value).then(|| {
        format!("{path}: IPv6 address {value:?} should be in RFC 5952 canonical format ({canonical:?})")
    })
}

/// An address whose numbers begin with zeros, which some read as octal ones.
fn with_leading_zeros(value: &str) -> Option<Ipv4Addr> {
    let mut numbers = value.split('.').map(|number| {
        let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| number.parse::<u8>().ok()).flatten()
    });
    let mut next = || numbers.next().flatten();
    let address = Ipv4Addr::new(next()?, next()?, next()?, next()?);
    numbers.next().is_none().then_some(address)
}

/// Upstream: `pkg/registry/core/endpoints/strategy.go`. Nobody looks at what the controller writes.
pub(crate) fn endpoints(object: &Object) -> Vec<String> {
    let mut warnings = Vec::new();
    if object.label("endpoints.kubernetes.io/managed-by") == Some("endpoint-controller") {
        return warnings;
    }
    let subsets = read::top(object, "subsets").as_array().map_or(&[][..], Vec::as_slice);
    for (i, subset) in subsets.iter().enumerate() {
        for list in ["addresses", "notReadyAddresses"] {
            for (j, one) in read::list(subset, list).iter().enumerate() {
                warnings.extend(address(&format!("subsets[{i}].{list}[{j}].ip"), read::text(one, "ip")));
            }
        }
    }
    warnings
}

/// Upstream: `pkg/registry/discovery/endpointslice/strategy.go`. Nobody looks at the addresses that controllers write.
pub(crate) fn endpoint_slice(object: &Object) -> Vec<String> {
    const OWN: [&str; 2] = ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];
    let mut warnings = Vec::new();
    if read::top(object, "addressType").as_str() == Some("FQDN") {
        warnings.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
    }
    if object.label("endpointslice.kubernetes.io/managed-by").is_some_and(|by| OWN.contains(&by)) {
        return warnings;
    }
    let endpoints = read::top(object, "endpoints").as_array().map_or(&[][..], Vec::as_slice);
    for (i, endpoint) in endpoints.iter().enumerate() {
        addresses(&mut warnings, &format!("endpoints[{i}].addresses"), read::list(endpoint, "addresses"));
    }
    warnings
}

/// Upstream: `pkg/registry/core/node/strategy.go`.
pub(crate) fn node(object: &Object) -> Vec<String> {
    let spec = read::top(object, "spec");
    let mut warnings = Vec::new();
    if read::get(spec, "configSource").is_some() {
        warnings.push("spec.configSource: the feature is removed".to_owned());
    }
    if !read::text(spec, "externalID").is_empty() {
        warnings.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
    }
    warnings
}

/// Upstream: `pkg/api/node/util.go`.
pub(crate) fn runtime_class(object: &Object) -> Vec<String> {
    let selector = read::entries(read::top(object, "scheduling"), "nodeSelector");
    let old = selector.filter_map(|(label, _)| old_label(label));
    old.map(|text| format!("scheduling.nodeSelector: {text}")).collect()
}

/// Upstream: `pkg/api/storage/util.go`.
pub(crate) fn storage_capacity(object: &Object) -> Vec<String> {
    let mut warnings = Vec::new();
    let topology = read::top(object, "nodeTopology");
    term_warnings(&mut warnings, "nodeTopology", topology);
    for (label, _) in read::entries(topology, "matchLabels") {
        if let Some(text) = old_label(label) {
            warnings.push(format!("nodeTopology.matchLabels.{label}: {text}"));
        }
    }
    warnings
}

/// Upstream: `pkg/api/persistentvolume/util.go`.
pub(crate) fn volume(object: &Object) -> Vec<String> {
    let mut warnings = Vec::new();
    let spec = read::top(object, "spec");
    warnings.extend(beta_storage_class(object));
    if object.annotation(BETA_MOUNT_OPTIONS).is_some() {
        warnings.push(format!(
            "metadata.annotations[{BETA_MOUNT_OPTIONS}]: deprecated since v1.31; use \"mountOptions\" attribute instead"
        ));
    }
    if read::text(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
        warnings.push("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".to_owned());
    }
    let affinity = read::get(spec, "nodeAffinity").and_then(|affinity| read::get(affinity, "required"));
    let terms = affinity.map_or(&[][..], |required| read::list(required, "nodeSelectorTerms"));
    for (i, term) in terms.iter().enumerate() {
        term_warnings(&mut warnings, &format!("spec.nodeAffinity.required.nodeSelectorTerms[{i}]"), term);
    }
    for (source, shown, text) in REMOVED_VOLUMES {
        if read::get(spec, source).is_some() {
            warnings.push(format!("spec.{shown}: {text}"));
        }
    }
    warnings
}

/// Upstream: `pkg/api/persistentvolumeclaim/util.go`.
pub(crate) fn claim(object: &Object) -> Vec<String> {
    let mut warnings: Vec<String> = beta_storage_class(object).into_iter().collect();
    claim_warnings(&mut warnings, "spec", read::top(object, "spec"));
    warnings
}

fn beta_storage_class(object: &Object) -> Option<String> {
    object.annotation(BETA_STORAGE_CLASS)?;
    Some(format!(
        "metadata.annotations[{BETA_STORAGE_CLASS}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
    ))
}

/// Of what a StatefulSet has beside its pod template (upstream: `apps/statefulset/strategy.go`).
pub(crate) fn stateful_set(object: &Object) -> Vec<String> {
    let mut warnings = Vec::new();
    let spec = read::top(object, "spec");
    for (i, claim) in read::list(spec, "volumeClaimTemplates").iter().enumerate() {
        if let Some(claim) = read::get(claim, "spec") {
            claim_warnings(&mut warnings, &format!("spec.volumeClaimTemplates[{i}]"), claim);
        }
    }
    if read::int(spec, "revisionHistoryLimit").is_some_and(|limit| limit < 0) {
        warnings.push("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".to_owned());
    }
    warnings
}

/// Upstream: `pkg/api/storage/util.go`.
pub(crate) fn storage_class(object: &Object) -> Vec<String> {
    let mut warnings = Vec::new();
    let topologies = read::top(object, "allowedTopologies").as_array().map_or(&[][..], Vec::as_slice);
    for (i, topology) in topologies.iter().enumerate() {
        for (j, expression) in read::list(topology, "matchLabelExpressions").iter().enumerate() {
            if let Some(text) = old_label(read::text(expression, "key")) {
                warnings.push(format!("allowedTopologies[{i}].matchLabelExpressions[{j}].key: {text}"));
            }
        }
    }
    warnings
}
