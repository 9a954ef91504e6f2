//! Amounts of resources: rounded up to thousandths, and requests taken from limits.

use api::quantity::Quantity;
use serde_json::Value;

use crate::fill::{self, Fields};

/// Rounds the amounts of a resource list up to thousandths.
pub(super) fn round(map: &mut Fields, key: &str) {
    for (_, amount) in fill::within(map, key).into_iter().flatten() {
        // What has no suffix below a thousandth and no point needs no rounding.
        let fine = amount.as_str().is_some_and(|s| s.ends_with(['n', 'u']) || s.contains('.'));
        if !fine {
            continue;
        }
        if let Some(Ok(quantity)) = amount.as_str().map(str::parse::<Quantity>) {
            *amount = Value::String(quantity.rounded_to_millis().to_string());
        }
    }
}

/// Rounds requests and limits.
pub(super) fn round_requirements(resources: &mut Fields) {
    round(resources, "limits");
    round(resources, "requests");
}

/// Adds to `to` what `from` has and `to` has not.
pub(super) fn complete(map: &mut Fields, from: &str, to: &str) {
    let missing: Vec<(String, Value)> = {
        let Some(source) = map.get(from).and_then(Value::as_object) else { return };
        let present = map.get(to).and_then(Value::as_object);
        let absent = |key: &str| present.is_none_or(|p| !p.contains_key(key));
        source.iter().filter(|(k, _)| absent(k)).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    if missing.is_empty() {
        return;
    }
    if let Some(target) = fill::object(map, to) {
        target.extend(missing);
    }
}
