//! Objects for the tests of accounts.

use k8s_openapi::api::core::v1::Event;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// An object `ns/NAME`.
pub fn object<K: DeserializeOwned>(name: &str, spec: Value, status: Value) -> K {
    let object =
        json!({"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": spec, "status": status});
    serde_json::from_value(object).expect("an object of the kind")
}

pub fn warning(reason: &str, message: &str) -> Event {
    let event = json!({"metadata": {}, "involvedObject": {}, "type": "Warning", "reason": reason, "message": message});
    serde_json::from_value(event).expect("an event")
}
