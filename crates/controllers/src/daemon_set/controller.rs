//! The loop: which changes wake a set, and what is read before deciding.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::selector::LabelSelector;
use informer::{Cache, Cached, Controller, Delta, Index, Key, Plan, Round, Sources, Tally};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};

use super::backoff::{Backoffs, Place};
use super::plan::{self, Observed};
use crate::claim;
use crate::history::Revisions;
use crate::node_view::node_view;
use crate::orphans::Orphans;
use crate::replicas::pod::Replica;
use crate::replicas::selector_of;
use crate::selecting::Selecting;

/// See the module's documentation. Keys are daemon sets.
pub struct DaemonSetController {
    sets: Cache<DaemonSet>,
    nodes: Cache<Node>,
    owned: Index<Pod>,
    orphans: Orphans<Pod>,
    revisions: Revisions,
    backoffs: Arc<Backoffs>,
}

impl Controller for DaemonSetController {
    const NAME: &'static str = "daemonset-controller";
    const ACCOUNT: &'static str = "daemon-set-controller";
    const QUEUE: &'static str = "daemonset";
    const WORKERS: usize = 2;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let sets: Cache<DaemonSet> = sources.primary();
        let selecting = Arc::new(Selecting::new(&sets, selector));
        let of_pods = selecting.clone();
        let pods: Cache<Pod> = sources.mapped(move |delta| claim::concerned(&of_pods, delta));
        let revisions: Cache<ControllerRevision> =
            sources.mapped(move |delta| claim::concerned(&selecting, delta));
        let all = sets.clone();
        let nodes: Cache<Node> = sources.mapped(move |delta| match moves(delta) {
            true => all.scan("every daemon set is about every node").iter().map(|s| s.key.clone()).collect(),
            false => Vec::new(),
        });
        Self {
            owned: pods.by_controller(),
            orphans: Orphans::new(&pods),
            revisions: Revisions::new(revisions),
            backoffs: Arc::default(),
            sets,
            nodes,
        }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(set) = self.sets.get_key(round.key) else { return Ok(None) };
        // Of a set that goes, nobody knows whether its revisions are still there: it is not even reported on.
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let selector = selector(&set);
        let namespace = &*round.key.namespace;
        let uid = set.metadata.uid.as_deref().unwrap_or("");
        let nothing = LabelSelector::nothing();
        let selected = selector.as_ref().unwrap_or(&nothing);
        let owned = self.owned.get(uid).into_iter().filter(|pod| pod.namespace() == namespace);
        let mut orphans = self.orphans.selected(namespace, selected);
        orphans.retain(|pod| !pod.is_being_deleted());
        let mut revisions = self.revisions.find(round.key, uid, selected);
        let mut gone = false;
        if !orphans.is_empty() || !revisions.orphans.is_empty() {
            gone = !claim::still_there(round, &*set).await?;
        }
        if gone {
            revisions.orphans.clear();
        }
        let pods: BTreeMap<Key, Cached<Pod>> =
            owned.chain(orphans).map(|pod| (pod.key.clone(), pod)).collect();
        let nodes = self.nodes.scan("a daemon set has a pod on every node that fits");
        let held = nodes.iter().filter_map(|node| {
            let until = self.backoffs.until(&place(&set, node.name()), round.now)?;
            Some((node.name().to_owned(), until))
        });
        Ok(Some(Observed {
            held_back: held.collect(),
            pods: pods.into_values().map(Replica::of).collect(),
            revisions: revisions.owned.into_iter().chain(revisions.orphans).collect(),
            namesakes: revisions.namesakes,
            now: round.now,
            selector,
            gone,
            nodes,
            set,
        }))
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        plan::plan(observed, now)
    }

    fn tally(&self, _: &Key, decided: Option<(&Observed, &Plan)>) -> Option<Tally> {
        let (observed, _) = decided?;
        let (_, failed) = plan::decide(observed, observed.now);
        if failed.is_empty() {
            return None;
        }
        let (backoffs, now) = (self.backoffs.clone(), observed.now);
        let places: Vec<Place> = failed.iter().map(|node| place(&observed.set, node)).collect();
        Some(Box::new(move |_| places.into_iter().for_each(|place| backoffs.note(place, now))))
    }
}

fn place(set: &DaemonSet, node: &str) -> Place {
    let generation = set.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
    (set.metadata.uid.clone().unwrap_or_default(), generation, node.to_owned())
}

fn selector(set: &DaemonSet) -> Option<LabelSelector> {
    selector_of(Some(&set.spec.as_ref()?.selector))
}

/// Whether a node's change can move daemons: it is new or gone, or has other labels or taints.
fn moves(delta: &Delta<Node>) -> bool {
    let (new, Some(old)) = (delta.object(), delta.old()) else { return true };
    let (view, before) = (node_view(new), node_view(old));
    new.labels != old.labels || view.no_execute != before.no_execute || view.no_schedule != before.no_schedule
}
