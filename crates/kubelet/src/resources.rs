//! Requests and limits as the kernel's numbers. Pure.

use std::collections::{BTreeMap, HashMap};

use api::quantity::Quantity;
use cri::v1::LinuxContainerResources;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use pods::{Figure, at_peak, qos_class};
use serde::{Deserialize, Serialize};

/// The period of CPU quotas, in microseconds.
pub const CPU_PERIOD_US: i64 = 100_000;
const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;
const MIN_QUOTA_US: i64 = 1_000;
/// From this priority on a pod is critical to its node (`system-cluster-critical`).
const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// What a pod as a whole may use; zero means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PodLimits {
    /// Weight among pods, 2 to 262144.
    pub cpu_shares: i64,
    /// Per [`CPU_PERIOD_US`], in microseconds.
    pub cpu_quota_us: i64,
    pub memory_bytes: i64,
}

impl PodLimits {
    /// These, each at least as high as the other's; 0, no limit, is the highest.
    pub fn at_least(&self, other: &Self) -> Self {
        let higher = |a: i64, b: i64| if a == 0 || b == 0 { 0 } else { a.max(b) };
        Self {
            cpu_shares: self.cpu_shares.max(other.cpu_shares),
            cpu_quota_us: higher(self.cpu_quota_us, other.cpu_quota_us),
            memory_bytes: higher(self.memory_bytes, other.memory_bytes),
        }
    }

    /// These, each where the other is higher as the other has it; 0 where it stays as it is.
    pub fn grown_to(&self, other: &Self) -> Self {
        let grown = |now: i64, then: i64| if now != 0 && then > now { then } else { 0 };
        Self {
            cpu_shares: grown(self.cpu_shares, other.cpu_shares),
            cpu_quota_us: grown(self.cpu_quota_us, other.cpu_quota_us),
            memory_bytes: grown(self.memory_bytes, other.memory_bytes),
        }
    }
}

/// The numbers of one container on a node with `memory_capacity_bytes`.
pub fn of_container(pod: &Pod, container: &Container, memory_capacity_bytes: i64) -> LinuxContainerResources {
    let resources = container.resources.as_ref();
    // A container without a limit of its own has the pod's (upstream `getCPULimit`, `getMemoryLimit`).
    let whole = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let limit = |name| limit(resources, name).or_else(|| limit(whole, name));
    let limit_milli = limit("cpu").map_or(0, |q| q.milli_value());
    let request_milli = request(resources, "cpu").map_or(limit_milli, |q| q.milli_value());
    LinuxContainerResources {
        cpu_period: CPU_PERIOD_US,
        cpu_quota: quota_us(limit_milli),
        cpu_shares: shares(request_milli),
        memory_limit_in_bytes: limit("memory").map_or(0, |q| q.value()),
        oom_score_adj: oom_score_adj(pod, container, memory_capacity_bytes),
        unified: HashMap::new(),
        ..LinuxContainerResources::default()
    }
}

/// The resources of the pod as a whole, as text.
pub fn whole_text(pod: &Pod) -> String {
    text(pod.spec.as_ref().and_then(|spec| spec.resources.as_ref()), None)
}

#[derive(Serialize)]
struct Text<'a> {
    #[serde(flatten)]
    own: Option<&'a ResourceRequirements>,
    #[serde(rename = "limitsOfPod", skip_serializing_if = "BTreeMap::is_empty")]
    inherited: BTreeMap<&'a str, &'a ApiQuantity>,
}

/// What a container has of the machine, as text that [`parse`] reads: its own resources, and what it has of the pod's
/// limits because it has none of its own.
pub fn text(own: Option<&ResourceRequirements>, whole: Option<&ResourceRequirements>) -> String {
    let of_pod = whole.and_then(|whole| whole.limits.as_ref());
    let inherited = ["cpu", "memory"].into_iter().filter(|name| limit(own, name).is_none());
    let inherited = inherited.filter_map(|name| Some((name, of_pod?.get(name)?))).collect();
    serde_json::to_string(&Text { own, inherited }).unwrap_or_else(|_| "{}".to_owned())
}

/// Resources that were written by [`text`]; `None` where another agent made the container.
pub fn parse(text: &str) -> Option<ResourceRequirements> {
    serde_json::from_str(text).ok()
}

/// As [`parse`], with the limits that the container has of the pod.
pub fn parse_effective(text: &str) -> Option<ResourceRequirements> {
    #[derive(Deserialize)]
    struct Inherited {
        #[serde(rename = "limitsOfPod", default)]
        limits: BTreeMap<String, ApiQuantity>,
    }
    let mut found = parse(text)?;
    let inherited = serde_json::from_str::<Inherited>(text).ok()?.limits;
    if !inherited.is_empty() {
        found.limits.get_or_insert_default().extend(inherited);
    }
    Some(found)
}

/// The numbers of the whole pod: sums over its containers, at least what any init container needs.
/// A limit holds only where every container has one.
pub fn of_pod(pod: &Pod) -> PodLimits {
    let Some(spec) = &pod.spec else { return PodLimits { cpu_shares: MIN_SHARES, ..PodLimits::default() } };
    let own = spec.resources.as_ref();
    let mut total = at_peak(spec, |container| Sums::of(container.resources.as_ref()));
    if let Some(q) = request(own, "cpu") {
        total.request_milli = q.milli_value();
    }
    if let Some(q) = limit(own, "cpu") {
        total.limit_milli = Some(q.milli_value());
    }
    if let Some(q) = limit(own, "memory") {
        total.memory = Some(q.value());
    }
    PodLimits {
        cpu_shares: shares(total.request_milli),
        cpu_quota_us: total.limit_milli.map_or(0, quota_us),
        memory_bytes: total.memory.unwrap_or(0),
    }
}

/// `None` for a limit: at least one container has none.
#[derive(Debug, Clone, Copy)]
struct Sums {
    request_milli: i64,
    limit_milli: Option<i64>,
    memory: Option<i64>,
}

impl Default for Sums {
    fn default() -> Self {
        Self { request_milli: 0, limit_milli: Some(0), memory: Some(0) }
    }
}

impl Sums {
    fn of(resources: Option<&ResourceRequirements>) -> Self {
        let limit_milli = limit(resources, "cpu").map(|q| q.milli_value());
        let request_milli = request(resources, "cpu").map(|q| q.milli_value()).or(limit_milli).unwrap_or(0);
        Self { request_milli, limit_milli, memory: limit(resources, "memory").map(|q| q.value()) }
    }
}

impl Figure for Sums {
    fn add(&mut self, other: &Self) {
        let both = |a: Option<i64>, b: Option<i64>| Some(a?.saturating_add(b?));
        self.request_milli = self.request_milli.saturating_add(other.request_milli);
        self.limit_milli = both(self.limit_milli, other.limit_milli);
        self.memory = both(self.memory, other.memory);
    }

    fn raise_to(&mut self, other: &Self) {
        let both = |a: Option<i64>, b: Option<i64>| Some(a?.max(b?));
        self.request_milli = self.request_milli.max(other.request_milli);
        self.limit_milli = both(self.limit_milli, other.limit_milli);
        self.memory = both(self.memory, other.memory);
    }
}

fn shares(milli: i64) -> i64 {
    (milli.saturating_mul(1024) / 1000).clamp(MIN_SHARES, MAX_SHARES)
}

fn quota_us(milli: i64) -> i64 {
    if milli <= 0 { 0 } else { (milli.saturating_mul(CPU_PERIOD_US) / 1000).max(MIN_QUOTA_US) }
}

/// How early the kernel kills the container when memory runs out (upstream `pkg/kubelet/qos/policy.go`):
/// the less of the node's memory a burstable container asked for, the earlier.
fn oom_score_adj(pod: &Pod, container: &Container, capacity_bytes: i64) -> i64 {
    let critical = pod.spec.as_ref().and_then(|s| s.priority).is_some_and(|p| p >= CRITICAL_PRIORITY);
    if critical {
        return -997;
    }
    match qos_class(pod) {
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        _ => {
            let asked = request(container.resources.as_ref(), "memory").map_or(0, |q| q.value());
            let score = 1000 - asked.saturating_mul(1000) / capacity_bytes.max(1);
            score.clamp(3, 999)
        }
    }
}

fn limit(resources: Option<&ResourceRequirements>, name: &str) -> Option<Quantity> {
    positive(resources?.limits.as_ref()?, name)
}

/// Defaulting has copied limits to absent requests by now.
fn request(resources: Option<&ResourceRequirements>, name: &str) -> Option<Quantity> {
    resources?.requests.as_ref()?.get(name)?.0.parse().ok()
}

fn positive(map: &BTreeMap<String, ApiQuantity>, name: &str) -> Option<Quantity> {
    map.get(name)?.0.parse::<Quantity>().ok().filter(|q| q.milli_value() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(containers: Value) -> Pod {
        serde_json::from_value(json!({"spec": {"containers": containers}})).expect("a pod")
    }

    fn first(pod: &Pod) -> LinuxContainerResources {
        of_container(pod, &pod.spec.as_ref().expect("a spec").containers[0], 1 << 30)
    }

    #[test]
    fn classes_differ_in_shares_quota_and_score() {
        let best_effort = first(&pod(json!([{"name": "c"}])));
        assert_eq!((best_effort.cpu_shares, best_effort.cpu_quota, best_effort.oom_score_adj), (2, 0, 1000));
        let all = json!({"cpu": "500m", "memory": "64Mi"});
        let guaranteed = first(&pod(json!([{"name": "c", "resources": {"limits": all, "requests": all}}])));
        assert_eq!((guaranteed.cpu_shares, guaranteed.cpu_quota), (512, 50_000));
        assert_eq!((guaranteed.memory_limit_in_bytes, guaranteed.oom_score_adj), (64 << 20, -997));
        let burstable = first(&pod(json!([{"name": "c", "resources": {"requests": {"memory": "512Mi"}}}])));
        assert_eq!((burstable.oom_score_adj, burstable.memory_limit_in_bytes), (500, 0));
        let tiny = first(&pod(json!([{"name": "c", "resources": {"limits": {"cpu": "1m"}}}])));
        assert_eq!((tiny.cpu_quota, tiny.cpu_shares), (1_000, 2));
    }

    #[test]
    fn room_grows_before_it_shrinks() {
        let limits =
            |cpu_shares, cpu_quota_us, memory_bytes| PodLimits { cpu_shares, cpu_quota_us, memory_bytes };
        assert_eq!(limits(2, 100, 50).grown_to(&limits(4, 50, 60)), limits(4, 0, 60));
        assert_eq!(limits(2, 0, 0).grown_to(&limits(2, 100, 60)), limits(0, 0, 0), "there was no limit");
    }

    #[test]
    fn a_pod_is_limited_only_when_all_containers_are() {
        let limited =
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}});
        let both =
            of_pod(&pod(json!([{"name": "a", "resources": limited}, {"name": "b", "resources": limited}])));
        assert_eq!(both, PodLimits { cpu_shares: 2048, cpu_quota_us: 200_000, memory_bytes: 2 << 30 });
        let one = of_pod(&pod(json!([{"name": "a", "resources": limited}, {"name": "b"}])));
        assert_eq!(one, PodLimits { cpu_shares: 1024, cpu_quota_us: 0, memory_bytes: 0 });
    }
}
