//! [`Nominations`]: the pods for which room is made on a node. Until such a pod is decided about again, its node counts
//! it as there, so that no less important pod takes the room.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::nodes::Nodes;
use crate::pod::Needs;

/// A pod that waits for room.
#[derive(Debug)]
pub(crate) struct Nomination {
    pub node: Arc<str>,
    pub needs: Arc<Needs>,
    /// The pods that were told to go for it and are still there.
    pub waits_for: HashSet<Arc<str>>,
}

/// See the module's documentation. Pods by their uids.
#[derive(Debug, Default)]
pub(crate) struct Nominations {
    by_pod: HashMap<Arc<str>, Nomination>,
    by_node: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
}

impl Nominations {
    pub fn get(&self, uid: &str) -> Option<&Nomination> {
        self.by_pod.get(uid)
    }

    /// The pods that wait for room on a node.
    pub fn at(&self, node: &str) -> impl Iterator<Item = (&Arc<str>, &Nomination)> {
        let uids = self.by_node.get(node).into_iter().flatten();
        uids.filter_map(|uid| Some((uid, self.by_pod.get(uid)?)))
    }

    /// Keeps room for a pod.
    pub fn add(&mut self, uid: Arc<str>, nomination: Nomination, nodes: &mut Nodes) {
        self.remove(&uid, nodes);
        nodes.reserve(&nomination.node, &nomination.needs);
        self.by_node.entry(Arc::clone(&nomination.node)).or_default().insert(Arc::clone(&uid));
        self.by_pod.insert(uid, nomination);
    }

    /// Gives the room free that was kept for a pod.
    pub fn remove(&mut self, uid: &str, nodes: &mut Nodes) -> Option<Nomination> {
        let nomination = self.by_pod.remove(uid)?;
        nodes.release(&nomination.node, &nomination.needs);
        if let Some(uids) = self.by_node.get_mut(&nomination.node) {
            uids.remove(uid);
            if uids.is_empty() {
                self.by_node.remove(&nomination.node);
            }
        }
        Some(nomination)
    }

    /// A pod has left a node: the pods that wait for room there.
    pub fn left(&mut self, node: &str, gone: &str) -> Vec<Arc<str>> {
        let waiting: Vec<Arc<str>> = self.by_node.get(node).into_iter().flatten().cloned().collect();
        for uid in &waiting {
            if let Some(nomination) = self.by_pod.get_mut(uid) {
                nomination.waits_for.remove(gone);
            }
        }
        waiting
    }
}
