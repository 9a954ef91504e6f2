//! Aggregated discovery (KEP-3352): every group, version and resource in one document. Pure.

use api::{GroupVersion, GroupVersionKind};
use resources::{KindTable, Resource};
use serde_json::json;

use super::documents::{
    GroupDiscovery, GroupDiscoveryList, GroupMetadata, ResourceDiscovery, ResponseKind, SubresourceDiscovery,
    VersionDiscovery,
};
use super::legacy::verbs;
use super::view::{Served, View};
use crate::aggregator::discovered::{self, Version};

/// The list of all named groups, or of the core group alone, in the given API version.
pub(super) fn list<'a>(view: &'a View, api_version: &str, core: bool) -> GroupDiscoveryList<'a> {
    let mut items: Vec<GroupDiscovery<'a>> = Vec::new();
    for gv in view.versions.iter().filter(|gv| gv.group.is_empty() == core) {
        let entry = match view.served(gv) {
            Served::Here => version(&view.table, gv),
            Served::Elsewhere(Some(found)) => remote(gv, found),
            // Nothing is known of it yet.
            Served::Elsewhere(None) => continue,
        };
        match items.iter_mut().find(|item| item.metadata.name == gv.group) {
            Some(item) => item.versions.push(entry),
            None => items
                .push(GroupDiscovery { metadata: GroupMetadata { name: &gv.group }, versions: vec![entry] }),
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

/// What another server serves: as it says, or as it said before it stopped to answer.
fn remote<'a>(gv: &'a GroupVersion, found: &'a Version) -> VersionDiscovery<'a> {
    let resources = found.resources.iter().map(remote_resource).collect();
    let freshness = if found.is_stale { "Stale" } else { "Current" };
    VersionDiscovery { version: &gv.version, resources, freshness }
}

fn remote_resource(resource: &discovered::Resource) -> ResourceDiscovery<'_> {
    ResourceDiscovery {
        resource: &resource.resource,
        response_kind: remote_kind(&resource.response_kind),
        scope: &resource.scope,
        singular_resource: &resource.singular_resource,
        verbs: texts(&resource.verbs),
        short_names: texts(&resource.short_names),
        categories: texts(&resource.categories),
        subresources: resource
            .subresources
            .iter()
            .map(|part| SubresourceDiscovery {
                subresource: &part.subresource,
                response_kind: remote_kind(&part.response_kind),
                verbs: texts(&part.verbs),
            })
            .collect(),
    }
}

fn texts(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

fn remote_kind(kind: &discovered::Kind) -> ResponseKind<'_> {
    ResponseKind { group: &kind.group, version: &kind.version, kind: &kind.kind }
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
