//! What the API was last told of a container.

use k8s_openapi::api::core::v1::ContainerStatus;

use super::context::Waiting;
use super::desired::Desired;

/// Why a container waits that keeps ending.
pub const BACK_OFF: &str = "CrashLoopBackOff";

/// The status the API has for a container.
pub fn in_api<'a>(want: &'a Desired, name: &str) -> Option<&'a ContainerStatus> {
    let status = want.pod.status.as_ref()?;
    let lists =
        [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|s| s.name == name)
}

/// The status the API has for a container that was started before, also where the runtime has lost its records
/// since (after a reboot).
pub fn of_started<'a>(want: &'a Desired, name: &str) -> Option<&'a ContainerStatus> {
    let ended = |s: &ContainerStatus| s.last_state.as_ref().is_some_and(|last| last.terminated.is_some());
    in_api(want, name).filter(|s| s.container_id.is_some() || ended(s) || s.restart_count > 0)
}

/// How the container waits, if the API was last told that it backs off.
pub fn backs_off(want: &Desired, name: &str) -> Option<Waiting> {
    let waiting = in_api(want, name)?.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.clone().filter(|r| r == BACK_OFF)?;
    Some(Waiting { reason, message: waiting.message.clone().unwrap_or_default() })
}
