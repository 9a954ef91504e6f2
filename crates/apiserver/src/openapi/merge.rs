//! Adds what another server says in its OpenAPI v2 document to this server's. Pure. Upstream:
//! `kube-openapi/pkg/aggregator`, which keeps of the other document the paths of the registered group and version and
//! what these refer to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// What a reference to a definition begins with.
const REFERENCE: &str = "#/definitions/";

/// Adds the paths below `prefix` and the definitions that they need. A definition that is called as another one of this
/// document gets a name of its own (`NAME_v2`).
pub(super) fn add(document: &mut Value, other: &Value, prefix: &str) {
    let paths: Map<String, Value> = object(other, "paths")
        .filter(|(path, _)| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
        .map(|(path, item)| (path.clone(), item.clone()))
        .collect();
    let theirs: BTreeMap<&String, &Value> = object(other, "definitions").collect();
    let needed = needed(&paths, &theirs);
    let names = names(document, &needed, &theirs);
    let renamed = |mut value: Value| {
        rename(&mut value, &names);
        value
    };
    let into = |document: &mut Value, key: &str, name: String, value: Value| {
        if let Some(map) = document.get_mut(key).and_then(Value::as_object_mut) {
            map.insert(name, value);
        }
    };
    for (path, item) in paths {
        into(document, "paths", path, renamed(item));
    }
    for name in needed {
        let Some(definition) = theirs.get(&name) else { continue };
        let own = names.get(&name).cloned().unwrap_or(name);
        into(document, "definitions", own, renamed((*definition).clone()));
    }
}

/// Takes the paths below `prefix` away: another server serves them.
pub(super) fn remove(document: &mut Value, prefix: &str) {
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        paths.retain(|path, _| {
            path.strip_prefix(prefix).is_none_or(|rest| !rest.is_empty() && !rest.starts_with('/'))
        });
    }
}

fn object<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.get(key).and_then(Value::as_object).into_iter().flatten()
}

/// The definitions that the paths refer to, directly or through others.
fn needed(paths: &Map<String, Value>, theirs: &BTreeMap<&String, &Value>) -> BTreeSet<String> {
    let mut needed = BTreeSet::new();
    let mut open: Vec<String> = Vec::new();
    paths.values().for_each(|item| references(item, &mut open));
    while let Some(name) = open.pop() {
        if let Some(definition) = theirs.get(&name)
            && needed.insert(name)
        {
            references(definition, &mut open);
        }
    }
    needed
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str().and_then(|text| text.strip_prefix(REFERENCE)) {
                    Some(name) if key == "$ref" => found.push(name.to_owned()),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// Names for the definitions whose own names are taken by other ones.
fn names(
    document: &Value,
    needed: &BTreeSet<String>,
    theirs: &BTreeMap<&String, &Value>,
) -> BTreeMap<String, String> {
    let ours = document.get("definitions").and_then(Value::as_object);
    let taken = |name: &str| ours.and_then(|ours| ours.get(name));
    let mut names = BTreeMap::new();
    for name in needed {
        if taken(name).is_none_or(|own| theirs.get(name) == Some(&own)) {
            continue;
        }
        let mut free = (2..).map(|number| format!("{name}_v{number}"));
        if let Some(free) = free.find(|free| taken(free).is_none() && !theirs.contains_key(free)) {
            names.insert(name.clone(), free);
        }
    }
    names
}

fn rename(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = value.as_str().and_then(|text| text.strip_prefix(REFERENCE));
                match name.filter(|_| key == "$ref").and_then(|name| names.get(name)) {
                    Some(own) => *value = format!("{REFERENCE}{own}").into(),
                    None => rename(value, names),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| rename(value, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reference(name: &str) -> Value {
        json!({"$ref": format!("{REFERENCE}{name}")})
    }

    #[test]
    fn what_the_paths_need_is_added_under_names_of_its_own() {
        let mut document = json!({"paths": {"/apis/a/v1/xs": {"get": reference("Meta")}, "/apis/b/v1/": {}, "/apis/b/v1x": {}},
            "definitions": {"Meta": {"type": "object"}, "Same": {"type": "string"}}});
        let other = json!({
            "paths": {"/apis/b/v1/ys": {"get": [reference("Y")]}, "/apis/c/v1/zs": {"get": reference("Z")}},
            "definitions": {
                "Y": {"properties": {"meta": reference("Meta"), "same": reference("Same"), "self": reference("Y"),
                    "lost": reference("Lost")}},
                "Meta": {"type": "object", "description": "another"}, "Same": {"type": "string"}, "Z": {}}});
        remove(&mut document, "/apis/b/v1");
        add(&mut document, &other, "/apis/b/v1");
        assert_eq!(
            document,
            json!({
                "paths": {"/apis/a/v1/xs": {"get": reference("Meta")}, "/apis/b/v1x": {},
                    "/apis/b/v1/ys": {"get": [reference("Y")]}},
                "definitions": {
                    "Meta": {"type": "object"}, "Same": {"type": "string"},
                    "Meta_v2": {"type": "object", "description": "another"},
                    "Y": {"properties": {"meta": reference("Meta_v2"), "same": reference("Same"),
                        "self": reference("Y"), "lost": reference("Lost")}}}})
        );
    }
}
