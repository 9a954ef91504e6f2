//! The columns of claims to devices.

use api::Object;
use jiff::Timestamp;
use serde_json::Value;

use super::read::age;
use super::{AGE, Column, NAME, column};

pub(crate) const RESOURCE_CLAIM: &[Column] = &[
    NAME,
    column("State", "string", "A summary of the current state (allocated, pending, reserved, etc.)."),
    AGE,
];

pub(crate) fn resource_claim(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![o.name().into(), state(o).into(), age(o, now)]
}

fn state(o: &Object) -> String {
    let is_deleted = o.str_at(&["metadata", "deletionTimestamp"]).is_some();
    let is_allocated = o.at(&["status", "allocation"]).is_some_and(|allocation| !allocation.is_null());
    let users = o.at(&["status", "reservedFor"]).and_then(Value::as_array);
    let is_reserved = is_allocated && users.is_some_and(|users| !users.is_empty());
    let words = [
        (is_deleted, "deleted"),
        (!is_allocated && !is_deleted, "pending"),
        (is_allocated, "allocated"),
        (is_reserved, "reserved"),
    ];
    words.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_state_is_summed_up() {
        let state = |metadata: Value, status: Value| {
            let claim = json!({"metadata": metadata, "status": status});
            super::state(&Object::from_value(claim).expect("an object"))
        };
        let given = json!({"allocation": {}, "reservedFor": [{"name": "p"}]});
        assert_eq!(state(json!({}), json!({})), "pending");
        assert_eq!(state(json!({}), json!({"allocation": {}})), "allocated");
        assert_eq!(state(json!({}), given.clone()), "allocated,reserved");
        let going = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(state(going.clone(), json!({})), "deleted");
        assert_eq!(state(going, given), "deleted,allocated,reserved");
    }
}
