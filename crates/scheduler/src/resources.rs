//! Amounts of resources as numbers: CPU in thousandths of a core, memory and storage in bytes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

/// What a container is taken to use at least when nodes are compared (not when they are filtered):
/// upstream's `DefaultMilliCPURequest` and `DefaultMemoryRequest`.
const DEFAULT_CPU_MILLI: i64 = 100;
const DEFAULT_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

/// An amount of every resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts {
    pub cpu_milli: i64,
    pub memory_bytes: i64,
    pub ephemeral_bytes: i64,
    /// Extended resources and huge pages, by name.
    pub scalar: BTreeMap<String, i64>,
}

type List = BTreeMap<String, ApiQuantity>;

impl Amounts {
    /// From a resource list. What cannot be read counts as nothing; the API does not let such a list in.
    pub fn from_list(list: &List) -> Self {
        let mut amounts = Self::default();
        for (name, quantity) in list {
            let Ok(quantity) = quantity.0.parse::<api::quantity::Quantity>() else { continue };
            match name.as_str() {
                "cpu" => amounts.cpu_milli = quantity.milli_value(),
                "memory" => amounts.memory_bytes = quantity.value(),
                "ephemeral-storage" => amounts.ephemeral_bytes = quantity.value(),
                "pods" => {}
                other => {
                    amounts.scalar.insert(other.to_owned(), quantity.value());
                }
            }
        }
        amounts
    }

    pub fn add(&mut self, other: &Self) {
        self.cpu_milli += other.cpu_milli;
        self.memory_bytes += other.memory_bytes;
        self.ephemeral_bytes += other.ephemeral_bytes;
        for (name, amount) in &other.scalar {
            *self.scalar.entry(name.clone()).or_insert(0) += amount;
        }
    }

    pub fn subtract(&mut self, other: &Self) {
        self.cpu_milli -= other.cpu_milli;
        self.memory_bytes -= other.memory_bytes;
        self.ephemeral_bytes -= other.ephemeral_bytes;
        for (name, amount) in &other.scalar {
            *self.scalar.entry(name.clone()).or_insert(0) -= amount;
        }
    }

    /// The larger of the two, resource by resource.
    fn raise_to(&mut self, other: &Self) {
        self.cpu_milli = self.cpu_milli.max(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.max(other.memory_bytes);
        self.ephemeral_bytes = self.ephemeral_bytes.max(other.ephemeral_bytes);
        for (name, amount) in &other.scalar {
            let slot = self.scalar.entry(name.clone()).or_insert(0);
            *slot = (*slot).max(*amount);
        }
    }
}

/// What a pod asks for: the larger of its containers together and the peak of its init containers, where
/// restartable init containers run on beside everything after them (KEP-753), plus the overhead. Pod-level
/// requests (KEP-2837) win over the sum.
pub fn requests(pod: &Pod) -> Amounts {
    aggregate(pod, |container| {
        container
            .resources
            .as_ref()
            .and_then(|r| r.requests.as_ref())
            .map(Amounts::from_list)
            .unwrap_or_default()
    })
}

/// The same with upstream's assumed minimum for containers that ask for nothing; only for comparing nodes.
pub fn nonzero_requests(pod: &Pod) -> (i64, i64) {
    let sum = aggregate(pod, |container| {
        let asked = |name: &str| {
            container
                .resources
                .as_ref()
                .and_then(|r| r.requests.as_ref())
                .is_some_and(|r| r.contains_key(name))
        };
        let mut amounts = container
            .resources
            .as_ref()
            .and_then(|r| r.requests.as_ref())
            .map(Amounts::from_list)
            .unwrap_or_default();
        if !asked("cpu") {
            amounts.cpu_milli = DEFAULT_CPU_MILLI;
        }
        if !asked("memory") {
            amounts.memory_bytes = DEFAULT_MEMORY_BYTES;
        }
        amounts
    });
    (sum.cpu_milli, sum.memory_bytes)
}

fn aggregate(pod: &Pod, of: impl Fn(&Container) -> Amounts) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::default() };
    let mut total = Amounts::default();
    for container in &spec.containers {
        total.add(&of(container));
    }
    let mut sidecars = Amounts::default();
    let mut peak = Amounts::default();
    for container in spec.init_containers.iter().flatten() {
        let mut amounts = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            total.add(&amounts);
            sidecars.add(&amounts);
            peak.raise_to(&sidecars);
        } else {
            amounts.add(&sidecars);
            peak.raise_to(&amounts);
        }
    }
    total.raise_to(&peak);
    if let Some(ResourceRequirements { requests: Some(requests), .. }) = &spec.resources {
        let asked = Amounts::from_list(requests);
        if requests.contains_key("cpu") {
            total.cpu_milli = asked.cpu_milli;
        }
        if requests.contains_key("memory") {
            total.memory_bytes = asked.memory_bytes;
        }
    }
    if let Some(overhead) = &spec.overhead {
        total.add(&Amounts::from_list(overhead));
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn init_containers_peak_and_sidecars_add() {
        let cpu = |amount: &str| json!({"requests": {"cpu": amount}});
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "overhead": {"cpu": "10m"},
            "initContainers": [
                {"name": "i1", "resources": cpu("700m")},
                {"name": "s", "restartPolicy": "Always", "resources": cpu("100m")},
                {"name": "i2", "resources": cpu("650m")},
            ],
            "containers": [{"name": "a", "resources": cpu("200m")}, {"name": "b", "resources": cpu("0.3")}],
        }}))
        .expect("a pod");
        assert_eq!(requests(&pod).cpu_milli, 760);
    }
}
