//! The loop: what wakes a deployment, and what is read before deciding.

use std::collections::HashSet;
use std::sync::Arc;

use api::selector::LabelSelector;
use informer::{Cache, Controller, Delta, Key, Plan, Round, Sources, controller_of};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use super::limits;
use super::plan::{self, Observed};
use crate::replicas::selector_of;

/// See the module's documentation. Keys are deployments.
pub struct DeploymentController {
    deployments: Cache<Deployment>,
    sets: Cache<ReplicaSet>,
    pods: Cache<Pod>,
}

impl Controller for DeploymentController {
    const NAME: &'static str = "deployment-controller";
    const WORKERS: usize = 5;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let deployments: Cache<Deployment> = sources.primary();
        let known = deployments.clone();
        let sets = sources.mapped(move |delta| concerned(&known, delta));
        let (known, owners) = (deployments.clone(), sets.clone());
        let pods = sources.mapped(move |delta| waiting_for_end(&known, &owners, delta));
        Self { deployments, sets, pods }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(deployment) = self.deployments.get_key(round.key) else { return Ok(None) };
        let Some(spec) = &deployment.spec else { return Ok(None) };
        let namespace = Some(&*round.key.namespace);
        let uid = deployment.metadata.uid.as_deref().unwrap_or("");
        let selector = selector_of(Some(&spec.selector)).unwrap_or_else(LabelSelector::nothing);
        let selected = |set: &ReplicaSet| selector.matches(|key| label(set, key));
        let owned = |set: &ReplicaSet| controller_of(set).is_some_and(|owner| owner.uid == uid);

        let strays = self.sets.select(namespace, |set| owned(set) && !selected(set));
        let orphans = self.sets.select(namespace, |set| {
            selected(set) && controller_of(set).is_none() && set.metadata.deletion_timestamp.is_none()
        });
        let mut sets = self.sets.select(namespace, |set| owned(set) && selected(set));
        if !orphans.is_empty() && self.may_adopt(round, &deployment).await? {
            sets.extend(orphans);
        }
        let prefix = format!("{}-", round.key.name);
        let namesakes = self.sets.select(namespace, |set| {
            !(owned(set) && selected(set))
                && set.metadata.name.as_deref().is_some_and(|name| name.starts_with(&prefix))
        });
        let pods = if limits::is_rolling(spec) { Vec::new() } else { self.pods_of(namespace, &sets) };
        let failure = round.failure.cloned();
        Ok(Some(Observed { deployment, sets, strays, namesakes, pods, failure }))
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        plan::plan(observed, now)
    }
}

impl DeploymentController {
    /// Whether the API, not only the cache, still has this very deployment and nobody deletes it.
    async fn may_adopt(&self, round: &Round<'_>, deployment: &Deployment) -> Result<bool, kube::Error> {
        if deployment.metadata.deletion_timestamp.is_some() {
            return Ok(false);
        }
        let api: Api<Deployment> = Api::namespaced(round.client.clone(), &round.key.namespace);
        let live = api.get_opt(&round.key.name).await?;
        Ok(live.is_some_and(|live| {
            live.metadata.uid == deployment.metadata.uid && live.metadata.deletion_timestamp.is_none()
        }))
    }

    fn pods_of(&self, namespace: Option<&str>, sets: &[Arc<ReplicaSet>]) -> Vec<Arc<Pod>> {
        let uids: HashSet<&str> = sets.iter().filter_map(|s| s.metadata.uid.as_deref()).collect();
        self.pods.select(namespace, |p| controller_of(p).is_some_and(|owner| uids.contains(&*owner.uid)))
    }
}

fn label<'a>(set: &'a ReplicaSet, key: &str) -> Option<&'a str> {
    set.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn owner_key(object: &impl informer::Kind, kind: &str) -> Option<Key> {
    let owner = controller_of(object).filter(|owner| owner.kind == kind && owner.api_version == "apps/v1")?;
    Some(Key::new(object.meta().namespace.as_deref().unwrap_or(""), &owner.name))
}

/// The deployments a set's change concerns: its controllers, old and new, or, for an orphan, all that might
/// adopt it.
fn concerned(known: &Cache<Deployment>, delta: &Delta<ReplicaSet>) -> Vec<Key> {
    let new = delta.object();
    let mut keys: Vec<Key> = owner_key(&**new, "Deployment").into_iter().collect();
    if let Delta::Applied { old: Some(old), .. } = delta {
        keys.extend(owner_key(&**old, "Deployment").filter(|key| !keys.contains(key)));
    }
    if controller_of(&**new).is_none() && matches!(delta, Delta::Applied { .. }) {
        let adopting = |d: &Deployment| {
            let selector = d.spec.as_ref().and_then(|spec| selector_of(Some(&spec.selector)));
            selector.is_some_and(|s| s.matches(|key| label(new, key)))
        };
        let namespace = new.metadata.namespace.as_deref();
        keys.extend(known.select(namespace, adopting).iter().map(|d| Key::of(&**d)));
    }
    keys
}

/// A deployment that recreates its pods waits for the end of every old one.
fn waiting_for_end(known: &Cache<Deployment>, sets: &Cache<ReplicaSet>, delta: &Delta<Pod>) -> Vec<Key> {
    let key = || {
        let (Delta::Applied { new: pod, .. } | Delta::Deleted(pod)) = delta;
        if matches!(delta, Delta::Applied { .. }) && !crate::replicas::pod::is_terminal(pod) {
            return None;
        }
        let set = sets.get_key(&owner_key(&**pod, "ReplicaSet")?)?;
        let key = owner_key(&*set, "Deployment")?;
        let spec_rolls = known.get_key(&key)?.spec.as_ref().is_none_or(limits::is_rolling);
        (!spec_rolls).then_some(key)
    };
    key().into_iter().collect()
}
