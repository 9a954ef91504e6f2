//! Sandboxes and containers as the CRI describes them.

use std::collections::HashMap;

use cri::v1::{
    Container as ContainerItem, ContainerResources, ContainerState, ContainerStatus, ContainerUser,
    ImageSpec, LinuxContainerUser, LinuxPodSandboxStatus, Namespace, PodIp, PodSandbox,
    PodSandboxNetworkStatus, PodSandboxState, PodSandboxStatus,
};
use serde_json::json;

use super::{Container, Sandbox};
use crate::image::name::ImageName;
use crate::spec::user::Identity;

impl Sandbox {
    fn cri_state(&self) -> PodSandboxState {
        if self.is_ready() { PodSandboxState::SandboxReady } else { PodSandboxState::SandboxNotready }
    }

    pub fn status(&self) -> PodSandboxStatus {
        let record = self.state().record.clone();
        let mut ips = record.ips.into_iter();
        let network = PodSandboxNetworkStatus {
            ip: ips.next().unwrap_or_default(),
            additional_ips: ips.map(|ip| PodIp { ip }).collect(),
        };
        PodSandboxStatus {
            id: self.id.clone(),
            metadata: self.config.metadata.clone(),
            state: self.cri_state().into(),
            created_at: record.created_at_ns,
            network: Some(network),
            linux: Some(LinuxPodSandboxStatus {
                namespaces: Some(Namespace { options: Some(self.namespaces()) }),
            }),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            runtime_handler: record.runtime_handler,
        }
    }

    pub fn item(&self) -> PodSandbox {
        let status = self.status();
        PodSandbox {
            id: status.id,
            metadata: status.metadata,
            state: status.state,
            created_at: status.created_at,
            labels: status.labels,
            annotations: status.annotations,
            runtime_handler: status.runtime_handler,
        }
    }

    /// The additional information of a verbose request.
    pub fn info(&self) -> HashMap<String, String> {
        let (pid, phase) = {
            let state = self.state();
            (state.pause_pid, format!("{:?}", state.record.phase))
        };
        let netns = (!self.on_host_network()).then(|| self.netns());
        let info = json!({"pid": pid, "processStatus": phase.to_lowercase(), "networkNamespace": netns});
        HashMap::from([("info".to_owned(), info.to_string())])
    }
}

/// The image under its whole name, `docker.io/library/busybox:latest`, as container runtimes report it.
fn image(asked: &ImageSpec) -> ImageSpec {
    let name = asked.user_specified_image.parse::<ImageName>();
    ImageSpec { image: name.map_or_else(|_| asked.image.clone(), |name| name.to_string()), ..asked.clone() }
}

fn user(identity: Identity) -> ContainerUser {
    let supplemental_groups = identity.additional_gids.into_iter().map(i64::from).collect();
    let linux =
        LinuxContainerUser { uid: identity.uid.into(), gid: identity.gid.into(), supplemental_groups };
    ContainerUser { linux: Some(linux) }
}

impl Container {
    pub fn cri_state(&self) -> ContainerState {
        self.life().state()
    }

    pub fn status(&self) -> ContainerStatus {
        let record = self.record().clone();
        let life = self.life();
        let exit = life.exit;
        let reason = match (&record.start_failure, exit) {
            (Some(_), _) => "StartError",
            (None, Some(exit)) if exit.oom_killed => "OOMKilled",
            (None, Some(exit)) if exit.code == 0 => "Completed",
            (None, Some(_)) => "Error",
            (None, None) => "",
        };
        let resources = record.config.linux.and_then(|l| l.resources);
        ContainerStatus {
            id: record.id,
            metadata: self.config.metadata.clone(),
            state: life.state().into(),
            created_at: record.created_at_ns,
            started_at: life.started.map_or(0, |s| s.at_ns),
            finished_at: exit.map_or(0, |e| e.at_ns),
            exit_code: exit.map_or(0, |e| e.code),
            image: self.config.image.as_ref().map(image),
            image_ref: record.image_ref,
            image_id: record.image_id,
            reason: reason.to_owned(),
            message: record.start_failure.unwrap_or_default(),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            mounts: self.config.mounts.clone(),
            log_path: record.log_path,
            resources: Some(ContainerResources { linux: resources, windows: None }),
            user: record.identity.map(user),
        }
    }

    pub fn item(&self) -> ContainerItem {
        let record = self.record();
        ContainerItem {
            id: self.id.clone(),
            pod_sandbox_id: self.sandbox.id.clone(),
            metadata: self.config.metadata.clone(),
            image: Some(ImageSpec {
                image: self.config.image.as_ref().map(|i| i.image.clone()).unwrap_or_default(),
                ..ImageSpec::default()
            }),
            image_ref: record.image_ref.clone(),
            image_id: record.image_id.clone(),
            state: self.life().state().into(),
            created_at: record.created_at_ns,
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
        }
    }

    /// The additional information of a verbose request.
    pub fn info(&self) -> HashMap<String, String> {
        let pid = self.life().started.filter(|_| self.is_running()).map(|s| s.pid);
        let info = json!({"pid": pid, "sandboxID": self.sandbox.id, "cgroup": self.record().cgroup.clone()});
        HashMap::from([("info".to_owned(), info.to_string())])
    }
}
