//! What a pod asks for: upstream's `k8s.io/component-helpers/resource`, `PodRequests`, with the options that v1.36
//! serves by default (pod-level resources, resources in the status while a pod is resized in place).

use std::collections::BTreeMap;

use api::quantity::{Format, Quantity};
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

use crate::amounts::{Amounts, parse};
use crate::container::{Figure, at_peak};

/// What a container is taken to use at least when nodes are compared (not when they are filtered): upstream's
/// `DefaultMilliCPURequest` and `DefaultMemoryRequest`.
const DEFAULT_CPU_MILLI: i64 = 100;
const DEFAULT_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

type List = BTreeMap<String, ApiQuantity>;

/// Exact amounts by resource; a pod asks for few.
#[derive(Debug, Clone, Default)]
struct Sums<'a>(Vec<(&'a str, Quantity)>);

impl<'a> Sums<'a> {
    fn of(list: Option<&'a List>) -> Self {
        let parsed = list.into_iter().flatten().filter_map(|(name, q)| Some((name.as_str(), parse(q)?)));
        Self(parsed.collect())
    }

    fn get(&self, name: &str) -> Option<&Quantity> {
        self.0.iter().find(|(held, _)| *held == name).map(|(_, amount)| amount)
    }

    fn slot(&mut self, name: &'a str) -> &mut Quantity {
        let at = self.0.iter().position(|(held, _)| *held == name).unwrap_or_else(|| {
            self.0.push((name, Quantity::ZERO));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    fn named(self) -> BTreeMap<String, Quantity> {
        self.0.into_iter().map(|(name, amount)| (name.to_owned(), amount)).collect()
    }

    fn set(&mut self, name: &'a str, amount: Quantity) {
        *self.slot(name) = amount;
    }
}

impl Figure for Sums<'_> {
    fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let sum = self.slot(name);
            *sum = sum.plus(amount);
        }
    }

    fn raise_to(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let most = self.slot(name);
            *most = (*most).max(*amount);
        }
    }
}

/// What a pod asks for: the most its containers need at any time, overruled by what the pod asks for as a whole
/// (KEP-2837), plus its overhead. A container that is being resized counts with the largest of what it asks for, was
/// promised and has (KEP-1287).
pub fn requests(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::default() };
    Amounts::from_quantities(sums(pod, spec, &Sums::default()).0)
}

/// One of the two lists of resources that a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Requests,
    Limits,
}

impl Side {
    /// The container's list.
    pub fn of(self, container: &Container) -> Option<&BTreeMap<String, ApiQuantity>> {
        self.in_list(container.resources.as_ref())
    }

    fn in_list(self, resources: Option<&ResourceRequirements>) -> Option<&List> {
        match self {
            Self::Requests => resources?.requests.as_ref(),
            Self::Limits => resources?.limits.as_ref(),
        }
    }
}

/// The exact amounts that a specification asks for on one side, without overhead and whatever the status says:
/// upstream's `podRequests` and `podLimits` of the LimitRanger.
pub fn quantities_of_spec(spec: &PodSpec, side: Side) -> BTreeMap<String, Quantity> {
    spec_sums(spec, side).named()
}

/// The exact amounts of a pod on one side: as [`requests()`], or upstream's `PodLimits`, where overhead is added only
/// to what is limited.
pub fn quantities(pod: &Pod, side: Side) -> BTreeMap<String, Quantity> {
    let Some(spec) = &pod.spec else { return BTreeMap::new() };
    if side == Side::Requests {
        return sums(pod, spec, &Sums::default()).named();
    }
    let mut total = spec_sums(spec, side);
    if !is_settled(pod) {
        let status = |container: &Container| statuses(pod).find(|status| status.name == container.name);
        total.raise_to(&at_peak(spec, |container| {
            Sums::of(status(container).and_then(|s| s.resources.as_ref()?.limits.as_ref()))
        }));
    }
    add_to_limits(&mut total, spec);
    total.named()
}

/// As [`quantities_of_spec`], with the overhead, which is added only to what is limited.
pub fn quantities_with_overhead(spec: &PodSpec, side: Side) -> BTreeMap<String, Quantity> {
    let mut total = spec_sums(spec, side);
    match side {
        Side::Requests => total.add(&Sums::of(spec.overhead.as_ref())),
        Side::Limits => add_to_limits(&mut total, spec),
    }
    total.named()
}

fn add_to_limits<'a>(total: &mut Sums<'a>, spec: &'a PodSpec) {
    for (name, amount) in Sums::of(spec.overhead.as_ref()).0 {
        if let Some(limit) = total.get(name).copied() {
            total.set(name, limit.plus(&amount));
        }
    }
}

fn spec_sums(spec: &PodSpec, side: Side) -> Sums<'_> {
    let mut total = at_peak(spec, |container| Sums::of(side.of(container)));
    let whole = side.in_list(spec.resources.as_ref());
    for (name, amount) in Sums::of(whole).0.into_iter().filter(|(name, _)| is_pod_level(name)) {
        total.set(name, amount);
    }
    total
}

/// CPU (thousandths of a core) and memory (bytes), with upstream's assumed minimum for each container that asks for
/// none; only for comparing nodes (upstream's `getNonMissingContainerRequests`).
pub fn nonzero_requests(pod: &Pod) -> (i64, i64) {
    let Some(spec) = &pod.spec else { return (0, 0) };
    let whole = spec.resources.as_ref().and_then(|r| r.requests.as_ref());
    let asked = match whole {
        Some(list) if list.keys().any(|name| is_pod_level(name)) => sums(pod, spec, &Sums::default()),
        _ => Sums::default(),
    };
    let defaults = [
        ("cpu", Quantity::from_millis(DEFAULT_CPU_MILLI)),
        ("memory", Quantity::from_units(DEFAULT_MEMORY_BYTES, Format::BinarySi)),
    ];
    // Where the pod as a whole, or one of its containers, says how much, nothing is assumed beside that.
    let assumed = defaults.into_iter().filter(|(name, _)| asked.get(name).is_none()).collect();
    let sums = sums(pod, spec, &Sums(assumed));
    let amount = |name| sums.get(name).copied().unwrap_or(Quantity::ZERO);
    (amount("cpu").milli_value(), amount("memory").value())
}

/// Whether the status promises and reports for every container what the specification asks for (or nothing at all):
/// then [`requests()`] follows from the specification alone.
pub fn is_settled(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let containers = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    statuses(pod).all(|status| {
        let (promised, actual) = (status.allocated_resources.as_ref(), actual(status));
        (promised.is_none() && actual.is_none())
            || containers().find(|c| c.name == status.name).is_none_or(|container| {
                let asked = asked(container);
                promised.is_none_or(|list| Some(list) == asked)
                    && actual.is_none_or(|list| Some(list) == asked)
            })
    })
}

/// `assumed`: what counts for a container that does not name the resource.
fn sums<'a>(pod: &'a Pod, spec: &'a PodSpec, assumed: &Sums<'a>) -> Sums<'a> {
    let of = |list: Option<&'a List>| {
        let mut sums = Sums::of(list);
        for (name, amount) in &assumed.0 {
            if sums.get(name).is_none() {
                sums.set(name, *amount);
            }
        }
        sums
    };
    let mut total = if is_settled(pod) { at_peak(spec, |c| of(asked(c))) } else { resized(pod, spec, of) };
    let whole = spec.resources.as_ref().and_then(|r| r.requests.as_ref());
    for (name, amount) in Sums::of(whole).0.into_iter().filter(|(name, _)| is_pod_level(name)) {
        total.set(name, amount);
    }
    total.add(&Sums::of(spec.overhead.as_ref()));
    total
}

/// The largest of what is asked for, was promised and is there. A resize that the node can never do does not count.
fn resized<'a>(pod: &'a Pod, spec: &'a PodSpec, of: impl Fn(Option<&'a List>) -> Sums<'a>) -> Sums<'a> {
    let infeasible = crate::condition(pod, "PodResizePending")
        .is_some_and(|condition| condition.reason.as_deref() == Some("Infeasible"));
    let status = |container: &Container| statuses(pod).find(|status| status.name == container.name);
    let promised = |container: &'a Container| {
        let list = status(container).and_then(|s| s.allocated_resources.as_ref());
        list.or_else(|| asked(container).filter(|_| !infeasible))
    };
    let actual =
        |container: &'a Container| status(container).and_then(actual).or_else(|| promised(container));
    let mut most = at_peak(spec, |container| of(promised(container)));
    most.raise_to(&at_peak(spec, |container| of(actual(container))));
    if !infeasible {
        most.raise_to(&at_peak(spec, |container| of(asked(container))));
    }
    most
}

fn asked(container: &Container) -> Option<&List> {
    container.resources.as_ref()?.requests.as_ref()
}

fn actual(status: &ContainerStatus) -> Option<&List> {
    status.resources.as_ref()?.requests.as_ref()
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|s| {
        let initial = s.init_container_statuses.iter().flatten();
        s.container_statuses.iter().flatten().chain(initial)
    })
}

/// What a pod can ask for as a whole (upstream's `IsSupportedPodLevelResource`).
fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

#[cfg(test)]
mod tests;
