//! Reports a full table of connections as an Event of the machine's first node.

use std::sync::Arc;

use anyhow::{Context, Result};
use client::{EventType, Recorder};
use k8s_openapi::api::core::v1::ObjectReference;
use network::conntrack::{Alarm, Conntrack};

use super::AgentDeps;
use crate::roles::built::Built;

struct Events {
    recorder: Recorder,
    node: ObjectReference,
}

impl Alarm for Events {
    fn full(&self, limit: i64) {
        // The reason is node-problem-detector's.
        let message = format!(
            "The kernel's table of connections is full (net.netfilter.nf_conntrack_max is {limit}): it drops packets of new \
             connections"
        );
        self.recorder.event(&self.node, EventType::Warning, "ConntrackFull", message);
    }
}

/// Begins to follow the kernel's log.
///
/// # Errors
/// When the kernel's log cannot be read.
#[expect(clippy::unused_async, reason = "agents are built alike")]
pub(super) async fn build(deps: &AgentDeps) -> Result<Built> {
    let name = Some(deps.node.name.clone());
    // As the node agent refers to its node.
    let node = ObjectReference {
        kind: Some("Node".to_owned()),
        uid: name.clone(),
        name,
        ..ObjectReference::default()
    };
    let alarm = Arc::new(Events { recorder: deps.recorder.clone(), node });
    let conntrack = Conntrack::new(&deps.metrics, alarm).context("reading the kernel's log")?;
    Ok(Built::new(|shutdown| conntrack.run(shutdown)))
}
