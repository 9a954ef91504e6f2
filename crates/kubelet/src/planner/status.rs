//! A pod's whole status, from what is observed and planned.

use k8s_openapi::api::core::v1::{ContainerStatus, HostIP, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::context::Context;
use super::desired::{Rejection, Role};
use super::stage::Stage;
use super::{conditions, container_status, lost, phase, pod_resources, restart_all};

/// The status as the node sees it now.
pub fn build(ctx: &Context<'_>, stage: Stage) -> PodStatus {
    let want = ctx.want;
    let ended = ctx.plan.ended;
    let rejection = ctx.rejection.as_ref().filter(|_| ended);
    let (reason, message) = reason(ctx, stage, rejection);
    // Of a pod that was refused before anything ran there is nothing to tell but the refusal.
    let refused = ended && is_refused(ctx);
    let statuses = |keep: fn(Role) -> bool| -> Vec<ContainerStatus> {
        let members = want.members.iter().filter(|m| !refused && keep(m.role));
        members.map(|m| container_status::build(ctx, m, ended)).collect()
    };
    let mut init = statuses(|role| matches!(role, Role::Init | Role::Sidecar));
    let mut apps = statuses(|role| role == Role::App);
    apps.sort_by(|a, b| a.name.cmp(&b.name));
    let ephemeral = statuses(|role| role == Role::Ephemeral);
    let has_made_way = |name: &str| {
        ctx.seen.runtime.latest(name).is_some_and(|record| restart_all::has_made_way(ctx, record))
    };
    let initialized = apps.iter().any(|s| s.container_id.is_some() && !has_made_way(&s.name));
    let known_phase = want.pod.status.as_ref().and_then(|s| s.phase.as_deref());
    let phase = match known_phase {
        Some("Failed") => "Failed",
        Some("Succeeded") => "Succeeded",
        _ if rejection.is_some() => "Failed",
        known => match phase::phase(want, &init, &apps, ended, initialized) {
            // Whoever replaces the pod relies on it: a final phase says that nothing of the pod runs any more.
            "Failed" | "Succeeded" if !ended => not_yet(known),
            phase => phase,
        },
    };
    if ended {
        lost::end(&mut init, &mut apps);
    }
    let facts = conditions::Facts { phase, init: &init, apps: &apps, initialized };
    let conditions = conditions::build(ctx, &facts);
    let ips = ips(ctx);
    PodStatus {
        allocated_resources: if refused { None } else { pod_resources::allocated(ctx) },
        conditions: Some(conditions),
        container_statuses: some(apps),
        ephemeral_container_statuses: some(ephemeral),
        host_ip: want.host_ips.first().cloned(),
        host_ips: some(want.host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        init_container_statuses: some(init),
        message,
        observed_generation: want.pod.metadata.generation,
        phase: Some(phase.to_owned()),
        pod_ip: ips.first().cloned(),
        pod_ips: some(ips.into_iter().map(|ip| PodIP { ip }).collect()),
        qos_class: Some(pods::qos_class(&want.pod).to_owned()),
        reason,
        resources: if refused { None } else { pod_resources::actual(ctx, phase) },
        start_time: ctx.seen.started_at.map(Time),
        ..PodStatus::default()
    }
}

/// What a pod is until its final phase.
fn not_yet(known: Option<&str>) -> &'static str {
    if known == Some("Running") { "Running" } else { "Pending" }
}

/// Whether the node has never taken the pod on, as this agent or the one before it decided.
fn is_refused(ctx: &Context<'_>) -> bool {
    let refused_before = || {
        let known = ctx.want.pod.status.as_ref();
        known.is_some_and(|s| s.reason.is_some() && s.container_statuses.is_none())
            && ctx.seen.runtime.containers.is_empty()
    };
    ctx.want.refusal.is_some() || refused_before()
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// A pod-level reason is kept once it was given; it comes with the phase it explains, when nothing runs any
/// more.
fn reason(
    ctx: &Context<'_>,
    stage: Stage,
    rejection: Option<&Rejection>,
) -> (Option<String>, Option<String>) {
    if let Some(why) = rejection {
        return (Some(why.reason.clone()), Some(why.message.clone()));
    }
    match &ctx.want.pod.status {
        Some(known) if stage != Stage::Live => (known.reason.clone(), known.message.clone()),
        _ => (None, None),
    }
}

/// The pod's addresses; those already reported stay after its sandbox is gone, and after the node has got another.
fn ips(ctx: &Context<'_>) -> Vec<String> {
    let want = ctx.want;
    if want.host_network {
        let started = !ctx.seen.runtime.sandboxes.is_empty();
        return if started { want.own_ips.clone() } else { Vec::new() };
    }
    let current = ctx.seen.runtime.sandboxes.iter().map(|s| &s.ips).find(|ips| !ips.is_empty());
    match current {
        Some(ips) => ips.clone(),
        None => {
            let known = want.pod.status.iter().flat_map(|s| s.pod_ips.iter().flatten());
            known.map(|ip| ip.ip.clone()).collect()
        }
    }
}
