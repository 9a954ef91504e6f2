//! [`Counted`]: counts the calls to the runtime and how long they take.

use std::sync::Arc;

use async_trait::async_trait;
use cri::v1;
use futures::stream::BoxStream;

use super::{Cri, CriError, ExecOutput};
use crate::metrics::Metrics;

type Result<T> = std::result::Result<T, CriError>;

/// A runtime whose calls are counted.
pub struct Counted {
    cri: Arc<dyn Cri>,
    metrics: Metrics,
}

impl Counted {
    pub fn new(cri: Arc<dyn Cri>, metrics: Metrics) -> Self {
        Self { cri, metrics }
    }
}

#[async_trait]
impl Cri for Counted {
    async fn sandboxes(&self, pod_uid: Option<&str>) -> Result<Vec<v1::PodSandbox>> {
        self.metrics.counted("list_podsandbox", self.cri.sandboxes(pod_uid)).await
    }

    async fn sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus> {
        self.metrics.counted("podsandbox_status", self.cri.sandbox_status(id)).await
    }

    async fn run_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String> {
        self.metrics.counted("run_podsandbox", self.cri.run_sandbox(config, handler)).await
    }

    async fn stop_sandbox(&self, id: &str) -> Result<()> {
        self.metrics.counted("stop_podsandbox", self.cri.stop_sandbox(id)).await
    }

    async fn remove_sandbox(&self, id: &str) -> Result<()> {
        self.metrics.counted("remove_podsandbox", self.cri.remove_sandbox(id)).await
    }

    async fn containers(&self, pod_uid: Option<&str>) -> Result<Vec<v1::Container>> {
        self.metrics.counted("list_containers", self.cri.containers(pod_uid)).await
    }

    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus> {
        self.metrics.counted("container_status", self.cri.container_status(id)).await
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        config: v1::ContainerConfig,
        sandbox: v1::PodSandboxConfig,
    ) -> Result<String> {
        self.metrics.counted("create_container", self.cri.create_container(sandbox_id, config, sandbox)).await
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        self.metrics.counted("start_container", self.cri.start_container(id)).await
    }

    async fn stop_container(&self, id: &str, grace_s: i64) -> Result<()> {
        self.metrics.counted("stop_container", self.cri.stop_container(id, grace_s)).await
    }

    async fn update_resources(&self, id: &str, resources: v1::LinuxContainerResources) -> Result<()> {
        self.metrics.counted("update_container", self.cri.update_resources(id, resources)).await
    }

    async fn memory_usage(&self, id: &str) -> Result<Option<u64>> {
        self.metrics.counted("container_stats", self.cri.memory_usage(id)).await
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        self.metrics.counted("remove_container", self.cri.remove_container(id)).await
    }

    async fn exec(&self, id: &str, command: Vec<String>, timeout_s: i64) -> Result<ExecOutput> {
        self.metrics.counted("exec_sync", self.cri.exec(id, command, timeout_s)).await
    }

    async fn image(&self, image: &str) -> Result<Option<v1::Image>> {
        self.metrics.counted("image_status", self.cri.image(image)).await
    }

    async fn pull(&self, image: &str, auth: Option<v1::AuthConfig>) -> Result<String> {
        self.metrics.counted("pull_image", self.cri.pull(image, auth)).await
    }

    /// A stream without an end is no operation, to upstream neither.
    async fn events(&self) -> Result<BoxStream<'static, Result<v1::ContainerEventResponse>>> {
        self.cri.events().await
    }

    async fn runtime_name(&self) -> Result<String> {
        self.metrics.counted("version", self.cri.runtime_name()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fakes::{FakeCri, TestClock};

    #[tokio::test(start_paused = true)]
    async fn calls_and_refusals_are_counted() {
        let (cri, metrics, shown) =
            (Arc::new(FakeCri::new(TestClock::new())), Metrics::default(), base::Metrics::default());
        metrics.register(&shown);
        let counted = Counted::new(cri.clone(), metrics);
        cri.fail("run_sandbox", "Unknown", "no network");
        assert!(counted.run_sandbox(v1::PodSandboxConfig::default(), "").await.is_err());
        counted.run_sandbox(v1::PodSandboxConfig::default(), "").await.expect("made");
        let text = shown.render(base::metrics::Format::Prometheus).expect("text");
        for line in [
            "kubelet_runtime_operations_total{operation_type=\"run_podsandbox\"} 2",
            "kubelet_runtime_operations_errors_total{operation_type=\"run_podsandbox\"} 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
    }
}
