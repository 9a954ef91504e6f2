//! A pod's class of service, read from the dynamic object. The rule is crate `pods`'.

use api::Object;
use pods::List;
use serde_json::Value;

/// The class of a pod that has none in its status yet.
pub(crate) fn qos_class(pod: &Object) -> &'static str {
    let spec = pod.at(&["spec"]);
    let whole = spec.and_then(|s| s.get("resources")).filter(|r| r.is_object());
    let list = |key: &str| spec.and_then(|s| s.get(key)).and_then(Value::as_array).into_iter().flatten();
    let each: Vec<Option<&Value>> = match whole {
        Some(resources) => vec![Some(resources)],
        None => list("containers").chain(list("initContainers")).map(|c| c.get("resources")).collect(),
    };
    pods::class_of_figures(&each, |resources, list, name| {
        let list = match list {
            List::Requests => "requests",
            List::Limits => "limits",
        };
        resources.as_ref()?.get(list)?.get(name)?.as_str()?.parse().ok()
    })
}
