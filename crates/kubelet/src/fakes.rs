//! Fakes of everything a worker works with: they record calls, keep just enough state to answer, and can be
//! told to fail.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base::Clock;
use cri::v1;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Node, ObjectReference, Pod, Secret};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cri_calls::{Cri, CriError, ExecOutput};
use crate::cri_view::{LABEL_CONTAINER_NAME, LABEL_POD_UID};
use crate::events::{EventSink, Severity};
use crate::pod_api::{PodApi, PodApiError};
use crate::resources::PodLimits;
use crate::seams::{
    ConfigError, ContainerConfigs, ContainerRequest, Devices, MountedVolumes, SandboxConfigs, VolumeFailure,
    Volumes,
};

/// Devices of pods: what was done is written down.
#[derive(Default)]
pub struct FakeDevices {
    calls: Mutex<Vec<String>>,
    refusal: Mutex<Option<String>>,
}

impl FakeDevices {
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().expect("no panic in a fake"))
    }

    /// Why everything fails from now on, if it does.
    pub fn refuse(&self, why: Option<&str>) {
        *self.refusal.lock().expect("no panic in a fake") = why.map(str::to_owned);
    }

    fn enter(&self, call: &str) -> Result<(), String> {
        self.calls.lock().expect("no panic in a fake").push(call.to_owned());
        self.refusal.lock().expect("no panic in a fake").clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Devices for FakeDevices {
    async fn prepare(&self, _pod: &Pod) -> Result<(), String> {
        self.enter("prepare")
    }

    fn names(&self, _pod: &Pod, container: &Container) -> Result<Vec<String>, String> {
        Ok(vec![format!("v.com/c={}", container.name)])
    }

    async fn unprepare(&self, _pod_uid: &str) -> Result<(), String> {
        self.enter("unprepare")
    }

    fn known_pods(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }
}

/// A wall clock that follows the runtime's, so that paused time drives both.
#[derive(Clone, Copy)]
pub struct TestClock {
    origin: Instant,
}

impl TestClock {
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        start + self.origin.elapsed()
    }
}

#[derive(Default)]
struct State {
    sandboxes: Vec<v1::PodSandboxStatus>,
    containers: Vec<(String, v1::ContainerStatus)>,
    images: HashMap<String, v1::Image>,
    made: u32,
    calls: Vec<String>,
    failures: HashMap<&'static str, CriError>,
    /// Answers of `exec`, by the first word of the command.
    exec: HashMap<String, i32>,
}

/// A runtime in memory.
pub struct FakeCri {
    state: Mutex<State>,
    clock: TestClock,
    /// How long a container takes to end when asked.
    pub stop_takes: std::time::Duration,
}

impl FakeCri {
    pub fn new(clock: TestClock) -> Self {
        Self { state: Mutex::default(), clock, stop_takes: std::time::Duration::ZERO }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().expect("no panic in a fake"))
    }

    pub fn call(&self, text: String) {
        self.with(|s| s.calls.push(text));
    }

    /// The calls so far that change something, and forgets them.
    pub fn take_calls(&self) -> Vec<String> {
        self.with(|s| std::mem::take(&mut s.calls))
    }

    /// A sandbox of an earlier agent.
    pub fn add_sandbox(&self, labels: &[(&str, &str)], annotations: &[(&str, &str)]) {
        let owned = |all: &[(&str, &str)]| {
            all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        self.with(|s| {
            s.made += 1;
            s.sandboxes.push(v1::PodSandboxStatus {
                id: format!("s{}", s.made),
                metadata: Some(v1::PodSandboxMetadata::default()),
                labels: owned(labels),
                annotations: owned(annotations),
                ..v1::PodSandboxStatus::default()
            });
        });
    }

    pub fn add_image(&self, name: &str) {
        let image = v1::Image { id: format!("sha256:{name}"), size: 7, ..v1::Image::default() };
        self.with(|s| s.images.insert(name.to_owned(), image));
    }

    /// Makes the next call of this name fail.
    pub fn fail(&self, call: &'static str, code: &str, message: &str) {
        let error = CriError { code: code.to_owned(), message: message.to_owned() };
        self.with(|s| s.failures.insert(call, error));
    }

    pub fn exec_answers(&self, command: &str, code: i32) {
        self.with(|s| s.exec.insert(command.to_owned(), code));
    }

    pub fn exit(&self, name: &str, code: i32) {
        let now = self.nanoseconds();
        self.with(|s| {
            let running = v1::ContainerState::ContainerRunning;
            for (_, c) in &mut s.containers {
                if c.labels.get(LABEL_CONTAINER_NAME).is_some_and(|n| n == name) && c.state() == running {
                    c.set_state(v1::ContainerState::ContainerExited);
                    (c.exit_code, c.finished_at) = (code, now);
                }
            }
        });
    }

    fn nanoseconds(&self) -> i64 {
        i64::try_from(self.clock.now().as_nanosecond()).expect("before the year 2262")
    }

    fn failure(&self, call: &'static str) -> Result<(), CriError> {
        self.with(|s| s.failures.remove(call)).map_or(Ok(()), Err)
    }
}

fn not_found() -> CriError {
    CriError { code: "NotFound".to_owned(), message: "not found".to_owned() }
}

#[async_trait]
impl Cri for FakeCri {
    /// The code `Panic` makes it panic, as a fault of the agent's own would.
    async fn sandboxes(&self, pod_uid: Option<&str>) -> Result<Vec<v1::PodSandbox>, CriError> {
        if let Err(error) = self.failure("sandboxes") {
            assert_ne!(error.code, "Panic", "{}", error.message);
            return Err(error);
        }
        let wanted = |s: &&v1::PodSandboxStatus| {
            pod_uid.is_none_or(|uid| s.labels.get(LABEL_POD_UID).is_some_and(|l| l == uid))
        };
        let listed = |s: &v1::PodSandboxStatus| v1::PodSandbox {
            id: s.id.clone(),
            state: s.state,
            labels: s.labels.clone(),
            annotations: s.annotations.clone(),
            ..v1::PodSandbox::default()
        };
        Ok(self.with(|s| s.sandboxes.iter().filter(wanted).map(listed).collect()))
    }

    async fn sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus, CriError> {
        self.with(|s| s.sandboxes.iter().find(|s| s.id == id).cloned()).ok_or_else(not_found)
    }

    async fn run_sandbox(&self, config: v1::PodSandboxConfig, _: &str) -> Result<String, CriError> {
        self.failure("run_sandbox")?;
        let created_at = self.nanoseconds();
        Ok(self.with(|s| {
            s.made += 1;
            let id = format!("s{}", s.made);
            s.calls.push(format!("run_sandbox {id}"));
            let ip = format!("10.0.0.{}", s.made);
            s.sandboxes.push(v1::PodSandboxStatus {
                id: id.clone(),
                metadata: config.metadata,
                created_at,
                network: Some(v1::PodSandboxNetworkStatus { ip, additional_ips: Vec::new() }),
                labels: config.labels,
                annotations: config.annotations,
                ..v1::PodSandboxStatus::default()
            });
            id
        }))
    }

    async fn stop_sandbox(&self, id: &str) -> Result<(), CriError> {
        self.call(format!("stop_sandbox {id}"));
        self.with(|s| {
            for sandbox in s.sandboxes.iter_mut().filter(|s| s.id == id) {
                sandbox.set_state(v1::PodSandboxState::SandboxNotready);
            }
        });
        Ok(())
    }

    async fn remove_sandbox(&self, id: &str) -> Result<(), CriError> {
        self.call(format!("remove_sandbox {id}"));
        self.with(|s| s.sandboxes.retain(|s| s.id != id));
        Ok(())
    }

    async fn containers(&self, pod_uid: Option<&str>) -> Result<Vec<v1::Container>, CriError> {
        let wanted = |(_, c): &&(String, v1::ContainerStatus)| {
            pod_uid.is_none_or(|uid| c.labels.get(LABEL_POD_UID).is_some_and(|l| l == uid))
        };
        let listed = |(sandbox, c): &(String, v1::ContainerStatus)| v1::Container {
            id: c.id.clone(),
            pod_sandbox_id: sandbox.clone(),
            state: c.state,
            labels: c.labels.clone(),
            ..v1::Container::default()
        };
        Ok(self.with(|s| s.containers.iter().filter(wanted).map(listed).collect()))
    }

    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus, CriError> {
        let found = self.with(|s| s.containers.iter().find(|(_, c)| c.id == id).map(|(_, c)| c.clone()));
        found.ok_or_else(not_found)
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        config: v1::ContainerConfig,
        _: v1::PodSandboxConfig,
    ) -> Result<String, CriError> {
        self.failure("create_container")?;
        let created_at = self.nanoseconds();
        Ok(self.with(|s| {
            s.made += 1;
            let id = format!("c{}", s.made);
            let name = config.metadata.as_ref().map(|m| m.name.clone()).unwrap_or_default();
            s.calls.push(format!("create {name} {id} in {sandbox_id}"));
            let status = v1::ContainerStatus {
                id: id.clone(),
                metadata: config.metadata,
                created_at,
                labels: config.labels,
                annotations: config.annotations,
                ..v1::ContainerStatus::default()
            };
            s.containers.push((sandbox_id.to_owned(), status));
            id
        }))
    }

    async fn start_container(&self, id: &str) -> Result<(), CriError> {
        self.failure("start_container")?;
        self.call(format!("start {id}"));
        let now = self.nanoseconds();
        self.with(|s| {
            for (_, c) in s.containers.iter_mut().filter(|(_, c)| c.id == id) {
                c.set_state(v1::ContainerState::ContainerRunning);
                c.started_at = now;
            }
        });
        Ok(())
    }

    async fn stop_container(&self, id: &str, grace_s: i64) -> Result<(), CriError> {
        self.call(format!("stop {id} within {grace_s}s"));
        tokio::time::sleep(self.stop_takes).await;
        let now = self.nanoseconds();
        self.with(|s| {
            for (_, c) in s.containers.iter_mut().filter(|(_, c)| c.id == id && c.finished_at == 0) {
                c.set_state(v1::ContainerState::ContainerExited);
                (c.exit_code, c.finished_at) = (143, now);
            }
        });
        Ok(())
    }

    async fn update_resources(&self, id: &str, _: v1::LinuxContainerResources) -> Result<(), CriError> {
        self.call(format!("update {id}"));
        Ok(())
    }

    async fn memory_usage(&self, _: &str) -> Result<Option<u64>, CriError> {
        Ok(None)
    }

    async fn remove_container(&self, id: &str) -> Result<(), CriError> {
        self.call(format!("remove {id}"));
        self.with(|s| s.containers.retain(|(_, c)| c.id != id));
        Ok(())
    }

    async fn exec(&self, id: &str, command: Vec<String>, _: i64) -> Result<ExecOutput, CriError> {
        self.call(format!("exec in {id}: {}", command.join(" ")));
        let exit_code = self.with(|s| s.exec.get(&command[0]).copied().unwrap_or(0));
        Ok(ExecOutput { exit_code, output: b"said".to_vec() })
    }

    async fn image(&self, image: &str) -> Result<Option<v1::Image>, CriError> {
        Ok(self.with(|s| s.images.get(image).cloned()))
    }

    async fn pull(&self, image: &str, _: Option<v1::AuthConfig>) -> Result<String, CriError> {
        self.call(format!("pull {image}"));
        self.failure("pull")?;
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        self.add_image(image);
        Ok(format!("sha256:{image}"))
    }

    async fn events(
        &self,
    ) -> Result<BoxStream<'static, Result<v1::ContainerEventResponse, CriError>>, CriError> {
        Ok(futures::stream::pending().boxed())
    }

    async fn runtime_name(&self) -> Result<String, CriError> {
        Ok("knarr".to_owned())
    }
}

/// An API server that keeps one pod and applies status patches to it field by field.
#[derive(Default)]
pub struct FakeApi {
    pub pod: Mutex<Option<Pod>>,
    pub patches: Mutex<Vec<serde_json::Value>>,
    pub deleted: Mutex<bool>,
    pub node: Mutex<Option<Node>>,
}

#[async_trait]
impl PodApi for FakeApi {
    async fn patch_status(&self, pod: &Pod, patch: serde_json::Value) -> Result<Arc<Pod>, PodApiError> {
        let mut stored = self.pod.lock().expect("no panic in a fake");
        let current = stored.get_or_insert_with(|| pod.clone());
        let mut status = serde_json::to_value(&current.status).expect("a status");
        if !status.is_object() {
            status = serde_json::json!({});
        }
        for (field, value) in patch["status"].as_object().expect("a patch of the status") {
            if field != "conditions" {
                let mut value = value.clone();
                if let Some(list) = value.as_array_mut() {
                    list.retain(|item| item.get("$patch").is_none());
                }
                status[field] = value;
            }
        }
        current.status = serde_json::from_value(status).expect("a status");
        self.patches.lock().expect("no panic in a fake").push(patch);
        Ok(Arc::new(current.clone()))
    }

    async fn delete(&self, _: &Pod) -> Result<(), PodApiError> {
        *self.deleted.lock().expect("no panic in a fake") = true;
        Ok(())
    }

    async fn secret(&self, _: &str, _: &str) -> Result<Secret, PodApiError> {
        Err(PodApiError::Gone)
    }

    async fn node(&self, _: &str) -> Result<Node, PodApiError> {
        self.node.lock().expect("no panic in a fake").clone().ok_or(PodApiError::Gone)
    }
}

/// Volumes that come up after a number of failures.
#[derive(Default)]
pub struct FakeVolumes {
    pub failures: Mutex<u32>,
    pub left: Mutex<Vec<String>>,
    /// Whether the volumes are not attached yet, and never will be.
    pub attaching: Mutex<bool>,
    ended: Notify,
}

#[async_trait]
impl Volumes for FakeVolumes {
    fn pod_ends(&self, _: &str) {
        self.ended.notify_one();
    }

    async fn setup(&self, _: &Arc<Pod>) -> Result<MountedVolumes, Vec<VolumeFailure>> {
        if *self.attaching.lock().expect("no panic in a fake") {
            self.ended.notified().await;
            let message = "the pod leaves".to_owned();
            return Err(vec![VolumeFailure { volume: "v".to_owned(), reason: "FailedMount", message }]);
        }
        let mut failures = self.failures.lock().expect("no panic in a fake");
        if *failures > 0 {
            *failures -= 1;
            let message = "MountVolume.SetUp failed for volume \"v\" : configmap \"m\" not found".to_owned();
            return Err(vec![VolumeFailure { volume: "v".to_owned(), reason: "FailedMount", message }]);
        }
        Ok(MountedVolumes::default())
    }

    async fn pod_changed(&self, _: &Arc<Pod>) {}

    async fn teardown(&self, uid: &str) -> Result<(), VolumeFailure> {
        self.left.lock().expect("no panic in a fake").retain(|known| known != uid);
        Ok(())
    }

    async fn known_pods(&self) -> Vec<String> {
        self.left.lock().expect("no panic in a fake").clone()
    }
}

/// Configurations with nothing but names and labels.
#[derive(Default)]
pub struct FakeConfigs {
    pub released: Mutex<Vec<String>>,
}

fn uid_label(pod: &Pod) -> HashMap<String, String> {
    HashMap::from([(LABEL_POD_UID.to_owned(), pod.metadata.uid.clone().unwrap_or_default())])
}

#[async_trait]
impl ContainerConfigs for FakeConfigs {
    async fn build(&self, request: ContainerRequest<'_>) -> Result<v1::ContainerConfig, ConfigError> {
        let name = request.container.name.clone();
        let mut labels = uid_label(request.pod);
        labels.insert(LABEL_CONTAINER_NAME.to_owned(), name.clone());
        let metadata = Some(v1::ContainerMetadata { name, attempt: request.attempt });
        Ok(v1::ContainerConfig { metadata, labels, ..v1::ContainerConfig::default() })
    }

    async fn started(&self, _: &Pod, _: &str, _: u32, _: &str) {}

    fn resources(&self, _: &Pod, _: &Container) -> v1::LinuxContainerResources {
        v1::LinuxContainerResources::default()
    }

    async fn termination_message(&self, _: &v1::ContainerStatus) -> Option<String> {
        None
    }
}

#[async_trait]
impl SandboxConfigs for FakeConfigs {
    async fn build(&self, pod: &Arc<Pod>, attempt: u32) -> Result<v1::PodSandboxConfig, ConfigError> {
        let metadata = v1::PodSandboxMetadata {
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            attempt,
        };
        Ok(v1::PodSandboxConfig {
            metadata: Some(metadata),
            labels: uid_label(pod),
            ..v1::PodSandboxConfig::default()
        })
    }

    async fn limit(&self, _: &Arc<Pod>, _: PodLimits) -> Result<(), ConfigError> {
        Ok(())
    }

    async fn memory_usage(&self, _: &Arc<Pod>) -> Option<u64> {
        None
    }

    async fn release(&self, pod_uid: &str, _: bool) {
        self.released.lock().expect("no panic in a fake").push(pod_uid.to_owned());
    }

    async fn logged_pods(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Keeps events as lines.
#[derive(Default)]
pub struct FakeEvents {
    pub lines: Mutex<Vec<String>>,
}

impl FakeEvents {
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().expect("no panic in a fake"))
    }
}

impl EventSink for FakeEvents {
    fn record(&self, _: ObjectReference, severity: Severity, reason: &str, message: String) {
        let line = format!("{} {reason} {message}", severity.as_str());
        self.lines.lock().expect("no panic in a fake").push(line);
    }
}
