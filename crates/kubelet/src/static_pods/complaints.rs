//! What is wrong with static pods, told once to the log and as an event of the node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::{ObjectReference, Pod};

use crate::events::{Events, Severity};
use crate::origin::SOURCE_ANNOTATION;

/// Upstream's, of pods that cannot be used.
const REASON: &str = "FailedValidation";
/// An event's message has at most 1024 characters; the log has all.
const MAX_MESSAGE: usize = 900;

/// Remembers what was said of which source, so that it is said again only after it was mended.
pub struct Complaints {
    node: ObjectReference,
    events: Events,
    said: Mutex<BTreeMap<String, String>>,
    doubles: Mutex<BTreeSet<String>>,
}

impl Complaints {
    pub fn new(node: &str, events: Events) -> Self {
        let node = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            uid: Some(node.to_owned()),
            ..ObjectReference::default()
        };
        Self { node, events, said: Mutex::default(), doubles: Mutex::default() }
    }

    /// What is wrong now, by the place where it is; of other places within `within` nothing is wrong any more.
    pub fn are(&self, within: &str, wrong: BTreeMap<String, String>) {
        let mut said = self.said.lock().unwrap_or_else(|e| e.into_inner());
        said.retain(|place, _| !place.starts_with(within) || wrong.contains_key(place));
        for (place, why) in wrong {
            if said.get(&place) != Some(&why) {
                tracing::error!(manifest = place, why, "a static pod's manifest cannot be used");
                self.tell(&format!("Could not process manifest {place}: {why}"));
                said.insert(place, why);
            }
        }
    }

    /// The pods whose names others have.
    pub fn doubles(&self, pods: &[Arc<Pod>]) {
        let mut said = self.doubles.lock().unwrap_or_else(|e| e.into_inner());
        let now: BTreeSet<String> = pods.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        for pod in pods.iter().filter(|pod| pod.metadata.uid.as_ref().is_some_and(|uid| !said.contains(uid)))
        {
            let meta = &pod.metadata;
            let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
            let name = format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default());
            let source = meta.annotations.as_ref().and_then(|all| all.get(SOURCE_ANNOTATION));
            let source = source.map(String::as_str).unwrap_or_default();
            let message = format!(
                "Error validating pod {name} from {source} due to duplicate pod name {name:?}, ignoring"
            );
            tracing::error!("{message}");
            self.tell(&message);
        }
        *said = now;
    }

    fn tell(&self, message: &str) {
        let short = message.chars().take(MAX_MESSAGE).collect();
        self.events.record(self.node.clone(), Severity::Warning, REASON, short);
    }
}
