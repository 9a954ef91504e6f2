//! A pod's phase, from the states of its containers (upstream `pkg/kubelet/kubelet_pods.go`, `getPhase`).

use k8s_openapi::api::core::v1::ContainerStatus;

use super::desired::{Desired, Member, Role};

#[derive(Default)]
struct Counts {
    pending_init: u32,
    pending_sidecars: u32,
    failed_init: u32,
    unknown: u32,
    running: u32,
    waiting: u32,
    /// Ended app containers; of these, those that will run again and those that ended well.
    stopped: u32,
    restarting: u32,
    succeeded: u32,
}

/// The phase. `ended` says that nothing of the pod will run again; `initialized` that an app container has
/// been started.
pub fn phase(
    want: &Desired,
    init: &[ContainerStatus],
    apps: &[ContainerStatus],
    ended: bool,
    initialized: bool,
) -> &'static str {
    let mut counts = Counts::default();
    for member in want.initial() {
        let status = init.iter().find(|s| s.name == member.spec.name);
        match member.role {
            Role::Sidecar => count_sidecar(&mut counts, status),
            _ => count_init(&mut counts, want, member, status),
        }
    }
    for member in want.with_role(Role::App) {
        count_app(&mut counts, want, member, apps.iter().find(|s| s.name == member.spec.name));
    }
    decide(&counts, ended, initialized)
}

fn decide(c: &Counts, ended: bool, initialized: bool) -> &'static str {
    if c.failed_init > 0 {
        return "Failed";
    }
    if ended && c.running == 0 {
        return if c.stopped > 0 && c.stopped == c.succeeded && c.waiting == 0 && c.unknown == 0 {
            "Succeeded"
        } else {
            "Failed"
        };
    }
    if c.pending_init > 0 || (c.pending_sidecars > 0 && !initialized) || c.waiting > 0 {
        return "Pending";
    }
    if c.running > 0 && c.unknown == 0 {
        return "Running";
    }
    if c.stopped > 0 && c.unknown == 0 {
        return match (c.restarting, c.stopped == c.succeeded) {
            (1.., _) => "Running",
            (0, true) => "Succeeded",
            (0, false) => "Failed",
        };
    }
    "Pending"
}

fn last_exit(status: &ContainerStatus) -> Option<i32> {
    status.last_state.as_ref()?.terminated.as_ref().map(|t| t.exit_code)
}

fn count_init(counts: &mut Counts, want: &Desired, member: &Member, status: Option<&ContainerStatus>) {
    let Some(state) = status.and_then(|s| s.state.as_ref()) else {
        counts.pending_init += 1;
        return;
    };
    let exit = match (&state.terminated, &state.waiting) {
        (Some(ended), _) => Some(ended.exit_code),
        (None, Some(_)) => status.and_then(last_exit),
        _ => None,
    };
    match exit {
        Some(0) if state.terminated.is_some() => {}
        Some(code) if code != 0 && !want.restarts(member, code) => counts.failed_init += 1,
        _ => counts.pending_init += 1,
    }
}

fn count_sidecar(counts: &mut Counts, status: Option<&ContainerStatus>) {
    let Some(status) = status else {
        counts.unknown += 1;
        return;
    };
    let Some(state) = &status.state else {
        counts.pending_sidecars += 1;
        return;
    };
    if state.running.is_some() {
        counts.running += 1;
        if status.started != Some(true) {
            counts.pending_sidecars += 1;
        }
    } else if state.waiting.is_some() && last_exit(status).is_none() {
        counts.pending_sidecars += 1;
    }
}

fn count_app(counts: &mut Counts, want: &Desired, member: &Member, status: Option<&ContainerStatus>) {
    let Some((status, state)) = status.and_then(|s| s.state.as_ref().map(|state| (s, state))) else {
        counts.unknown += 1;
        return;
    };
    if state.running.is_some() {
        counts.running += 1;
    } else if let Some(ended) = &state.terminated {
        counts.stopped += 1;
        counts.succeeded += u32::from(ended.exit_code == 0);
        counts.restarting += u32::from(want.restarts(member, ended.exit_code));
    } else if last_exit(status).is_some() {
        counts.stopped += 1;
        counts.restarting += 1;
    } else {
        counts.waiting += 1;
    }
}
