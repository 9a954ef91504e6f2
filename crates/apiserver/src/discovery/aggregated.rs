//! Aggregated discovery (KEP-3352): every group, version and resource in one document. Pure.

use api::{GroupVersion, GroupVersionKind};
use resources::{KindTable, Resource};
use serde_json::json;

use super::documents::{
    GroupDiscovery, GroupDiscoveryList, GroupMetadata, ResourceDiscovery, ResponseKind, SubresourceDiscovery,
    VersionDiscovery,
};
use super::legacy::verbs;

/// The list of all named groups, or of the core group alone, in the given API version.
pub(super) fn list<'a>(table: &'a KindTable, api_version: &str, core: bool) -> GroupDiscoveryList<'a> {
    let mut items: Vec<GroupDiscovery<'a>> = Vec::new();
    for gv in table.group_versions().iter().filter(|gv| gv.group.is_empty() == core) {
        let entry = version(table, gv);
        match items.iter_mut().find(|item| item.metadata.name == gv.group) {
            Some(item) => item.versions.push(entry),
            None => items.push(GroupDiscovery {
                metadata: GroupMetadata { name: &gv.group, creation_timestamp: () },
                versions: vec![entry],
            }),
        }
    }
    GroupDiscoveryList {
        kind: "APIGroupDiscoveryList",
        api_version: format!("apidiscovery.k8s.io/{api_version}"),
        metadata: json!({}),
        items,
    }
}

fn version<'a>(table: &'a KindTable, gv: &'a GroupVersion) -> VersionDiscovery<'a> {
    let resources = table.rows_of(gv).into_iter().map(|row| resource(row)).collect();
    VersionDiscovery { version: &gv.version, resources, freshness: "Current" }
}

fn resource(row: &Resource) -> ResourceDiscovery<'_> {
    ResourceDiscovery {
        resource: &row.plural,
        response_kind: ResponseKind { group: &row.group, version: &row.version, kind: &row.kind },
        scope: if row.namespaced() { "Namespaced" } else { "Cluster" },
        singular_resource: &row.singular,
        verbs: verbs(&row.verbs),
        short_names: row.short_names.iter().map(|s| s.as_ref()).collect(),
        categories: row.categories.iter().map(|s| s.as_ref()).collect(),
        subresources: row
            .parts
            .iter()
            .map(|sub| SubresourceDiscovery {
                subresource: &sub.name,
                response_kind: kind(&sub.kind),
                verbs: verbs(&sub.verbs),
            })
            .collect(),
    }
}

fn kind(gvk: &GroupVersionKind) -> ResponseKind<'_> {
    ResponseKind { group: &gvk.group, version: &gvk.version, kind: &gvk.kind }
}
