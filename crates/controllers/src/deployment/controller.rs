//! The loop: which changes wake a deployment, and what is read before deciding.

use std::sync::Arc;

use api::selector::LabelSelector;
use informer::{Cache, Cached, Controller, Delta, Index, Key, Plan, Round, Sources};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;

use super::limits;
use super::plan::{self, Observed};
use crate::claim;
use crate::orphans::Orphans;
use crate::replicas::{pod, selector_of};
use crate::selecting::Selecting;

/// See the module's documentation. Keys are deployments.
pub struct DeploymentController {
    deployments: Cache<Deployment>,
    sets: Cache<ReplicaSet>,
    owned_sets: Index<ReplicaSet>,
    orphans: Orphans<ReplicaSet>,
    pods_of: Index<Pod>,
}

impl Controller for DeploymentController {
    const NAME: &'static str = "deployment-controller";
    const QUEUE: &'static str = "deployment";
    const WORKERS: usize = 5;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let deployments: Cache<Deployment> = sources.primary();
        let selecting = Selecting::new(&deployments, |deployment: &Deployment| {
            selector_of(Some(&deployment.spec.as_ref()?.selector))
        });
        let sets: Cache<ReplicaSet> = sources.mapped(move |delta| claim::concerned(&selecting, delta));
        let (known, owners) = (deployments.clone(), sets.clone());
        let pods: Cache<Pod> = sources.mapped(move |delta| waiting_for_end(&known, &owners, delta));
        Self {
            owned_sets: sets.by_controller(),
            orphans: Orphans::new(&sets),
            pods_of: pods.by_controller(),
            deployments,
            sets,
        }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(deployment) = self.deployments.get_key(round.key) else { return Ok(None) };
        let Some(spec) = &deployment.spec else { return Ok(None) };
        let namespace = &*round.key.namespace;
        let uid = deployment.metadata.uid.as_deref().unwrap_or("");
        let selector = selector_of(Some(&spec.selector)).unwrap_or_else(LabelSelector::nothing);
        let owned = self.owned_sets.get(uid).into_iter().filter(|set| set.namespace() == namespace);
        let (selected, strays): (Vec<_>, Vec<_>) =
            owned.partition(|set| selector.matches(|key| set.label(key)));
        let mut sets = typed(&selected);
        let mut orphans = self.orphans.selected(namespace, &selector);
        orphans.retain(|set| !set.is_being_deleted());
        if !orphans.is_empty()
            && deployment.metadata.deletion_timestamp.is_none()
            && claim::still_there(round, &*deployment).await?
        {
            sets.extend(typed(&orphans));
        }
        let mut namesakes = self.sets.named_like(namespace, &format!("{}-", round.key.name));
        namesakes.retain(|set| !selected.iter().any(|own| own.key == set.key));
        let pods = if limits::is_rolling(spec) { Vec::new() } else { self.pods_of(&sets) };
        let (strays, namesakes) = (typed(&strays), typed(&namesakes));
        let failure = round.failure.cloned();
        Ok(Some(Observed { deployment, sets, strays, namesakes, pods, failure }))
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        plan::plan(observed, now)
    }
}

impl DeploymentController {
    fn pods_of(&self, sets: &[Arc<ReplicaSet>]) -> Vec<Arc<Pod>> {
        let uids = sets.iter().filter_map(|set| set.metadata.uid.as_deref());
        typed(&uids.flat_map(|uid| self.pods_of.get(uid)).collect::<Vec<_>>())
    }
}

fn typed<K: informer::Kind>(objects: &[Cached<K>]) -> Vec<Arc<K>> {
    objects.iter().filter_map(|object| object.typed().cloned()).collect()
}

fn owner_key<K: informer::Kind>(object: &Cached<K>, kind: &str) -> Option<Key> {
    let owner =
        object.controller().filter(|owner| &*owner.kind == kind && &*owner.api_version == "apps/v1")?;
    Some(Key { namespace: object.key.namespace.clone(), name: owner.name.clone() })
}

/// A deployment that recreates its pods waits for the end of every old one.
fn waiting_for_end(known: &Cache<Deployment>, sets: &Cache<ReplicaSet>, delta: &Delta<Pod>) -> Vec<Key> {
    let key = || {
        let pod = delta.object();
        if matches!(delta, Delta::Applied { .. }) && !pod::facts(pod).is_terminal() {
            return None;
        }
        let set = sets.find(&owner_key(pod, "ReplicaSet")?)?;
        let key = owner_key(&set, "Deployment")?;
        let spec_rolls = known.get_key(&key)?.spec.as_ref().is_none_or(limits::is_rolling);
        (!spec_rolls).then_some(key)
    };
    key().into_iter().collect()
}
