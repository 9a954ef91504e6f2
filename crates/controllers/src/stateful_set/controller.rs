//! The loop: which changes wake a set, and what is read before deciding.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::selector::LabelSelector;
use informer::{Cache, Cached, Controller, Delta, Index, Key, Plan, Round, Sources};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use super::plan::{self, Observed};
use super::{claims, names};
use crate::claim;
use crate::history::Revisions;
use crate::orphans::Orphans;
use crate::replicas::pod::Replica;
use crate::replicas::selector_of;
use crate::selecting::Selecting;

/// See the module's documentation. Keys are stateful sets.
pub struct StatefulSetController {
    sets: Cache<StatefulSet>,
    owned: Index<Pod>,
    orphans: Orphans<Pod>,
    revisions: Revisions,
    claims: Cache<PersistentVolumeClaim>,
}

impl Controller for StatefulSetController {
    const NAME: &'static str = "statefulset-controller";
    const QUEUE: &'static str = "statefulset";
    const WORKERS: usize = 5;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let sets: Cache<StatefulSet> = sources.primary();
        let selecting = Arc::new(Selecting::new(&sets, selector));
        let of_pods = selecting.clone();
        let pods: Cache<Pod> = sources.mapped(move |delta| claim::concerned(&of_pods, delta));
        let of_revisions = selecting.clone();
        let revisions: Cache<ControllerRevision> =
            sources.mapped(move |delta| claim::concerned(&of_revisions, delta));
        // A set waits for the end of a claim that goes with a pod of old.
        let claims: Cache<PersistentVolumeClaim> = sources.mapped(move |delta| match delta {
            Delta::Deleted(gone) => selecting.of(gone),
            Delta::Applied { .. } => Vec::new(),
        });
        Self {
            owned: pods.by_controller(),
            orphans: Orphans::new(&pods),
            revisions: Revisions::new(revisions),
            claims,
            sets,
        }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(set) = self.sets.get_key(round.key) else { return Ok(None) };
        let Some(selector) = selector(&set) else { return Ok(None) };
        let namespace = &*round.key.namespace;
        let uid = set.metadata.uid.as_deref().unwrap_or("");
        let owned = self.owned.get(uid).into_iter().filter(|pod| pod.namespace() == namespace);
        let mut orphans = self.orphans.selected(namespace, &selector);
        orphans.retain(|pod| names::ordinal(&set, pod.name()).is_some() && !pod.is_being_deleted());
        let revisions = self.revisions.find(round.key, uid, &selector);
        let mut deleting = set.metadata.deletion_timestamp.is_some();
        let adopting = !orphans.is_empty() || !revisions.orphans.is_empty();
        let mut claims_nothing = deleting;
        if adopting && !deleting {
            claims_nothing = !claim::still_there(round, &*set).await?;
            deleting |= claims_nothing;
        }
        let pods: BTreeMap<Key, Cached<Pod>> =
            owned.chain(orphans).map(|pod| (pod.key.clone(), pod)).collect();
        let pods: Vec<Replica> = pods.into_values().map(Replica::of).collect();
        let adoptable = if claims_nothing { Vec::new() } else { revisions.orphans };
        let claims = claims::looked_at(&set, &pods);
        let held = claims.into_iter().filter_map(|name| {
            let claim = self.claims.find(&Key::new(namespace, &name))?;
            Some((name, claim))
        });
        Ok(Some(Observed {
            claims: held.collect(),
            pods,
            selector,
            deleting,
            revisions: revisions.owned.into_iter().chain(adoptable).collect(),
            namesakes: revisions.namesakes,
            set,
        }))
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        plan::plan(observed, now)
    }
}

fn selector(set: &StatefulSet) -> Option<LabelSelector> {
    selector_of(Some(&set.spec.as_ref()?.selector))
}
