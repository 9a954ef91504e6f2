//! The CRI's RuntimeService: requests in, [`Engine`] calls, answers and gRPC codes out. No decisions.

mod streams;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base::{Shutdown, TaskKind};
use cri::v1::runtime_service_server::RuntimeService;
use cri::v1::*;
use futures::{Stream, StreamExt};
use tokio_stream::wrappers::BroadcastStream;
use tonic::{Code, Request, Response, Status};

use crate::engine::{Engine, EngineError};
use crate::rootfs::RootfsError;
pub use streams::StreamUrls;

type Answer<T> = Result<Response<T>, Status>;

/// The service; `streams` returns the addresses of exec, attach and port-forward.
pub struct Runtime {
    pub(crate) engine: Arc<Engine>,
    pub(crate) streams: Arc<dyn StreamUrls>,
    /// Ends the event streams, which otherwise would keep the server from ending.
    pub(crate) shutdown: Shutdown,
}

#[tonic::async_trait]
impl RuntimeService for Runtime {
    async fn version(&self, _: Request<VersionRequest>) -> Answer<VersionResponse> {
        answer(VersionResponse {
            version: "0.1.0".to_owned(),
            runtime_name: "knarr".to_owned(),
            runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
            runtime_api_version: "v1".to_owned(),
        })
    }

    async fn run_pod_sandbox(&self, request: Request<RunPodSandboxRequest>) -> Answer<RunPodSandboxResponse> {
        let request = request.into_inner();
        let config =
            request.config.ok_or_else(|| Status::invalid_argument("the sandbox config is missing"))?;
        let pod_sandbox_id = self.engine.run_sandbox(config, request.runtime_handler).await?;
        answer(RunPodSandboxResponse { pod_sandbox_id })
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<StopPodSandboxRequest>,
    ) -> Answer<StopPodSandboxResponse> {
        self.engine.stop_sandbox(&request.into_inner().pod_sandbox_id).await?;
        answer(StopPodSandboxResponse {})
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<RemovePodSandboxRequest>,
    ) -> Answer<RemovePodSandboxResponse> {
        self.engine.remove_sandbox(&request.into_inner().pod_sandbox_id).await?;
        answer(RemovePodSandboxResponse {})
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<PodSandboxStatusRequest>,
    ) -> Answer<PodSandboxStatusResponse> {
        let request = request.into_inner();
        let sandbox = self.engine.sandbox(&request.pod_sandbox_id)?;
        let info = if request.verbose { sandbox.info() } else { Default::default() };
        answer(PodSandboxStatusResponse {
            status: Some(sandbox.status()),
            info,
            containers_statuses: self.engine.statuses_in(&sandbox),
            timestamp: 0,
        })
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<ListPodSandboxRequest>,
    ) -> Answer<ListPodSandboxResponse> {
        let filter = request.into_inner().filter.unwrap_or_default();
        answer(ListPodSandboxResponse { items: self.engine.list_sandboxes(&filter) })
    }

    async fn create_container(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Answer<CreateContainerResponse> {
        let request = request.into_inner();
        let config =
            request.config.ok_or_else(|| Status::invalid_argument("the container config is missing"))?;
        if config.metadata.is_none() {
            return Err(Status::invalid_argument("the container config has no metadata"));
        }
        let work = move |engine: Arc<Engine>| async move {
            engine.create_container(&request.pod_sandbox_id, config).await
        };
        let container_id = self.to_its_end(work).await?;
        answer(CreateContainerResponse { container_id })
    }

    async fn start_container(
        &self,
        request: Request<StartContainerRequest>,
    ) -> Answer<StartContainerResponse> {
        let id = request.into_inner().container_id;
        self.to_its_end(move |engine: Arc<Engine>| async move { engine.start_container(&id).await }).await?;
        answer(StartContainerResponse {})
    }

    async fn stop_container(&self, request: Request<StopContainerRequest>) -> Answer<StopContainerResponse> {
        let request = request.into_inner();
        let timeout = Duration::from_secs(u64::try_from(request.timeout).unwrap_or(0));
        self.engine.stop_container(&request.container_id, timeout).await?;
        answer(StopContainerResponse {})
    }

    async fn remove_container(
        &self,
        request: Request<RemoveContainerRequest>,
    ) -> Answer<RemoveContainerResponse> {
        self.engine.remove_container(&request.into_inner().container_id).await?;
        answer(RemoveContainerResponse {})
    }

    async fn list_containers(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Answer<ListContainersResponse> {
        let filter = request.into_inner().filter.unwrap_or_default();
        answer(ListContainersResponse { containers: self.engine.list_containers(&filter) })
    }

    async fn container_status(
        &self,
        request: Request<ContainerStatusRequest>,
    ) -> Answer<ContainerStatusResponse> {
        let request = request.into_inner();
        let container = self.engine.container(&request.container_id)?;
        let info = if request.verbose { container.info() } else { Default::default() };
        answer(ContainerStatusResponse { status: Some(container.status()), info })
    }

    async fn update_container_resources(
        &self,
        request: Request<UpdateContainerResourcesRequest>,
    ) -> Answer<UpdateContainerResourcesResponse> {
        let request = request.into_inner();
        self.engine.update_resources(&request.container_id, &request.linux.unwrap_or_default()).await?;
        answer(UpdateContainerResourcesResponse {})
    }

    async fn reopen_container_log(
        &self,
        request: Request<ReopenContainerLogRequest>,
    ) -> Answer<ReopenContainerLogResponse> {
        self.engine.reopen_log(&request.into_inner().container_id).await?;
        answer(ReopenContainerLogResponse {})
    }

    async fn exec_sync(&self, request: Request<ExecSyncRequest>) -> Answer<ExecSyncResponse> {
        let request = request.into_inner();
        let timeout = u64::try_from(request.timeout).ok().filter(|s| *s > 0).map(Duration::from_secs);
        let output = self.engine.exec_sync(&request.container_id, &request.cmd, timeout).await?;
        answer(ExecSyncResponse { stdout: output.stdout, stderr: output.stderr, exit_code: output.code })
    }

    async fn exec(&self, request: Request<ExecRequest>) -> Answer<ExecResponse> {
        self.exec_url(request.into_inner())
    }

    async fn attach(&self, request: Request<AttachRequest>) -> Answer<AttachResponse> {
        self.attach_url(request.into_inner())
    }

    async fn port_forward(&self, request: Request<PortForwardRequest>) -> Answer<PortForwardResponse> {
        self.port_forward_url(request.into_inner())
    }

    async fn container_stats(
        &self,
        request: Request<ContainerStatsRequest>,
    ) -> Answer<ContainerStatsResponse> {
        let stats = self.engine.container_stats(&request.into_inner().container_id).await?;
        answer(ContainerStatsResponse { stats: Some(stats) })
    }

    async fn list_container_stats(
        &self,
        request: Request<ListContainerStatsRequest>,
    ) -> Answer<ListContainerStatsResponse> {
        let filter = request.into_inner().filter.unwrap_or_default();
        answer(ListContainerStatsResponse { stats: self.engine.list_container_stats(filter).await? })
    }

    async fn pod_sandbox_stats(
        &self,
        request: Request<PodSandboxStatsRequest>,
    ) -> Answer<PodSandboxStatsResponse> {
        let stats = self.engine.sandbox_stats(&request.into_inner().pod_sandbox_id).await?;
        answer(PodSandboxStatsResponse { stats: Some(stats) })
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<ListPodSandboxStatsRequest>,
    ) -> Answer<ListPodSandboxStatsResponse> {
        let filter = request.into_inner().filter.unwrap_or_default();
        answer(ListPodSandboxStatsResponse { stats: self.engine.list_sandbox_stats(filter).await? })
    }

    async fn update_runtime_config(
        &self,
        request: Request<UpdateRuntimeConfigRequest>,
    ) -> Answer<UpdateRuntimeConfigResponse> {
        let config = request.into_inner().runtime_config.unwrap_or_default();
        if let Some(network) = config.network_config {
            self.engine.set_pod_cidr(network.pod_cidr);
        }
        answer(UpdateRuntimeConfigResponse {})
    }

    async fn status(&self, _: Request<StatusRequest>) -> Answer<StatusResponse> {
        let condition = |kind: &str, status: bool, reason: &str, message: String| RuntimeCondition {
            r#type: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message,
        };
        let network = match self.engine.network_ready() {
            Ok(()) => condition("NetworkReady", true, "", String::new()),
            Err(error) => condition(
                "NetworkReady",
                false,
                "NetworkPluginNotReady",
                format!("Network plugin returns error: {error}"),
            ),
        };
        let conditions = vec![condition("RuntimeReady", true, "", String::new()), network];
        answer(StatusResponse {
            status: Some(RuntimeStatus { conditions }),
            info: Default::default(),
            runtime_handlers: vec![RuntimeHandler {
                name: String::new(),
                features: Some(RuntimeHandlerFeatures {
                    recursive_read_only_mounts: true,
                    user_namespaces: false,
                }),
            }],
            features: Some(RuntimeFeatures { supplemental_groups_policy: true }),
        })
    }

    async fn checkpoint_container(
        &self,
        _: Request<CheckpointContainerRequest>,
    ) -> Answer<CheckpointContainerResponse> {
        Err(Status::unimplemented("not implemented: checkpoints"))
    }

    type GetContainerEventsStream =
        Pin<Box<dyn Stream<Item = Result<ContainerEventResponse, Status>> + Send>>;

    async fn get_container_events(
        &self,
        _: Request<GetEventsRequest>,
    ) -> Answer<Self::GetContainerEventsStream> {
        // A client that was too slow has missed some events: the error makes the client list again.
        let events = BroadcastStream::new(self.engine.subscribe())
            .map(|event| event.map_err(|missed| Status::data_loss(missed.to_string())));
        let shutdown = self.shutdown.clone();
        let events = events.take_until(async move { shutdown.started().await });
        answer(Box::pin(events))
    }

    async fn list_metric_descriptors(
        &self,
        _: Request<ListMetricDescriptorsRequest>,
    ) -> Answer<ListMetricDescriptorsResponse> {
        Err(Status::unimplemented("not implemented: metric descriptors"))
    }

    async fn list_pod_sandbox_metrics(
        &self,
        _: Request<ListPodSandboxMetricsRequest>,
    ) -> Answer<ListPodSandboxMetricsResponse> {
        Err(Status::unimplemented("not implemented: pod sandbox metrics"))
    }

    async fn runtime_config(&self, _: Request<RuntimeConfigRequest>) -> Answer<RuntimeConfigResponse> {
        answer(RuntimeConfigResponse {
            linux: Some(LinuxRuntimeConfiguration { cgroup_driver: CgroupDriver::Cgroupfs.into() }),
        })
    }
}

impl Runtime {
    /// Work that a client which hangs up must not leave half done: a name would stay reserved, a running
    /// container would count as one that never started.
    async fn to_its_end<T, W>(&self, work: impl FnOnce(Arc<Engine>) -> W) -> Result<T, EngineError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        let (done, outcome) = tokio::sync::oneshot::channel();
        let work = work(Arc::clone(&self.engine));
        self.engine.supervisor().spawn(TaskKind::Background, "container", async move {
            // The client may have gone: it finds the container in the list.
            drop(done.send(work.await));
        });
        outcome.await.map_err(|_| EngineError::State("the runtime is stopping".to_owned()))?
    }
}

fn answer<T>(message: T) -> Answer<T> {
    Ok(Response::new(message))
}

impl From<EngineError> for Status {
    fn from(error: EngineError) -> Self {
        let code = match &error {
            EngineError::NotFound(_) | EngineError::Rootfs(RootfsError::ImageNotFound(_)) => Code::NotFound,
            EngineError::Invalid(_) => Code::InvalidArgument,
            EngineError::AlreadyExists(_) => Code::AlreadyExists,
            EngineError::Timeout(_) => Code::DeadlineExceeded,
            EngineError::NotImplemented(_) => Code::Unimplemented,
            _ => Code::Unknown,
        };
        Self::new(code, error.to_string())
    }
}
