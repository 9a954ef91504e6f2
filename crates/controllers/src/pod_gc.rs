//! Removes pods that no node agent will ever remove: pods of nodes that are gone or out of service, pods
//! deleted before they were bound, and the oldest ended pods if there are too many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use informer::{Action, Cache, Cached, Controller, DeletePolicy, Delta, Index, Key, Plan, Round, Sources};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use serde_json::json;

use crate::node_view::node_view;
use crate::replicas::pod;
use crate::target::target_of;

/// How many ended pods are kept (upstream's `--terminated-pod-gc-threshold`).
const ENDED_LIMIT: usize = 12_500;
/// How long a node may be missing before its pods are deleted.
const QUARANTINE: SignedDuration = SignedDuration::from_secs(40);

/// See the module's documentation. Keys are pods; the empty key stands for all ended ones.
pub struct PodGcController {
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    ended: Index<Pod>,
    /// Since when the node of a pod has been missing.
    missing: Mutex<HashMap<Key, Timestamp>>,
}

/// Why a pod is to be removed.
#[derive(Debug)]
pub enum Observed {
    /// Deleted, and bound to no node.
    Unscheduled(Arc<Pod>),
    /// Its node has been missing since then; the API was asked whether the node is really gone once the quarantine was
    /// over.
    Orphaned { pod: Arc<Pod>, since: Timestamp, node_is_gone: bool },
    /// Deleted, on a node that will not come back.
    OutOfService(Arc<Pod>),
    /// More ended pods than are kept: the surplus.
    Ended(Vec<Arc<Pod>>),
}

impl Controller for PodGcController {
    const NAME: &'static str = "pod-garbage-collector-controller";
    const ACCOUNT: &'static str = "pod-garbage-collector";
    const WORKERS: usize = 2;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let pods: Cache<Pod> = sources.reads();
        let ended = pods.index("ended", |pod, found| {
            if pod::facts(pod).is_terminal() {
                found("");
            }
        });
        let known = ended.clone();
        sources.mapped(move |delta| concerned(&known, delta));
        let by_node = pod::by_node(&pods);
        let nodes = sources.mapped(move |delta: &Delta<Node>| {
            let concerns = match delta {
                Delta::Deleted(_) => true,
                Delta::Applied { new, .. } => node_view(new).out_of_service,
            };
            if concerns { by_node.keys(delta.object().name()) } else { Vec::new() }
        });
        Self { pods, nodes, ended, missing: Mutex::default() }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        if round.key.name.is_empty() {
            return Ok(self.surplus());
        }
        let held = self.pods.find(round.key);
        let Some((held, pod)) = held.and_then(|held| Some((held.clone(), held.typed()?.clone()))) else {
            self.missing().remove(round.key);
            return Ok(None);
        };
        let deleted = held.is_being_deleted();
        let facts = pod::facts(&held);
        let name = &*facts.node_name;
        if name.is_empty() {
            return Ok(deleted.then_some(Observed::Unscheduled(pod)));
        }
        if let Some(node) = self.nodes.find(&Key::new("", name)) {
            self.missing().remove(round.key);
            return Ok((deleted && node_view(&node).out_of_service).then_some(Observed::OutOfService(pod)));
        }
        let since = *self.missing().entry(round.key.clone()).or_insert(round.now);
        let mut node_is_gone = false;
        if round.now.duration_since(since) >= QUARANTINE {
            let nodes: Api<Node> = Api::all(round.client.clone());
            node_is_gone = nodes.get_opt(name).await?.is_none();
        }
        Ok(Some(Observed::Orphaned { pod, since, node_is_gone }))
    }

    fn reconcile(observed: &Observed, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        match observed {
            Observed::Unscheduled(pod) => {
                force(&mut plan, pod, None, now);
                plan.because("deleted before it was bound")
            }
            Observed::OutOfService(pod) => {
                force(&mut plan, pod, None, now);
                plan.because("deleted on a node out of service")
            }
            Observed::Orphaned { pod, node_is_gone: true, .. } => {
                force(&mut plan, pod, Some("PodGC: node no longer exists"), now);
                plan.because("its node is gone")
            }
            Observed::Orphaned { since, .. } => {
                let left = QUARANTINE - now.duration_since(*since);
                // The API still has the node: the cache will, soon.
                let left = if left.is_positive() { left } else { QUARANTINE };
                plan.look_again(Duration::try_from(left).unwrap_or(Duration::ZERO));
                plan
            }
            Observed::Ended(surplus) => {
                for ended in surplus {
                    force(&mut plan, ended, None, now);
                }
                plan.because(format!("{} ended pods too many", surplus.len()))
            }
        }
    }
}

impl PodGcController {
    fn missing(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Timestamp>> {
        self.missing.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn surplus(&self) -> Option<Observed> {
        if self.ended.count("") <= ENDED_LIMIT {
            return None;
        }
        let ended = self.ended.get("").into_iter().filter(|pod| !pod.is_being_deleted()).collect();
        let surplus = surplus(ended, ENDED_LIMIT)?;
        Some(Observed::Ended(surplus.iter().filter_map(|pod| pod.typed().cloned()).collect()))
    }
}

/// The ended pods beyond the limit: evicted ones first, then the oldest.
fn surplus(mut ended: Vec<Cached<Pod>>, limit: usize) -> Option<Vec<Cached<Pod>>> {
    let too_many = ended.len().checked_sub(limit).filter(|n| *n > 0)?;
    ended.sort_by_cached_key(|pod| (!pod::facts(pod).evicted, pod.created, pod.key.name.clone()));
    ended.truncate(too_many);
    Some(ended)
}

/// Marks a pod Failed, so that its controller counts it right, and removes it at once.
fn force(plan: &mut Plan, doomed: &Arc<Pod>, disruption: Option<&str>, now: Timestamp) {
    if !pod::is_terminal(doomed) {
        let mut status = json!({"phase": "Failed"});
        if let Some(message) = disruption {
            status["conditions"] = json!([{
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "DeletionByPodGC",
                "message": message,
                "lastTransitionTime": Time(now),
                "observedGeneration": doomed.metadata.generation,
            }]);
        }
        plan.then(Action::StrategicPatch {
            target: target_of(&**doomed).subresource("status"),
            patch: json!({"metadata": {"uid": doomed.metadata.uid}, "status": status}),
        });
    }
    plan.then(Action::Delete {
        target: target_of(&**doomed),
        policy: DeletePolicy {
            uid: doomed.metadata.uid.clone(),
            grace_period_s: Some(0),
            ..DeletePolicy::default()
        },
    });
}

/// The pod's own key if the pod may have to be removed, and the key of all ended pods if one more has ended.
fn concerned(ended: &Index<Pod>, delta: &Delta<Pod>) -> Vec<Key> {
    let Delta::Applied { new, old } = delta else { return vec![delta.object().key.clone()] };
    let (facts, before) = (pod::facts(new), old.as_ref().map(pod::facts));
    let mut keys = Vec::new();
    if new.is_being_deleted() || before.as_ref().is_none_or(|before| before.node_name != facts.node_name) {
        keys.push(new.key.clone());
    }
    let just_ended = facts.is_terminal() && !before.is_some_and(|before| before.is_terminal());
    if just_ended && ended.count("") > ENDED_LIMIT {
        keys.push(Key::new("", ""));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = Some(name.into());
        pod.metadata.generation = Some(4);
        pod
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn orphans_go_after_the_quarantine_and_a_live_look() {
        let orphan = |node_is_gone, now| {
            let observed = Observed::Orphaned { pod: Arc::new(named("p")), since: at(0), node_is_gone };
            PodGcController::reconcile(&observed, at(now))
        };
        let waiting = orphan(false, 10);
        assert_eq!((waiting.actions.len(), waiting.again_after), (0, Some(Duration::from_secs(30))));
        let wrong = orphan(false, 50);
        assert_eq!((wrong.actions.len(), wrong.again_after), (0, Some(Duration::from_secs(40))));
        let gone = orphan(true, 50);
        let [Action::StrategicPatch { patch, .. }, Action::Delete { policy, .. }] = &gone.actions[..] else {
            panic!("{gone:?}")
        };
        assert_eq!(patch["status"]["phase"], "Failed");
        assert_eq!(patch["status"]["conditions"][0]["reason"], "DeletionByPodGC");
        assert_eq!(patch["status"]["conditions"][0]["observedGeneration"], 4);
        assert_eq!(policy.grace_period_s, Some(0));
    }

    #[test]
    fn of_ended_pods_the_evicted_and_oldest_go() {
        let make = |name: &str, created: i64, reason: &str| {
            let mut p = named(name);
            p.metadata.creation_timestamp = Some(Time(at(created)));
            p.status.get_or_insert_default().reason = Some(reason.into());
            Cached::of(&p)
        };
        let ended = vec![make("new", 9, ""), make("old", 1, ""), make("evicted", 5, "Evicted")];
        let names = |limit| {
            let surplus = surplus(ended.clone(), limit).unwrap_or_default();
            surplus.iter().map(|pod| pod.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(1), ["evicted", "old"]);
        assert!(names(3).is_empty());
    }
}
