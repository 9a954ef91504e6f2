//! Whether a pod has written more than its containers' limits of `ephemeral-storage` allow (upstream
//! `localStorageEviction`). Pure.

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod};
use pods::Side;

use crate::pressure::ranking::Usage;

const RESOURCE: &str = "ephemeral-storage";

/// By how a pod is over a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    /// Upstream's name, in its metrics.
    pub signal: &'static str,
    pub message: String,
}

/// Whether there is a limit at all.
pub fn is_limited(pod: &Pod) -> bool {
    pod_limit(pod).is_some()
}

/// Which limit the pod is over, if it is: that of the pod as a whole counts first.
pub fn excess(pod: &Pod, usage: &Usage) -> Option<Excess> {
    let is_over = |used: u64, limit: &Quantity| i64::try_from(used).unwrap_or(i64::MAX) > limit.value();
    if let Some(limit) = pod_limit(pod).filter(|limit| is_over(usage.disk_bytes, limit)) {
        let message =
            format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. ");
        return Some(Excess { signal: "ephemeralpodfs.limit", message });
    }
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    usage.containers.iter().find_map(|used| {
        let container = containers.clone().find(|container| container.name == used.name)?;
        let limit = container_limit(container).filter(|limit| is_over(used.disk_bytes, limit))?;
        let name = &container.name;
        let message = format!("Container {name} exceeded its local ephemeral storage limit \"{limit}\". ");
        Some(Excess { signal: "ephemeralcontainerfs.limit", message })
    })
}

fn pod_limit(pod: &Pod) -> Option<Quantity> {
    pods::quantities(pod, Side::Limits).remove(RESOURCE)
}

/// 0 is no limit of a container, as upstream.
fn container_limit(container: &Container) -> Option<Quantity> {
    let limit: Quantity = Side::Limits.of(container)?.get(RESOURCE)?.0.parse().ok()?;
    (limit.value() != 0).then_some(limit)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pressure::ranking::ContainerUsage;

    fn pod(limits: &[(&str, Option<&str>)]) -> Pod {
        let container = |(name, limit): &(&str, Option<&str>)| {
            let limits = limit.map_or(json!({}), |limit| json!({RESOURCE: limit}));
            json!({"name": name, "resources": {"limits": limits}})
        };
        let containers: Vec<Value> = limits.iter().map(container).collect();
        serde_json::from_value(json!({"spec": {"containers": containers}})).expect("a pod")
    }

    /// The pod's containers and what else it has written, in MiB.
    fn usage(containers: &[(&str, u64)], beside: u64) -> Usage {
        let used = |(name, mib): &(&str, u64)| ContainerUsage {
            name: (*name).to_owned(),
            disk_bytes: mib << 20,
            ..ContainerUsage::default()
        };
        let sum: u64 = containers.iter().map(|(_, mib)| mib).sum();
        Usage {
            disk_bytes: (sum + beside) << 20,
            containers: containers.iter().map(used).collect(),
            ..Usage::default()
        }
    }

    fn told(pod: &Pod, usage: &Usage) -> String {
        excess(pod, usage)
            .map_or_else(|| "-".to_owned(), |found| format!("{}: {}", found.signal, found.message))
    }

    #[test]
    fn whoever_writes_too_much_is_told_in_upstreams_words() {
        let two = pod(&[("a", Some("10Mi")), ("b", Some("20Mi"))]);
        assert!(is_limited(&two));
        assert_eq!(told(&two, &usage(&[("a", 10), ("b", 20)], 0)), "-", "up to the limit is allowed");
        assert_eq!(
            told(&two, &usage(&[("a", 11), ("b", 1)], 0)),
            "ephemeralcontainerfs.limit: Container a exceeded its local ephemeral storage limit \"10Mi\". "
        );
        assert_eq!(
            told(&two, &usage(&[("a", 1), ("b", 1)], 29)),
            "ephemeralpodfs.limit: Pod ephemeral local storage usage exceeds the total limit of containers 30Mi. "
        );
        assert_eq!(told(&two, &usage(&[("unknown", 25)], 0)), "-");
    }

    #[test]
    fn a_limit_of_one_container_limits_the_pod_as_upstream() {
        let one = pod(&[("a", Some("10Mi")), ("b", None)]);
        assert!(told(&one, &usage(&[("a", 1), ("b", 10)], 0)).starts_with("ephemeralpodfs.limit"));
        let none = pod(&[("a", None)]);
        assert!(!is_limited(&none));
        assert_eq!(told(&none, &usage(&[("a", 1000)], 0)), "-");
    }
}
