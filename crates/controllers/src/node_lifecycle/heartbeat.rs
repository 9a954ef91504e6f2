//! When nodes last gave a sign of life, by this machine's clock: nodes' clocks may differ, so only the fact
//! that a time stamp changed counts, not its value. After a restart every node is given its whole grace
//! period again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use informer::Cached;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use serde::Deserialize;

use crate::node_view::node_view;

/// The values that change with every sign of life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Pulse {
    lease: Option<Timestamp>,
    status: Option<Timestamp>,
}

#[derive(Debug)]
struct Memory {
    uid: Arc<str>,
    pulse: Pulse,
    at: Timestamp,
    /// The version of the node that was last found healthy.
    well_at: u64,
}

/// The fields of a lease that are read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LeaseView {
    spec: Option<LeaseSpecView>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LeaseSpecView {
    renew_time: Option<Timestamp>,
}

/// What is known about a node's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastSeen {
    pub at: Timestamp,
    /// This is the first look at the node.
    pub first: bool,
}

#[derive(Debug, Default)]
pub(super) struct Heartbeats(Mutex<HashMap<Arc<str>, Memory>>);

impl Heartbeats {
    /// Records a node's present state.
    pub fn note(&self, node: &Cached<Node>, lease: Option<&Cached<Lease>>, now: Timestamp) -> LastSeen {
        let pulse = Pulse {
            lease: lease.and_then(|lease| lease.view::<LeaseView>().spec.as_ref()?.renew_time),
            status: node_view(node).heartbeat,
        };
        let name = node.key.name.clone();
        let mut known = self.0.lock().unwrap_or_else(|e| e.into_inner());
        match known.get_mut(&name) {
            Some(memory) if memory.uid == node.uid => {
                if memory.pulse != pulse {
                    memory.pulse = pulse;
                    memory.at = now;
                }
                LastSeen { at: memory.at, first: false }
            }
            _ => {
                known.insert(name, Memory { uid: node.uid.clone(), pulse, at: now, well_at: 0 });
                LastSeen { at: now, first: true }
            }
        }
    }

    /// Whether exactly this state of the node was found healthy before; if not, it is recorded as healthy from now on.
    pub fn was_well(&self, node: &Cached<Node>) -> bool {
        let mut known = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let Some(memory) = known.get_mut(node.name()).filter(|memory| memory.uid == node.uid) else {
            return false;
        };
        std::mem::replace(&mut memory.well_at, node.version) == node.version
    }

    pub fn forget(&self, name: &str) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).remove(name);
    }
}
