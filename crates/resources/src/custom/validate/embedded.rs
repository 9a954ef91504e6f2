//! Objects inside objects (`x-kubernetes-embedded-resource`) say what they are, and have metadata like any other. Source:
//! upstream's `apiextensions-apiserver/pkg/apiserver/schema/objectmeta`.

use api::field::{ErrorList, FieldError, Path};
use api::{GroupVersion, Object, names};
use serde_json::{Map, Value};

use super::word;
use crate::custom::structural::Structural;

/// Everything wrong with the objects inside an object, whose own type and metadata are judged elsewhere.
pub(crate) fn faults(schema: &Structural, object: &Map<String, Value>) -> ErrorList {
    let mut errors = ErrorList::new();
    if schema.has_embedded {
        fields(schema, object, &Path::root(""), &mut errors);
    }
    errors
}

fn fields(schema: &Structural, all: &Map<String, Value>, path: &Path<'_>, errors: &mut ErrorList) {
    for (key, value) in all {
        match schema.properties.get(key.as_str()) {
            Some(below) => inside(below, value, &path.child(key), errors),
            None => {
                if let Some(below) = schema.below(key) {
                    inside(below, value, &path.key(key), errors);
                }
            }
        }
    }
}

fn inside(schema: &Structural, value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
    if !schema.has_embedded {
        return;
    }
    match value {
        Value::Object(all) => {
            if schema.embedded {
                judge(all, path, errors);
            }
            fields(schema, all, path, errors);
        }
        Value::Array(items) => {
            let Some(below) = &schema.items else { return };
            for (i, item) in items.iter().enumerate() {
                inside(below, item, &path.index(i), errors);
            }
        }
        _ => {}
    }
}

fn judge(object: &Map<String, Value>, path: &Path<'_>, errors: &mut ErrorList) {
    text(object, "apiVersion", path, errors, |version| {
        let unexpected = || format!("unexpected GroupVersion string: {version}");
        GroupVersion::parse(version).is_none().then(unexpected)
    });
    text(object, "kind", path, errors, |kind| {
        let faults = names::dns1035_label(&kind.to_lowercase());
        let all = || format!("may have mixed case, but should otherwise match: {}", faults.join(","));
        (!faults.is_empty()).then(all)
    });
    match object.get("metadata") {
        None => {}
        Some(Value::Object(fields)) => metadata(fields, &path.child("metadata"), errors),
        Some(other) => {
            let detail =
                format!("json: cannot unmarshal {} into Go value of type v1.ObjectMeta", word(other));
            errors.push(FieldError::invalid(&path.child("metadata"), other.clone(), detail));
        }
    }
}

/// A field that must be there and a text; `fault` says what is wrong with the text.
fn text(
    object: &Map<String, Value>,
    key: &str,
    path: &Path<'_>,
    errors: &mut ErrorList,
    fault: impl FnOnce(&str) -> Option<String>,
) {
    let path = path.child(key);
    match object.get(key) {
        None => errors.push(FieldError::required(&path, "")),
        Some(Value::String(text)) if text.is_empty() => errors.push(FieldError::required(&path, "")),
        Some(Value::String(text)) => {
            if let Some(fault) = fault(text) {
                errors.push(FieldError::invalid(&path, text.as_str(), fault));
            }
        }
        Some(other) => errors.push(FieldError::invalid(&path, other.clone(), "must be a string")),
    }
}

fn metadata(fields: &Map<String, Value>, path: &Path<'_>, errors: &mut ErrorList) {
    let object = Object([("metadata".to_owned(), Value::Object(fields.clone()))].into_iter().collect());
    for (key, prefix) in [("generateName", true), ("name", false)] {
        let name = object.meta_str(key);
        for fault in names::path_segment_name(name, prefix) {
            errors.push(FieldError::invalid(&path.child(key), name, fault));
        }
    }
    let namespace = object.namespace();
    if !namespace.is_empty() {
        for fault in names::dns1123_label(namespace) {
            errors.push(FieldError::invalid(&path.child("namespace"), namespace, fault));
        }
    }
    let labels = path.child("labels");
    for (key, value) in object.labels() {
        for fault in names::qualified_name(key) {
            errors.push(FieldError::invalid(&labels, key, fault));
        }
        for fault in names::label_value(value) {
            errors.push(FieldError::invalid(&labels, value, fault));
        }
    }
    for (key, _) in object.annotations() {
        for fault in names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(&path.child("annotations"), key, fault));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(embedded: &Value, expected: &[&str]) {
        let schema = Structural::read(&json!({"type": "object", "properties": {"spec": {"type": "object",
            "properties": {"list": {"type": "array", "items": {
                "type": "object", "x-kubernetes-embedded-resource": true,
                "x-kubernetes-preserve-unknown-fields": true}}}}}}));
        let object = json!({"spec": {"list": [embedded]}});
        let errors = faults(&schema, object.as_object().expect("an object"));
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{embedded}");
    }

    #[test]
    fn objects_inside_objects_say_what_they_are() {
        check(
            &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"labels": {"a": "b"}}}),
            &[],
        );
        let both = ["spec.list[0].apiVersion: Required value", "spec.list[0].kind: Required value"];
        check(&json!({"foo": 1}), &both);
        check(&json!({"apiVersion": "", "kind": ""}), &both);
        check(
            &json!({"apiVersion": "a/b/c", "kind": 3}),
            &[
                "spec.list[0].apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
                "spec.list[0].kind: Invalid value: 3: must be a string",
            ],
        );
        check(
            &json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a/b"}}),
            &["spec.list[0].metadata.name: Invalid value: \"a/b\": may not contain '/'"],
        );
        let wrong = "json: cannot unmarshal string into Go value of type v1.ObjectMeta";
        check(
            &json!({"apiVersion": "v1", "kind": "A", "metadata": "x"}),
            &[&format!("spec.list[0].metadata: Invalid value: \"x\": {wrong}")],
        );
    }
}
