//! [`Topology`]: the place of each node, by the labels that pods' terms name, updated as nodes change.
//!
//! A value of a label is a place, and has a number. [`NOWHERE`] is the number of no place.

use std::collections::HashMap;
use std::sync::Arc;

use crate::filters::tolerated;
use crate::node::NodeInfo;
use crate::pool::{Numbers, Slab};
use crate::relations::Scope;

/// The place of nodes that lack the label, are not there, or are outside the scope.
pub const NOWHERE: u32 = 0;

/// The values of one label.
#[derive(Debug)]
struct Column {
    key: Arc<str>,
    /// By node.
    places: Vec<u32>,
    numbers: HashMap<Arc<str>, u32>,
    /// How many nodes are in a place, and its value, by the place's number less one.
    held: Slab<(u32, Arc<str>)>,
    users: u32,
}

/// The places that one scope counts.
#[derive(Debug)]
struct Counted {
    scope: Scope,
    column: u32,
    /// By node; nodes outside the scope are nowhere.
    places: Vec<u32>,
    /// How many nodes of the scope are in each place.
    nodes: Numbers<u32>,
    users: u32,
}

/// A node that is in another place than before, in the sense of a scope.
#[derive(Debug, Clone, Copy)]
pub struct Move {
    pub scope: u32,
    pub from: u32,
    pub to: u32,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Topology {
    columns: Slab<Column>,
    by_key: HashMap<Arc<str>, u32>,
    scopes: Slab<Counted>,
    by_scope: HashMap<Scope, u32>,
}

impl Topology {
    /// The number of a scope, which is held until [`Topology::release`].
    pub fn hold(&mut self, scope: &Scope, nodes: &[NodeInfo]) -> u32 {
        if let Some(id) = self.by_scope.get(scope) {
            self.scopes[*id].users += 1;
            return *id;
        }
        let column = self.hold_column(&scope.key, nodes);
        let mut counted =
            Counted { scope: scope.clone(), column, places: Vec::new(), nodes: Numbers::default(), users: 1 };
        for (slot, node) in nodes.iter().enumerate() {
            // A position that pods have taken before their node was heard of may not be in the column yet.
            let place = self.columns[column].places.get(slot).copied().unwrap_or(NOWHERE);
            counted.put(slot, node, place);
        }
        let id = self.scopes.insert(counted);
        self.by_scope.insert(scope.clone(), id);
        id
    }

    /// Releases a number that [`Topology::hold`] returned.
    pub fn release(&mut self, id: u32) {
        self.scopes[id].users -= 1;
        if self.scopes[id].users > 0 {
            return;
        }
        let Counted { scope, column, .. } = self.scopes.remove(id);
        self.by_scope.remove(&scope);
        self.columns[column].users -= 1;
        if self.columns[column].users == 0 {
            self.by_key.remove(&self.columns.remove(column).key);
        }
    }

    fn hold_column(&mut self, key: &Arc<str>, nodes: &[NodeInfo]) -> u32 {
        if let Some(id) = self.by_key.get(key) {
            self.columns[*id].users += 1;
            return *id;
        }
        let mut column = Column {
            key: Arc::clone(key),
            places: Vec::new(),
            numbers: HashMap::new(),
            held: Slab::default(),
            users: 1,
        };
        for (slot, node) in nodes.iter().enumerate() {
            column.put(slot, node);
        }
        let id = self.columns.insert(column);
        self.by_key.insert(Arc::clone(key), id);
        id
    }

    /// A node came, changed or went. Costs as much as there are scopes, whatever the number of nodes.
    pub fn node_changed(&mut self, slot: usize, node: &NodeInfo) -> Vec<Move> {
        for (_, column) in self.columns.iter_mut() {
            column.put(slot, node);
        }
        let mut moves = Vec::new();
        for (scope, counted) in self.scopes.iter_mut() {
            let place = self.columns[counted.column].places[slot];
            let (from, to) = counted.put(slot, node, place);
            if from != to {
                moves.push(Move { scope, from, to });
            }
        }
        moves
    }

    /// The place of a node by its label, be it in the scope or not.
    pub fn place(&self, scope: u32, slot: usize) -> u32 {
        self.columns[self.scopes[scope].column].places.get(slot).copied().unwrap_or(NOWHERE)
    }

    /// The places of all nodes by the label.
    pub fn places(&self, scope: u32) -> &[u32] {
        &self.columns[self.scopes[scope].column].places
    }

    /// The place of a node where what is there counts.
    pub fn counted(&self, scope: u32, slot: usize) -> u32 {
        self.scopes[scope].places.get(slot).copied().unwrap_or(NOWHERE)
    }

    /// How many places the scope has.
    pub fn size(&self, scope: u32) -> usize {
        self.scopes[scope].nodes.len()
    }
}

impl Column {
    fn put(&mut self, slot: usize, node: &NodeInfo) {
        if self.places.len() <= slot {
            self.places.resize(slot + 1, NOWHERE);
        }
        let value = node.shared_label(&self.key).filter(|_| node.present);
        let place = match value {
            None => NOWHERE,
            Some(value) => {
                let held = &mut self.held;
                let fresh = || held.insert((0, Arc::clone(value))) + 1;
                let place = *self.numbers.entry(Arc::clone(value)).or_insert_with(fresh);
                self.held[place - 1].0 += 1;
                place
            }
        };
        let before = std::mem::replace(&mut self.places[slot], place);
        if before != NOWHERE {
            self.held[before - 1].0 -= 1;
            if self.held[before - 1].0 == 0 {
                let (_, value) = self.held.remove(before - 1);
                self.numbers.remove(&value);
            }
        }
    }
}

impl Counted {
    /// From where to where the node moved.
    fn put(&mut self, slot: usize, node: &NodeInfo, place: u32) -> (u32, u32) {
        if self.places.len() <= slot {
            self.places.resize(slot + 1, NOWHERE);
        }
        let to = if place != NOWHERE && includes(&self.scope, node) { place } else { NOWHERE };
        let from = std::mem::replace(&mut self.places[slot], to);
        if from == to {
            return (from, to);
        }
        if to != NOWHERE {
            *self.nodes.entry(to).or_insert(0) += 1;
        }
        if let Some(count) = self.nodes.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                self.nodes.remove(&from);
            }
        }
        (from, to)
    }
}

/// Whether a node, which has the scope's label, is in the scope.
fn includes(scope: &Scope, node: &NodeInfo) -> bool {
    scope.beside.iter().all(|key| node.label(key).is_some())
        && scope.nodes.matches(&node.name, |key| node.label(key))
        && scope.tolerations.as_ref().is_none_or(|tolerations| tolerated(tolerations, node))
}
