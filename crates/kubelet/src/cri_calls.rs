//! The calls to the container runtime, behind a narrow trait so that workers can be tested with a fake.
//!
//! Start at [`Cri`]; [`GrpcCri`] speaks CRI v1 over the runtime's socket, [`Counted`] counts. Nothing here decides anything.

mod counted;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use cri::v1;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use crate::cri_view::LABEL_POD_UID;

pub use counted::Counted;

/// How long the runtime may take to answer ordinary calls.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// The runtime's refusal; shown the way upstream's gRPC client prints it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rpc error: code = {code} desc = {message}")]
pub struct CriError {
    /// The code's name: `NotFound`, `Unknown`, …
    pub code: String,
    pub message: String,
}

impl CriError {
    pub fn is_not_found(&self) -> bool {
        self.code == "NotFound"
    }

    /// The runtime has no such call.
    pub fn is_unimplemented(&self) -> bool {
        self.code == "Unimplemented"
    }

    /// The command or call ran out of time.
    pub fn is_timeout(&self) -> bool {
        self.code == "DeadlineExceeded"
    }
}

impl From<tonic::Status> for CriError {
    fn from(status: tonic::Status) -> Self {
        Self { code: format!("{:?}", status.code()), message: status.message().to_owned() }
    }
}

/// The outcome of a command run in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    pub exit_code: i32,
    /// Standard output followed by standard error.
    pub output: Vec<u8>,
}

type Result<T> = std::result::Result<T, CriError>;

/// The node agent's calls to a container runtime.
#[async_trait]
pub trait Cri: Send + Sync {
    /// The sandboxes of one pod, or of all.
    async fn sandboxes(&self, pod_uid: Option<&str>) -> Result<Vec<v1::PodSandbox>>;
    async fn sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus>;
    /// Makes and starts a sandbox; answers its id once its network is up.
    async fn run_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String>;
    /// Takes the network down and kills what runs. Idempotent.
    async fn stop_sandbox(&self, id: &str) -> Result<()>;
    /// Idempotent.
    async fn remove_sandbox(&self, id: &str) -> Result<()>;
    /// The containers of one pod, or of all, in any state.
    async fn containers(&self, pod_uid: Option<&str>) -> Result<Vec<v1::Container>>;
    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus>;
    async fn create_container(
        &self,
        sandbox_id: &str,
        config: v1::ContainerConfig,
        sandbox: v1::PodSandboxConfig,
    ) -> Result<String>;
    async fn start_container(&self, id: &str) -> Result<()>;
    /// Asks the process to end, kills it after `grace_s` seconds; returns when it is dead. Idempotent.
    async fn stop_container(&self, id: &str, grace_s: i64) -> Result<()>;
    /// Changes the limits of a container.
    async fn update_resources(&self, id: &str, resources: v1::LinuxContainerResources) -> Result<()>;
    /// The memory that a container uses, in bytes; `None` where the runtime does not tell.
    async fn memory_usage(&self, id: &str) -> Result<Option<u64>>;
    /// Idempotent.
    async fn remove_container(&self, id: &str) -> Result<()>;
    /// Runs a command and waits for it; `DeadlineExceeded` when it takes longer than `timeout_s` seconds.
    async fn exec(&self, id: &str, command: Vec<String>, timeout_s: i64) -> Result<ExecOutput>;
    /// `None` where the image is not present.
    async fn image(&self, image: &str) -> Result<Option<v1::Image>>;
    /// Pulls an image; answers how the runtime calls it.
    async fn pull(&self, image: &str, auth: Option<v1::AuthConfig>) -> Result<String>;
    /// What happens to containers from now on, until the stream breaks.
    async fn events(&self) -> Result<BoxStream<'static, Result<v1::ContainerEventResponse>>>;
    /// The runtime's name: the scheme of container ids.
    async fn runtime_name(&self) -> Result<String>;
}

/// A runtime behind a CRI v1 socket.
#[derive(Debug, Clone)]
pub struct GrpcCri {
    runtime: cri::RuntimeServiceClient,
    images: cri::ImageServiceClient,
}

impl GrpcCri {
    pub fn new(runtime: cri::RuntimeServiceClient, images: cri::ImageServiceClient) -> Self {
        Self { runtime, images }
    }
}

fn by_uid(pod_uid: Option<&str>) -> HashMap<String, String> {
    pod_uid.map(|uid| (LABEL_POD_UID.to_owned(), uid.to_owned())).into_iter().collect()
}

fn spec(image: &str) -> Option<v1::ImageSpec> {
    Some(v1::ImageSpec {
        image: image.to_owned(),
        user_specified_image: image.to_owned(),
        ..v1::ImageSpec::default()
    })
}

fn timed<T>(message: T) -> tonic::Request<T> {
    timed_for(message, CALL_TIMEOUT)
}

/// Pods may ask for grace periods longer than gRPC can say, and it panics on those.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

fn timed_for<T>(message: T, timeout: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(timeout.min(LONGEST));
    request
}

fn missing(what: &str) -> CriError {
    CriError { code: "Internal".to_owned(), message: format!("the runtime answered without {what}") }
}

/// Removing or stopping what is not there has succeeded.
fn gone_is_fine<T>(answer: std::result::Result<tonic::Response<T>, tonic::Status>) -> Result<()> {
    match answer {
        Ok(_) => Ok(()),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(()),
        Err(status) => Err(status.into()),
    }
}

#[async_trait]
impl Cri for GrpcCri {
    async fn sandboxes(&self, pod_uid: Option<&str>) -> Result<Vec<v1::PodSandbox>> {
        let filter = v1::PodSandboxFilter { label_selector: by_uid(pod_uid), ..Default::default() };
        let request = v1::ListPodSandboxRequest { filter: Some(filter) };
        Ok(self.runtime.clone().list_pod_sandbox(timed(request)).await?.into_inner().items)
    }

    async fn sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus> {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        let answer = self.runtime.clone().pod_sandbox_status(timed(request)).await?.into_inner();
        answer.status.ok_or_else(|| missing("the sandbox's status"))
    }

    async fn run_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String> {
        let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() };
        let timeout = CALL_TIMEOUT * 2;
        let answer = self.runtime.clone().run_pod_sandbox(timed_for(request, timeout)).await?;
        Ok(answer.into_inner().pod_sandbox_id)
    }

    async fn stop_sandbox(&self, id: &str) -> Result<()> {
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        gone_is_fine(self.runtime.clone().stop_pod_sandbox(timed(request)).await)
    }

    async fn remove_sandbox(&self, id: &str) -> Result<()> {
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        gone_is_fine(self.runtime.clone().remove_pod_sandbox(timed(request)).await)
    }

    async fn containers(&self, pod_uid: Option<&str>) -> Result<Vec<v1::Container>> {
        let filter = v1::ContainerFilter { label_selector: by_uid(pod_uid), ..Default::default() };
        let request = v1::ListContainersRequest { filter: Some(filter) };
        Ok(self.runtime.clone().list_containers(timed(request)).await?.into_inner().containers)
    }

    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus> {
        let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        let answer = self.runtime.clone().container_status(timed(request)).await?.into_inner();
        answer.status.ok_or_else(|| missing("the container's status"))
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        config: v1::ContainerConfig,
        sandbox: v1::PodSandboxConfig,
    ) -> Result<String> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox_id.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox),
        };
        Ok(self.runtime.clone().create_container(timed(request)).await?.into_inner().container_id)
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        let request = v1::StartContainerRequest { container_id: id.to_owned() };
        self.runtime.clone().start_container(timed(request)).await?;
        Ok(())
    }

    async fn stop_container(&self, id: &str, grace_s: i64) -> Result<()> {
        let request = v1::StopContainerRequest { container_id: id.to_owned(), timeout: grace_s };
        let grace = Duration::from_secs(u64::try_from(grace_s).unwrap_or(0));
        let request = timed_for(request, CALL_TIMEOUT.saturating_add(grace));
        gone_is_fine(self.runtime.clone().stop_container(request).await)
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        let request = v1::RemoveContainerRequest { container_id: id.to_owned() };
        gone_is_fine(self.runtime.clone().remove_container(timed(request)).await)
    }

    async fn update_resources(&self, id: &str, resources: v1::LinuxContainerResources) -> Result<()> {
        let request = v1::UpdateContainerResourcesRequest {
            container_id: id.to_owned(),
            linux: Some(resources),
            ..v1::UpdateContainerResourcesRequest::default()
        };
        self.runtime.clone().update_container_resources(timed(request)).await?;
        Ok(())
    }

    async fn memory_usage(&self, id: &str) -> Result<Option<u64>> {
        let request = v1::ContainerStatsRequest { container_id: id.to_owned() };
        let stats = self.runtime.clone().container_stats(timed(request)).await?.into_inner().stats;
        let memory = stats.and_then(|stats| stats.memory);
        Ok(memory.and_then(|memory| memory.usage_bytes).map(|usage| usage.value))
    }

    async fn exec(&self, id: &str, command: Vec<String>, timeout_s: i64) -> Result<ExecOutput> {
        let request = v1::ExecSyncRequest { container_id: id.to_owned(), cmd: command, timeout: timeout_s };
        let limit = Duration::from_secs(u64::try_from(timeout_s).unwrap_or(0));
        let request = timed_for(request, CALL_TIMEOUT.saturating_add(limit));
        let answer = self.runtime.clone().exec_sync(request).await?.into_inner();
        let mut output = answer.stdout;
        output.extend_from_slice(&answer.stderr);
        Ok(ExecOutput { exit_code: answer.exit_code, output })
    }

    async fn image(&self, image: &str) -> Result<Option<v1::Image>> {
        let request = v1::ImageStatusRequest { image: spec(image), verbose: false };
        Ok(self.images.clone().image_status(timed(request)).await?.into_inner().image)
    }

    async fn pull(&self, image: &str, auth: Option<v1::AuthConfig>) -> Result<String> {
        // No time limit of our own: the runtime gives up on a registry that makes no progress.
        let request = v1::PullImageRequest { image: spec(image), auth, sandbox_config: None };
        Ok(self.images.clone().pull_image(request).await?.into_inner().image_ref)
    }

    async fn events(&self) -> Result<BoxStream<'static, Result<v1::ContainerEventResponse>>> {
        let stream = self.runtime.clone().get_container_events(v1::GetEventsRequest {}).await?.into_inner();
        Ok(stream.map_err(CriError::from).boxed())
    }

    async fn runtime_name(&self) -> Result<String> {
        let request = v1::VersionRequest { version: "v1".to_owned() };
        Ok(self.runtime.clone().version(timed(request)).await?.into_inner().runtime_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_grace_there_is_can_be_asked_for() {
        let grace = Duration::from_secs(i64::MAX.unsigned_abs());
        let request = timed_for((), CALL_TIMEOUT.saturating_add(grace));
        assert!(request.metadata().get("grpc-timeout").is_some());
    }
}
