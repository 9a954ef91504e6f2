//! A pod's whole status, from what is observed and planned.

use k8s_openapi::api::core::v1::{ContainerStatus, HostIP, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::context::Context;
use super::desired::Role;
use super::stage::Stage;
use super::{conditions, container_status, phase};

/// The status as the node sees it now.
pub fn build(ctx: &Context<'_>, stage: &Stage) -> PodStatus {
    let want = ctx.want;
    let running = ctx.seen.runtime.containers.iter().any(|c| c.is_running());
    let ended = *stage != Stage::Live && !running;
    let (reason, message) = reason(ctx, stage, ended);
    // Of a pod that was refused before anything ran there is nothing to tell but the refusal.
    let refused = ended && reason.is_some() && ctx.seen.runtime.containers.is_empty() && !was_started(ctx);
    let statuses = |keep: fn(Role) -> bool| -> Vec<ContainerStatus> {
        let members = want.members.iter().filter(|m| !refused && keep(m.role));
        members.map(|m| container_status::build(ctx, m, ended)).collect()
    };
    let init = statuses(|role| matches!(role, Role::Init | Role::Sidecar));
    let mut apps = statuses(|role| role == Role::App);
    apps.sort_by(|a, b| a.name.cmp(&b.name));
    let ephemeral = statuses(|role| role == Role::Ephemeral);
    let initialized = apps.iter().any(|s| s.container_id.is_some());
    let known_phase = want.pod.status.as_ref().and_then(|s| s.phase.as_deref());
    let phase = match (stage, known_phase) {
        // A final phase says that nothing runs any more.
        (Stage::Rejected(_), _) if ended => "Failed",
        (_, Some("Failed")) => "Failed",
        (_, Some("Succeeded")) => "Succeeded",
        _ => phase::phase(want, &init, &apps, ended, initialized),
    };
    let facts = conditions::Facts { phase, init: &init, apps: &apps, initialized };
    let conditions = conditions::build(ctx, &facts);
    let ips = ips(ctx);
    PodStatus {
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
        start_time: ctx.seen.started_at.map(Time),
        ..PodStatus::default()
    }
}

/// Whether the API knows of a container that was made for the pod.
fn was_started(ctx: &Context<'_>) -> bool {
    let members = &ctx.want.members;
    members.iter().any(|m| container_status::of_started(ctx.want, &m.spec.name).is_some())
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// A pod-level reason is kept once it was given; it comes with the phase it explains, when nothing runs any
/// more.
fn reason(ctx: &Context<'_>, stage: &Stage, ended: bool) -> (Option<String>, Option<String>) {
    match stage {
        Stage::Rejected(why) if ended => return (Some(why.reason.clone()), Some(why.message.clone())),
        _ => {}
    }
    match (&ctx.want.pod.status, stage) {
        (Some(known), Stage::Finished | Stage::Deleting | Stage::Rejected(_)) => {
            (known.reason.clone(), known.message.clone())
        }
        _ => (None, None),
    }
}

/// The pod's addresses; those already reported stay after its sandbox is gone.
fn ips(ctx: &Context<'_>) -> Vec<String> {
    let want = ctx.want;
    if want.host_network {
        let started = !ctx.seen.runtime.sandboxes.is_empty();
        return if started { want.host_ips.clone() } else { Vec::new() };
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
