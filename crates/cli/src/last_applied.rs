//! The annotation by which `apply` knows what a file said before.

use serde_json::{Map, Value, json};

use crate::gojson;

pub const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Writes into an object what it is applied as: itself as JSON on one line, without the annotation.
pub fn annotate(object: &mut Value) {
    annotations(object).remove(ANNOTATION);
    let text = gojson::compact(object) + "\n";
    annotations(object).insert(ANNOTATION.into(), text.into());
}

fn annotations(object: &mut Value) -> &mut Map<String, Value> {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    if !object["metadata"]["annotations"].is_object() {
        object["metadata"]["annotations"] = json!({});
    }
    match &mut object["metadata"]["annotations"] {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object above"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_annotated_the_same_twice() {
        let mut object = json!({"metadata": {"name": "a"}, "data": {"b": "<"}});
        annotate(&mut object);
        let text = "{\"data\":{\"b\":\"\\u003c\"},\"metadata\":{\"annotations\":{},\"name\":\"a\"}}\n";
        assert_eq!(object["metadata"]["annotations"][ANNOTATION], text);
        let once = object.clone();
        annotate(&mut object);
        assert_eq!(object, once);
    }
}
