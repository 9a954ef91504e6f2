//! A pod's quality-of-service class, from its requests and limits.

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};

use crate::amounts::parse;

/// The resources that count.
const COUNTED: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed`, `Burstable` or `BestEffort` (upstream `pkg/apis/core/v1/helper/qos`): the class in the status if the
/// API server has set it, else computed.
pub fn qos_class(pod: &Pod) -> &'static str {
    match pod.status.as_ref().and_then(|s| s.qos_class.as_deref()) {
        Some("Guaranteed") => return "Guaranteed",
        Some("Burstable") => return "Burstable",
        Some("BestEffort") => return "BestEffort",
        _ => {}
    }
    let Some(spec) = &pod.spec else { return "BestEffort" };
    if let Some(resources) = &spec.resources {
        return class_of(&[resources]);
    }
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let unset = ResourceRequirements::default();
    let each: Vec<_> = all.map(|c| c.resources.as_ref().unwrap_or(&unset)).collect();
    class_of(&each)
}

fn class_of(each: &[&ResourceRequirements]) -> &'static str {
    class_of_figures(each, |resources, list, name| {
        let list = match list {
            List::Requests => &resources.requests,
            List::Limits => &resources.limits,
        };
        parse(list.as_ref()?.get(name)?)
    })
}

/// The two lists of a container's resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    Requests,
    Limits,
}

/// The class of a pod with these resources, those of each container or those of the pod as a whole: `BestEffort` when
/// nothing asks for anything, `Guaranteed` when everything has limits and asks for all of them, else `Burstable`.
/// `amount` reads an amount in a list; zero is as good as none, and what is no quantity counts as nothing.
pub fn class_of_figures<R>(each: &[R], amount: impl Fn(&R, List, &str) -> Option<Quantity>) -> &'static str {
    let amount = |of: &R, list, name: &str| amount(of, list, name).filter(|amount| amount.signum() > 0);
    let sets = |of: &R, list| COUNTED.iter().any(|name| amount(of, list, name).is_some());
    if !each.iter().any(|r| sets(r, List::Requests) || sets(r, List::Limits)) {
        return "BestEffort";
    }
    let guaranteed = each.iter().all(|r| {
        COUNTED.iter().all(|name| {
            let limit = amount(r, List::Limits, name);
            limit.is_some() && amount(r, List::Requests, name).is_none_or(|request| Some(request) == limit)
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn class(spec: Value) -> &'static str {
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).expect("a pod");
        qos_class(&pod)
    }

    #[test]
    fn classes_as_upstream() {
        let one = |resources: Value| json!({"containers": [{"name": "c", "resources": resources}]});
        assert_eq!(class(one(json!({}))), "BestEffort");
        assert_eq!(class(one(json!({"requests": {"cpu": "0"}}))), "BestEffort");
        assert_eq!(class(one(json!({"requests": {"example.com/gpu": "1"}}))), "BestEffort");
        assert_eq!(class(one(json!({"requests": {"cpu": "1"}}))), "Burstable");
        let all = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(class(one(json!({"limits": all}))), "Guaranteed");
        let equal = json!({"cpu": "1000m", "memory": "1024Mi"});
        assert_eq!(class(one(json!({"limits": all, "requests": equal}))), "Guaranteed", "the amounts count");
        let mut whole = one(json!({}));
        whole["resources"] = json!({"limits": all, "requests": all});
        assert_eq!(class(whole), "Guaranteed");
        let mut with_init = one(json!({"limits": all}));
        with_init["initContainers"] = json!([{"name": "i"}]);
        assert_eq!(class(with_init), "Burstable");
    }
}
