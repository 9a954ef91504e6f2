//! The documents of discovery as it has always been: one for each group and version. Pure.

use api::GroupVersion;
use resources::{KindTable, Resource, Verb};
use serde_json::{Map, Value, json};

/// `/api`
pub(super) fn core_versions() -> Value {
    json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    })
}

/// `/apis`
pub(super) fn groups(table: &KindTable) -> Value {
    let groups: Vec<Value> = names(table).into_iter().map(|name| group(table, &name)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP` for each group.
pub(super) fn each_group(table: &KindTable) -> impl Iterator<Item = (String, Value)> {
    names(table).into_iter().map(|name| {
        let mut value = group(table, &name);
        value["kind"] = "APIGroup".into();
        value["apiVersion"] = "v1".into();
        (name, value)
    })
}

/// The named groups in order.
fn names(table: &KindTable) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for gv in table.group_versions() {
        if !gv.group.is_empty() && !names.contains(&gv.group) {
            names.push(gv.group.clone());
        }
    }
    names
}

fn group(table: &KindTable, name: &str) -> Value {
    let versions: Vec<Value> = table
        .group_versions()
        .iter()
        .filter(|gv| gv.group == name)
        .map(|gv| json!({"groupVersion": gv.to_string(), "version": gv.version}))
        .collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({"name": name, "versions": versions, "preferredVersion": preferred})
}

/// `/api/v1` and `/apis/GROUP/VERSION`
pub(super) fn resources(table: &KindTable, gv: &GroupVersion) -> Value {
    let mut list = Vec::new();
    for row in table.rows_of(gv) {
        list.push(resource(row));
        for sub in &row.parts {
            let mut entry = Map::new();
            entry.insert("name".into(), format!("{}/{}", row.plural, sub.name).into());
            entry.insert("singularName".into(), "".into());
            entry.insert("namespaced".into(), row.namespaced().into());
            if sub.kind.group_version() != *gv {
                entry.insert("group".into(), sub.kind.group.clone().into());
                entry.insert("version".into(), sub.kind.version.clone().into());
            }
            entry.insert("kind".into(), sub.kind.kind.clone().into());
            entry.insert("verbs".into(), verbs(&sub.verbs));
            list.push(Value::Object(entry));
        }
    }
    let mut document = json!({"kind": "APIResourceList", "groupVersion": gv.to_string(), "resources": list});
    if !gv.group.is_empty() {
        document["apiVersion"] = "v1".into();
    }
    document
}

fn resource(row: &Resource) -> Value {
    let mut entry = Map::new();
    entry.insert("name".into(), row.plural.as_ref().into());
    entry.insert("singularName".into(), row.singular.as_ref().into());
    entry.insert("namespaced".into(), row.namespaced().into());
    entry.insert("kind".into(), row.kind.as_ref().into());
    entry.insert("verbs".into(), verbs(&row.verbs));
    if !row.short_names.is_empty() {
        entry.insert("shortNames".into(), row.short_names.iter().map(|s| s.as_ref()).collect());
    }
    if !row.categories.is_empty() {
        entry.insert("categories".into(), row.categories.iter().map(|s| s.as_ref()).collect());
    }
    Value::Object(entry)
}

/// Verbs as discovery lists them: sorted.
pub(super) fn verbs(verbs: &[Verb]) -> Value {
    let mut names: Vec<&str> = verbs.iter().map(|v| v.as_str()).collect();
    names.sort_unstable();
    names.into_iter().collect()
}
