//! The smallest JSON merge patch (RFC 7386) between two states: how a scenario test shows a write.

use serde::Serialize;
use serde_json::{Map, Value};

/// The patch that turns `old` into `new`; `None` when they are equal.
pub(crate) fn difference<T: Serialize>(old: &T, new: &T) -> Option<Value> {
    let value = |state: &T| serde_json::to_value(state).expect("typed API objects serialize to JSON");
    between(&value(old), &value(new))
}

fn between(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return Some(new.clone()) };
    let mut patch = Map::new();
    for (key, value) in new {
        match old.get(key) {
            None => patch.insert(key.clone(), value.clone()),
            Some(before) => match between(before, value) {
                Some(change) => patch.insert(key.clone(), change),
                None => continue,
            },
        };
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_patched() {
        let old = json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1], "f": 0});
        let new = json!({"a": 1, "b": {"c": 3, "d": 2}, "e": [1, 2]});
        assert_eq!(difference(&old, &new), Some(json!({"b": {"c": 3}, "e": [1, 2], "f": null})));
        assert_eq!(difference(&old, &old), None);
    }
}
