//! The container configuration that the runtime receives. Start at [`ContainerConfigBuilder`].
//!
//! Everything that can be decided without the disk or the API is in pure submodules; this file
//! fetches the objects, calls the submodules and hands the disk work to a thread that may block.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use cri::v1::{
    ContainerConfig, ContainerMetadata, ContainerStatus, ImageSpec, KeyValue, LinuxContainerConfig,
    LinuxContainerResources,
};
use informer::Cache;
use k8s_openapi::api::core::v1::{Container, Pod, Service};

use crate::cri_view::{
    ANNOTATION_CONTAINER_HASH, LABEL_CONTAINER_NAME, LABEL_POD_NAME, LABEL_POD_NAMESPACE, LABEL_POD_UID,
};
use crate::environment::fields::PodAddresses;
use crate::environment::{self, EnvFile, Environment, EnvironmentError, Fetched, FileName, Inputs};
use crate::hosts;
use crate::node_facts::NodeFacts;
use crate::origin::is_static;
use crate::planner::container_hash;
use crate::pod_logs::{LogDirs, LogOf};
use crate::resources;
use crate::seams::{ConfigError, ContainerConfigs, ContainerRequest, MountedVolumes};
use crate::volumes;

mod mounts;
pub mod security;
mod termination;

use security::SecurityDefaults;

const ANNOTATION_RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
const ANNOTATION_MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
const ANNOTATION_MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
const ANNOTATION_GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
const ANNOTATION_PORTS: &str = "io.kubernetes.container.ports";

/// Makes container configurations.
pub struct ContainerConfigBuilder {
    pub volumes: Arc<volumes::Manager>,
    /// All services; the builder waits for their first list, so that no pod misses the API's address.
    pub services: Cache<Service>,
    pub facts: Arc<NodeFacts>,
    pub security: SecurityDefaults,
    /// `cluster.local`
    pub cluster_domain: String,
    /// Upstream's `/var/log/pods`.
    pub logs: LogDirs,
}

impl ContainerConfigBuilder {
    async fn environment(&self, request: &ContainerRequest<'_>) -> Result<Environment, EnvironmentError> {
        let pod = request.pod;
        let fetched = self.fetch(pod, request.container, request.volumes).await?;
        // As upstream: a static pod starts without the API, too, with the Services that are known by then.
        if !is_static(pod) {
            self.services.wait_synced().await;
        }
        let services = self.services_for(pod);
        let addresses = PodAddresses {
            pod_ips: request.pod_ips.to_vec(),
            host_ips: self.facts.host_ips().as_ref().clone(),
        };
        environment::build(&Inputs {
            pod,
            container: request.container,
            fetched: &fetched,
            services: &services,
            addresses: &addresses,
            allocatable: &self.facts.allocatable(),
        })
    }

    fn services_for(&self, pod: &Pod) -> Vec<Arc<Service>> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let in_namespace = self.services.named_like(namespace, "");
        let mut services: Vec<_> =
            in_namespace.iter().filter_map(|service| service.typed().cloned()).collect();
        services.extend(self.services.get("default", "kubernetes").filter(|_| namespace != "default"));
        services
    }

    async fn fetch(
        &self,
        pod: &Pod,
        container: &Container,
        volumes: &MountedVolumes,
    ) -> Result<Fetched, EnvironmentError> {
        let wanted = environment::references(container);
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let mut fetched = Fetched::default();
        for name in wanted.config_maps {
            let found = self.volumes.config_maps().get(uid, namespace, &name).await;
            let found = found.map_err(EnvironmentError::Fetch)?;
            fetched.config_maps.extend(found.map(|object| (name, object)));
        }
        for name in wanted.secrets {
            let found = self.volumes.secrets().get(uid, namespace, &name).await;
            let found = found.map_err(EnvironmentError::Fetch)?;
            fetched.secrets.extend(found.map(|object| (name, object)));
        }
        let wanted = wanted.files.into_iter().filter_map(|file| {
            let folder = volumes.volumes.get(&file.0)?.host_path.clone();
            Some((folder, file))
        });
        let wanted: Vec<(PathBuf, FileName)> = wanted.collect();
        if !wanted.is_empty() {
            let files = tokio::task::spawn_blocking(move || read_files(wanted)).await;
            fetched.files = files.map_err(|e| EnvironmentError::Fetch(e.to_string()))?;
        }
        Ok(fetched)
    }
}

#[async_trait]
impl ContainerConfigs for ContainerConfigBuilder {
    async fn build(&self, request: ContainerRequest<'_>) -> Result<ContainerConfig, ConfigError> {
        if request.container.lifecycle.as_ref().is_some_and(|l| l.stop_signal.is_some()) {
            return Err(ConfigError::new("lifecycle.stopSignal is not implemented on this node"));
        }
        let mut security =
            security::of_container(request.pod, request.container, request.image, &self.security)?;
        if let Some(target) = request.target {
            security::look_into(&mut security, target);
        }
        let environment = self.environment(&request).await.map_err(|e| ConfigError::new(e.to_string()))?;
        let mut config = describe(&request, &environment);
        config.devices = mounts::devices(request.container, request.volumes)?;
        config.linux = Some(LinuxContainerConfig {
            resources: Some(self.resources(request.pod, request.container)),
            security_context: Some(security),
        });
        let log_folder = log_directory(&self.logs.pods(), request.pod).join(&request.container.name);
        let work = mounts::Request {
            pod: request.pod.clone(),
            container: request.container.clone(),
            attempt: request.attempt,
            pod_ips: request.pod_ips.to_vec(),
            volumes: request.volumes.clone(),
            images: request.image.volumes.clone(),
            environment,
            host_name: hosts::host_name(request.pod, &self.cluster_domain),
        };
        let dirs = self.volumes.dirs().clone();
        let prepared = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&log_folder)
                .map_err(|e| ConfigError::new(format!("creating {}: {e}", log_folder.display())))?;
            mounts::prepare(&dirs, &work)
        });
        config.mounts =
            prepared.await.map_err(|e| ConfigError::new(format!("preparing mounts ended early: {e}")))??;
        Ok(config)
    }

    async fn started(&self, pod: &Pod, container: &str, attempt: u32, id: &str) {
        let log = log_directory(&self.logs.pods(), pod).join(container).join(format!("{attempt}.log"));
        let (logs, meta) = (self.logs.clone(), pod.metadata.clone());
        let (container, id) = (container.to_owned(), id.to_owned());
        let work = tokio::task::spawn_blocking(move || {
            let (namespace, pod) = (meta.namespace.unwrap_or_default(), meta.name.unwrap_or_default());
            let of = LogOf { namespace: &namespace, pod: &pod, container: &container, id: &id };
            logs.link(of, &log)
        });
        match work.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a container's log cannot be linked"),
            Err(error) => tracing::warn!(%error, "linking a container's log ended early"),
        }
    }

    fn resources(&self, pod: &Pod, container: &Container) -> LinuxContainerResources {
        resources::of_container(pod, container, self.facts.memory_capacity_bytes())
    }

    async fn termination_message(&self, status: &ContainerStatus) -> Option<String> {
        let status = status.clone();
        tokio::task::spawn_blocking(move || termination::message(&status)).await.unwrap_or_default()
    }
}

/// Reads files that variables come from, each in the folder of its volume. Blocks.
fn read_files(wanted: Vec<(PathBuf, FileName)>) -> HashMap<FileName, EnvFile> {
    let read = |(folder, file): (PathBuf, FileName)| {
        let text = environment::files::read(&folder, &file.1);
        let shown = folder.join(&file.1).display().to_string();
        (file, EnvFile { shown, text })
    };
    wanted.into_iter().map(read).collect()
}

/// Where a pod's logs are: `ROOT/NAMESPACE_NAME_UID`.
pub fn log_directory(root: &std::path::Path, pod: &Pod) -> PathBuf {
    let text = |value: &Option<String>| value.clone().unwrap_or_default().replace('/', "~");
    let meta = &pod.metadata;
    root.join(format!("{}_{}_{}", text(&meta.namespace), text(&meta.name), text(&meta.uid)))
}

/// The labels by which a pod's sandbox and containers are found again.
pub fn pod_labels(pod: &Pod) -> HashMap<String, String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    HashMap::from([
        (LABEL_POD_NAME.to_owned(), text(&pod.metadata.name)),
        (LABEL_POD_NAMESPACE.to_owned(), text(&pod.metadata.namespace)),
        (LABEL_POD_UID.to_owned(), text(&pod.metadata.uid)),
    ])
}

/// The parts of the configuration that follow from pod and environment alone. Pure.
fn describe(request: &ContainerRequest<'_>, environment: &Environment) -> ContainerConfig {
    let container = request.container;
    let expand = |list: &Option<Vec<String>>| {
        list.iter().flatten().map(|text| environment.expand(text)).collect::<Vec<String>>()
    };
    let mut labels = pod_labels(request.pod);
    labels.insert(LABEL_CONTAINER_NAME.to_owned(), container.name.clone());
    let user_image = container.image.clone().unwrap_or_default();
    ContainerConfig {
        metadata: Some(ContainerMetadata { name: container.name.clone(), attempt: request.attempt }),
        image: Some(ImageSpec {
            image: request.image.image_ref.clone(),
            user_specified_image: user_image,
            ..ImageSpec::default()
        }),
        command: expand(&container.command),
        args: expand(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: environment
            .iter()
            .map(|(key, value)| KeyValue { key: key.into(), value: value.into() })
            .collect(),
        labels,
        annotations: annotations(request).into_iter().collect(),
        log_path: format!("{}/{}.log", container.name, request.attempt),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        ..ContainerConfig::default()
    }
}

fn annotations(request: &ContainerRequest<'_>) -> BTreeMap<String, String> {
    let container = request.container;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let mut out = BTreeMap::from([
        (ANNOTATION_CONTAINER_HASH.to_owned(), container_hash(container)),
        (ANNOTATION_RESTART_COUNT.to_owned(), request.attempt.to_string()),
        (ANNOTATION_MESSAGE_PATH.to_owned(), text(&container.termination_message_path)),
        (ANNOTATION_MESSAGE_POLICY.to_owned(), text(&container.termination_message_policy)),
    ]);
    if let Some(grace) = request.pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds) {
        out.insert(ANNOTATION_GRACE.to_owned(), grace.to_string());
    }
    if let Some(ports) = container.ports.as_ref().filter(|p| !p.is_empty()) {
        let json = serde_json::to_string(ports).expect("ports serialize: plain fields only");
        out.insert(ANNOTATION_PORTS.to_owned(), json);
    }
    out
}

#[cfg(test)]
#[path = "container_config/tests.rs"]
mod tests;
