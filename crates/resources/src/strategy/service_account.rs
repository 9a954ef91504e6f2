//! Service accounts: references to secrets are names alone.

use api::Object;
use serde_json::Value;

pub(super) fn prepare(account: &mut Object) {
    for secret in account.0.get_mut("secrets").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(reference) = secret.as_object_mut() {
            reference.retain(|key, _| key == "name");
        }
    }
}
