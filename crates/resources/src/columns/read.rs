//! Reading fields of dynamic objects for cells, and the texts several kinds share.
//!
//! Absent fields read as empty or zero, as in upstream's internal types.

use api::Object;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::duration;

/// The string at a path; empty when absent.
pub(crate) fn text<'a>(object: &'a Object, path: &[&str]) -> &'a str {
    object.str_at(path).unwrap_or("")
}

/// The string at a path, or what to show in its place.
pub(crate) fn text_or(object: &Object, path: &[&str], absent: &str) -> Value {
    object.str_at(path).filter(|s| !s.is_empty()).unwrap_or(absent).into()
}

/// The number at a path; 0 when absent.
pub(crate) fn number(object: &Object, path: &[&str]) -> i64 {
    object.at(path).and_then(Value::as_i64).unwrap_or(0)
}

/// The items of the list at a path.
pub(crate) fn items<'a>(object: &'a Object, path: &[&str]) -> &'a [Value] {
    object.at(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// How many entries the list or map at a path has.
pub(crate) fn count(object: &Object, path: &[&str]) -> i64 {
    let len = match object.at(path) {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(entries)) => entries.len(),
        _ => 0,
    };
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// A string field of a list item; empty when absent.
pub(crate) fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

/// Whether the condition of a type is `True`.
pub(crate) fn condition_true(object: &Object, kind: &str) -> bool {
    let conditions = items(object, &["status", "conditions"]);
    conditions.iter().find(|c| field(c, "type") == kind).is_some_and(|c| field(c, "status") == "True")
}

/// How long ago the object was created.
pub(crate) fn age(object: &Object, now: Timestamp) -> Value {
    since(object.meta_str("creationTimestamp"), now).into()
}

/// How long ago an RFC 3339 time was; `<unknown>` when it is absent or no time.
pub(crate) fn since(time: &str, now: Timestamp) -> String {
    time.parse::<Timestamp>().map_or_else(|_| "<unknown>".into(), |t| duration::human(now.duration_since(t)))
}

/// `a,b,c`, or what to show when there is nothing.
pub(crate) fn join<'a>(parts: impl IntoIterator<Item = &'a str>, absent: &str) -> String {
    let parts: Vec<&str> = parts.into_iter().collect();
    if parts.is_empty() { absent.into() } else { parts.join(",") }
}

/// Names and images of the containers of the pod template at a path.
pub(crate) fn containers(object: &Object, pod_spec: &[&str]) -> [Value; 2] {
    let path: Vec<&str> = pod_spec.iter().copied().chain(["containers"]).collect();
    let containers = items(object, &path);
    ["name", "image"].map(|key| join(containers.iter().map(|c| field(c, key)), "").into())
}

/// A plain map of labels: `a=b,c=d`, or `<none>`.
pub(crate) fn labels(labels: Option<&Value>) -> String {
    let pairs: Vec<String> = sorted_pairs(labels.and_then(Value::as_object));
    join(pairs.iter().map(String::as_str), "<none>")
}

/// A label selector object: `a=b,c in (d,e),!f`; empty when it selects nothing in particular.
pub(crate) fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector else { return String::new() };
    let mut parts: Vec<(String, String)> = Vec::new();
    for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
        parts.push((key.clone(), format!("{key}={}", value.as_str().unwrap_or(""))));
    }
    for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let key = field(expression, "key");
        let mut values: Vec<&str> = expression
            .get("values")
            .and_then(Value::as_array)
            .map_or_else(Vec::new, |values| values.iter().filter_map(Value::as_str).collect());
        values.sort_unstable();
        let values = values.join(",");
        let part = match field(expression, "operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return "<error>".into(),
        };
        parts.push((key.to_owned(), part));
    }
    parts.sort();
    join(parts.iter().map(|(_, part)| part.as_str()), "")
}

/// A label selector object, or `<none>`.
pub(crate) fn selector_or_none(value: Option<&Value>) -> String {
    match selector(value) {
        text if text.is_empty() => "<none>".into(),
        text => text,
    }
}

fn sorted_pairs(map: Option<&Map<String, Value>>) -> Vec<String> {
    let mut pairs: Vec<String> =
        map.into_iter().flatten().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or(""))).collect();
    pairs.sort();
    pairs
}
