//! A pod's class of service, from what its containers ask for and are limited to.

use api::Object;
use api::quantity::Quantity;
use serde_json::Value;

/// The resources that count.
const COUNTED: [&str; 2] = ["cpu", "memory"];

/// `BestEffort` when nothing asks for anything, `Guaranteed` when everything has limits and asks for
/// all of them, else `Burstable`.
pub fn qos_class(pod: &Object) -> &'static str {
    let spec = pod.at(&["spec"]);
    let whole = spec.and_then(|s| s.get("resources")).filter(|r| r.is_object());
    let list = |key: &str| spec.and_then(|s| s.get(key)).and_then(Value::as_array).into_iter().flatten();
    let containers = || list("containers").chain(list("initContainers"));
    let each: Vec<Option<&Value>> = match whole {
        Some(resources) => vec![Some(resources)],
        None => containers().map(|c| c.get("resources")).collect(),
    };
    let amount = |resources: Option<&Value>, kind: &str, name: &str| -> Option<Quantity> {
        let amount: Quantity = resources?.get(kind)?.get(name)?.as_str()?.parse().ok()?;
        (amount.signum() > 0).then_some(amount)
    };
    let any = each.iter().any(|r| {
        COUNTED.iter().any(|n| amount(*r, "requests", n).is_some() || amount(*r, "limits", n).is_some())
    });
    if !any {
        return "BestEffort";
    }
    let guaranteed = each.iter().all(|r| {
        COUNTED.iter().all(|n| {
            let limit = amount(*r, "limits", n);
            limit.is_some() && amount(*r, "requests", n).is_none_or(|request| Some(request) == limit)
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}
