//! Starting a container: configuration, creation, start, postStart hook.

use cri::v1::CdiDevice;

use super::{Executor, Input, Outcome, not_in_pod, regarding};
use crate::cri_view::{
    ANNOTATION_CONTAINER_HASH, ANNOTATION_CONTAINER_RESOURCES, ANNOTATION_CONTAINER_ROUND,
};
use crate::events::Severity;
use crate::planner::{Failure, Member};
use crate::seams::ContainerRequest;

impl Executor {
    /// Makes and starts one attempt of a container.
    pub(super) async fn start(&self, input: &Input, name: &str, sandbox_id: &str, attempt: u32) -> Outcome {
        let want = &input.want;
        let Some(member) = want.member(name) else { return not_in_pod(name) };
        let about = regarding(want, member);
        let refuse = |reason: &str, message: String| {
            self.events.record(about.clone(), Severity::Warning, "Failed", format!("Error: {message}"));
            Outcome::Failed(Failure { reason: reason.to_owned(), message })
        };
        let sandbox = match &input.sandbox {
            Some(config) => config.as_ref().clone(),
            None => match self.sandboxes.build(&want.pod, input.sandbox_attempt).await {
                Ok(config) => config,
                Err(error) => return refuse("CreateContainerConfigError", error.message),
            },
        };
        let image = input.image.clone().unwrap_or_default();
        let target = match target(input, name) {
            Ok(target) => target,
            Err(message) => return refuse("CreateContainerConfigError", message),
        };
        let request = ContainerRequest {
            pod: &want.pod,
            container: &member.spec,
            attempt,
            pod_ips: &input.pod_ips,
            volumes: &input.mounted,
            image: &image,
            target: target.as_deref(),
        };
        let mut config = match self.containers.build(request).await {
            Ok(config) => config,
            Err(error) => return refuse(error.reason, error.message),
        };
        match self.devices.names(&want.pod, &member.spec) {
            Ok(names) => config.cdi_devices = names.into_iter().map(|name| CdiDevice { name }).collect(),
            Err(message) => return refuse("CreateContainerConfigError", message),
        }
        config.annotations.insert(ANNOTATION_CONTAINER_HASH.to_owned(), member.hash.clone());
        config.annotations.insert(ANNOTATION_CONTAINER_RESOURCES.to_owned(), member.resources.clone());
        if input.round > 0 {
            config.annotations.insert(ANNOTATION_CONTAINER_ROUND.to_owned(), input.round.to_string());
        }
        let id = match self.cri.create_container(sandbox_id, config, sandbox).await {
            Ok(id) => id,
            Err(error) => return refuse("CreateContainerError", error.message),
        };
        self.events.record(about.clone(), Severity::Normal, "Created", "Container created".to_owned());
        if let Err(error) = self.cri.start_container(&id).await {
            return refuse("RunContainerError", error.message);
        }
        self.containers.started(&want.pod, name, attempt, &id).await;
        self.events.record(about.clone(), Severity::Normal, "Started", "Container started".to_owned());
        self.post_start(input, member, &id).await
    }

    /// A postStart hook that fails ends its container.
    async fn post_start(&self, input: &Input, member: &Member, id: &str) -> Outcome {
        let hook = member.spec.lifecycle.as_ref().and_then(|l| l.post_start.as_ref());
        let Some(hook) = hook else { return Outcome::Done };
        let Err(why) = self.run_hook(input, member, id, hook).await else { return Outcome::Done };
        let about = regarding(&input.want, member);
        tracing::info!(pod = input.want.name(), container = member.spec.name, why, "postStart hook failed");
        let text = "PostStartHook failed".to_owned();
        self.events.record(about.clone(), Severity::Warning, "FailedPostStartHook", text);
        let text = "FailedPostStartHook".to_owned();
        self.events.record(about, Severity::Normal, "Killing", text);
        let grace_s = input.want.grace_s();
        if let Err(error) = self.cri.stop_container(id, grace_s).await {
            tracing::warn!(%error, container = member.spec.name, "a container cannot be stopped");
        }
        Outcome::Failed(Failure {
            reason: "PostStartHookError".to_owned(),
            message: "PostStartHook failed".to_owned(),
        })
    }
}

/// The id of the container that the ephemeral container `name` is to look into, where it names one.
///
/// # Errors
/// In upstream's words, when that container was never started.
fn target(input: &Input, name: &str) -> Result<Option<String>, String> {
    let ephemeral = input.want.spec().into_iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let named = ephemeral.filter(|container| container.name == name);
    let Some(wanted) = named.filter_map(|container| container.target_container_name.clone()).next() else {
        return Ok(None);
    };
    if wanted.is_empty() {
        return Ok(None);
    }
    let statuses = [&input.status.container_statuses, &input.status.init_container_statuses];
    let status = statuses.into_iter().flatten().flatten().find(|status| status.name == wanted);
    let id = status.and_then(|status| status.container_id.as_deref()?.split_once("://"));
    id.map(|(_, id)| Some(id.to_owned())).ok_or_else(|| format!("unable to find target container {wanted}"))
}
