//! Definitions of custom resources: the version first stored is on record from the start.

use api::Object;
use serde_json::{Value, json};

use super::status;

pub(super) fn prepare_create(definition: &mut Object) {
    let versions = definition.at(&["spec", "versions"]).and_then(Value::as_array);
    let stored: Vec<Value> = versions
        .into_iter()
        .flatten()
        .filter(|v| v.get("storage").and_then(Value::as_bool) == Some(true))
        .filter_map(|v| v.get("name").cloned())
        .collect();
    let start = json!({
        "conditions": [],
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": stored,
    });
    status::start(definition, start);
}
