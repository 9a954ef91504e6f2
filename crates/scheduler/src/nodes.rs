//! [`Nodes`]: the table of nodes with the pods placed on each, changed one pod or node at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use informer::Meta;
use k8s_openapi::api::core::v1::Node;
use pods::Amounts;

use crate::crowds::Crowds;
use crate::devices::Devices;
use crate::memory::Memory;
use crate::node::{Aspects, NodeInfo};
use crate::pod::{Needs, PodInfo, Shape};
use crate::pool::Pool;
use crate::relations::{Labels, Namespaces};
use crate::storage::Storage;

/// What is kept of a placed pod.
#[derive(Debug)]
pub(crate) struct Placed {
    slot: u32,
    /// Where the slot's residents name it.
    place: u32,
    /// The number of the identity's presence in the crowds.
    presence: u32,
    pub name: Arc<str>,
    pub shape: Shape,
    pub generation: Option<i64>,
    settled: bool,
    /// When the node agent took the pod, in seconds since 1970; `None` until it has.
    pub started: Option<i64>,
}

/// The node and properties of a pod that was removed.
#[derive(Debug)]
pub struct Departure {
    pub(crate) slot: u32,
    pub shape: Shape,
}

/// A pod that came to a node, or is another than it was there.
#[derive(Debug)]
pub struct Arrival {
    /// The pod's previous state.
    pub instead_of: Option<Departure>,
}

/// All nodes, by position; positions of nodes that are gone are used again.
#[derive(Debug, Default)]
pub struct Nodes {
    slots: Vec<NodeInfo>,
    by_name: HashMap<Arc<str>, u32>,
    /// Positions without a node and without pods.
    free: BTreeSet<u32>,
    present: usize,
    /// When each position last changed; 0 where no node is.
    stamps: Vec<u64>,
    /// When anything last changed.
    stamp: u64,
    /// By pod uid.
    placed: HashMap<Arc<str>, Placed>,
    /// The uids of the pods at each position.
    residents: Vec<Vec<Arc<str>>>,
    /// What is kept at positions for pods that are to come.
    reserved: HashMap<u32, Vec<Arc<Needs>>>,
    /// How many placed pods have a priority.
    priorities: BTreeMap<i32, usize>,
    pub(crate) crowds: Crowds,
    pub(crate) memory: Memory,
    pub(crate) storage: Storage,
    pub(crate) devices: Devices,
    /// How many of the present nodes have an image.
    images: HashMap<Arc<str>, usize>,
    texts: Pool<str>,
    amounts: Pool<Amounts>,
}

impl Nodes {
    /// Nodes that are present.
    pub fn iter(&self) -> impl Iterator<Item = &NodeInfo> {
        self.slots.iter().filter(|node| node.present)
    }

    /// All positions, present or not.
    pub fn slots(&self) -> &[NodeInfo] {
        &self.slots
    }

    pub fn count(&self) -> usize {
        self.present
    }

    /// Whether a pod of a lower priority is placed anywhere.
    pub fn has_pods_below(&self, priority: i32) -> bool {
        self.priorities.first_key_value().is_some_and(|(lowest, _)| *lowest < priority)
    }

    /// Pods that are placed, also where their node is not present.
    pub fn pods(&self) -> usize {
        self.placed.len()
    }

    /// When each position last changed; 0 where no node is.
    pub fn stamps(&self) -> &[u64] {
        &self.stamps
    }

    /// When anything that decisions go by last changed.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    pub fn get(&self, name: &str) -> Option<&NodeInfo> {
        self.by_name.get(name).map(|slot| &self.slots[*slot as usize]).filter(|node| node.present)
    }

    fn changed(&mut self, slot: u32) {
        self.stamp += 1;
        let at = slot as usize;
        self.stamps[at] = if self.slots[at].present { self.stamp } else { 0 };
        if !self.slots[at].present && self.slots[at].pods == 0 {
            self.free.insert(slot);
        }
    }

    fn slot(&mut self, name: &str) -> u32 {
        if let Some(slot) = self.by_name.get(name) {
            self.free.remove(slot);
            return *slot;
        }
        let name = self.texts.text(name);
        let fresh = NodeInfo::named(Arc::clone(&name));
        let slot = if let Some(slot) = self.free.pop_first() {
            self.by_name.remove(&self.slots[slot as usize].name);
            self.slots[slot as usize] = fresh;
            slot
        } else {
            self.slots.push(fresh);
            self.stamps.push(0);
            self.residents.push(Vec::new());
            u32::try_from(self.slots.len() - 1).expect("memory ends before 2^32 nodes do")
        };
        self.by_name.insert(name, slot);
        slot
    }

    /// Adds or updates a node; returns which properties changed. A heartbeat changes nothing.
    pub fn set_node(&mut self, node: &Node) -> Aspects {
        let slot = self.slot(node.metadata.name.as_deref().unwrap_or(""));
        let info = &mut self.slots[slot as usize];
        let aspects = info.learn(node, &mut self.texts, &mut self.amounts);
        let had = info.learn_images(node, &mut self.texts);
        if aspects.presence || had.is_some() {
            let had = if aspects.presence { Box::default() } else { had.unwrap_or_default() };
            count_images(&mut self.images, had.iter().map(|(name, _)| name), info.images());
        }
        if aspects.any() {
            self.present += usize::from(aspects.presence);
            if aspects.presence || aspects.labels || aspects.taints {
                self.crowds.node_changed(slot, info);
            }
            self.changed(slot);
        }
        aspects
    }

    /// The node that a pod has left.
    pub fn left_by(&self, departure: &Departure) -> &NodeInfo {
        &self.slots[departure.slot as usize]
    }

    /// Removes a node. Its pods are kept until they are removed too. Returns whether the node has such pods; `None`
    /// if there was no such node.
    pub fn remove_node(&mut self, name: &str) -> Option<bool> {
        let slot = self.by_name.get(name).copied()?;
        let info = &mut self.slots[slot as usize];
        if !info.present {
            return None;
        }
        info.present = false;
        self.present -= 1;
        let had_pods = info.pods > 0;
        count_images(&mut self.images, info.images(), std::iter::empty());
        self.crowds.node_changed(slot, info);
        self.changed(slot);
        Some(had_pods)
    }

    /// How many nodes have an image; `None` for one that no node has.
    pub fn nodes_with_image(&self, image: &str) -> Option<usize> {
        self.images.get(image).copied()
    }

    pub fn namespaces(&self) -> &Namespaces {
        self.crowds.namespaces()
    }

    /// Terms of pods may select by the labels of namespaces. Whether that is a change.
    pub fn set_namespace(&mut self, name: &str, labels: Option<Labels>) -> bool {
        let changed = self.crowds.set_namespace(name, labels);
        self.stamp += u64::from(changed);
        changed
    }

    /// Starts keeping the figures that decisions about such pods need.
    pub fn attend(&mut self, shape: &Shape) {
        if let Some(wishes) = &shape.wishes {
            self.crowds.attend(wishes, &self.slots);
        }
    }

    /// Whether the table already holds the pod on this node as its object describes it, so that the object need not
    /// be read. `settled`: the specification alone determines the pod's requests.
    pub fn knows(&self, pod: &Meta, node: &str, settled: bool) -> bool {
        self.placed.get(&pod.uid).is_some_and(|placed| {
            placed.generation.is_some_and(|generation| generation == pod.generation)
                && *self.slots[placed.slot as usize].name == *node
                && (placed.settled && settled)
                && placed.shape.identity.is_of(pod)
        })
    }

    /// Records that a pod is on a node, or is about to be. A repeated call changes nothing and returns `None`.
    pub fn place(&mut self, pod: &PodInfo, node: &str) -> Option<Arrival> {
        let mut instead_of = None;
        let shape = pod.shape.placed();
        if let Some(placed) = self.placed.get_mut(&pod.uid) {
            if *self.slots[placed.slot as usize].name == *node && placed.shape == shape {
                (placed.generation, placed.settled) = (pod.generation, pod.settled);
                return None;
            }
            instead_of = self.remove_pod(&pod.uid);
        }
        let slot = self.slot(node);
        let placed = Placed {
            slot,
            place: 0,
            presence: 0,
            name: Arc::clone(&pod.key.name),
            shape,
            generation: pod.generation,
            settled: pod.settled,
            started: None,
        };
        self.put(&pod.uid, placed);
        Some(Arrival { instead_of })
    }

    /// Counts a pod where it is.
    fn put(&mut self, uid: &Arc<str>, mut placed: Placed) {
        let slot = placed.slot;
        let Shape { needs, identity, wishes, claims, .. } = &placed.shape;
        self.storage.came(&self.slots[slot as usize].name, &identity.namespace, claims.as_ref());
        self.slots[slot as usize].take(needs);
        *self.priorities.entry(needs.priority).or_insert(0) += 1;
        placed.presence = self.crowds.came(slot, identity, wishes.as_ref(), &self.slots);
        let residents = &mut self.residents[slot as usize];
        placed.place = u32::try_from(residents.len()).expect("memory ends before 2^32 pods do");
        residents.push(Arc::clone(uid));
        self.placed.insert(Arc::clone(uid), placed);
        self.changed(slot);
    }

    /// Removes a pod that is gone, has ended, or was not bound after all. Returns its former placement, if it was
    /// placed.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Departure> {
        let Placed { slot, shape, .. } = self.take(uid)?;
        Some(Departure { slot, shape })
    }

    fn take(&mut self, uid: &str) -> Option<Placed> {
        let placed = self.placed.remove(uid)?;
        let Placed { slot, place, presence, shape, .. } = &placed;
        self.slots[*slot as usize].give_back(&shape.needs);
        self.forget_priority(shape.needs.priority);
        self.storage.went(&self.slots[*slot as usize].name, &shape.identity.namespace, shape.claims.as_ref());
        self.crowds.went(*slot, *presence, shape.wishes.as_ref());
        let residents = &mut self.residents[*slot as usize];
        residents.swap_remove(*place as usize);
        if let Some(moved) = residents.get(*place as usize)
            && let Some(moved) = self.placed.get_mut(moved)
        {
            moved.place = *place;
        }
        self.changed(*slot);
        Some(placed)
    }

    fn forget_priority(&mut self, priority: i32) {
        if let Some(count) = self.priorities.get_mut(&priority) {
            *count -= 1;
            if *count == 0 {
                self.priorities.remove(&priority);
            }
        }
    }

    /// The pods at a position.
    pub(crate) fn residents(&self, slot: usize) -> impl Iterator<Item = (&Arc<str>, &Placed)> {
        self.residents[slot].iter().filter_map(|uid| Some((uid, self.placed.get(uid)?)))
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).map(|slot| *slot as usize)
    }

    /// When the node agent took a placed pod.
    pub fn started(&mut self, uid: &str, started: Option<i64>) {
        if let Some(placed) = self.placed.get_mut(uid) {
            placed.started = started;
        }
    }

    /// Keeps room on a node for a pod that is to come there. Rules about other pods do not see it.
    pub fn reserve(&mut self, node: &str, needs: &Arc<Needs>) {
        let slot = self.slot(node);
        self.slots[slot as usize].take(needs);
        *self.priorities.entry(needs.priority).or_insert(0) += 1;
        self.reserved.entry(slot).or_default().push(Arc::clone(needs));
        self.changed(slot);
    }

    /// Takes back what [`Nodes::reserve`] did.
    pub fn release(&mut self, node: &str, needs: &Arc<Needs>) {
        let Some(slot) = self.by_name.get(node).copied() else { return };
        let Some(reserved) = self.reserved.get_mut(&slot) else { return };
        let Some(at) = reserved.iter().position(|held| held == needs) else { return };
        reserved.swap_remove(at);
        if reserved.is_empty() {
            self.reserved.remove(&slot);
        }
        self.slots[slot as usize].give_back(needs);
        self.forget_priority(needs.priority);
        self.changed(slot);
    }

    /// The node as it would be without its pods of a lower priority, and without what is kept for such pods.
    pub fn without_those_below(&self, slot: usize, priority: i32) -> NodeInfo {
        let mut node = self.slots[slot].clone();
        let placed = self.residents(slot).map(|(_, placed)| &placed.shape.needs);
        let kept = u32::try_from(slot).ok().and_then(|slot| self.reserved.get(&slot));
        for needs in placed.chain(kept.into_iter().flatten()).filter(|needs| needs.priority < priority) {
            node.give_back(needs);
        }
        node
    }

    /// Takes pods out of the table as long as `trial` looks at it without them. The table is afterwards as it was: what
    /// is remembered of decisions stays valid.
    pub(crate) fn without<T>(
        &mut self,
        slot: usize,
        uids: &[Arc<str>],
        trial: impl FnOnce(&mut Without<'_>) -> T,
    ) -> T {
        let (stamp, stamps) = (self.stamp, self.stamps[slot]);
        let lifted = uids.iter().map(|uid| (Arc::clone(uid), self.take(uid))).collect();
        let mut without = Without { nodes: self, lifted };
        let result = trial(&mut without);
        let lifted = std::mem::take(&mut without.lifted);
        for (uid, placed) in lifted {
            if let Some(placed) = placed {
                self.put(&uid, placed);
            }
        }
        (self.stamp, self.stamps[slot]) = (stamp, stamps);
        result
    }
}

/// Counts the images of a node that had others before.
fn count_images<'a>(
    counts: &mut HashMap<Arc<str>, usize>,
    had: impl Iterator<Item = &'a Arc<str>>,
    has: impl Iterator<Item = &'a Arc<str>>,
) {
    for image in has {
        *counts.entry(Arc::clone(image)).or_insert(0) += 1;
    }
    for image in had {
        if let Some(count) = counts.get_mut(image) {
            *count -= 1;
            if *count == 0 {
                counts.remove(image);
            }
        }
    }
}

/// The table without some pods.
pub(crate) struct Without<'n> {
    pub nodes: &'n mut Nodes,
    lifted: HashMap<Arc<str>, Option<Placed>>,
}

impl Without<'_> {
    /// A pod is in the table again.
    pub fn put_back(&mut self, uid: &Arc<str>) {
        if let Some(Some(placed)) = self.lifted.insert(Arc::clone(uid), None) {
            self.nodes.put(uid, placed);
        }
    }

    /// A pod that was put back is out of the table once more.
    pub fn lift(&mut self, uid: &Arc<str>) {
        let placed = self.nodes.take(uid);
        self.lifted.insert(Arc::clone(uid), placed);
    }
}
