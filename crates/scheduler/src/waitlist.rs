//! [`Waitlist`]: the pods that fit nowhere, found by the changes that could help them.
//!
//! For every node, one of a pod's causes makes the node refuse the pod. A change that cures none of the causes leaves
//! the pod waiting, at no cost. After a change that cures a cause on one node the rules about that node are evaluated
//! again: if another rule refuses now, that refusal becomes a cause.
//!
//! Equal pods are one group. Groups with equal needs and causes are one class, for which the rules are evaluated once.

mod listeners;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use informer::Key;

use crate::causes::{Cause, Causes};
use crate::filters::check;
use crate::hints;
use crate::node::{Aspects, NodeInfo};
use crate::nodes::{Departure, Nodes};
use crate::pod::{Needs, PodInfo, Shape};
use crate::pool::Slab;
use crate::relations::{Identity, Namespaces};
use crate::verdict::Verdict;
use listeners::Listeners;

/// What other pods, being where they are, can cause.
const NEIGHBOURS: [Cause; 3] = [Cause::Near, Cause::Apart, Cause::Repelled];

#[derive(Debug)]
struct Group {
    shape: Shape,
    class: u32,
    pods: HashSet<Arc<str>>,
}

#[derive(Debug)]
struct Class {
    needs: Arc<Needs>,
    causes: Causes,
    groups: HashSet<u32>,
}

/// Uids of pods that are to be tried again, and wait here no more.
pub type Woken = Vec<Arc<str>>;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Waitlist {
    groups: Slab<Group>,
    by_shape: HashMap<Shape, u32>,
    classes: Slab<Class>,
    by_needs: HashMap<(Arc<Needs>, Causes), u32>,
    /// Classes that name the nodes they may go to, by these names.
    named: HashMap<Arc<str>, BTreeSet<u32>>,
    /// The other classes.
    anywhere: BTreeSet<u32>,
    /// Classes by their causes, those that need least first; where a class names its nodes, only by social causes.
    by_cause: [BTreeSet<(i64, u32)>; Cause::ALL.len()],
    /// Groups by the claims of their pods.
    by_claim: HashMap<Key, BTreeSet<u32>>,
    /// Groups by the labels of pods that can help them or be in their way.
    listeners: Listeners,
}

impl Waitlist {
    /// Adds a pod that fits nowhere, for these causes.
    pub fn insert(&mut self, pod: &PodInfo, causes: Causes) {
        let group = match self.by_shape.get(&pod.shape).copied() {
            Some(group) => {
                // What holds for the one that came last holds for all its equals.
                if self.causes(group) != causes {
                    self.detach(group);
                    self.attach(group, causes);
                }
                group
            }
            None => {
                let shape = pod.shape.clone();
                let group = self.groups.insert(Group { shape, class: u32::MAX, pods: HashSet::new() });
                self.by_shape.insert(pod.shape.clone(), group);
                self.attach(group, causes);
                group
            }
        };
        self.groups[group].pods.insert(Arc::clone(&pod.uid));
    }

    /// Removes a pod, if it waits.
    pub fn remove(&mut self, pod: &PodInfo) {
        let Some(group) = self.by_shape.get(&pod.shape).copied() else { return };
        self.groups[group].pods.remove(&pod.uid);
        if self.groups[group].pods.is_empty() {
            self.forget(group);
        }
    }

    /// A node was added or changed.
    pub fn node_changed(&mut self, node: &NodeInfo, aspects: Aspects) -> Woken {
        let mut woken = Woken::new();
        let moved = aspects.presence || aspects.labels;
        // Which is the emptiest place may be another one now.
        if moved || aspects.taints {
            self.wake_by(&[Cause::Spread], &mut woken);
        }
        // Its pods are in other places now.
        if moved && node.pods > 0 {
            self.wake_by(&NEIGHBOURS, &mut woken);
        }
        let mut asked = BTreeSet::new();
        if aspects.presence {
            asked.clone_from(&self.anywhere);
        } else {
            if aspects.cordon {
                self.any(&[Cause::Cordon], &mut asked);
            }
            if aspects.taints {
                self.any(&[Cause::Taints], &mut asked);
            }
            if aspects.labels {
                self.any(&[Cause::Labels, Cause::Place, Cause::Storage, Cause::Devices], &mut asked);
                self.any(&NEIGHBOURS, &mut asked);
            }
            if aspects.capacity {
                self.fitting(node, &mut asked);
            }
        }
        self.ask(asked, node, &mut woken);
        woken
    }

    /// A node was removed. Its pods are still known, and are at no place.
    pub fn node_gone(&mut self, had_pods: bool) -> Woken {
        let mut woken = Woken::new();
        self.wake_by(&[Cause::Spread], &mut woken);
        if had_pods {
            self.wake_by(&NEIGHBOURS, &mut woken);
        }
        woken
    }

    /// A pod was placed.
    pub fn pod_came(&mut self, other: &Identity, namespaces: &Namespaces) -> Woken {
        let helps = |shape: &Shape, causes| hints::pod_came(shape, causes, other, namespaces);
        let helped = self.listening(other, helps);
        self.wake(helped)
    }

    /// A pod left a node.
    pub fn pod_left(&mut self, gone: &Departure, nodes: &Nodes) -> Woken {
        let other = &gone.shape;
        let helps = |shape: &Shape, causes| hints::pod_left(shape, causes, gone, nodes);
        let mut helped = self.listening(&other.identity, helps);
        if other.wishes.as_ref().is_some_and(|wishes| !wishes.apart.is_empty()) {
            let repelled = self.by_cause[Cause::Repelled as usize].iter();
            let groups = repelled.flat_map(|(_, class)| &self.classes[*class].groups);
            let freed = |group: &u32| helps(&self.groups[*group].shape, self.causes(*group));
            helped.extend(groups.copied().filter(freed));
        }
        let namespace = &other.identity.namespace;
        for claim in other.claims.iter().flat_map(|claims| claims.iter()) {
            helped.extend(self.by_claim.get(&Key::new(namespace, &claim.name)).into_iter().flatten());
        }
        let mut woken = self.wake(helped);
        woken.extend(self.room(gone.slot as usize, &other.needs, nodes));
        woken
    }

    /// What a pod uses, or what was kept for it, is free on a node.
    pub fn room(&mut self, slot: usize, freed: &Needs, nodes: &Nodes) -> Woken {
        let (mut woken, node) = (Woken::new(), &nodes.slots()[slot]);
        if node.present {
            let mut asked = BTreeSet::new();
            self.fitting(node, &mut asked);
            if !freed.host_ports.is_empty() {
                self.any(&[Cause::Ports], &mut asked);
            }
            self.ask(asked, node, &mut woken);
            self.preempting(slot, nodes, &mut woken);
        }
        woken
    }

    /// A node has changed: classes that would fit there without its pods of a lower priority.
    pub fn preempting(&mut self, slot: usize, nodes: &Nodes, woken: &mut Woken) {
        let node = &nodes.slots()[slot];
        let mut without: HashMap<i32, NodeInfo> = HashMap::new();
        let mut helped = Vec::new();
        for (id, Class { needs, .. }) in self.classes.iter() {
            if !needs.can_preempt || !node.has_pods_below(needs.priority) {
                continue;
            }
            let stripped = without
                .entry(needs.priority)
                .or_insert_with(|| nodes.without_those_below(slot, needs.priority));
            if check(needs, stripped).fits() {
                helped.push(id);
            }
        }
        for id in helped {
            self.wake_class(id, woken);
        }
    }

    /// The labels of a namespace changed: terms may select by them.
    pub fn namespace_changed(&mut self) -> Woken {
        let mut woken = Woken::new();
        self.wake_by(&NEIGHBOURS, &mut woken);
        woken
    }

    /// A claim was added, changed or removed.
    pub fn claim_changed(&mut self, claim: &Key) -> Woken {
        let groups = self.by_claim.get(claim).into_iter().flatten().copied().collect();
        self.wake(groups)
    }

    /// A volume or a class was added or changed.
    pub fn storage_changed(&mut self) -> Woken {
        let mut woken = Woken::new();
        self.wake_by(&[Cause::Storage], &mut woken);
        woken
    }

    /// A claim of devices was added, changed or removed. `freed`: its devices can be had again.
    pub fn device_claim_changed(&mut self, claim: &Key, freed: bool) -> Woken {
        let waiting = self.by_cause[Cause::Devices as usize].iter();
        let groups = waiting.flat_map(|(_, class)| &self.classes[*class].groups).copied();
        let lists = |group: &u32| {
            let shape = &self.groups[*group].shape;
            let mut claims = shape.devices.iter().flat_map(|claims| claims.iter());
            shape.identity.namespace == claim.namespace
                && claims.any(|entry| entry.claim() == Some(&*claim.name))
        };
        let groups = groups.filter(|group| freed || lists(group)).collect();
        self.wake(groups)
    }

    /// A slice or a class of devices was added, changed or removed.
    pub fn devices_changed(&mut self) -> Woken {
        let mut woken = Woken::new();
        self.wake_by(&[Cause::Devices], &mut woken);
        woken
    }

    fn causes(&self, group: u32) -> Causes {
        self.classes[self.groups[group].class].causes
    }

    fn any(&self, causes: &[Cause], classes: &mut BTreeSet<u32>) {
        let found = causes.iter().flat_map(|cause| &self.by_cause[*cause as usize]);
        classes.extend(found.map(|(_, class)| *class));
    }

    /// Classes that were short of something and ask for no more than the node has left of it.
    fn fitting(&self, node: &NodeInfo, classes: &mut BTreeSet<u32>) {
        let free = [
            (Cause::Cpu, node.allocatable.cpu_milli.saturating_sub(node.requested.cpu_milli)),
            (Cause::Memory, node.allocatable.memory_bytes.saturating_sub(node.requested.memory_bytes)),
        ];
        for (cause, free) in free {
            let fitting = self.by_cause[cause as usize].range(..=(free, u32::MAX));
            classes.extend(fitting.map(|(_, class)| *class));
        }
        self.any(&[Cause::Amounts], classes);
    }

    /// Asks the rules about a node; classes that name it are asked in any case.
    fn ask(&mut self, mut classes: BTreeSet<u32>, node: &NodeInfo, woken: &mut Woken) {
        classes.extend(self.named.get(&node.name).into_iter().flatten());
        for id in classes {
            // One that was asked before may have become one with this class.
            let Some(class) = self.classes.get(id) else { continue };
            let verdict = check(&class.needs, node);
            if verdict.fits() {
                self.wake_class(id, woken);
            } else {
                self.refused(id, verdict);
            }
        }
    }

    /// A rule refuses a class somewhere, be it for a new cause or not.
    fn refused(&mut self, id: u32, verdict: Verdict) {
        let Some(cause) = Cause::of(verdict).filter(|cause| !self.classes[id].causes.has(*cause)) else {
            return;
        };
        self.unfile(id);
        let class = &mut self.classes[id];
        class.causes = class.causes.with(cause);
        let key = (Arc::clone(&class.needs), class.causes);
        let Some(other) = self.by_needs.get(&key).copied() else {
            self.by_needs.insert(key, id);
            return self.file(id);
        };
        let (from, to) = if class.groups.len() > self.classes[other].groups.len() {
            self.unfile(other);
            self.by_needs.insert(key, id);
            self.file(id);
            (other, id)
        } else {
            (id, other)
        };
        for group in self.classes.remove(from).groups {
            self.groups[group].class = to;
            self.classes[to].groups.insert(group);
        }
    }

    /// Groups that these additions and removals may help.
    fn listening(&self, other: &Identity, helps: impl Fn(&Shape, Causes) -> bool) -> Vec<u32> {
        let heard = self.listeners.of(other).into_iter();
        heard.filter(|group| helps(&self.groups[*group].shape, self.causes(*group))).collect()
    }

    fn wake_by(&mut self, causes: &[Cause], woken: &mut Woken) {
        let mut classes = BTreeSet::new();
        self.any(causes, &mut classes);
        classes.into_iter().for_each(|class| self.wake_class(class, woken));
    }

    fn wake_class(&mut self, class: u32, woken: &mut Woken) {
        let groups: Vec<u32> = self.classes[class].groups.iter().copied().collect();
        woken.extend(self.wake(groups));
    }

    fn wake(&mut self, groups: Vec<u32>) -> Woken {
        let groups: HashSet<u32> = groups.into_iter().collect();
        groups.into_iter().flat_map(|group| self.forget(group)).collect()
    }

    /// The pods it had.
    fn forget(&mut self, group: u32) -> HashSet<Arc<str>> {
        self.detach(group);
        let gone = self.groups.remove(group);
        self.by_shape.remove(&gone.shape);
        gone.pods
    }

    fn attach(&mut self, group: u32, causes: Causes) {
        let needs = Arc::clone(&self.groups[group].shape.needs);
        let key = (Arc::clone(&needs), causes);
        let class = match self.by_needs.get(&key) {
            Some(class) => *class,
            None => {
                let class = self.classes.insert(Class { needs, causes, groups: HashSet::new() });
                self.by_needs.insert(key, class);
                self.file(class);
                class
            }
        };
        self.classes[class].groups.insert(group);
        self.groups[group].class = class;
        let shape = &self.groups[group].shape;
        for claim in shape.claims.iter().flat_map(|claims| claims.iter()) {
            let key = Key::new(&shape.identity.namespace, &claim.name);
            self.by_claim.entry(key).or_default().insert(group);
        }
        self.listeners.add(group, shape, causes);
    }

    fn detach(&mut self, group: u32) {
        let class = self.groups[group].class;
        let shape = &self.groups[group].shape;
        for claim in shape.claims.iter().flat_map(|claims| claims.iter()) {
            let key = Key::new(&shape.identity.namespace, &claim.name);
            if let Some(groups) = self.by_claim.get_mut(&key) {
                groups.remove(&group);
                if groups.is_empty() {
                    self.by_claim.remove(&key);
                }
            }
        }
        self.listeners.remove(group, shape, self.classes[class].causes);
        self.classes[class].groups.remove(&group);
        if self.classes[class].groups.is_empty() {
            self.unfile(class);
            self.classes.remove(class);
        }
    }

    /// Has a class found by its causes and names.
    fn file(&mut self, id: u32) {
        let Class { needs, causes, .. } = &self.classes[id];
        let names = needs.only_nodes();
        for cause in causes.iter().filter(|cause| names.is_none() || cause.is_social()) {
            self.by_cause[cause as usize].insert((amount(needs, cause), id));
        }
        if names.is_none() {
            self.anywhere.insert(id);
        }
        for name in names.into_iter().flatten() {
            self.named.entry(Arc::from(name)).or_default().insert(id);
        }
    }

    fn unfile(&mut self, id: u32) {
        let Class { needs, causes, .. } = &self.classes[id];
        for cause in causes.iter() {
            self.by_cause[cause as usize].remove(&(amount(needs, cause), id));
        }
        for name in needs.only_nodes().into_iter().flatten() {
            if let Some(classes) = self.named.get_mut(name) {
                classes.remove(&id);
                if classes.is_empty() {
                    self.named.remove(name);
                }
            }
        }
        self.anywhere.remove(&id);
        self.by_needs.remove(&(Arc::clone(needs), *causes));
    }
}

/// How much is requested of the resource that is short.
fn amount(needs: &Needs, cause: Cause) -> i64 {
    match cause {
        Cause::Cpu => needs.requests.cpu_milli,
        Cause::Memory => needs.requests.memory_bytes,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
