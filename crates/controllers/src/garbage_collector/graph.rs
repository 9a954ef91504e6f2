//! [`Graph`]: every object that is, or is said to be, an owner or a dependent, by uid.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use base::Sparse;
use informer::Meta;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use resources::{KindTable, Resource};

/// The finalizer of objects that wait for their dependents' end.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of objects whose dependents are to be set free.
pub(super) const ORPHAN: &str = "orphan";

pub(super) type Uid = Arc<str>;

/// A task for the collector's loop.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Work {
    /// Whether the object should go, or has to wait no longer.
    Check(Uid),
    /// Orphan the object's dependents.
    Orphan(Uid),
    /// Kinds may have been added or removed.
    Kinds,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check(uid) => write!(f, "check {uid}"),
            Self::Orphan(uid) => write!(f, "orphan dependents of {uid}"),
            Self::Kinds => f.write_str("kinds"),
        }
    }
}

/// A finding about an object's owner references, to be recorded as an event.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct InvalidReference {
    pub dependent: Identity,
    pub owner: OwnerReference,
}

/// An object's kind, namespace, name and uid.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub row: Arc<Resource>,
    /// Empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub uid: Uid,
}

impl Identity {
    /// Whether both are of one kind, namespace and name, whatever their uids.
    fn is_at(&self, other: &Self) -> bool {
        self.row.group == other.row.group
            && self.row.kind == other.row.kind
            && self.namespace == other.namespace
            && self.name == other.name
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.uid == other.uid && self.namespace == other.namespace && self.name == other.name
    }
}

impl Eq for Identity {}

/// One owner reference, as far as the graph needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edge {
    owner: Uid,
    /// The owner's foreground deletion waits for this dependent.
    blocks: bool,
}

#[derive(Debug)]
struct Node {
    identity: Identity,
    edges: Vec<Edge>,
    dependents: HashSet<Uid>,
    being_deleted: bool,
    /// In foreground deletion: the object waits for its dependents.
    waits: bool,
    /// Named as an owner, but not seen yet.
    is_virtual: bool,
}

/// What the graph knows about an object to look at.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub identity: Identity,
    pub being_deleted: bool,
    pub waits: bool,
    pub dependents: Vec<Dependent>,
}

#[derive(Debug, Clone)]
pub(super) struct Dependent {
    pub identity: Identity,
    /// The owner's foreground deletion waits for it.
    pub blocks: bool,
    /// It is in foreground deletion itself.
    pub waits: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<Uid, Node>,
    /// Objects with owners of a kind that is not known (yet).
    unresolved: HashSet<Uid>,
}

/// The tasks and findings that follow from a change.
#[derive(Debug, Default)]
pub(super) struct News {
    pub work: Vec<Work>,
    pub invalid: Vec<InvalidReference>,
}

impl Graph {
    /// An object was seen, new or changed.
    pub fn seen(&mut self, table: &KindTable, row: &Arc<Resource>, meta: &Meta) -> News {
        let mut news = News::default();
        if meta.uid.is_empty() {
            return news;
        }
        let uid = meta.uid.clone();
        let identity = Identity {
            row: row.clone(),
            namespace: meta.key.namespace.clone(),
            name: meta.key.name.clone(),
            uid: uid.clone(),
        };
        let edges: Vec<Edge> = meta
            .owners
            .iter()
            .map(|r| Edge { owner: r.uid.clone(), blocks: r.block_owner_deletion == Some(true) })
            .collect();
        // Who named another object than the one that was seen is looked at: its reference reads as absent.
        let named = self.nodes.get(&uid).filter(|node| node.is_virtual);
        if let Some(node) = named.filter(|node| !node.identity.is_at(&identity)) {
            news.work.extend(node.dependents.iter().cloned().map(Work::Check));
        }
        let before = self.put(identity.clone(), edges.clone());
        if before != edges {
            self.unlink(&uid, &before, &edges, &mut news);
            for owner in meta.owners.iter() {
                self.link(table, &identity, &reference(owner), &mut news);
            }
        }
        self.note_deletion(&uid, meta, &mut news);
        news
    }

    /// Makes or updates the graph's node for the object; returns the node's previous edges.
    fn put(&mut self, identity: Identity, edges: Vec<Edge>) -> Vec<Edge> {
        let node = self.nodes.entry(identity.uid.clone()).or_insert_with(|| Node {
            identity: identity.clone(),
            edges: Vec::new(),
            dependents: HashSet::new(),
            being_deleted: false,
            waits: false,
            is_virtual: false,
        });
        node.identity = identity;
        node.is_virtual = false;
        std::mem::replace(&mut node.edges, edges)
    }

    /// Owners no longer named, or no longer blocked, may have waited for this dependent.
    fn unlink(&mut self, uid: &Uid, before: &[Edge], after: &[Edge], news: &mut News) {
        for edge in before {
            let now = after.iter().find(|e| e.owner == edge.owner);
            let Some(owner) = self.nodes.get_mut(&edge.owner) else { continue };
            if now.is_none() {
                owner.dependents.remove(uid);
            }
            if owner.waits && edge.blocks && now.is_none_or(|e| !e.blocks) {
                news.work.push(Work::Check(edge.owner.clone()));
            }
            if owner.is_virtual && owner.dependents.is_empty() {
                self.nodes.remove(&edge.owner);
            }
        }
    }

    fn link(&mut self, table: &KindTable, dependent: &Identity, reference: &OwnerReference, news: &mut News) {
        let uid = Uid::from(reference.uid.as_str());
        let Some(row) = row_of(table, reference) else {
            self.unresolved.insert(dependent.uid.clone());
            return;
        };
        let namespace = if row.namespaced() { dependent.namespace.clone() } else { "".into() };
        if row.namespaced() && dependent.namespace.is_empty() {
            return news
                .invalid
                .push(InvalidReference { dependent: dependent.clone(), owner: reference.clone() });
        }
        let named = Identity { row, namespace, name: reference.name.as_str().into(), uid: uid.clone() };
        let owner = self.nodes.entry(uid.clone()).or_insert_with(|| {
            news.work.push(Work::Check(uid.clone()));
            Node {
                identity: named.clone(),
                edges: Vec::new(),
                dependents: HashSet::new(),
                being_deleted: false,
                waits: false,
                is_virtual: true,
            }
        });
        owner.dependents.insert(dependent.uid.clone());
        if !owner.identity.is_at(&named) {
            // There is such a uid, but not where the reference says: it will read as absent. Of an owner that is
            // only named, others may be wrong as well.
            if !owner.is_virtual {
                news.invalid
                    .push(InvalidReference { dependent: dependent.clone(), owner: reference.clone() });
            }
            news.work.push(Work::Check(dependent.uid.clone()));
        } else if owner.waits || owner.being_deleted {
            news.work.push(Work::Check(dependent.uid.clone()));
        }
    }

    fn note_deletion(&mut self, uid: &Uid, meta: &Meta, news: &mut News) {
        if !meta.is_being_deleted() {
            return;
        }
        let has = |finalizer: &str| meta.finalizers.iter().any(|f| **f == *finalizer);
        let Some(node) = self.nodes.get_mut(uid) else { return };
        let was_deleted = std::mem::replace(&mut node.being_deleted, true);
        if !was_deleted && has(ORPHAN) {
            news.work.push(Work::Orphan(uid.clone()));
        }
        let waited = std::mem::replace(&mut node.waits, has(FOREGROUND));
        if node.waits && !waited {
            news.work.extend(node.dependents.iter().cloned().map(Work::Check));
            news.work.push(Work::Check(uid.clone()));
        }
    }

    /// An object is gone: its dependents may have to be deleted, and its owners may have waited for it.
    pub fn gone(&mut self, uid: &str) -> News {
        let mut news = News::default();
        self.unresolved.remove(uid);
        if let Some(node) = self.nodes.get(uid).filter(|node| node.is_virtual && !node.dependents.is_empty())
        {
            // Kept while it is named: an object of this uid may yet be seen elsewhere, and would need them.
            news.work.extend(node.dependents.iter().cloned().map(Work::Check));
            return news;
        }
        let Some(node) = self.nodes.remove(uid) else { return news };
        self.nodes.give_back();
        for edge in &node.edges {
            let Some(owner) = self.nodes.get_mut(&edge.owner) else { continue };
            owner.dependents.remove(uid);
            owner.dependents.give_back();
            if owner.waits {
                news.work.push(Work::Check(edge.owner.clone()));
            }
            if owner.is_virtual && owner.dependents.is_empty() {
                self.nodes.remove(&edge.owner);
            }
        }
        news.work.extend(node.dependents.into_iter().map(Work::Check));
        news
    }

    /// Kinds were added: objects whose references named unknown kinds are to be looked at again.
    pub fn unresolved(&self) -> Vec<Work> {
        self.unresolved.iter().cloned().map(Work::Check).collect()
    }

    /// Tries again to find the owners of an object whose references named an unknown kind.
    pub fn resolve(
        &mut self,
        table: &KindTable,
        dependent: &Identity,
        references: &[OwnerReference],
    ) -> News {
        let mut news = News::default();
        if self.unresolved.remove(&dependent.uid) {
            for reference in references {
                self.link(table, dependent, reference, &mut news);
            }
        }
        news
    }

    pub fn get(&self, uid: &str) -> Option<Known> {
        let node = self.nodes.get(uid)?;
        let dependents = node.dependents.iter().filter_map(|d| self.nodes.get(d)).map(|d| Dependent {
            identity: d.identity.clone(),
            blocks: d.edges.iter().any(|e| *e.owner == *uid && e.blocks),
            waits: d.waits,
        });
        Some(Known {
            identity: node.identity.clone(),
            being_deleted: node.being_deleted,
            waits: node.waits,
            dependents: dependents.collect(),
        })
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }
}

fn reference(owner: &informer::Owner) -> OwnerReference {
    OwnerReference {
        api_version: owner.api_version.to_string(),
        kind: owner.kind.to_string(),
        name: owner.name.to_string(),
        uid: owner.uid.to_string(),
        controller: owner.controller,
        block_owner_deletion: owner.block_owner_deletion,
    }
}

/// The row of a reference's kind: in the version it names, or in any other.
pub(super) fn row_of(table: &KindTable, reference: &OwnerReference) -> Option<Arc<Resource>> {
    let (group, version) = reference.api_version.rsplit_once('/').unwrap_or(("", &reference.api_version));
    let exact = table.by_kind(group, version, &reference.kind).cloned();
    exact.or_else(|| table.rows().find(|row| row.group == group && row.kind == *reference.kind).cloned())
}
