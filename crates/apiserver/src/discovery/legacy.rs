//! The legacy documents of discovery: one for each group and version. Pure.

use api::GroupVersion;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use resources::{KindTable, Resource, Verb};
use sha2::{Digest as _, Sha256};

use super::documents::{ApiResource, Group, GroupList, GroupVersionForDiscovery, ResourceList, Versions};

/// `/api`
pub(super) fn core_versions() -> Versions {
    Versions { kind: "APIVersions", versions: ["v1"], server_address_by_client_cidrs: [] }
}

/// `/apis`
pub(super) fn groups(versions: &[GroupVersion]) -> GroupList {
    let groups = names(versions).into_iter().map(|name| group(versions, name)).collect();
    GroupList { kind: "APIGroupList", api_version: "v1", groups }
}

/// `/apis/GROUP` for each group.
pub(super) fn each_group(versions: &[GroupVersion]) -> impl Iterator<Item = Group> {
    names(versions).into_iter().map(|name| Group {
        kind: Some("APIGroup"),
        api_version: Some("v1"),
        ..group(versions, name)
    })
}

/// The named groups in order.
fn names(versions: &[GroupVersion]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for gv in versions {
        if !gv.group.is_empty() && !names.contains(&gv.group.as_str()) {
            names.push(&gv.group);
        }
    }
    names
}

fn group(versions: &[GroupVersion], name: &str) -> Group {
    let of_group = versions.iter().filter(|gv| gv.group == name);
    let versions: Vec<GroupVersionForDiscovery> = of_group
        .map(|gv| GroupVersionForDiscovery { group_version: gv.to_string(), version: gv.version.clone() })
        .collect();
    let preferred_version = versions.first().cloned();
    Group { kind: None, api_version: None, name: name.to_owned(), versions, preferred_version }
}

/// `/api/v1` and `/apis/GROUP/VERSION`
pub(super) fn resources<'a>(table: &'a KindTable, gv: &GroupVersion) -> ResourceList<'a> {
    let mut resources = Vec::new();
    for row in table.rows_of(gv) {
        resources.push(resource(row));
        for sub in &row.parts {
            let elsewhere = sub.kind.group_version() != *gv;
            resources.push(ApiResource {
                name: format!("{}/{}", row.plural, sub.name),
                singular_name: "",
                namespaced: row.namespaced(),
                group: elsewhere.then_some(sub.kind.group.as_str()),
                version: elsewhere.then_some(sub.kind.version.as_str()),
                kind: &sub.kind.kind,
                verbs: verbs(&sub.verbs),
                short_names: Vec::new(),
                categories: Vec::new(),
                storage_version_hash: None,
            });
        }
    }
    let api_version = (!gv.group.is_empty()).then_some("v1");
    ResourceList { kind: "APIResourceList", api_version, group_version: gv.to_string(), resources }
}

fn resource(row: &Resource) -> ApiResource<'_> {
    ApiResource {
        name: row.plural.to_string(),
        singular_name: &row.singular,
        namespaced: row.namespaced(),
        group: None,
        version: None,
        kind: &row.kind,
        verbs: verbs(&row.verbs),
        short_names: row.short_names.iter().map(|s| s.as_ref()).collect(),
        categories: row.categories.iter().map(|s| s.as_ref()).collect(),
        storage_version_hash: storage_version_hash(row),
    }
}

/// The hash of the version in which the kind's objects are stored, made as upstream makes it
/// (`apiserver/pkg/endpoints/discovery/storageversionhash.go`); `None` for a kind whose objects are not stored.
fn storage_version_hash(row: &Resource) -> Option<String> {
    if row.question.is_some() || row.observed.is_some() || row.elsewhere {
        return None;
    }
    let GroupVersion { group, version } = &row.storage_version;
    let digest = Sha256::digest(format!("{group}/{version}/{}", row.kind));
    Some(BASE64_STANDARD.encode(&digest[..8]))
}

/// Verbs as discovery lists them: sorted.
pub(super) fn verbs(verbs: &[Verb]) -> Vec<&'static str> {
    let mut names: Vec<&str> = verbs.iter().map(|v| v.as_str()).collect();
    names.sort_unstable();
    names
}
