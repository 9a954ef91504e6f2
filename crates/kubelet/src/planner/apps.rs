//! App and ephemeral containers: started side by side, restarted by policy.

use super::context::Context;
use super::desired::{Member, Role};
use super::{probes, restart};
use crate::cri_view::{Run, Sandbox};

/// Plans every app container, and the ephemeral ones that were never started.
pub fn plan(ctx: &mut Context<'_>, sandbox: &Sandbox) {
    let want = ctx.want;
    for member in want.with_role(Role::App) {
        app(ctx, member, sandbox);
    }
    for member in want.with_role(Role::Ephemeral) {
        if ctx.seen.runtime.latest(&member.spec.name).is_none() {
            restart::start(ctx, member, Some(sandbox));
        }
    }
}

fn app(ctx: &mut Context<'_>, member: &Member, sandbox: &Sandbox) {
    let Some(record) = ctx.seen.runtime.latest(&member.spec.name) else {
        return restart::start(ctx, member, Some(sandbox));
    };
    match &record.run {
        Run::Running if record.sandbox_id == sandbox.id => {
            probes::stop_failed(ctx, member, record);
        }
        Run::Exited(exit) if !ctx.want.restarts(member, exit.code) => {}
        _ => restart::start(ctx, member, Some(sandbox)),
    }
}
