//! [`Selecting`]: which workloads select an object, found by the object's labels.

use api::selector::LabelSelector;
use informer::{Cache, Cached, Index, Key, Kind};

use crate::orphans::{exact, labelled};

/// Workloads by a label that their selector demands; those whose selector demands no single one, by namespace.
pub(crate) struct Selecting<W> {
    workloads: Cache<W>,
    index: Index<W>,
    selector: fn(&W) -> Option<LabelSelector>,
}

impl<W: Kind> Selecting<W> {
    pub fn new(workloads: &Cache<W>, selector: fn(&W) -> Option<LabelSelector>) -> Self {
        let index = workloads.index("selects", move |workload, found| {
            let Some(selector) = workload.typed().and_then(|workload| selector(workload)) else { return };
            match selector.requirements().iter().find_map(exact) {
                Some((key, value)) => found(&labelled(workload.namespace(), key, value)),
                None => found(workload.namespace()),
            }
        });
        Self { workloads: workloads.clone(), index, selector }
    }

    /// The workloads of the object's namespace whose selector picks it.
    pub fn of<K: Kind>(&self, object: &Cached<K>) -> Vec<Key> {
        let namespace = object.namespace();
        let mut keys = self.index.keys(namespace);
        for (key, value) in object.labels.iter() {
            keys.extend(self.index.keys(&labelled(namespace, key, value)));
        }
        let selects = |key: &Key| {
            let selector = self.workloads.get_key(key).and_then(|workload| (self.selector)(&workload));
            selector.is_some_and(|selector| selector.matches(|key| object.label(key)))
        };
        keys.retain(selects);
        keys
    }
}
