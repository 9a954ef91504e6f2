//! When nodes were last heard of, by this machine's clock: clocks of nodes may differ, so only that something
//! changed counts, not what it says. After a restart every node is given its whole grace period again.

use std::collections::HashMap;
use std::sync::Mutex;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;

/// What changes with every sign of life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Pulse {
    lease: Option<Timestamp>,
    status: Option<Timestamp>,
}

#[derive(Debug)]
struct Memory {
    uid: Option<String>,
    pulse: Pulse,
    at: Timestamp,
}

/// What is known about a node's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastSeen {
    pub at: Timestamp,
    /// This is the first look at the node.
    pub first: bool,
}

#[derive(Debug, Default)]
pub(super) struct Heartbeats(Mutex<HashMap<String, Memory>>);

impl Heartbeats {
    /// Takes note of a node's present state.
    pub fn note(&self, node: &Node, lease: Option<&Lease>, now: Timestamp) -> LastSeen {
        let pulse = Pulse {
            lease: lease.and_then(|l| l.spec.as_ref()?.renew_time.as_ref()).map(|t| t.0),
            status: super::conditions::find(node, "Ready")
                .and_then(|c| c.last_heartbeat_time.as_ref())
                .map(|t| t.0),
        };
        let name = node.metadata.name.clone().unwrap_or_default();
        let mut known = self.0.lock().unwrap_or_else(|e| e.into_inner());
        match known.get_mut(&name) {
            Some(memory) if memory.uid == node.metadata.uid => {
                if memory.pulse != pulse {
                    memory.pulse = pulse;
                    memory.at = now;
                }
                LastSeen { at: memory.at, first: false }
            }
            _ => {
                known.insert(name, Memory { uid: node.metadata.uid.clone(), pulse, at: now });
                LastSeen { at: now, first: true }
            }
        }
    }

    pub fn forget(&self, name: &str) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).remove(name);
    }
}
