//! What keeps a pod's containers from being ready.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStatus, Event, Pod,
};

use crate::{refusals, warnings};

/// The containers' statuses, init containers first.
pub fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| {
        let first = status.init_container_statuses.iter().flatten();
        first.chain(status.container_statuses.iter().flatten())
    })
}

/// The containers that ended with an error and wait to be started again, or have just been.
pub fn crashed(pod: &Pod) -> impl Iterator<Item = &str> {
    statuses(pod)
        .filter(|status| !status.ready && last_failure(status).is_some())
        .map(|status| status.name.as_str())
}

/// `with exit code 1 (Error): message`.
pub fn exit(ended: &ContainerStateTerminated) -> String {
    let reason = ended.reason.as_deref().filter(|reason| !reason.is_empty());
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let message = ended.message.as_deref().map(str::trim).filter(|message| !message.is_empty());
    let message = message.map(|message| format!(": {message}")).unwrap_or_default();
    format!("with exit code {}{reason}{message}", ended.exit_code)
}

/// The newest end with an error.
fn last_failure(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let of =
        |state: &'_ Option<ContainerState>| state.as_ref().is_some_and(|state| state.terminated.is_some());
    let state = if of(&status.state) { &status.state } else { &status.last_state };
    state.as_ref()?.terminated.as_ref().filter(|ended| ended.exit_code != 0)
}

/// What keeps a container from being ready, and what it wrote last.
pub fn causes(
    status: &ContainerStatus,
    last_lines: &BTreeMap<String, Result<Vec<String>, String>>,
) -> Vec<String> {
    let (name, state) = (&status.name, status.state.clone().unwrap_or_default());
    let mut causes = Vec::new();
    if let Some(waiting) = state.waiting {
        let (reason, message) = (waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default());
        causes.push(match message.is_empty() {
            true => format!("container {name} waits: {reason}"),
            false => format!("container {name} waits: {reason}: {message}"),
        });
    } else if state.running.is_some() && !status.ready {
        causes.push(match status.started {
            Some(true) => format!("container {name} runs, and its readiness probe has not succeeded"),
            _ => format!("container {name} runs and has not started up yet"),
        });
    } else if let Some(ended) = state.terminated.filter(|ended| ended.exit_code != 0) {
        causes.push(format!("container {name} ended {}", exit(&ended)));
    }
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    if let Some(last) = last.filter(|_| !causes.is_empty()) {
        let times = status.restart_count;
        causes
            .push(format!("container {name} was started again {times} times; it last ended {}", exit(last)));
    }
    if !causes.is_empty() {
        match last_lines.get(name) {
            Some(Ok(lines)) => {
                causes.extend(lines.iter().map(|line| format!("container {name} wrote: {line}")));
            }
            Some(Err(why)) => causes.push(format!("the log of container {name} cannot be read: {why}")),
            None => {}
        }
    }
    causes
}

/// The smallest change that would help a container, where its state shows one.
pub fn remedy(pod: &Pod, status: &ContainerStatus, events: &[Event]) -> Option<String> {
    let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    let message = waiting.and_then(|waiting| waiting.message.as_deref()).unwrap_or_default();
    match reason {
        "ErrImageNeverPull" => Some(format!(
            "bring the image {} to node {} (knarr image import), or set imagePullPolicy to IfNotPresent",
            status.image,
            pods::node_name(pod)
        )),
        "InvalidImageName" => Some(format!("correct the image's name {:?}", status.image)),
        "ErrImagePull" | "ImagePullBackOff" => Some(pull(pod, &status.image, &pull_message(message, events))),
        "CreateContainerConfigError" | "CreateContainerError" => refusals::missing(message),
        _ => {
            last_failure(status).filter(|_| !status.ready).and_then(|ended| crash(pod, status, ended, events))
        }
    }
}

/// What the registry said: the container's message, or the event's where the message only tells of the back-off.
fn pull_message(message: &str, events: &[Event]) -> String {
    let failed = warnings::message(events, "Failed").filter(|message| message.contains("pull"));
    format!("{message} {}", failed.unwrap_or_default()).to_lowercase()
}

fn pull(pod: &Pod, image: &str, said: &str) -> String {
    let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if any(&["unauthorized", "forbidden", "denied", "authentication", "401", "403"]) {
        return format!(
            "name a Secret with rights to {image} in imagePullSecrets, or correct the image's name"
        );
    }
    if any(&["not found", "manifest unknown", "name unknown", "404"]) {
        return format!("correct the image's name or tag: the registry has no {image}");
    }
    if any(&["certificate", "x509", "tls"]) {
        return format!("trust the registry's certificate on node {}", pods::node_name(pod));
    }
    format!(
        "let node {} reach the registry of {image}, or load the image (knarr image import)",
        pods::node_name(pod)
    )
}

fn crash(
    pod: &Pod,
    status: &ContainerStatus,
    ended: &ContainerStateTerminated,
    events: &[Event],
) -> Option<String> {
    let name = &status.name;
    if ended.reason.as_deref() == Some("OOMKilled") {
        let limit =
            container(pod, name).and_then(|c| c.resources.as_ref()?.limits.as_ref()?.get("memory").cloned());
        return Some(match limit {
            Some(limit) => {
                format!("raise the memory limit of container {name} ({} today), or have it use less", limit.0)
            }
            None => {
                format!("give container {name} a memory limit that it keeps to: the node ran out of memory")
            }
        });
    }
    // The kill by a probe: the container is ended from outside, and the probe says why.
    if let Some(said) =
        warnings::message(events, "Unhealthy").filter(|_| matches!(ended.exit_code, 137 | 143))
        && (said.starts_with("Liveness") || said.starts_with("Startup"))
    {
        let probe = if said.starts_with("Liveness") { "liveness" } else { "startup" };
        return Some(format!(
            "correct the {probe} probe of container {name}, or give it more time (failureThreshold, periodSeconds, \
             timeoutSeconds)"
        ));
    }
    match ended.exit_code {
        127 => Some(format!("correct the command of container {name}: the program was not found")),
        126 => Some(format!("correct the command of container {name}: the program cannot be executed")),
        _ => None,
    }
}

fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.init_containers.iter().flatten().chain(&spec.containers).find(|container| container.name == name)
}
