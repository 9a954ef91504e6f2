//! What differs between two versions of an object, field by field, and who said so. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

/// The longest value that is shown, in characters.
const LONGEST: usize = 100;
/// What changes with every write, or is told otherwise.
const UNTOLD: [&str; 2] = ["metadata.managedFields", "metadata.resourceVersion"];
/// Fields that tell the elements of a list apart, the first that all have.
const KEYS: [&str; 7] = ["name", "type", "uid", "key", "containerPort", "port", "ip"];

/// The managers that wrote the version, with the part of the object where it is not the whole: those whose entry in the
/// managed fields is new, later, or larger; where no entry is, because one wrote twice in a second, the latest.
pub fn managers(previous: Option<&Value>, object: &Value) -> Vec<String> {
    let entries =
        |object: &Value| object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let before = previous.map(entries).unwrap_or_default();
    let after = entries(object);
    let same = |a: &Value, b: &Value| {
        ["manager", "operation", "apiVersion", "subresource"].iter().all(|field| a[*field] == b[*field])
    };
    let size = |entry: &Value| entry["fieldsV1"].to_string().len();
    let wrote = |entry: &&Value| match before.iter().find(|old| same(old, entry)) {
        Some(old) => old["time"] != entry["time"] || size(entry) > size(old),
        None => true,
    };
    let mut found: Vec<&Value> = after.iter().filter(wrote).collect();
    if found.is_empty() {
        found.extend(after.iter().max_by_key(|entry| entry["time"].as_str().unwrap_or_default()));
    }
    let mut told = Vec::new();
    for entry in found {
        let name = entry["manager"].as_str().unwrap_or("somebody").to_owned();
        let name = match entry["subresource"].as_str() {
            Some(part) if !part.is_empty() => format!("{name} ({part})"),
            _ => name,
        };
        if !told.contains(&name) {
            told.push(name);
        }
    }
    told
}

/// `spec.replicas: 1 → 2`, a line for each field that differs.
pub fn lines(before: &Value, after: &Value, secret: bool) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", before, after, secret, &mut lines);
    lines
}

fn compare(path: &str, before: &Value, after: &Value, secret: bool, lines: &mut Vec<String>) {
    if before == after || UNTOLD.contains(&path) {
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let (old, new) = (old.get(name), new.get(name));
                compare(
                    &below(path, name),
                    old.unwrap_or(&Value::Null),
                    new.unwrap_or(&Value::Null),
                    secret,
                    lines,
                );
            }
        }
        (Value::Array(old), Value::Array(new)) => match key(old, new) {
            Some(key) => by_key(path, key, old, new, secret, lines),
            None => lines.push(line(path, before, after, secret)),
        },
        _ => lines.push(line(path, before, after, secret)),
    }
}

fn by_key(path: &str, key: &str, old: &[Value], new: &[Value], secret: bool, lines: &mut Vec<String>) {
    let null = Value::Null;
    let at = |list: &'_ [Value], wanted: &Value| list.iter().position(|element| &element[key] == wanted);
    for element in old {
        let path = format!("{path}[{}]", short(&element[key]));
        let found = at(new, &element[key]).map_or(&null, |index| &new[index]);
        compare(&path, element, found, secret, lines);
    }
    for element in new.iter().filter(|element| at(old, &element[key]).is_none()) {
        lines.push(line(&format!("{path}[{}]", short(&element[key])), &null, element, secret));
    }
}

/// The field by which the elements of both lists are told apart.
fn key(old: &[Value], new: &[Value]) -> Option<&'static str> {
    let unique = |list: &[Value], key: &str| {
        let values: BTreeSet<String> = list.iter().map(|element| element[key].to_string()).collect();
        list.iter().all(|element| !element[key].is_null()) && values.len() == list.len()
    };
    KEYS.into_iter().find(|key| unique(old, key) && unique(new, key))
}

fn below(path: &str, name: &str) -> String {
    let name = if name.contains(['.', '/']) { format!("[{name}]") } else { name.to_owned() };
    if path.is_empty() || name.starts_with('[') { format!("{path}{name}") } else { format!("{path}.{name}") }
}

fn line(path: &str, before: &Value, after: &Value, secret: bool) -> String {
    // An annotation may hold the whole object as it was applied.
    let hidden =
        secret && ["data", "stringData", "metadata.annotations"].iter().any(|field| path.starts_with(field));
    let shown = |value: &Value| if hidden { "***".to_owned() } else { short(value) };
    match (before, after) {
        (Value::Null, after) => format!("{path}: added {}", shown(after)),
        (before, Value::Null) => format!("{path}: removed, was {}", shown(before)),
        (before, after) => format!("{path}: {} → {}", shown(before), shown(after)),
    }
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) if !text.is_empty() && !text.contains(char::is_control) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_told_by_field() {
        let before = json!({
            "metadata": {"resourceVersion": "1", "labels": {"a.b/c": "x"}, "managedFields": [{"manager": "m"}]},
            "spec": {"replicas": 1, "containers": [{"name": "a", "image": "i:1"}, {"name": "b"}], "args": ["x"]},
        });
        let after = json!({
            "metadata": {"resourceVersion": "2", "labels": {"a.b/c": "y"},
                "managedFields": [{"manager": "m"}, {"manager": "n", "subresource": "status"}]},
            "spec": {"replicas": 2, "containers": [{"name": "a", "image": "i:2"}, {"name": "c"}], "args": ["x", "y"]},
            "status": {"ready": true},
        });
        assert_eq!(
            lines(&before, &after, false),
            [
                "metadata.labels[a.b/c]: x → y",
                r#"spec.args: ["x"] → ["x","y"]"#,
                "spec.containers[a].image: i:1 → i:2",
                r#"spec.containers[b]: removed, was {"name":"b"}"#,
                r#"spec.containers[c]: added {"name":"c"}"#,
                "spec.replicas: 1 → 2",
                r#"status: added {"ready":true}"#,
            ]
        );
        assert_eq!(managers(Some(&before), &after), ["n (status)"]);
        assert_eq!(managers(None, &before), ["m"]);
        assert_eq!(lines(&before, &before, false), [] as [&str; 0]);
    }

    #[test]
    fn who_wrote_is_told_from_who_lost_a_field() {
        let of = |entries: Value| json!({"metadata": {"managedFields": entries}});
        let entry = |manager: &str, time: &str, fields: Value| json!({"manager": manager, "time": time, "fieldsV1": fields});
        let before = of(json!([entry("apply", "1", json!({"f:a": {}, "f:b": {}}))]));
        let taken =
            of(json!([entry("apply", "1", json!({"f:a": {}})), entry("scale", "2", json!({"f:b": {}}))]));
        assert_eq!(managers(Some(&before), &taken), ["scale"]);
        assert_eq!(managers(Some(&taken), &taken), ["scale"], "twice in a second");
    }

    #[test]
    fn what_a_secret_held_is_not_told() {
        let of = |value: &str| json!({"data": {"password": value}, "type": "Opaque"});
        assert_eq!(lines(&of("YQ=="), &of("Yg=="), true), ["data.password: *** → ***"]);
    }
}
