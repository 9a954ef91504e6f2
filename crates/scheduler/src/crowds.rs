//! [`Crowds`]: how many pods of each group are at each place, updated as pods, nodes and namespaces are added and
//! removed.
//!
//! A group is the set of pods that a wish selects. The group's figures count, by place, its members, and the pods
//! whose wishes select the group. Decisions look these figures up; placed pods are counted only once, when a wish
//! appears that no pod had before.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::figure::Figure;
use crate::node::NodeInfo;
use crate::pool::Slab;
use crate::relations::{Audience, Constraint, Identity, Labels, Namespaces, Scope, Wishes};
use crate::topology::{NOWHERE, Topology};

/// How many different wishes of waiting pods have their figures kept; the one that was asked for least lately goes.
const INTERESTS: usize = 1024;

/// Which pods a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// The pods of the group.
    Members,
    /// Pods that must not be near to the group.
    Repel,
    /// Pods that must be near to the group.
    Require,
    /// Pods that prefer to be near to the group, by weight.
    Attract,
}

type FigureKey = (u32, u32, Kind);

#[derive(Debug)]
struct Held {
    figure: Figure,
    key: FigureKey,
    users: u32,
}

#[derive(Debug)]
struct Group {
    /// The audiences of the group; a member is a pod that all of them select.
    who: Vec<Audience>,
    users: u32,
    figures: [Vec<u32>; 4],
    /// The placed identities that belong to it.
    members: HashSet<u32>,
}

/// Where the pods of one identity are.
#[derive(Debug)]
struct Presence {
    identity: Arc<Identity>,
    groups: Vec<u32>,
    /// How many pods, by node; sorted.
    at: Vec<(u32, u32)>,
}

/// A number for each place of a scope.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'c> {
    pub scope: u32,
    pub figure: &'c Figure,
}

/// The figures for the wishes of a waiting pod, in the order of the wishes.
#[derive(Debug, Default)]
struct Interest {
    figures: Vec<u32>,
    used: u64,
}

/// The figures to which the wishes of placed pods add.
#[derive(Debug, Default)]
struct Owned {
    figures: Vec<(u32, i64)>,
    pods: u32,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Crowds {
    namespaces: Namespaces,
    pub topology: Topology,
    figures: Slab<Held>,
    figure_ids: HashMap<FigureKey, u32>,
    groups: Slab<Group>,
    group_ids: HashMap<Vec<Audience>, u32>,
    /// Groups whose pods all have one label in common, by the hash of a namespace and that label.
    by_label: HashMap<u64, Vec<u32>>,
    /// The other groups.
    unlabelled: Vec<u32>,
    presences: Slab<Presence>,
    presence_ids: HashMap<Arc<Identity>, u32>,
    by_namespace: HashMap<Arc<str>, HashSet<u32>>,
    owned: HashMap<Arc<Wishes>, Owned>,
    interests: HashMap<Arc<Wishes>, Interest>,
    asked: u64,
}

impl Crowds {
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// A pod is placed. Returns the number of its identity's presence, for [`Crowds::went`].
    pub fn came(
        &mut self,
        slot: u32,
        identity: &Arc<Identity>,
        wishes: Option<&Arc<Wishes>>,
        nodes: &[NodeInfo],
    ) -> u32 {
        let id = self.presence(identity);
        let at = &mut self.presences[id].at;
        match at.binary_search_by_key(&slot, |(held, _)| *held) {
            Ok(found) => at[found].1 += 1,
            Err(place) => at.insert(place, (slot, 1)),
        }
        self.count(id, slot, 1);
        if let Some(wishes) = wishes.filter(|wishes| wishes.has_terms()) {
            self.own(wishes, nodes);
            self.weigh(wishes, slot, 1);
        }
        id
    }

    /// Removes a pod that was added with [`Crowds::came`].
    pub fn went(&mut self, slot: u32, id: u32, wishes: Option<&Arc<Wishes>>) {
        self.count(id, slot, -1);
        let at = &mut self.presences[id].at;
        if let Ok(found) = at.binary_search_by_key(&slot, |(held, _)| *held) {
            at[found].1 -= 1;
            if at[found].1 == 0 {
                at.remove(found);
            }
        }
        if self.presences[id].at.is_empty() {
            self.forget(id);
        }
        if let Some(wishes) = wishes.filter(|wishes| wishes.has_terms()) {
            self.weigh(wishes, slot, -1);
            self.disown(wishes);
        }
    }

    fn forget(&mut self, id: u32) {
        let gone = self.presences.remove(id);
        self.presence_ids.remove(&gone.identity);
        for group in gone.groups {
            self.groups[group].members.remove(&id);
        }
        if let Some(ids) = self.by_namespace.get_mut(&gone.identity.namespace) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_namespace.remove(&gone.identity.namespace);
            }
        }
    }

    /// A node came, changed or went.
    pub fn node_changed(&mut self, slot: u32, node: &NodeInfo) {
        let moves = self.topology.node_changed(slot as usize, node);
        if node.pods == 0 {
            return;
        }
        for change in moves {
            for (_, held) in self.figures.iter_mut().filter(|(_, held)| held.key.1 == change.scope) {
                held.figure.moved(slot, change.from, change.to);
            }
        }
    }

    /// A namespace has these labels now, or is gone. Whether that is a change.
    pub fn set_namespace(&mut self, name: &str, labels: Option<Labels>) -> bool {
        if self.namespaces.get(name) == labels.as_ref() {
            return false;
        }
        match labels {
            Some(labels) => drop(self.namespaces.insert(Arc::from(name), labels)),
            None => drop(self.namespaces.remove(name)),
        }
        let ids: Vec<u32> = self.by_namespace.get(name).into_iter().flatten().copied().collect();
        let by_labels = |group: &Group| group.who.iter().any(Audience::selects_namespaces);
        let groups: Vec<u32> = self.groups.iter().filter(|(_, g)| by_labels(g)).map(|(id, _)| id).collect();
        for group in groups {
            for &id in &ids {
                let is = self.means(&self.groups[group].who, &self.presences[id].identity);
                if is && self.groups[group].members.insert(id) {
                    self.presences[id].groups.push(group);
                    self.count_all(group, id, 1);
                } else if !is && self.groups[group].members.remove(&id) {
                    self.presences[id].groups.retain(|held| *held != group);
                    self.count_all(group, id, -1);
                }
            }
        }
        true
    }

    fn count_all(&mut self, group: u32, id: u32, sign: i64) {
        for figure in self.groups[group].figures[Kind::Members as usize].clone() {
            self.count_in(figure, id, sign);
        }
    }

    fn count_in(&mut self, figure: u32, id: u32, sign: i64) {
        let Held { figure, key: (_, scope, _), .. } = &mut self.figures[figure];
        for (slot, pods) in &self.presences[id].at {
            figure.add(*slot, self.topology.counted(*scope, *slot as usize), sign * i64::from(*pods));
        }
    }

    fn presence(&mut self, identity: &Arc<Identity>) -> u32 {
        if let Some(id) = self.presence_ids.get(identity) {
            return *id;
        }
        let groups = self.groups_of(identity);
        let presence = Presence { identity: Arc::clone(identity), groups: groups.clone(), at: Vec::new() };
        let id = self.presences.insert(presence);
        for group in groups {
            self.groups[group].members.insert(id);
        }
        self.presence_ids.insert(Arc::clone(identity), id);
        self.by_namespace.entry(Arc::clone(&identity.namespace)).or_default().insert(id);
        id
    }

    fn count(&mut self, id: u32, slot: u32, amount: i64) {
        for group in &self.presences[id].groups {
            for figure in &self.groups[*group].figures[Kind::Members as usize] {
                let Held { figure, key: (_, scope, _), .. } = &mut self.figures[*figure];
                figure.add(slot, self.topology.counted(*scope, slot as usize), amount);
            }
        }
    }

    /// Adds one pod with these wishes to the figures of the groups that the wishes select, or removes one.
    fn weigh(&mut self, wishes: &Arc<Wishes>, slot: u32, sign: i64) {
        let Some(owned) = self.owned.get(wishes) else { return };
        for (figure, weight) in &owned.figures {
            let Held { figure, key: (_, scope, _), .. } = &mut self.figures[*figure];
            figure.add(slot, self.topology.counted(*scope, slot as usize), sign * weight);
        }
    }

    fn own(&mut self, wishes: &Arc<Wishes>, nodes: &[NodeInfo]) {
        if let Some(owned) = self.owned.get_mut(wishes) {
            owned.pods += 1;
            return;
        }
        let required = wishes.near.iter().map(|term| (term, Kind::Require, 1));
        let preferred = wishes.preferred.iter().map(|(weight, term)| (term, Kind::Attract, *weight));
        let apart = wishes.apart.iter().map(|term| (term, Kind::Repel, 1));
        let mut figures = Vec::new();
        for (term, kind, weight) in required.chain(preferred).chain(apart) {
            let scope = Scope::everywhere(&term.topology_key);
            figures.push((self.hold(vec![term.audience.clone()], &scope, kind, nodes), weight));
        }
        self.owned.insert(Arc::clone(wishes), Owned { figures, pods: 1 });
    }

    fn disown(&mut self, wishes: &Arc<Wishes>) {
        let Some(owned) = self.owned.get_mut(wishes) else { return };
        owned.pods -= 1;
        if owned.pods == 0 {
            for (figure, _) in std::mem::take(&mut owned.figures) {
                self.release(figure);
            }
            self.owned.remove(wishes);
        }
    }

    /// A figure that is kept until [`Crowds::release`].
    fn hold(&mut self, who: Vec<Audience>, scope: &Scope, kind: Kind, nodes: &[NodeInfo]) -> u32 {
        let (group, scope) = (self.group(who), self.topology.hold(scope, nodes));
        let key = (group, scope, kind);
        if let Some(id) = self.figure_ids.get(&key).copied() {
            self.figures[id].users += 1;
            self.topology.release(scope);
            return id;
        }
        let id = self.figures.insert(Held { figure: Figure::default(), key, users: 1 });
        self.figure_ids.insert(key, id);
        self.groups[group].users += 1;
        self.groups[group].figures[kind as usize].push(id);
        if kind == Kind::Members {
            let members: Vec<u32> = self.groups[group].members.iter().copied().collect();
            for member in members {
                self.count_in(id, member, 1);
            }
        }
        id
    }

    fn release(&mut self, id: u32) {
        self.figures[id].users -= 1;
        if self.figures[id].users > 0 {
            return;
        }
        let (group, scope, kind) = self.figures.remove(id).key;
        self.figure_ids.remove(&(group, scope, kind));
        self.topology.release(scope);
        self.groups[group].figures[kind as usize].retain(|held| *held != id);
        self.groups[group].users -= 1;
        if self.groups[group].users > 0 {
            return;
        }
        let gone = self.groups.remove(group);
        self.group_ids.remove(&gone.who);
        for member in gone.members {
            self.presences[member].groups.retain(|held| *held != group);
        }
        self.unlabelled.retain(|held| *held != group);
        for key in label_keys(&gone.who).unwrap_or_default() {
            if let Some(groups) = self.by_label.get_mut(&key) {
                groups.retain(|held| *held != group);
                if groups.is_empty() {
                    self.by_label.remove(&key);
                }
            }
        }
    }

    /// The group of pods that all of `who` mean; it goes with its last figure.
    fn group(&mut self, who: Vec<Audience>) -> u32 {
        if let Some(id) = self.group_ids.get(&who) {
            return *id;
        }
        let named = who.iter().find(|audience| !audience.selects_namespaces());
        let present: Vec<u32> = match named {
            Some(audience) => {
                let namespaces = audience.namespaces.iter().filter_map(|name| self.by_namespace.get(name));
                namespaces.flatten().copied().collect()
            }
            None => self.presences.iter().map(|(id, _)| id).collect(),
        };
        let meant = present.into_iter().filter(|id| self.means(&who, &self.presences[*id].identity));
        let members: HashSet<u32> = meant.collect();
        let keys = label_keys(&who);
        let group = Group { who: who.clone(), users: 0, figures: Default::default(), members };
        let id = self.groups.insert(group);
        for member in &self.groups[id].members {
            self.presences[*member].groups.push(id);
        }
        match keys {
            Some(keys) => keys.into_iter().for_each(|key| self.by_label.entry(key).or_default().push(id)),
            None => self.unlabelled.push(id),
        }
        self.group_ids.insert(who, id);
        id
    }

    fn means(&self, who: &[Audience], identity: &Identity) -> bool {
        who.iter().all(|audience| audience.means(identity, &self.namespaces))
    }

    /// The groups that a pod belongs to, or would belong to.
    fn groups_of(&self, identity: &Arc<Identity>) -> Vec<u32> {
        if let Some(id) = self.presence_ids.get(identity) {
            return self.presences[*id].groups.clone();
        }
        let labelled = identity.label_keys().filter_map(|key| self.by_label.get(&key)).flatten();
        let mut groups: Vec<u32> = labelled.chain(&self.unlabelled).copied().collect();
        groups.sort_unstable();
        groups.dedup();
        groups.retain(|group| self.means(&self.groups[*group].who, identity));
        groups
    }

    fn sights(&self, identity: &Arc<Identity>, kind: Kind) -> Vec<Sight<'_>> {
        let groups = self.groups_of(identity);
        let figures = groups.iter().flat_map(|group| &self.groups[*group].figures[kind as usize]);
        figures.map(|figure| self.sight(*figure)).collect()
    }

    fn sight(&self, figure: u32) -> Sight<'_> {
        let held = &self.figures[figure];
        Sight { scope: held.key.1, figure: &held.figure }
    }

    /// The places of pods that must not be near to a pod of this identity.
    pub fn repelling(&self, identity: &Arc<Identity>) -> Vec<Sight<'_>> {
        self.sights(identity, Kind::Repel)
    }

    /// The places of pods that must be near to a pod of this identity.
    pub fn requiring(&self, identity: &Arc<Identity>) -> Vec<Sight<'_>> {
        self.sights(identity, Kind::Require)
    }

    /// The places of pods that prefer to be near to a pod of this identity, by weight.
    pub fn attracting(&self, identity: &Arc<Identity>) -> Vec<Sight<'_>> {
        self.sights(identity, Kind::Attract)
    }

    /// Has the figures for these wishes kept from now on, until others are asked for more.
    pub fn attend(&mut self, wishes: &Arc<Wishes>, nodes: &[NodeInfo]) {
        self.asked += 1;
        if let Some(interest) = self.interests.get_mut(wishes) {
            interest.used = self.asked;
            return;
        }
        if self.interests.len() >= INTERESTS
            && let Some(oldest) = self.interests.iter().min_by_key(|(_, interest)| interest.used)
        {
            let oldest = Arc::clone(oldest.0);
            for figure in self.interests.remove(&oldest).unwrap_or_default().figures {
                self.release(figure);
            }
        }
        let everyone_near: Vec<Audience> = wishes.near.iter().map(|term| term.audience.clone()).collect();
        let near = wishes.near.iter().map(|t| (everyone_near.clone(), Scope::everywhere(&t.topology_key)));
        let terms = wishes.apart.iter().chain(wishes.preferred.iter().map(|(_, term)| term));
        let terms = terms.map(|t| (vec![t.audience.clone()], Scope::everywhere(&t.topology_key)));
        let constraints = wishes.even.iter().chain(&wishes.rather_even);
        let constraints = constraints.map(|c| (vec![c.audience.clone()], c.scope.clone()));
        let figures = near.chain(terms).chain(constraints);
        let figures = figures.map(|(who, scope)| self.hold(who, &scope, Kind::Members, nodes)).collect();
        self.interests.insert(Arc::clone(wishes), Interest { figures, used: self.asked });
    }

    /// The figures for wishes that are attended to, in this order: near, apart, preferred, even, rather even.
    pub fn attended(&self, wishes: &Arc<Wishes>) -> Vec<Sight<'_>> {
        let interest = self.interests.get(wishes);
        interest.into_iter().flat_map(|i| &i.figures).map(|figure| self.sight(*figure)).collect()
    }

    /// Whether, with a pod gone from node `slot`, none is left there of those that a wish means. `wish` is its number in
    /// the order of [`Crowds::attended`]. Wishes that are not attended to may have become free.
    pub fn is_freed(&self, wishes: &Arc<Wishes>, wish: usize, slot: u32) -> bool {
        self.interests.get(wishes).is_none_or(|interest| {
            let sight = self.sight(interest.figures[wish]);
            let place = self.topology.place(sight.scope, slot as usize);
            place != NOWHERE && sight.figure.at(place) == 0
        })
    }

    /// Whether no pod exists that the wishes require near by; also true if the wishes are not attended to, because it
    /// is then unknown.
    pub fn is_nobody_near(&self, wishes: &Arc<Wishes>) -> bool {
        self.interests.get(wishes).is_none_or(|interest| {
            let mut near = interest.figures.iter().take(wishes.near.len());
            near.all(|figure| self.sight(*figure).figure.is_empty())
        })
    }

    /// Whether a pod of this identity is selected by its own required affinity.
    pub fn is_near_itself(&self, wishes: &Wishes, identity: &Identity) -> bool {
        wishes.near.iter().all(|term| term.audience.means(identity, &self.namespaces))
    }

    /// Whether a pod of this identity counts for its own constraint.
    pub fn counts_itself(&self, constraint: &Constraint, identity: &Identity) -> bool {
        constraint.audience.means(identity, &self.namespaces)
    }
}

/// Under which labels a group is found; `None` where its pods have none in common.
fn label_keys(who: &[Audience]) -> Option<Vec<u64>> {
    who.iter().find_map(Audience::label_keys)
}
