//! The loop for both kinds: which pods concern which workload, and what is read before deciding.

use std::collections::{BTreeMap, HashMap};

use informer::{Cache, Cached, Controller, Index, Key, Plan, Round, Sources};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};

use super::plan::{self, Observed};
use super::pod::Replica;
use super::workload::Replicated;
use crate::claim;
use crate::orphans::Orphans;
use crate::selecting::Selecting;

/// See the module's documentation. Keys are workloads.
pub struct ReplicaController<K> {
    workloads: Cache<K>,
    /// By the owner of a workload, which revisions of one deployment share.
    siblings: Index<K>,
    owned: Index<Pod>,
    orphans: Orphans<Pod>,
}

pub type ReplicaSetController = ReplicaController<ReplicaSet>;
pub type ReplicationControllerController = ReplicaController<ReplicationController>;

impl<K> Controller for ReplicaController<K>
where
    K: Replicated + serde::de::DeserializeOwned + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
{
    const NAME: &'static str = K::CONTROLLER;
    const QUEUE: &'static str = K::QUEUE;
    const WORKERS: usize = 5;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let workloads: Cache<K> = sources.primary();
        let selecting = Selecting::new(&workloads, K::selector);
        let pods: Cache<Pod> = sources.mapped(move |delta| claim::concerned(&selecting, delta));
        Self {
            siblings: workloads.by_controller(),
            owned: pods.by_controller(),
            orphans: Orphans::new(&pods),
            workloads,
        }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(object) = self.workloads.get_key(round.key) else { return Ok(None) };
        let Some(mut workload) = object.workload() else { return Ok(None) };
        let namespace = &*round.key.namespace;
        let owned =
            self.owned.get(&workload.owner.uid).into_iter().filter(|pod| pod.namespace() == namespace);
        let orphans = self.orphans.selected(namespace, &workload.selector);
        let adopting = !orphans.is_empty();
        // In the order of their names, whosever they are.
        let all: BTreeMap<Key, Cached<Pod>> =
            owned.chain(orphans).map(|pod| (pod.key.clone(), pod)).collect();
        let pods: Vec<Replica> = all.into_values().map(Replica::of).collect();
        if adopting && !workload.deleting {
            workload.deleting = !claim::still_there(round, &*object).await?;
        }
        let active = pods.iter().filter(|p| p.is_active()).count();
        let too_many = i64::try_from(active).unwrap_or(i64::MAX) > i64::from(workload.replicas);
        let neighbours = if too_many { self.neighbours(&object) } else { HashMap::new() };
        Ok(Some(Observed { workload, pods, neighbours, failure: round.failure.cloned() }))
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        plan::plan(observed, now)
    }
}

impl<K: Replicated> ReplicaController<K> {
    /// Active pods of the workload and of its siblings, by node.
    fn neighbours(&self, object: &K) -> HashMap<String, usize> {
        let mut owners: Vec<String> = object.meta().uid.iter().cloned().collect();
        if K::HAS_SIBLINGS
            && let Some(owner) = informer::controller_of(object)
        {
            let siblings = self.siblings.get(&owner.uid);
            owners.extend(
                siblings
                    .iter()
                    .map(|s| s.uid.to_string())
                    .filter(|uid| Some(uid) != object.meta().uid.as_ref()),
            );
        }
        let mut by_node: HashMap<String, usize> = HashMap::new();
        for neighbour in owners.iter().flat_map(|owner| self.owned.get(owner)).map(Replica::of) {
            if neighbour.is_active() {
                *by_node.entry(neighbour.facts.node_name.to_string()).or_default() += 1;
            }
        }
        by_node
    }
}
