//! The pod's sandbox: made first, replaced when it dies.

use super::action::{Action, Notice};
use super::action_key::ActionKey;
use super::context::Context;
use super::termination;
use crate::cri_view::Sandbox;

/// The sandbox containers can be started in, or `None` while one is being made.
pub fn plan<'a>(ctx: &mut Context<'a>) -> Option<&'a Sandbox> {
    if ctx.in_flight(&ActionKey::NewSandbox) {
        ctx.plan.because("a sandbox is being made");
        return None;
    }
    if let Some(usable) = ctx.usable_sandbox() {
        return Some(usable);
    }
    let Some(newest) = ctx.seen.runtime.sandboxes.first() else {
        ctx.plan.because("no sandbox yet");
        ctx.act(Action::CreateSandbox { attempt: 0, replaces: Vec::new() });
        return None;
    };
    ctx.plan.because("the sandbox is not ready");
    ctx.notice(Notice {
        key: format!("sandbox-changed/{}", newest.id),
        container: None,
        warning: false,
        reason: "SandboxChanged",
        message: "Pod sandbox changed, it will be killed and re-created.".to_owned(),
    });
    let running: Vec<_> = ctx.seen.runtime.containers.iter().filter(|c| c.is_running()).collect();
    if running.is_empty() {
        let replaces = ctx.seen.runtime.sandboxes.iter().map(|s| s.id.clone()).collect();
        ctx.act(Action::CreateSandbox { attempt: newest.attempt.saturating_add(1), replaces });
    }
    for record in running {
        let grace_s = ctx.want.grace_s();
        termination::stop(ctx, record, grace_s, format!("Stopping container {}", record.name));
    }
    None
}
