//! Which probes should run, and the effects of their verdicts.

use super::action::{Action, ProbeTarget};
use super::context::Context;
use super::desired::{Member, RestartPolicy, Role};
use super::observed::{ProbeKind, Verdict};
use super::termination;
use crate::cri_view::Record;

/// Stops a running container whose definition changed or whose liveness or startup probe failed;
/// true if it is to stop.
pub fn stop_failed(ctx: &mut Context<'_>, member: &Member, record: &Record) -> bool {
    let name = &member.spec.name;
    if ctx.is_starting(name) {
        return false;
    }
    let changed = !record.hash.is_empty() && record.hash != member.hash;
    let failed = |kind| ctx.seen.verdict(&record.id, kind) == Some(Verdict::Failure);
    let (what, probe) = if changed {
        ("definition changed", None)
    } else if failed(ProbeKind::Liveness) {
        ("failed liveness probe", member.spec.liveness_probe.as_ref())
    } else if failed(ProbeKind::Startup) {
        ("failed startup probe", member.spec.startup_probe.as_ref())
    } else {
        return false;
    };
    let restarts = changed || member.role == Role::Sidecar || ctx.want.restart_policy != RestartPolicy::Never;
    let consequence = if restarts { ", will be restarted" } else { "" };
    let grace_s =
        probe.and_then(|p| p.termination_grace_period_seconds).unwrap_or_else(|| ctx.want.grace_s()).max(1);
    termination::stop(ctx, record, grace_s, format!("Container {name} {what}{consequence}"));
    true
}

/// The probes that should be running now: a startup probe alone until it succeeded, then the others.
/// While a pod is ending only readiness goes on.
pub fn targets(ctx: &mut Context<'_>, ending: bool) {
    let want = ctx.want;
    let mut targets = Vec::new();
    for member in want.members.iter().filter(|m| matches!(m.role, Role::App | Role::Sidecar)) {
        let Some(record) = ctx.seen.runtime.latest(&member.spec.name) else { continue };
        if !record.is_running() || ctx.is_starting(&member.spec.name) {
            continue;
        }
        let stopping = ctx.seen.is_stopping(record)
            || ctx
                .plan
                .actions
                .iter()
                .any(|a| matches!(a, Action::StopContainer { id, .. } | Action::RestartContainer { id, .. } if *id == record.id));
        let mut add = |kind| {
            targets.push(ProbeTarget {
                container: member.spec.name.clone(),
                container_id: record.id.clone(),
                kind,
            });
        };
        if !ctx.is_started(member, record) {
            if !ending && !stopping {
                add(ProbeKind::Startup);
            }
            continue;
        }
        if member.spec.readiness_probe.is_some() {
            add(ProbeKind::Readiness);
        }
        if member.spec.liveness_probe.is_some() && !ending && !stopping {
            add(ProbeKind::Liveness);
        }
    }
    ctx.plan.probes = targets;
}
