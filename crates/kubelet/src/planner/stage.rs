//! Where a pod is in its life: whether it should be running, ending, or has ended by itself.

use super::action::Notice;
use super::action_key::ActionKey;
use super::context::Context;
use super::desired::{Desired, Rejection, RestartPolicy, Role};
use super::rounds;
use crate::cri_view::Run;

const DEADLINE_EXCEEDED: &str = "Pod was active on the node longer than the specified deadline";

/// Why a pod's processes are to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Containers are kept running.
    Live,
    /// Everything that had to run has run (or cannot); what is left (sidecars, sandbox) is stopped.
    Finished,
    /// The node ends the pod, for the reason in [`Context::rejection`].
    Rejected,
    /// The object is being deleted, or is gone.
    Deleting,
}

/// Decides the pod's stage, and whether the node rejects the pod; wakes the plan when a deadline will change it.
///
/// A rejection stays one, whatever becomes of the containers afterwards, and also where the pod is deleted
/// meanwhile.
pub fn decide(ctx: &mut Context<'_>) -> Stage {
    let (want, seen) = (ctx.want, ctx.seen);
    let settled = ended_in_api(want);
    if !settled {
        ctx.rejection = rejection(ctx);
    }
    if want.deletion.is_some() {
        return Stage::Deleting;
    }
    if ctx.rejection.is_some() {
        return Stage::Rejected;
    }
    if settled || rounds::finished(want, seen).is_some() || cannot_go_on(ctx) {
        return Stage::Finished;
    }
    Stage::Live
}

/// Whether nothing of a pod that is ending runs any more, or is about to: containers, starts under way, and the
/// sandbox with the addresses and ports it holds. No terminal phase is reported before.
pub fn has_ended(ctx: &Context<'_>) -> bool {
    let runtime = &ctx.seen.runtime;
    let starting = |key: &ActionKey| matches!(key, ActionKey::Start(_) | ActionKey::NewSandbox);
    !ctx.seen.in_flight.iter().any(starting)
        && !runtime.sandboxes.iter().any(|s| s.ready)
        && !runtime.containers.iter().any(|c| matches!(c.run, Run::Running | Run::Unknown))
}

/// Why the node refuses or ends the pod.
fn rejection(ctx: &mut Context<'_>) -> Option<Rejection> {
    let want = ctx.want;
    if let Some(why) = want.refusal.as_ref().or(want.eviction.as_ref().map(|eviction| &eviction.why)) {
        return Some(why.clone());
    }
    let deadline = ctx.seen.started_at.and_then(|at| want.deadline(at))?;
    let finished_at = rounds::finished(want, ctx.seen);
    // Told by when the containers ended, so that the answer is the same after they have, and for a restarted agent.
    if finished_at.unwrap_or(ctx.now) < deadline {
        if finished_at.is_none() {
            ctx.plan.wake_at(deadline);
        }
        return None;
    }
    let (reason, message) = ("DeadlineExceeded", DEADLINE_EXCEEDED.to_owned());
    ctx.notice(Notice {
        key: reason.to_owned(),
        container: None,
        warning: false,
        reason,
        message: message.clone(),
    });
    Some(Rejection { reason: reason.to_owned(), message })
}

fn ended_in_api(want: &Desired) -> bool {
    let phase = want.pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
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
