//! [`Selected`]: which pods a Service selects, found by the labels that it selects by.

use std::collections::BTreeMap;

use informer::{Cache, Cached, Index};
use k8s_openapi::api::core::v1::Pod;

use crate::orphans::labelled;

/// Pods by each of their labels.
pub(crate) struct Selected(Index<Pod>);

impl Selected {
    pub fn new(pods: &Cache<Pod>) -> Self {
        Self(pods.index("label", |pod, found| {
            for (key, value) in pod.labels.iter() {
                found(&labelled(pod.namespace(), key, value));
            }
        }))
    }

    /// The pods of the namespace that have all the labels, in the order of their names; none where no label is
    /// demanded.
    pub fn by(&self, namespace: &str, selector: &BTreeMap<String, String>) -> Vec<Cached<Pod>> {
        let demanded = selector.iter().map(|(key, value)| labelled(namespace, key, value));
        // The rarest label leaves the fewest pods to look at.
        let Some(rarest) = demanded.min_by_key(|label| self.0.count(label)) else { return Vec::new() };
        let mut pods = self.0.get(&rarest);
        pods.retain(|pod| selector.iter().all(|(key, value)| pod.label(key) == Some(value)));
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
    }
}
