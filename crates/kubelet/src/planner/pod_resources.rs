//! What a pod has of the machine as a whole, as its status says it (KEP-5419).

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use pods::Side;

use super::context::Context;
use super::resize;
use crate::resources;

type List = BTreeMap<String, Quantity>;

/// What the pod was granted, overhead included.
pub fn allocated(ctx: &Context<'_>) -> Option<List> {
    ctx.want.spec().map(|spec| amounts(spec, Side::Requests)).filter(|list| !list.is_empty())
}

/// What the pod has. While it runs, that is what its cgroup holds, beside the memory that it asked for: upstream
/// reads it back from there, here it is told as exactly as it was given.
pub fn actual(ctx: &Context<'_>, phase: &str) -> Option<ResourceRequirements> {
    let pod: Cow<'_, Pod> = match resize::in_progress(ctx) {
        Some(_) => Cow::Owned(resize::as_made(ctx)),
        None => Cow::Borrowed(&*ctx.want.pod),
    };
    let spec = pod.spec.as_ref()?;
    let (mut requests, mut limits) = (amounts(spec, Side::Requests), amounts(spec, Side::Limits));
    if phase == "Running" {
        let held = resources::of_pod(&pod);
        requests.retain(|name, _| matches!(name.as_str(), "cpu" | "memory") || is_named(spec, name));
        limits.retain(|name, _| match name.as_str() {
            "cpu" => held.cpu_quota_us > 0,
            "memory" => held.memory_bytes > 0,
            other => is_named(spec, other),
        });
    }
    let some = |list: List| (!list.is_empty()).then_some(list);
    Some(ResourceRequirements { requests: some(requests), limits: some(limits), claims: None })
}

fn amounts(spec: &PodSpec, side: Side) -> List {
    let exact = pods::quantities_with_overhead(spec, side);
    exact.into_iter().map(|(name, amount)| (name, Quantity(amount.to_string()))).collect()
}

/// Whether the specification says how much of it the pod as a whole has.
fn is_named(spec: &PodSpec, resource: &str) -> bool {
    let whole = spec.resources.iter().flat_map(|whole| [&whole.requests, &whole.limits]);
    whole.flatten().any(|list| list.contains_key(resource))
}
