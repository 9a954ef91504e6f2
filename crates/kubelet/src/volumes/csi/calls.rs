//! The calls of a driver, each within a time limit, and what it says when it refuses, in the words of upstream's gRPC.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use csi::v1::node_service_capability::Type as Kind;
use csi::v1::node_service_capability::rpc::Type as Capability;
use csi::v1::{
    NodeExpandVolumeRequest, NodeGetCapabilitiesRequest, NodeGetVolumeStatsRequest, NodePublishVolumeRequest,
    NodeStageVolumeRequest, NodeUnpublishVolumeRequest, NodeUnstageVolumeRequest, VolumeUsage,
};
use tonic::{Code, Response, Status};

use crate::plugins::Drivers;
use crate::plugins::drivers::Caller;

/// Upstream's `csiTimeout`.
const LIMIT: Duration = Duration::from_secs(120);

/// A driver that can be called.
pub struct Calls {
    caller: Caller,
    capabilities: BTreeSet<i32>,
}

impl Calls {
    /// Connects to a driver and asks what it can do.
    ///
    /// # Errors
    /// When the node has no such driver, or it does not answer.
    pub async fn to(drivers: &Drivers, driver: &str) -> Result<Self, String> {
        let mut caller = drivers.call(driver).await.map_err(|error| error.to_string())?;
        let answer = within(caller.client.node_get_capabilities(NodeGetCapabilitiesRequest {})).await?;
        let kinds = answer.capabilities.into_iter().filter_map(|capability| capability.r#type);
        let capabilities = kinds.map(|Kind::Rpc(rpc)| rpc.r#type).collect();
        Ok(Self { caller, capabilities })
    }

    pub fn can(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability.into())
    }

    /// How the driver names a path of the node.
    pub fn path(&self, path: &Path) -> String {
        self.caller.path(path)
    }

    /// # Errors
    /// What the driver says.
    pub async fn stage(&mut self, request: NodeStageVolumeRequest) -> Result<(), String> {
        within(self.caller.client.node_stage_volume(request)).await.map(drop)
    }

    /// # Errors
    /// What the driver says.
    pub async fn unstage(&mut self, handle: &str, staging: &Path) -> Result<(), String> {
        let request = NodeUnstageVolumeRequest {
            volume_id: handle.to_owned(),
            staging_target_path: self.path(staging),
        };
        within(self.caller.client.node_unstage_volume(request)).await.map(drop)
    }

    /// # Errors
    /// What the driver says.
    pub async fn publish(&mut self, request: NodePublishVolumeRequest) -> Result<(), String> {
        within(self.caller.client.node_publish_volume(request)).await.map(drop)
    }

    /// # Errors
    /// What the driver says, with its code.
    pub async fn expand(&mut self, request: NodeExpandVolumeRequest) -> Result<(), (Code, String)> {
        let asked = answered(self.caller.client.node_expand_volume(request)).await;
        asked.map(drop).map_err(|status| (status.code(), words(&status)))
    }

    /// What a volume holds, mounted at `path`.
    ///
    /// # Errors
    /// What the driver says.
    pub async fn figures(&mut self, handle: &str, path: &Path) -> Result<Vec<VolumeUsage>, String> {
        let request = NodeGetVolumeStatsRequest {
            volume_id: handle.to_owned(),
            volume_path: self.path(path),
            ..NodeGetVolumeStatsRequest::default()
        };
        within(self.caller.client.node_get_volume_stats(request)).await.map(|answer| answer.usage)
    }

    /// # Errors
    /// What the driver says.
    pub async fn unpublish(&mut self, handle: &str, target: &Path) -> Result<(), String> {
        let request =
            NodeUnpublishVolumeRequest { volume_id: handle.to_owned(), target_path: self.path(target) };
        within(self.caller.client.node_unpublish_volume(request)).await.map(drop)
    }
}

async fn within<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, String> {
    answered(call).await.map_err(|status| words(&status))
}

async fn answered<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(LIMIT, call).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("context deadline exceeded")),
    }
}

fn words(status: &Status) -> String {
    let code = match status.code() {
        Code::Cancelled => "Canceled".to_owned(),
        code => format!("{code:?}"),
    };
    format!("rpc error: code = {code} desc = {}", status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_driver_that_says_nothing_is_not_waited_for() {
        let silent = std::future::pending::<Result<Response<()>, Status>>();
        let text = "rpc error: code = DeadlineExceeded desc = context deadline exceeded";
        assert_eq!(within(silent).await, Err(text.to_owned()));
        assert_eq!(words(&Status::cancelled("c")), "rpc error: code = Canceled desc = c");
    }
}
