//! Which pods give way to a critical one that finds no room (upstream `pkg/kubelet/preemption`). Pure.

use std::fmt::Write;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::Lack;
use crate::pressure::is_critical;

/// Who has to leave, and for which resource first.
#[derive(Debug, Clone, PartialEq)]
pub struct Preemption {
    pub victims: Vec<Arc<Pod>>,
    pub resource: String,
}

/// So much of a resource is missing.
#[derive(Debug, Clone)]
struct Missing<'a> {
    resource: &'a str,
    amount: i64,
}

/// The pods among `others` whose requests make up for what is missing: first those of which nobody is promised
/// anything, and as few as possible.
///
/// # Errors
/// That there are none, in upstream's words.
pub fn plan(pod: &Pod, others: &[Arc<Pod>], lacks: &[Lack]) -> Result<Preemption, String> {
    let missing: Vec<Missing<'_>> =
        lacks.iter().map(|lack| Missing { resource: &lack.resource, amount: lack.missing() }).collect();
    let of_class = |class: &str| -> Vec<Arc<Pod>> {
        let may_go = others.iter().filter(|other| gives_way(other, pod) && pods::qos_class(other) == class);
        may_go.cloned().collect()
    };
    let (best_effort, burstable, guaranteed) =
        (of_class("BestEffort"), of_class("Burstable"), of_class("Guaranteed"));
    let sum = |a: &[Arc<Pod>], b: &[Arc<Pod>]| -> Vec<Arc<Pod>> { a.iter().chain(b).cloned().collect() };
    let found = || -> Result<Vec<Arc<Pod>>, String> {
        let lower = sum(&best_effort, &burstable);
        let never = without(&missing, &sum(&lower, &guaranteed));
        if !never.is_empty() {
            return Err(nobody(&never));
        }
        let third = fewest(guaranteed.clone(), without(&missing, &lower))?;
        let second = fewest(burstable.clone(), without(&missing, &sum(&best_effort, &third)))?;
        let first = fewest(best_effort.clone(), without(&missing, &sum(&second, &third)))?;
        Ok(first.into_iter().chain(second).chain(third).collect())
    };
    let victims =
        found().map_err(|why| format!("preemption: error finding a set of pods to preempt: {why}"))?;
    Ok(Preemption { victims, resource: lacks.first().map(|lack| lack.resource.clone()).unwrap_or_default() })
}

fn gives_way(other: &Pod, pod: &Pod) -> bool {
    let priority = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.priority);
    let is_lower = priority(other).zip(priority(pod)).is_some_and(|(other, own)| own > other);
    is_lower || (is_critical(pod) && !is_critical(other))
}

fn request(pod: &Pod, resource: &str) -> i64 {
    let requests = || pods::requests(pod);
    match resource {
        "pods" => 1,
        "cpu" => requests().cpu_milli,
        "memory" => requests().memory_bytes,
        "ephemeral-storage" => requests().ephemeral_bytes,
        other => requests().scalar(other),
    }
}

/// What is still missing once these pods have left.
fn without<'a>(missing: &[Missing<'a>], pods: &[Arc<Pod>]) -> Vec<Missing<'a>> {
    let left = missing.iter().map(|one| {
        let freed = pods.iter().map(|pod| request(pod, one.resource)).fold(0i64, i64::saturating_add);
        Missing { amount: one.amount.saturating_sub(freed), ..one.clone() }
    });
    left.filter(|one| one.amount > 0).collect()
}

/// Again and again the pod that comes closest to what is missing; of equals the one that asks for least.
fn fewest(mut pods: Vec<Arc<Pod>>, mut missing: Vec<Missing<'_>>) -> Result<Vec<Arc<Pod>>, String> {
    let mut chosen = Vec::new();
    while !missing.is_empty() {
        let key = |pod: &Arc<Pod>| (distance(&missing, pod), request(pod, "memory"), request(pod, "cpu"));
        let nearest = pods.iter().enumerate().min_by(|(_, a), (_, b)| {
            let (a, b) = (key(a), key(b));
            a.0.total_cmp(&b.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2)))
        });
        let Some(at) = nearest.map(|(at, _)| at) else { return Err(nobody(&missing)) };
        let pod = pods.remove(at);
        missing = without(&missing, std::slice::from_ref(&pod));
        chosen.push(pod);
    }
    Ok(chosen)
}

/// How far the room of a pod is from all that is missing: every resource counts alike.
fn distance(missing: &[Missing<'_>], pod: &Pod) -> f64 {
    let parts = missing.iter().map(|one| {
        let left = one.amount.saturating_sub(request(pod, one.resource)).max(0);
        #[expect(clippy::cast_precision_loss, reason = "a share of what is missing, which is only compared")]
        let share = left as f64 / one.amount as f64;
        share * share
    });
    parts.sum()
}

fn nobody(missing: &[Missing<'_>]) -> String {
    let mut list = String::new();
    for Missing { resource, amount } in missing {
        // Writing to a text cannot fail.
        let _ = write!(list, "(res: {resource}, q: {amount}), ");
    }
    format!("no set of running pods found to reclaim resources: [{list}]")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A pod with requests, and with equal limits where it is guaranteed.
    fn pod(name: &str, priority: i32, class: &str, cpu: &str, memory: &str) -> Arc<Pod> {
        let amounts = json!({"cpu": cpu, "memory": memory});
        let resources = match class {
            "Guaranteed" => json!({"requests": amounts, "limits": amounts}),
            "Burstable" => json!({"requests": amounts}),
            _ => json!({}),
        };
        let spec = json!({"priority": priority, "containers": [{"name": "c", "resources": resources}]});
        let pod = json!({"metadata": {"name": name}, "spec": spec});
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    fn ended(others: &[Arc<Pod>], lacks: &[(&str, i64)]) -> Result<Vec<String>, String> {
        let critical = pod("critical", 2_000_000_000, "Burstable", "1", "1");
        let lacks: Vec<Lack> = lacks
            .iter()
            .map(|(name, amount)| Lack {
                resource: (*name).to_owned(),
                requested: *amount,
                used: 0,
                capacity: 0,
            })
            .collect();
        let found = plan(&critical, others, &lacks)?;
        Ok(found.victims.iter().filter_map(|pod| pod.metadata.name.clone()).collect())
    }

    #[test]
    fn the_fewest_of_the_lowest_class_give_way() {
        let others = [
            pod("best", 0, "BestEffort", "0", "0"),
            pod("small", 0, "Burstable", "100m", "1Gi"),
            pod("large", 0, "Burstable", "500m", "3Gi"),
            pod("lean", 0, "Burstable", "500m", "1Gi"),
            pod("promised", 0, "Guaranteed", "2", "4Gi"),
            pod("critical too", 2_000_001_000, "Burstable", "8", "64Gi"),
        ];
        let ended = |lacks: &[(&str, i64)]| ended(&others, lacks);
        assert_eq!(ended(&[("pods", 1)]).expect("one"), ["best"]);
        assert_eq!(
            ended(&[("cpu", 400)]).expect("one"),
            ["lean"],
            "of those that do, the one that asks for less"
        );
        assert_eq!(ended(&[("cpu", 600)]).expect("some"), ["lean", "small"]);
        assert_eq!(ended(&[("cpu", 3000)]).expect("all"), ["lean", "large", "promised"]);
        assert_eq!(ended(&[("cpu", 400), ("memory", 3 << 30)]).expect("one"), ["large"]);
        let why = ended(&[("cpu", 9000)]).expect_err("that much nobody has");
        assert!(
            why.ends_with("no set of running pods found to reclaim resources: [(res: cpu, q: 5900), ]"),
            "{why}"
        );
    }

    #[test]
    fn a_more_important_pod_preempts_a_critical_one() {
        let (node, cluster) = (2_000_001_000, 2_000_000_000);
        let [low, high] = [cluster, node].map(|priority| pod("p", priority, "Burstable", "1", "1"));
        assert!(gives_way(&low, &high));
        assert!(!gives_way(&high, &low) && !gives_way(&high, &high));
    }
}
