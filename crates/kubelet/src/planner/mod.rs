//! The node agent's decisions: from a pod's specification and its observed state to the actions to take.
//!
//! Start at [`plan`]. Everything here is pure: no call, no clock, no randomness; the same input gives
//! the same plan. One file a concern; the worker carries the actions out.

mod action;
mod action_key;
mod apps;
mod conditions;
mod container_status;
mod context;
mod desired;
mod garbage;
mod init;
mod lost;
mod observed;
mod phase;
mod pod_resources;
mod probes;
mod reported;
mod resize;
mod restart;
mod restart_all;
mod rounds;
mod sandbox;
mod setback;
mod stage;
mod status;
mod termination;

#[cfg(test)]
mod tests;

use jiff::Timestamp;

pub use action::{Action, Notice, Plan, ProbeTarget, ResizedContainer};
pub use action_key::ActionKey;
pub use desired::{
    Deletion, Desired, Eviction, Member, Rejection, RestartPolicy, Role, container_hash, deletion_grace_s,
};
pub use observed::{CrashBackoff, Observed, ProbeKind, Setback, Verdict};
pub use rounds::current as current_round;
pub use setback::{Failure, after_failure};

use context::Context;
use stage::Stage;

/// Decides what to do for one pod now, and what its status is.
pub fn plan(want: &Desired, seen: &Observed, now: Timestamp) -> Plan {
    let mut ctx = Context::new(want, seen, now);
    let stage = stage::decide(&mut ctx);
    match &stage {
        Stage::Live => live(&mut ctx),
        ending => termination::plan(&mut ctx, *ending),
    }
    ctx.plan.ending = stage != Stage::Live;
    ctx.plan.ended = ctx.plan.ending && stage::has_ended(&ctx);
    probes::targets(&mut ctx, stage != Stage::Live);
    resize::tell(&mut ctx);
    ctx.plan.status = status::build(&ctx, stage);
    ctx.plan
}

/// Volumes, sandbox and the first images come up side by side; containers follow when all are there.
fn live(ctx: &mut Context<'_>) {
    if !ctx.seen.volumes_ready {
        ctx.act(Action::MountVolumes);
    }
    let sandbox = sandbox::plan(ctx);
    match sandbox {
        Some(sandbox) if ctx.seen.volumes_ready => {
            if restart_all::plan(ctx) && init::plan(ctx, sandbox) {
                apps::plan(ctx, sandbox);
                resize::plan(ctx);
            }
        }
        _ => init::prefetch(ctx),
    }
    garbage::plan(ctx);
}
