//! Changes laid over an object on this side: a merge patch, a strategic one, or a JSON patch.

use api::codec::Limits;
use api::{GroupVersionKind, Object};
use serde_json::Value;

use crate::failure::Failure;
use crate::flags::Parsed;

/// How a change is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Merge,
    Strategic,
    Json,
}

impl Kind {
    /// Of the flag `--override-type`.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn of_flag(name: &str) -> Result<Self, Failure> {
        match name {
            "merge" => Ok(Self::Merge),
            "strategic" => Ok(Self::Strategic),
            "json" => Ok(Self::Json),
            other => Err(Failure::message(format!("invalid override type: {other}"))),
        }
    }
}

/// The flags `--overrides` and `--override-type`.
pub const OVERRIDES: &str = "override-type text=merge, overrides text";

/// The object with what `--overrides` says of it.
///
/// # Errors
/// When the flags' values are of no use.
pub fn overridden(flags: &Parsed, mut object: Value) -> Result<Value, Failure> {
    let kind = Kind::of_flag(flags.text("override-type"))?;
    let text = flags.text("overrides");
    if text.is_empty() {
        return Ok(object);
    }
    let wrong = |what: &str| {
        Failure::message(match kind {
            Kind::Json => what.to_owned(),
            Kind::Merge | Kind::Strategic => "Invalid JSON Patch".to_owned(),
        })
    };
    let change: Value = serde_json::from_str(text).map_err(|e| {
        let end = "unexpected end of JSON input".to_owned();
        wrong(&if e.is_eof() { end } else { e.to_string() })
    })?;
    if change.is_array() != (kind == Kind::Json) {
        return Err(wrong("a JSON patch is a list of operations"));
    }
    let meant = object["kind"].clone();
    object = laid(&object, &change, kind)?;
    if object["kind"] != meant {
        let (other, version) = (object["kind"].to_string(), object["apiVersion"].to_string());
        return Err(Failure::message(format!(
            "no kind {other} is registered for version {version} in scheme \"pkg/scheme/scheme.go:28\""
        )));
    }
    Ok(object)
}

/// The object with the change. A strategic change of a kind whose structure is not built in is merged.
///
/// # Errors
/// When the change cannot be applied.
pub fn laid(object: &Value, change: &Value, kind: Kind) -> Result<Value, Failure> {
    let failed = |e: api::Error| Failure::message(e.to_string());
    match kind {
        Kind::Merge => Ok(merged(object, change)),
        Kind::Json => {
            let bytes = change.to_string();
            api::patch::json(object, bytes.as_bytes(), &Limits::default()).map_err(failed)
        }
        Kind::Strategic => {
            let field = |key: &str| object[key].as_str().unwrap_or_default();
            let (group, version) = field("apiVersion").split_once('/').unwrap_or(("", field("apiVersion")));
            let schema = resources::schema_of_kind(&GroupVersionKind::new(group, version, field("kind")));
            let both = (Object::from_value(object.clone()), Object::from_value(change.clone()));
            let (Some(schema), (Some(before), Some(change))) = (schema, both) else {
                return Ok(merged(object, change));
            };
            let laid =
                api::patch::strategic(schema.types(), schema.id(), &before, &change).map_err(failed)?;
            Ok(laid.into_value())
        }
    }
}

fn merged(object: &Value, change: &Value) -> Value {
    let mut merged = object.clone();
    api::patch::merge(&mut merged, change);
    merged
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_replaced_or_merged_by_the_kind_of_change() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a"}]}});
        let change = json!({"spec": {"containers": [{"name": "b"}]}});
        let names = |kind, change: &Value| {
            let laid = laid(&pod, change, kind).expect("laid");
            let all = laid["spec"]["containers"].as_array().expect("a list").iter();
            let mut names: Vec<String> = all.map(|c| c["name"].as_str().unwrap_or("").to_owned()).collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(names(Kind::Merge, &change), "b");
        assert_eq!(names(Kind::Strategic, &change), "a b");
        let add = json!([{"op": "add", "path": "/spec/containers/-", "value": {"name": "c"}}]);
        assert_eq!(names(Kind::Json, &add), "a c");
        assert!(laid(&pod, &json!([{"op": "remove", "path": "/none"}]), Kind::Json).is_err());
    }
}
