//! A pod's quality-of-service class, from its requests and limits.

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};

/// `Guaranteed`, `Burstable` or `BestEffort` (upstream `pkg/apis/core/v1/helper/qos`): the class in the
/// status if the API server has set it, else computed.
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
    let counted = |r: &&str| matches!(*r, "cpu" | "memory");
    let sets = |map: &Option<std::collections::BTreeMap<String, _>>| {
        map.iter().flatten().any(|(name, quantity)| counted(&name.as_str()) && !is_zero(quantity))
    };
    if !each.iter().any(|r| sets(&r.requests) || sets(&r.limits)) {
        return "BestEffort";
    }
    let guaranteed = each.iter().all(|r| {
        ["cpu", "memory"].into_iter().all(|name| {
            let limit = r.limits.as_ref().and_then(|l| l.get(name)).filter(|q| !is_zero(q));
            let request = r.requests.as_ref().and_then(|l| l.get(name)).filter(|q| !is_zero(q));
            limit.is_some() && (request.is_none() || request == limit)
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}

/// Whether a quantity is zero, whatever its unit; what is no quantity counts as nothing.
fn is_zero(quantity: &k8s_openapi::apimachinery::pkg::api::resource::Quantity) -> bool {
    quantity.0.parse::<api::quantity::Quantity>().is_ok_and(|q| q.is_zero())
}
