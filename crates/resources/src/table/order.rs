//! The order of groups and versions in discovery. Source: upstream's `aggregator.go` and
//! `k8s.io/apimachinery/pkg/version`.

use std::cmp::Reverse;
use std::collections::HashMap;

use api::GroupVersion;

/// Groups by falling priority, each with the priority that its versions are registered with. Others follow in the order
/// they were added.
const GROUPS: &[(&str, i64)] = &[
    ("", 18_000),
    ("apiregistration.k8s.io", 20_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("admissionregistration.k8s.io", 16_700),
    ("apiextensions.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    ("flowcontrol.apiserver.k8s.io", 16_100),
    ("resource.k8s.io", 15_900),
];

/// Versions whose priority is not that of all versions as stable as they are.
const VERSIONS: &[(&str, &str, i64)] =
    &[("", "v1", 1), ("autoscaling", "v2", 30), ("flowcontrol.apiserver.k8s.io", "v1", 21)];

/// What decides the place of a group and version in discovery: of a group its versions' highest group priority, among
/// the versions of a group the version priority. Higher ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority {
    pub group: i64,
    pub version: i64,
}

impl Priority {
    /// That of custom kinds.
    pub const CUSTOM: Self = Self { group: 1000, version: 100 };

    /// That of a group and version which this server serves.
    pub fn served(gv: &GroupVersion) -> Self {
        let Some((_, group)) = GROUPS.iter().find(|(group, _)| *group == gv.group) else {
            // What upstream has from an add-on has the add-on's priority.
            return if gv.group == ADDED { Self { group: 100, version: 100 } } else { Self::CUSTOM };
        };
        let special =
            VERSIONS.iter().find(|(group, version, _)| (*group, *version) == (&gv.group, &gv.version));
        let version = special.map(|(.., priority)| *priority);
        let version = version.unwrap_or_else(|| match version_rank(&gv.version) {
            (3, ..) => 15,
            (2, ..) => 9,
            _ => 1,
        });
        Self { group: *group, version }
    }
}

/// The group of what upstream's clusters have from an add-on.
const ADDED: &str = "metrics.k8s.io";

/// Whether the group and version is one of those upstream's server registers with itself as it starts: it has no
/// registration of the group of registrations, and none of what an add-on serves there.
pub fn is_registered(gv: &GroupVersion) -> bool {
    gv.group != "apiregistration.k8s.io" && GROUPS.iter().any(|(group, _)| *group == gv.group)
}

/// Sorts by priority: groups by the highest of their versions and then by name, versions of a group by priority and
/// then from the newest to the oldest.
pub fn by_priority(versions: &mut [(GroupVersion, Priority)]) {
    let mut groups: HashMap<String, i64> = HashMap::new();
    for (gv, priority) in versions.iter() {
        let highest = groups.entry(gv.group.clone()).or_insert(priority.group);
        *highest = priority.group.max(*highest);
    }
    versions.sort_by_cached_key(|(gv, priority)| {
        let group = groups.get(&gv.group).copied().unwrap_or_default();
        let rank = (Reverse(priority.version), Reverse(version_rank(&gv.version)));
        (Reverse(group), gv.group.clone(), rank, gv.version.clone())
    });
}

/// Sorts and deduplicates: groups by priority, versions of a group from the newest to the oldest
/// (`v2`, `v1`, `v1beta1`, …), as `k8s.io/apimachinery/pkg/version` compares them.
pub(crate) fn in_discovery_order(mut versions: Vec<GroupVersion>) -> Vec<GroupVersion> {
    let known = || GROUPS.iter().map(|(group, _)| *group);
    let mut added: Vec<String> = Vec::new();
    for gv in &versions {
        if !known().any(|group| group == gv.group) && !added.contains(&gv.group) {
            added.push(gv.group.clone());
        }
    }
    let position = |group: &str| known().chain(added.iter().map(String::as_str)).position(|g| g == group);
    versions.sort_by_cached_key(|gv| {
        (position(&gv.group), Reverse(version_rank(&gv.version)), gv.version.clone())
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
