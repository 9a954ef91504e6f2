//! Carries out one action of a plan: calls the runtime, the volumes and the API, and returns the outcome.
//!
//! Start at [`Executor::run`]. Nothing is decided here: the planner decides what to try, and when to try again.

mod container;
mod hooks;
mod resize;
mod stop;

use std::sync::Arc;

use base::Clock;
use cri::v1::PodSandboxConfig;
use k8s_openapi::api::core::v1::{ObjectReference, PodStatus};

use crate::cri_calls::Cri;
use crate::events::{self, Events, Part, Severity};
use crate::images::Images;
use crate::planner::{Action, Desired, Failure, Member, Role};
use crate::pod_api::{PodApi, PodApiError};
use crate::seams::{
    ContainerConfigs, Devices, MountedVolumes, ResolvedImage, SandboxConfigs, VolumeFailure, Volumes,
};
use crate::status;

/// The executor's dependencies.
pub struct Executor {
    pub cri: Arc<dyn Cri>,
    pub api: Arc<dyn PodApi>,
    pub volumes: Arc<dyn Volumes>,
    pub devices: Arc<dyn Devices>,
    pub containers: Arc<dyn ContainerConfigs>,
    pub sandboxes: Arc<dyn SandboxConfigs>,
    pub images: Images,
    pub events: Events,
    pub clock: Arc<dyn Clock>,
}

/// What an action may need to know, as it was when the action was planned.
#[derive(Clone)]
pub struct Input {
    pub want: Arc<Desired>,
    pub mounted: Arc<MountedVolumes>,
    pub image: Option<ResolvedImage>,
    pub pod_ips: Vec<String>,
    /// The configuration the current sandbox was made with; `None` after a restart of the agent.
    pub sandbox: Option<Arc<PodSandboxConfig>>,
    pub sandbox_attempt: u32,
    /// The round of the pod in which its containers are made.
    pub round: u32,
    /// The status the API has, and the one it shall have.
    pub reported: Arc<PodStatus>,
    pub status: Arc<PodStatus>,
}

/// How an action went.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Done,
    Mounted(Arc<MountedVolumes>),
    Sandbox(Arc<PodSandboxConfig>),
    Image { container: String, attempt: u32, image: ResolvedImage },
    Failed(Failure),
}

impl Executor {
    /// Runs one action to its end. Dropping the future stops between two calls; what was begun is found
    /// again by the next reading of the runtime.
    pub async fn run(&self, action: Action, input: Input) -> Outcome {
        match action {
            Action::MountVolumes => self.mount(&input).await,
            Action::UnmountVolumes => self.unmount(input.want.uid()).await,
            Action::CreateSandbox { attempt, replaces } => {
                self.create_sandbox(&input, attempt, replaces).await
            }
            Action::StopSandbox { id } => self.stop_sandbox(input.want.uid(), &id).await,
            Action::RemoveSandbox { id } => {
                if let Err(error) = self.cri.stop_sandbox(&id).await {
                    return failed(error);
                }
                done(self.cri.remove_sandbox(&id).await)
            }
            Action::EnsureImage { container, attempt } => self.image(&input, container, attempt).await,
            Action::StartContainer { container, sandbox_id, attempt, .. } => {
                self.start(&input, &container, &sandbox_id, attempt).await
            }
            Action::StopContainer { container, id, grace_s, message } => {
                self.stop(&input, &container, &id, grace_s, message).await
            }
            Action::RestartContainer { container, id, grace_s, message, .. } => {
                self.stop(&input, &container, &id, grace_s, message).await
            }
            Action::Resize { from, to, containers, .. } => self.resize(&input, from, to, &containers).await,
            Action::RemoveContainer { id } => done(self.cri.remove_container(&id).await),
            Action::Release { remove_logs } => {
                self.sandboxes.release(input.want.uid(), remove_logs).await;
                Outcome::Done
            }
            Action::DeleteObject => self.delete_object(&input).await,
        }
    }

    async fn mount(&self, input: &Input) -> Outcome {
        let pod = &input.want.pod;
        match self.volumes.setup(pod).await {
            Ok(mounted) => Outcome::Mounted(Arc::new(mounted)),
            Err(errors) => {
                for VolumeFailure { reason, message, .. } in &errors {
                    self.record_pod(input, Severity::Warning, reason, message.clone());
                }
                let message = errors.into_iter().map(|e| e.message).collect::<Vec<_>>().join("; ");
                Outcome::Failed(Failure { reason: String::new(), message })
            }
        }
    }

    /// Devices that no sandbox was ever made for, or whose sandbox ended by itself, are given back here.
    async fn unmount(&self, uid: &str) -> Outcome {
        if let Err(why) = self.devices.unprepare(uid).await {
            return failed(why);
        }
        done(self.volumes.teardown(uid).await)
    }

    /// Devices are given back while the sandbox is still there: a pod without one is reported to have ended, and others
    /// get its devices.
    async fn stop_sandbox(&self, uid: &str, id: &str) -> Outcome {
        if let Err(why) = self.devices.unprepare(uid).await {
            tracing::warn!(uid, why, "the devices of a pod that has ended are not given back yet");
            return failed(why);
        }
        done(self.cri.stop_sandbox(id).await)
    }

    async fn create_sandbox(&self, input: &Input, attempt: u32, replaces: Vec<String>) -> Outcome {
        for id in &replaces {
            if let Err(error) = self.cri.stop_sandbox(id).await {
                self.record_pod(
                    input,
                    Severity::Warning,
                    "FailedKillPod",
                    format!("error killing pod: {error}"),
                );
                return failed(error);
            }
        }
        if let Err(why) = self.devices.prepare(&input.want.pod).await {
            let message = format!("Failed to prepare dynamic resources: {why}");
            self.record_pod(input, Severity::Warning, "FailedPrepareDynamicResources", message.clone());
            return Outcome::Failed(Failure { reason: String::new(), message });
        }
        let refuse = |why: String| {
            let message = format!("Failed to create pod sandbox: {why}");
            self.record_pod(input, Severity::Warning, "FailedCreatePodSandBox", message.clone());
            Outcome::Failed(Failure { reason: String::new(), message })
        };
        let config = match self.sandboxes.build(&input.want.pod, attempt).await {
            Ok(config) => config,
            Err(error) => return refuse(error.message),
        };
        let handler = input.want.spec().and_then(|s| s.runtime_class_name.as_deref()).unwrap_or_default();
        match self.cri.run_sandbox(config.clone(), handler).await {
            Ok(_) => Outcome::Sandbox(Arc::new(config)),
            Err(error) => refuse(error.to_string()),
        }
    }

    async fn image(&self, input: &Input, container: String, attempt: u32) -> Outcome {
        let Some(member) = input.want.member(&container) else { return not_in_pod(&container) };
        let about = regarding(&input.want, member);
        match self.images.ensure(&input.want.pod, member, &about).await {
            Ok(image) => Outcome::Image { container, attempt, image },
            Err(failure) => Outcome::Failed(failure),
        }
    }

    async fn delete_object(&self, input: &Input) -> Outcome {
        let pod = &input.want.pod;
        if let Some(patch) = status::patch(pod, &input.reported, &input.status) {
            match self.api.patch_status(pod, patch).await {
                Ok(_) => {}
                Err(PodApiError::Gone) => return Outcome::Done,
                Err(error) => return failed(error),
            }
        }
        match self.api.delete(pod).await {
            Ok(()) | Err(PodApiError::Gone) => Outcome::Done,
            Err(error) => failed(error),
        }
    }

    fn record_pod(&self, input: &Input, severity: Severity, reason: &'static str, message: String) {
        self.events.record(events::reference(&input.want.pod, Part::Pod), severity, reason, message);
    }
}

/// The reference by which events name a container.
pub fn regarding(want: &Desired, member: &Member) -> ObjectReference {
    let name = member.spec.name.as_str();
    let part = match member.role {
        Role::Init | Role::Sidecar => Part::InitContainer(name),
        Role::App => Part::Container(name),
        Role::Ephemeral => Part::EphemeralContainer(name),
    };
    events::reference(&want.pod, part)
}

fn done<E: std::fmt::Display>(result: Result<(), E>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(error) => failed(error),
    }
}

fn failed(error: impl std::fmt::Display) -> Outcome {
    Outcome::Failed(Failure { reason: String::new(), message: error.to_string() })
}

fn not_in_pod(container: &str) -> Outcome {
    failed(format!("the pod has no container {container:?} any more"))
}
