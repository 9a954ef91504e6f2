//! Deletes pods from nodes whose `NoExecute` taints they do not tolerate, or no longer.
//!
//! The time runs from the taint's `timeAdded` (or the pod's start, where that is later), so a restart forgets
//! nothing; for a taint without `timeAdded` the time runs from when the taint was first seen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::EventType;
use informer::{Action, Cache, Controller, DeletePolicy, Delta, Index, Key, Plan, Round, Sources};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::node_view::node_view;
use crate::replicas::pod;
use crate::target::target_of;
use crate::tolerations::{Stay, stay};

/// See the module's documentation. Keys are pods.
pub struct TaintEvictionController {
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    /// Pods to evict from nodes whose taints have no `timeAdded`, and when each pod was first seen beside the taints.
    since: Mutex<HashMap<Key, (Option<String>, Timestamp)>>,
}

/// A pod on a tainted node.
#[derive(Debug)]
pub struct Observed {
    pod: Arc<Pod>,
    taints: Vec<Taint>,
    /// When the pod was first seen beside the taints.
    seen: Timestamp,
    /// The pod's deletion was planned before.
    planned: bool,
}

impl Controller for TaintEvictionController {
    const NAME: &'static str = "taint-eviction-controller";
    const ACCOUNT: &'static str = "node-controller";
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let pods: Cache<Pod> = sources.primary();
        let by_node = pod::by_node(&pods);
        let nodes = sources.mapped(move |delta| on_a_tainted_node(&by_node, delta));
        Self { pods, nodes, since: Mutex::default() }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let key = round.key;
        let mut since = self.since.lock().unwrap_or_else(|e| e.into_inner());
        let Some(pod) = self.pods.find(key).filter(|pod| !pod.is_being_deleted()) else {
            since.remove(key);
            return Ok(None);
        };
        let node = self.nodes.find(&Key::new("", &pod::facts(&pod).node_name));
        let taints = node.map(|node| node_view(&node).no_execute.clone()).unwrap_or_default();
        if taints.is_empty() && !since.contains_key(key) {
            return Ok(None);
        }
        let Some(pod) = pod.typed().cloned() else { return Ok(None) };
        let known = since.get(key).filter(|(uid, _)| *uid == pod.metadata.uid).map(|(_, at)| *at);
        let seen = known.unwrap_or(round.now);
        if stay(&taints, tolerations(&pod)) == Stay::Forever {
            since.remove(key);
            if known.is_none() {
                return Ok(None);
            }
        } else {
            since.insert(key.clone(), (pod.metadata.uid.clone(), seen));
        }
        Ok(Some(Observed { pod, taints, seen, planned: known.is_some() }))
    }

    fn reconcile(observed: &Observed, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let pod = &*observed.pod;
        let left = match stay(&observed.taints, tolerations(pod)) {
            Stay::Forever if observed.planned => {
                plan.then(event(pod, "Cancelling deletion of Pod"));
                return plan.because("the taints are gone, or tolerated by now");
            }
            Stay::Forever => return plan,
            Stay::No => SignedDuration::ZERO,
            Stay::For(limit) => limit - now.duration_since(since(observed)),
        };
        if left.is_positive() {
            plan.look_again(Duration::try_from(left).unwrap_or(Duration::ZERO));
            return plan;
        }
        plan.then(event(pod, "Marking for deletion Pod"));
        let condition = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": Time(now),
            "observedGeneration": pod.metadata.generation,
        });
        plan.then(Action::StrategicPatch {
            target: target_of(pod).subresource("status"),
            patch: json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}}),
        });
        plan.then(Action::Delete {
            target: target_of(pod),
            policy: DeletePolicy { uid: pod.metadata.uid.clone(), ..DeletePolicy::default() },
        });
        plan.because("a NoExecute taint is not tolerated")
    }
}

fn tolerations(pod: &Pod) -> &[Toleration] {
    pod.spec.as_ref().and_then(|s| s.tolerations.as_deref()).unwrap_or_default()
}

/// Since when the pod has been beside all of the taints.
fn since(observed: &Observed) -> Timestamp {
    let told: Option<Vec<Timestamp>> =
        observed.taints.iter().map(|t| t.time_added.as_ref().map(|t| t.0)).collect();
    let tainted = told.and_then(|times| times.into_iter().max()).unwrap_or(observed.seen);
    let started = observed.pod.status.as_ref().and_then(|s| s.start_time.as_ref()).map(|t| t.0);
    started.map_or(tainted, |started| started.max(tainted))
}

fn event(pod: &Pod, what: &str) -> Action {
    let key = Key::of(pod);
    Action::Event {
        about: client::reference(pod),
        event_type: EventType::Normal,
        reason: "TaintManagerEviction",
        message: format!("{what} {key}"),
    }
}

/// The pods of a node whose `NoExecute` taints changed.
fn on_a_tainted_node(by_node: &Index<Pod>, delta: &Delta<Node>) -> Vec<Key> {
    let Delta::Applied { new, old } = delta else { return Vec::new() };
    let before = old.as_ref().map(|old| node_view(old).no_execute.clone()).unwrap_or_default();
    if before == node_view(new).no_execute { Vec::new() } else { by_node.keys(new.name()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(time_added: Option<i64>, tolerated_s: Option<i64>) -> Observed {
        let at = |s: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(s);
        let mut pod = Pod::default();
        pod.metadata.name = Some("p".into());
        pod.metadata.namespace = Some("ns".into());
        pod.metadata.generation = Some(3);
        let tolerations = tolerated_s.map(|s| {
            vec![Toleration {
                operator: Some("Exists".into()),
                toleration_seconds: Some(s),
                ..Toleration::default()
            }]
        });
        pod.spec.get_or_insert_default().tolerations = tolerations;
        let taint = Taint {
            key: "k".into(),
            effect: "NoExecute".into(),
            value: None,
            time_added: time_added.map(|s| Time(at(s))),
        };
        Observed { pod: Arc::new(pod), taints: vec![taint], seen: at(100), planned: false }
    }

    fn plan_at(seconds: i64, time_added: Option<i64>, tolerated_s: Option<i64>) -> Plan {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        TaintEvictionController::reconcile(&observed(time_added, tolerated_s), now)
    }

    fn deletes(plan: &Plan) -> bool {
        plan.actions.iter().any(|a| matches!(a, Action::Delete { .. }))
    }

    #[test]
    fn pods_go_when_their_time_is_over() {
        let now = plan_at(100, None, None);
        assert!(deletes(&now));
        let Some(Action::Event { message, .. }) = now.actions.first() else { panic!("{now:?}") };
        assert_eq!(message, "Marking for deletion Pod ns/p");
        let Some(Action::StrategicPatch { patch, .. }) = now.actions.get(1) else { panic!("{now:?}") };
        assert_eq!(patch["status"]["conditions"][0]["observedGeneration"], 3);

        let waits = plan_at(150, None, Some(300));
        assert!(!deletes(&waits));
        assert_eq!(waits.again_after, Some(Duration::from_secs(250)));
        assert!(deletes(&plan_at(400, None, Some(300))));

        // After a restart the taint's own time counts.
        assert!(deletes(&plan_at(100, Some(-200), Some(300))));
        assert_eq!(plan_at(100, Some(-100), Some(300)).again_after, Some(Duration::from_secs(100)));
    }

    #[test]
    fn a_pod_that_came_after_the_taint_has_its_whole_time() {
        let at = |s: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(s);
        let mut observed = observed(Some(0), Some(300));
        Arc::make_mut(&mut observed.pod).status.get_or_insert_default().start_time = Some(Time(at(1000)));
        let plan = TaintEvictionController::reconcile(&observed, at(1100));
        assert_eq!((plan.actions.len(), plan.again_after), (0, Some(Duration::from_secs(200))));
    }

    #[test]
    fn a_planned_deletion_is_called_off_when_the_taint_goes() {
        let mut observed = observed(None, Some(300));
        observed.taints.clear();
        assert_eq!(TaintEvictionController::reconcile(&observed, Timestamp::UNIX_EPOCH).actions, []);
        observed.planned = true;
        let plan = TaintEvictionController::reconcile(&observed, Timestamp::UNIX_EPOCH);
        let [Action::Event { message, .. }] = &plan.actions[..] else { panic!("{plan:?}") };
        assert_eq!(message, "Cancelling deletion of Pod ns/p");
    }
}
