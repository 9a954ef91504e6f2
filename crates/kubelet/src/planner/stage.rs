//! Where a pod is in its life: whether it should be running, ending, or has ended by itself.

use super::action::Notice;
use super::context::Context;
use super::desired::{Desired, Rejection, RestartPolicy, Role};
use super::observed::Observed;

const DEADLINE_EXCEEDED: &str = "Pod was active on the node longer than the specified deadline";

/// Why a pod's processes are to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Containers are kept running.
    Live,
    /// Everything that had to run has run (or cannot); what is left (sidecars, sandbox) is stopped.
    Finished,
    /// The node ends the pod: its deadline passed, or it was refused.
    Rejected(Rejection),
    /// The object is being deleted, or is gone.
    Deleting,
}

/// Decides the pod's stage; wakes the plan when a deadline will change it.
pub fn decide(ctx: &mut Context<'_>) -> Stage {
    let (want, seen) = (ctx.want, ctx.seen);
    if want.deletion.is_some() {
        return Stage::Deleting;
    }
    if let Some(rejection) = &want.rejection {
        return Stage::Rejected(rejection.clone());
    }
    if ended_in_api(want) || finished(want, seen) {
        return Stage::Finished;
    }
    if let Some(deadline) = seen.started_at.and_then(|at| want.deadline(at)) {
        if deadline <= ctx.now {
            let (reason, message) = ("DeadlineExceeded", DEADLINE_EXCEEDED.to_owned());
            let key = reason.to_owned();
            ctx.notice(Notice { key, container: None, warning: false, reason, message: message.clone() });
            return Stage::Rejected(Rejection { reason: reason.to_owned(), message });
        }
        ctx.plan.wake_at(deadline);
    }
    if cannot_go_on(ctx) {
        return Stage::Finished;
    }
    Stage::Live
}

fn ended_in_api(want: &Desired) -> bool {
    let phase = want.pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether an init container failed for good, or every app container ended and none restarts.
fn finished(want: &Desired, seen: &Observed) -> bool {
    let ended = |member| {
        let spec: &super::desired::Member = member;
        let exit = seen.runtime.latest(&spec.spec.name).and_then(|r| r.exit());
        exit.is_some_and(|exit| !want.restarts(spec, exit.code))
    };
    let failed_init = want.with_role(Role::Init).any(|m| {
        let exit = seen.runtime.latest(&m.spec.name).and_then(|r| r.exit());
        exit.is_some_and(|exit| exit.code != 0 && !want.restarts(m, exit.code))
    });
    failed_init || (want.with_role(Role::App).next().is_some() && want.with_role(Role::App).all(ended))
}

/// A pod that never restarts and lost its sandbox after containers ran in it is not tried again
/// (upstream `PodSandboxChanged` with `restartPolicy: Never`).
fn cannot_go_on(ctx: &Context<'_>) -> bool {
    let seen = ctx.seen;
    ctx.want.restart_policy == RestartPolicy::Never
        && !seen.runtime.sandboxes.is_empty()
        && ctx.usable_sandbox().is_none()
        && ctx.want.with_role(Role::App).any(|m| seen.runtime.latest(&m.spec.name).is_some())
        && !seen.runtime.containers.iter().any(|c| c.is_running())
}
