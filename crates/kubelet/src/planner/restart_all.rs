//! All containers of a pod restart: what is of an earlier round is ended at once, then the pod begins anew.

use jiff::SignedDuration;

use super::action_key::ActionKey;
use super::context::Context;
use super::{rounds, termination};
use crate::cri_view::{Record, Run};

/// A pod that goes from round to round does not do so faster than this.
const PACE: SignedDuration = SignedDuration::from_secs(1);

fn is_alive(record: &Record) -> bool {
    matches!(record.run, Run::Running | Run::Unknown)
}

/// Ends the containers of earlier rounds, which get no time for it; true where those of this round may run.
pub fn plan(ctx: &mut Context<'_>) -> bool {
    if ctx.round == 0 {
        return true;
    }
    let seen = ctx.seen;
    for record in seen.runtime.containers.iter().filter(|record| is_alive(record)) {
        if ctx.is_spent(record) {
            termination::stop(ctx, record, 0, format!("Stopping container {}", record.name));
        }
    }
    if is_ending(ctx) {
        ctx.plan.because("all containers restart");
        return false;
    }
    let begins_at = rounds::ends(ctx.want, seen).map(|(_, at)| at.saturating_add(PACE).unwrap_or(at)).max();
    match begins_at.filter(|at| ctx.round > 1 && ctx.now < *at && !has_begun(ctx)) {
        Some(at) => {
            ctx.plan.wake_at(at);
            false
        }
        None => true,
    }
}

/// Whether something of an earlier round runs still, or is about to.
pub fn is_ending(ctx: &Context<'_>) -> bool {
    let is_starting = || ctx.seen.in_flight.iter().any(|key| matches!(key, ActionKey::Start(_)));
    let containers = &ctx.seen.runtime.containers;
    ctx.round > 0
        && (containers.iter().any(|record| is_alive(record) && ctx.is_spent(record))
            || (!has_begun(ctx) && is_starting()))
}

fn has_begun(ctx: &Context<'_>) -> bool {
    let has_made = || ctx.seen.runtime.containers.iter().any(|record| record.round == ctx.round);
    ctx.seen.begun_round >= ctx.round || has_made()
}

/// Whether a container of an earlier round has ended and waits for the one that takes its place.
pub fn has_made_way(ctx: &Context<'_>, record: &Record) -> bool {
    ctx.is_spent(record) && !is_alive(record) && !is_ending(ctx)
}
