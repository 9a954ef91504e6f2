//! [`Listeners`]: the waiting groups that additions and removals of other pods may help, found by the labels of those
//! pods.

use std::collections::{BTreeSet, HashMap};

use crate::causes::{Cause, Causes};
use crate::pod::Shape;
use crate::relations::{Audience, Identity};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// By the hash of a namespace and a label which all pods of an audience have.
    by_label: HashMap<u64, BTreeSet<u32>>,
    /// Those with an audience whose pods have no label in common.
    to_all: BTreeSet<u32>,
}

impl Listeners {
    pub fn add(&mut self, group: u32, shape: &Shape, causes: Causes) {
        for audience in audiences(shape, causes) {
            let Some(keys) = audience.label_keys() else {
                self.to_all.insert(group);
                continue;
            };
            for key in keys {
                self.by_label.entry(key).or_default().insert(group);
            }
        }
    }

    /// `shape` and `causes` are those it was added with, or with more causes about single nodes.
    pub fn remove(&mut self, group: u32, shape: &Shape, causes: Causes) {
        for audience in audiences(shape, causes) {
            for key in audience.label_keys().into_iter().flatten() {
                if let Some(groups) = self.by_label.get_mut(&key) {
                    groups.remove(&group);
                    if groups.is_empty() {
                        self.by_label.remove(&key);
                    }
                }
            }
        }
        self.to_all.remove(&group);
    }

    /// Groups whose audiences may select a pod of this identity.
    pub fn of(&self, other: &Identity) -> BTreeSet<u32> {
        let labelled = other.label_keys().filter_map(|key| self.by_label.get(&key)).flatten();
        labelled.chain(&self.to_all).copied().collect()
    }
}

/// The audiences of a group's wishes that matter while the group waits for these causes.
fn audiences(shape: &Shape, causes: Causes) -> impl Iterator<Item = &Audience> {
    let wishes = || shape.wishes.as_deref().into_iter();
    let near = wishes().flat_map(|wishes| &wishes.near).filter(move |_| causes.has(Cause::Near));
    let apart = wishes().flat_map(|wishes| &wishes.apart).filter(move |_| causes.has(Cause::Apart));
    let even = wishes().flat_map(|wishes| &wishes.even).filter(move |_| causes.has(Cause::Spread));
    near.chain(apart).map(|term| &term.audience).chain(even.map(|constraint| &constraint.audience))
}
