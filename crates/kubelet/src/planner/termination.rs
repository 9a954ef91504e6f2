//! The end of a pod: containers stopped in order, then the sandbox, the volumes, the object.

use super::action::Action;
use super::action_key::ActionKey;
use super::context::Context;
use super::desired::Role;
use super::stage::Stage;
use crate::cri_view::{Record, Run};

/// Plans a container's stop. A stop under way is repeated only with a shorter grace.
pub fn stop(ctx: &mut Context<'_>, record: &Record, grace_s: i64, message: String) {
    if ctx.seen.stopping.get(&record.id).is_some_and(|running_s| *running_s <= grace_s) {
        return;
    }
    let action =
        Action::StopContainer { container: record.name.clone(), id: record.id.clone(), grace_s, message };
    if !ctx.held_back(&action.key()) {
        ctx.plan.actions.push(action);
    }
}

/// Plans the rest of a pod's life.
pub fn plan(ctx: &mut Context<'_>, stage: Stage) {
    let deleting = stage == Stage::Deleting;
    if starting(ctx) {
        ctx.plan.because("waits for a start under way before stopping");
    }
    if !stop_containers(ctx) || starting(ctx) {
        return;
    }
    let ready: Vec<_> = ctx.seen.runtime.sandboxes.iter().filter(|s| s.ready).collect();
    for sandbox in &ready {
        ctx.act(Action::StopSandbox { id: sandbox.id.clone() });
    }
    if ctx.in_flight(&ActionKey::NewSandbox) || !ready.is_empty() {
        return;
    }
    if !ctx.seen.volumes_gone {
        ctx.act(Action::UnmountVolumes);
    }
    if deleting {
        clear(ctx);
    } else if ctx.seen.volumes_gone && !ctx.seen.released {
        ctx.act(Action::Release { remove_logs: false });
    }
}

fn starting(ctx: &Context<'_>) -> bool {
    ctx.seen.in_flight.iter().any(|key| matches!(key, ActionKey::Start(_) | ActionKey::NewSandbox))
}

/// Stops what runs: app and init containers together, then the sidecars from the last to the first.
/// True when nothing runs.
fn stop_containers(ctx: &mut Context<'_>) -> bool {
    let want = ctx.want;
    let grace_s = want.ending_grace_s();
    let is_sidecar = |name: &str| want.member(name).is_some_and(|m| m.role == Role::Sidecar);
    let alive = |r: &&Record| r.is_running() || r.run == Run::Unknown;
    let running: Vec<_> = ctx.seen.runtime.containers.iter().filter(alive).collect();
    let (sidecars, others): (Vec<_>, Vec<_>) = running.into_iter().partition(|r| is_sidecar(&r.name));
    for record in &others {
        stop(ctx, record, grace_s, format!("Stopping container {}", record.name));
    }
    if others.is_empty() {
        let last = want.initial().rev().find_map(|m| sidecars.iter().find(|r| r.name == m.spec.name));
        if let Some(record) = last {
            let grace_s = left_for_sidecars(ctx, grace_s);
            stop(ctx, record, grace_s, format!("Stopping container {}", record.name));
        }
    }
    others.is_empty() && sidecars.is_empty()
}

/// Sidecars end after the apps but within the same grace; however little is left, each gets 2 seconds of it
/// (upstream `minimumGracePeriodInSeconds`).
fn left_for_sidecars(ctx: &Context<'_>, grace_s: i64) -> i64 {
    let used_s = ctx.seen.ending_since.map_or(0, |since| ctx.now.duration_since(since).as_secs());
    grace_s.saturating_sub(used_s).max(grace_s.min(2))
}

/// Removes everything a deleted pod left, the API object as soon as its resources are given back.
fn clear(ctx: &mut Context<'_>) {
    let seen = ctx.seen;
    if seen.volumes_gone && !seen.api_gone {
        if ctx.want.gone {
            ctx.plan.because("the object is already gone");
        } else {
            ctx.act(Action::DeleteObject);
        }
    }
    for record in &seen.runtime.containers {
        ctx.act(Action::RemoveContainer { id: record.id.clone() });
    }
    if !seen.runtime.containers.is_empty() {
        return;
    }
    for sandbox in &seen.runtime.sandboxes {
        ctx.act(Action::RemoveSandbox { id: sandbox.id.clone() });
    }
    if !seen.runtime.sandboxes.is_empty() || !seen.volumes_gone {
        return;
    }
    if !seen.released {
        ctx.act(Action::Release { remove_logs: true });
    }
    ctx.plan.done = seen.released && (seen.api_gone || ctx.want.gone);
}
