//! Conditions in a status that the server itself sets.

use api::Object;
use serde_json::Value;

/// Puts a condition in the place of the one of its type. The time stays where the status does.
pub(super) fn set(object: &mut Object, mut condition: Value) {
    let mut conditions = all(object).to_vec();
    match conditions.iter_mut().find(|present| present["type"] == condition["type"]) {
        Some(present) => {
            if present["status"] == condition["status"] {
                condition["lastTransitionTime"] = present["lastTransitionTime"].take();
            }
            *present = condition;
        }
        None => conditions.push(condition),
    }
    object.set_at(&["status", "conditions"], conditions.into());
}

/// Whether the condition of the type is there and says `True`.
pub(super) fn is_true(object: &Object, of_type: &str) -> bool {
    all(object).iter().any(|condition| condition["type"] == of_type && condition["status"] == "True")
}

fn all(object: &Object) -> &[Value] {
    object.at(&["status", "conditions"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
