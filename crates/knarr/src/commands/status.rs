//! `knarr status`: shows whether a cluster runs, and the state of its nodes.

use anyhow::Result;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::ListParams;

use super::say;
use crate::admin;
use crate::arguments::Which;
use crate::process::ProcessRecord;
use crate::roles::readiness::is_ready;
use crate::which::layout_of;

/// Prints the status. The answer is whether the cluster runs and its nodes are Ready.
///
/// # Errors
/// When the cluster runs but cannot be asked.
pub fn run(which: &Which) -> Result<bool> {
    let layout = layout_of(which)?;
    let Some(server) = ProcessRecord::running(&layout.pid_file()) else {
        say(&format!("cluster {:?} is not running\n", layout.name))?;
        return Ok(false);
    };
    let endpoint = admin::of(&layout)?;
    say(&format!(
        "cluster {:?} is running: server process {}, API at {}\n",
        layout.name, server.pid, endpoint.server
    ))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let nodes: Api<Node> = Api::all(client::https(&endpoint)?);
        let mut all_ready = true;
        for node in nodes.list(&ListParams::default()).await? {
            let ready = is_ready(&node);
            all_ready &= ready;
            say(&format!(
                "node {}: {}\n",
                node.metadata.name.as_deref().unwrap_or(""),
                if ready { "Ready" } else { "NotReady" }
            ))?;
        }
        Ok(all_ready)
    })
}
