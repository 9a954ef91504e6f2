//! What an ended pod reports of containers whose end nobody saw (upstream's status manager, `TerminatePod`).

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus};

/// Gives every container that counts as started an end: one that nobody saw is a failure, so that a pod is never
/// described as more successful than it was.
pub fn end(init: &mut [ContainerStatus], apps: &mut [ContainerStatus]) {
    if is_initialized(init, apps) {
        apps.iter_mut().for_each(end_one);
    }
    // Init containers after the last one that left a trace have not begun; the first always counts as begun.
    let begun = init.iter().rposition(|s| !waits(s) || has_ended_before(s)).unwrap_or(0);
    init.iter_mut().take(begun + 1).for_each(end_one);
}

fn is_initialized(init: &[ContainerStatus], apps: &[ContainerStatus]) -> bool {
    let succeeded = |state: &Option<ContainerState>| {
        state.as_ref().and_then(|s| s.terminated.as_ref()).is_some_and(|t| t.exit_code == 0)
    };
    init.last().is_none_or(|last| succeeded(&last.state) || succeeded(&last.last_state))
        || apps.iter().any(|s| has_ended_before(s) || !waits(s))
}

fn waits(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|s| s.waiting.is_some())
}

fn has_ended_before(status: &ContainerStatus) -> bool {
    status.last_state.as_ref().is_some_and(|s| s.terminated.is_some())
}

fn end_one(status: &mut ContainerStatus) {
    if status.state.as_ref().is_some_and(|s| s.terminated.is_some()) {
        return;
    }
    let ended = ContainerStateTerminated {
        exit_code: 137,
        reason: Some("ContainerStatusUnknown".to_owned()),
        message: Some("The container could not be located when the pod was terminated".to_owned()),
        ..ContainerStateTerminated::default()
    };
    status.state = Some(ContainerState { terminated: Some(ended), ..ContainerState::default() });
}
