//! Aggregated discovery (KEP-3352): every group, version and resource in one document. Pure.

use api::{GroupVersion, GroupVersionKind};
use resources::{KindTable, Resource};
use serde_json::{Map, Value, json};

use super::legacy::verbs;

/// The list of all named groups, or of the core group alone, in the given API version.
pub(super) fn list(table: &KindTable, api_version: &str, core: bool) -> Value {
    let mut groups: Vec<(&str, Vec<Value>)> = Vec::new();
    for gv in table.group_versions().iter().filter(|gv| gv.group.is_empty() == core) {
        let entry = version(table, gv);
        match groups.iter_mut().find(|(name, _)| *name == gv.group) {
            Some((_, versions)) => versions.push(entry),
            None => groups.push((&gv.group, vec![entry])),
        }
    }
    let items: Vec<Value> = groups
        .into_iter()
        .map(|(name, versions)| {
            let mut metadata = Map::new();
            if !name.is_empty() {
                metadata.insert("name".into(), name.into());
            }
            metadata.insert("creationTimestamp".into(), Value::Null);
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{api_version}"),
        "metadata": {}, "items": items,
    })
}

fn version(table: &KindTable, gv: &GroupVersion) -> Value {
    let resources: Vec<Value> = table.rows_of(gv).into_iter().map(|row| resource(row)).collect();
    json!({"version": gv.version, "resources": resources, "freshness": "Current"})
}

fn resource(row: &Resource) -> Value {
    let mut entry = Map::new();
    entry.insert("resource".into(), row.plural.as_ref().into());
    entry.insert("responseKind".into(), kind(&row.gvk()));
    entry.insert("scope".into(), if row.namespaced() { "Namespaced" } else { "Cluster" }.into());
    entry.insert("singularResource".into(), row.singular.as_ref().into());
    entry.insert("verbs".into(), verbs(&row.verbs));
    if !row.short_names.is_empty() {
        entry.insert("shortNames".into(), row.short_names.iter().map(|s| s.as_ref()).collect());
    }
    if !row.categories.is_empty() {
        entry.insert("categories".into(), row.categories.iter().map(|s| s.as_ref()).collect());
    }
    let subresources: Vec<Value> = row
        .parts
        .iter()
        .map(|sub| {
            json!({"subresource": sub.name, "responseKind": kind(&sub.kind), "verbs": verbs(&sub.verbs)})
        })
        .collect();
    if !subresources.is_empty() {
        entry.insert("subresources".into(), subresources.into());
    }
    Value::Object(entry)
}

fn kind(gvk: &GroupVersionKind) -> Value {
    json!({"group": gvk.group, "version": gvk.version, "kind": gvk.kind})
}
