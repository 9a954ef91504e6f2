//! The loop for both kinds: which pods concern which workload, and what is read before deciding.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use informer::{Cache, Controller, Delta, Key, Plan, Round, Sources, controller_of};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use kube::Api;

use super::plan::{self, Observed};
use super::pod;
use super::workload::{Replicated, Workload};

/// See the module's documentation. Keys are workloads.
pub struct ReplicaController<K> {
    workloads: Cache<K>,
    pods: Cache<Pod>,
}

pub type ReplicaSetController = ReplicaController<ReplicaSet>;
pub type ReplicationControllerController = ReplicaController<ReplicationController>;

impl<K> Controller for ReplicaController<K>
where
    K: Replicated + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
{
    const NAME: &'static str = K::CONTROLLER;
    const WORKERS: usize = 5;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let workloads: Cache<K> = sources.primary();
        let known = workloads.clone();
        let pods = sources.mapped(move |delta| concerned(&known, delta));
        Self { workloads, pods }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(object) = self.workloads.get_key(round.key) else { return Ok(None) };
        let Some(mut workload) = object.workload() else { return Ok(None) };
        let namespace = &*round.key.namespace;
        let pods = self.pods.select(Some(namespace), |p| may_be_its(&workload, p));
        let adopting = pods.iter().any(|p| controller_of(&**p).is_none());
        if adopting && !workload.deleting {
            // Adopting for a workload that is gone would undo what its deletion asked for.
            workload.deleting = !still_there(round, &*object).await?;
        }
        let active = pods.iter().filter(|p| pod::is_active(p)).count();
        let too_many = i64::try_from(active).unwrap_or(i64::MAX) > i64::from(workload.replicas);
        let neighbours = if too_many { self.neighbours(namespace, &object) } else { HashMap::new() };
        Ok(Some(Observed { workload, pods, neighbours, failure: round.failure.cloned() }))
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        plan::plan(observed, now)
    }
}

impl<K: Replicated> ReplicaController<K> {
    /// Active pods of the workload and of its siblings, by node.
    fn neighbours(&self, namespace: &str, object: &Arc<K>) -> HashMap<String, usize> {
        let mut owners: HashSet<String> = object.meta().uid.iter().cloned().collect();
        let siblings = self.workloads.select(Some(namespace), |other| object.is_sibling(other));
        owners.extend(siblings.iter().filter_map(|s| s.meta().uid.clone()));
        let mut by_node: HashMap<String, usize> = HashMap::new();
        let related =
            |p: &Pod| pod::is_active(p) && controller_of(p).is_some_and(|owner| owners.contains(&owner.uid));
        for neighbour in self.pods.select(Some(namespace), related) {
            *by_node.entry(pod::node_name(&neighbour).to_owned()).or_default() += 1;
        }
        by_node
    }
}

fn may_be_its(workload: &Workload, candidate: &Pod) -> bool {
    match controller_of(candidate) {
        Some(owner) => owner.uid == workload.owner.uid,
        None => workload.selector.matches(|key| pod::label(candidate, key)),
    }
}

/// Whether the API, not only the cache, still has this very object and nobody deletes it.
async fn still_there<K>(round: &Round<'_>, object: &K) -> Result<bool, kube::Error>
where
    K: Replicated + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
{
    let api: Api<K> = Api::namespaced(round.client.clone(), &round.key.namespace);
    let live = api.get_opt(&round.key.name).await?;
    Ok(live
        .is_some_and(|live| live.meta().uid == object.meta().uid && live.meta().deletion_timestamp.is_none()))
}

/// The workloads a pod's change concerns: its controllers, old and new, or, for an orphan, all that might
/// adopt it.
fn concerned<K: Replicated>(known: &Cache<K>, delta: &Delta<Pod>) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut add = |key: Key| {
        if !keys.contains(&key) {
            keys.push(key);
        }
    };
    let new = delta.object();
    let namespace = new.metadata.namespace.as_deref().unwrap_or("");
    let old = match delta {
        Delta::Applied { old, .. } => old.as_ref(),
        Delta::Deleted(_) => None,
    };
    for state in [Some(new), old].into_iter().flatten() {
        if let Some(owner) = controller_of(&**state)
            && owner.kind == K::kind(&())
            && owner.api_version == K::api_version(&())
        {
            add(Key::new(namespace, &owner.name));
        }
    }
    let orphan = matches!(delta, Delta::Applied { .. }) && controller_of(&**new).is_none();
    let changed =
        old.is_none_or(|old| old.metadata.labels != new.metadata.labels || controller_of(&**old).is_some());
    if orphan && changed {
        let adopting = |w: &K| w.selector().is_some_and(|s| s.matches(|key| pod::label(new, key)));
        for workload in known.select(Some(namespace), adopting) {
            add(Key::of(&*workload));
        }
    }
    keys
}
