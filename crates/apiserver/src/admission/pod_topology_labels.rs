//! A pod gets the zone and region of its node as labels, so that it can read them about itself (KEP-4742).
//!
//! Upstream: `plugin/pkg/admission/podtopologylabels`.

use api::{Error, Object};

use super::plugin::{Immediate, Operation, Review};
use crate::cache::lookup::Lookup;

const LABELS: [&str; 2] = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

/// The plugin `PodTopologyLabels`.
pub struct PodTopologyLabels {
    lookup: Lookup,
}

impl PodTopologyLabels {
    pub fn new(lookup: Lookup) -> Self {
        Self { lookup }
    }
}

impl Immediate for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }

    fn change(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        let concerned = review.operation == Operation::Create && review.is_about("", "pods");
        let Some(object) = object.filter(|_| concerned) else { return Ok(()) };
        // The labels of a binding are handed to the pod that is bound.
        let node = match review.attributes.subresource.as_str() {
            "" => object.str_at(&["spec", "nodeName"]),
            "binding" if object.str_at(&["target", "kind"]) == Some("Node") => {
                object.str_at(&["target", "name"])
            }
            _ => None,
        };
        // A node that is not there yet has no place.
        let node = node.filter(|node| !node.is_empty());
        let Some(node) = node.and_then(|node| self.lookup.entry("", "nodes", "", node)) else {
            return Ok(());
        };
        for label in LABELS {
            if let Some(value) = node.label(label) {
                object.set_at(&["metadata", "labels", label], value.into());
            }
        }
        Ok(())
    }
}
