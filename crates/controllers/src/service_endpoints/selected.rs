//! [`Selected`]: which pods a Service or a budget selects, found by the labels that it selects by.

use std::collections::BTreeMap;

use api::selector::LabelSelector;
use informer::{Cache, Cached, Index};
use k8s_openapi::api::core::v1::Pod;

use crate::orphans::{exact, labelled};

/// Pods by each of their labels.
pub(crate) struct Selected {
    pods: Cache<Pod>,
    labelled: Index<Pod>,
}

impl Selected {
    pub fn new(pods: &Cache<Pod>) -> Self {
        let labelled = pods.index("label", |pod, found| {
            for (key, value) in pod.labels.iter() {
                found(&labelled(pod.namespace(), key, value));
            }
        });
        Self { pods: pods.clone(), labelled }
    }

    /// The pods of the namespace that have all the labels, in the order of their names; none where no label is
    /// demanded.
    pub fn by(&self, namespace: &str, selector: &BTreeMap<String, String>) -> Vec<Cached<Pod>> {
        let demanded = selector.iter().map(|(key, value)| labelled(namespace, key, value));
        // The rarest label leaves the fewest pods to look at.
        let Some(rarest) = demanded.min_by_key(|label| self.labelled.count(label)) else { return Vec::new() };
        let mut pods = self.labelled.get(&rarest);
        pods.retain(|pod| selector.iter().all(|(key, value)| pod.label(key) == Some(value)));
        pods
    }

    /// The pods of the namespace that the selector picks, in the order of their names; those with the rarest label that
    /// the selector demands are looked at, or without one all of the namespace.
    pub fn matching(&self, namespace: &str, selector: &LabelSelector) -> Vec<Cached<Pod>> {
        if selector.is_nothing() {
            return Vec::new();
        }
        let demanded = selector.requirements().iter().filter_map(exact);
        let demanded = demanded.map(|(key, value)| labelled(namespace, key, value));
        let mut pods = match demanded.min_by_key(|label| self.labelled.count(label)) {
            Some(rarest) => self.labelled.get(&rarest),
            None => self.pods.named_like(namespace, ""),
        };
        pods.retain(|pod| selector.matches(|key| pod.label(key)));
        pods
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_are_found_by_all_labels_of_a_selector() {
        let cache = Cache::<Pod>::new();
        let selected = Selected::new(&cache);
        for (namespace, name, labels) in [
            ("d", "a", json!({"app": "x", "tier": "1"})),
            ("d", "b", json!({"app": "x"})),
            ("d", "c", json!({"tier": "1"})),
            ("e", "d", json!({"app": "x", "tier": "1"})),
        ] {
            let meta = json!({"namespace": namespace, "name": name, "labels": labels});
            cache.apply(serde_json::from_value(json!({"metadata": meta})).expect("a pod"));
        }
        let found = |selector: &[(&str, &str)]| -> Vec<String> {
            let selector =
                selector.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            selected.by("d", &selector).iter().map(|pod| pod.name().to_owned()).collect()
        };
        assert_eq!(found(&[("app", "x")]), ["a", "b"]);
        assert_eq!(found(&[("app", "x"), ("tier", "1")]), ["a"]);
        assert_eq!(found(&[("app", "x"), ("tier", "2")]), Vec::<String>::new());
        assert_eq!(found(&[]), Vec::<String>::new());

        let matching = |selector: &str| -> Vec<String> {
            let selector = LabelSelector::parse(selector).expect("a selector");
            selected.matching("d", &selector).iter().map(|pod| pod.name().to_owned()).collect()
        };
        assert_eq!(matching("app=x,!tier"), ["b"]);
        assert_eq!(matching("tier"), ["a", "c"]);
        assert_eq!(matching(""), ["a", "b", "c"]);
        assert!(selected.matching("d", &LabelSelector::nothing()).is_empty());
    }
}
