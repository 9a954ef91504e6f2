//! Init containers, strictly in order, and the sidecars among them.

use super::context::Context;
use super::desired::{Member, Role};
use super::{probes, restart};
use crate::cri_view::{Run, Sandbox};

/// Plans the init containers; true once the app containers may start.
pub fn plan(ctx: &mut Context<'_>, sandbox: &Sandbox) -> bool {
    if has_initialized(ctx, sandbox) {
        keep_sidecars(ctx, sandbox);
        return true;
    }
    let want = ctx.want;
    for member in want.initial() {
        let done = match member.role {
            Role::Sidecar => sidecar_started(ctx, member, sandbox),
            _ => init_done(ctx, member, sandbox),
        };
        if !done {
            ctx.plan.because(format!("waits for init container {}", member.spec.name));
            return false;
        }
    }
    true
}

/// The images a new pod needs first can be looked for while its sandbox and volumes are made.
pub fn prefetch(ctx: &mut Context<'_>) {
    let want = ctx.want;
    if !ctx.seen.runtime.containers.is_empty() {
        return;
    }
    match want.initial().next() {
        Some(first) => restart::start(ctx, first, None),
        None => want.with_role(Role::App).for_each(|m| restart::start(ctx, m, None)),
    }
}

/// An app container exists in this sandbox: initialization is behind us, even where the ended init
/// containers have been cleared away since.
pub fn has_initialized(ctx: &Context<'_>, sandbox: &Sandbox) -> bool {
    ctx.want.with_role(Role::App).any(|m| ctx.latest_in(&m.spec.name, sandbox).is_some())
}

fn init_done(ctx: &mut Context<'_>, member: &Member, sandbox: &Sandbox) -> bool {
    let Some(record) = ctx.latest_in(&member.spec.name, sandbox) else {
        restart::start(ctx, member, Some(sandbox));
        return false;
    };
    match &record.run {
        Run::Running => false,
        Run::Exited(exit) if exit.code == 0 => true,
        Run::Exited(exit) => {
            if ctx.want.restarts(member, exit.code) {
                restart::start(ctx, member, Some(sandbox));
            }
            false
        }
        Run::Created | Run::Unknown => {
            restart::start(ctx, member, Some(sandbox));
            false
        }
    }
}

/// A sidecar counts as started when it runs, its start is complete, and its startup probe succeeded.
fn sidecar_started(ctx: &mut Context<'_>, member: &Member, sandbox: &Sandbox) -> bool {
    match ctx.latest_in(&member.spec.name, sandbox) {
        Some(record) if record.is_running() => {
            if probes::stop_failed(ctx, member, record) {
                return false;
            }
            ctx.is_started(member, record)
        }
        _ => {
            restart::start(ctx, member, Some(sandbox));
            false
        }
    }
}

fn keep_sidecars(ctx: &mut Context<'_>, sandbox: &Sandbox) {
    let want = ctx.want;
    for member in want.with_role(Role::Sidecar) {
        sidecar_started(ctx, member, sandbox);
    }
}
