//! App and ephemeral containers: started side by side, restarted by policy.

use super::action_key::ActionKey;
use super::context::Context;
use super::desired::{Member, Role};
use super::{probes, restart};
use crate::cri_view::{Run, Sandbox};

/// Plans every app container, and the ephemeral ones that were never started. A container with a postStart hook
/// holds those after it back until the hook is done, as upstream's one-by-one start does: proxies rely on it.
pub fn plan(ctx: &mut Context<'_>, sandbox: &Sandbox) {
    let want = ctx.want;
    let mut held = false;
    for member in want.with_role(Role::App) {
        app(ctx, member, sandbox, held);
        held |= starts_with_hook(ctx, member);
    }
    for member in want.with_role(Role::Ephemeral) {
        if ctx.seen.runtime.latest(&member.spec.name).is_none() {
            restart::start(ctx, member, Some(sandbox));
        }
    }
}

/// Whether the container is on its way to running, by this plan or an earlier one, and has a hook to run then.
fn starts_with_hook(ctx: &Context<'_>, member: &Member) -> bool {
    let (name, hooks) = (&member.spec.name, &member.spec.lifecycle);
    if hooks.as_ref().is_none_or(|l| l.post_start.is_none()) {
        return false;
    }
    let keys = [ActionKey::Image(name.clone()), ActionKey::Start(name.clone())];
    keys.iter().any(|key| ctx.in_flight(key) || ctx.plan.actions.iter().any(|a| a.key() == *key))
}

/// Plans one app container; a `held` one may look for its image and not start.
fn app(ctx: &mut Context<'_>, member: &Member, sandbox: &Sandbox, held: bool) {
    let into = (!held).then_some(sandbox);
    let latest = ctx.seen.runtime.latest(&member.spec.name);
    let Some(record) = latest.filter(|record| !ctx.is_spent(record)) else {
        return restart::start(ctx, member, into);
    };
    match &record.run {
        Run::Running if record.sandbox_id == sandbox.id => {
            probes::stop_failed(ctx, member, record);
        }
        Run::Exited(exit)
            if !ctx.want.restarts(member, exit.code) && !ctx.seen.to_restart.contains(&record.id) => {}
        _ => restart::start(ctx, member, into),
    }
}
