//! The order of groups and versions in discovery. Source: upstream's `aggregator.go` and
//! `k8s.io/apimachinery/pkg/version`.

use api::GroupVersion;

/// Groups by falling priority. Others follow in the order they were added.
const GROUP_ORDER: &[&str] = &[
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "resource.k8s.io",
];

/// Sorts and deduplicates: groups by priority, versions of a group from the newest to the oldest
/// (`v2`, `v1`, `v1beta1`, …), as `k8s.io/apimachinery/pkg/version` compares them.
pub(crate) fn in_discovery_order(mut versions: Vec<GroupVersion>) -> Vec<GroupVersion> {
    let mut added: Vec<String> = Vec::new();
    for gv in &versions {
        if !GROUP_ORDER.contains(&gv.group.as_str()) && !added.contains(&gv.group) {
            added.push(gv.group.clone());
        }
    }
    let position = |group: &str| {
        GROUP_ORDER.iter().copied().chain(added.iter().map(String::as_str)).position(|g| g == group)
    };
    versions.sort_by_cached_key(|gv| {
        (position(&gv.group), std::cmp::Reverse(version_rank(&gv.version)), gv.version.clone())
    });
    versions.dedup();
    versions
}

/// (stability, major, minor); what is no Kubernetes version ranks last.
fn version_rank(version: &str) -> (u8, u32, u32) {
    let Some(rest) = version.strip_prefix('v') else { return (0, 0, 0) };
    let (major, stability, minor) = if let Some((major, minor)) = rest.split_once("beta") {
        (major, 2, minor)
    } else if let Some((major, minor)) = rest.split_once("alpha") {
        (major, 1, minor)
    } else {
        (rest, 3, "0")
    };
    match (major.parse(), minor.parse()) {
        (Ok(major), Ok(minor)) => (stability, major, minor),
        _ => (0, 0, 0),
    }
}
