//! Resources that change while containers run (KEP-1287), or of the pod as a whole (KEP-5419): what is to be done, and what is said of it.
//!
//! The node has granted what [`Desired`](super::Desired) asks for; here it is put into effect. A container whose policy
//! says so is made anew, the others get new limits.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Serialize;

use super::action::{Action, Notice, ResizedContainer};
use super::action_key::ActionKey;
use super::context::Context;
use super::desired::{Member, Role};
use crate::allocation::Allocation;
use crate::cri_view::Record;
use crate::resources::{self, PodLimits, parse};

/// Plans the changes that running containers need.
pub fn plan(ctx: &mut Context<'_>) {
    let (mut changed, mut to_restart) = (Vec::new(), Vec::new());
    // A container that keeps for now what it has.
    let mut is_kept = false;
    for (member, record) in outdated(ctx) {
        if ctx.is_starting(&member.spec.name) || ctx.seen.is_stopping(record) {
            is_kept = true;
            continue;
        }
        let from = ctx.seen.resources(record);
        if needs_restart(member, from) {
            is_kept = true;
            to_restart.push(record);
        } else {
            changed.push(ResizedContainer {
                container: member.spec.name.clone(),
                id: record.id.clone(),
                from: from.to_owned(),
                to: member.resources.clone(),
            });
        }
    }
    let (from, wanted) = pod_limits(ctx);
    // As long as a container has more than it was granted, until it has ended, the pod keeps that room.
    let to = if is_kept { from.at_least(&wanted) } else { wanted };
    let generation = ctx.want.pod.metadata.generation;
    if from != to || !changed.is_empty() || is_whole_outdated(ctx) {
        ctx.act(Action::Resize { from, to, whole: wanted_whole(ctx), containers: changed, generation });
        // Those that are made anew need the pod's room.
        return;
    }
    for record in to_restart {
        let action = Action::RestartContainer {
            container: record.name.clone(),
            id: record.id.clone(),
            grace_s: ctx.want.grace_s(),
            message: format!("Container {} resize requires restart", record.name),
            generation,
        };
        ctx.act(action);
    }
}

/// The running containers that do not have what the pod was granted.
fn outdated<'a>(ctx: &Context<'a>) -> Vec<(&'a Member, &'a Record)> {
    let (want, seen) = (ctx.want, ctx.seen);
    let members = want.members.iter().filter(|m| matches!(m.role, Role::App | Role::Sidecar));
    let of = |member: &'a Member| {
        let record = seen.runtime.latest(&member.spec.name)?;
        let has = seen.resources(record);
        (record.is_running() && !has.is_empty() && has != member.resources).then_some((member, record))
    };
    members.filter_map(of).collect()
}

/// Whether what is granted is not in effect yet.
fn is_in_progress(ctx: &Context<'_>) -> bool {
    let latest = |member: &Member| ctx.seen.runtime.latest(&member.spec.name);
    let is_to_start = |record: &Record| !record.is_running() && ctx.seen.to_restart.contains(&record.id);
    let limits = || {
        let (from, to) = pod_limits(ctx);
        from != to
    };
    ctx.in_flight(&ActionKey::Resize)
        || is_whole_outdated(ctx)
        || !outdated(ctx).is_empty()
        || ctx.want.members.iter().filter_map(latest).any(is_to_start)
        || limits()
}

/// What the pod as a whole may use, and what it should.
fn pod_limits(ctx: &Context<'_>) -> (PodLimits, PodLimits) {
    let pod = &ctx.want.pod;
    let differs = |member: &&Member| {
        let record = ctx.seen.runtime.latest(&member.spec.name);
        record.is_some_and(|record| {
            let has = ctx.seen.resources(record);
            !has.is_empty() && has != member.resources
        })
    };
    if ctx.seen.pod_limits.is_none()
        && !is_whole_outdated(ctx)
        && !ctx.want.members.iter().any(|member| differs(&member))
    {
        // The usual case: made for what is asked, and nothing has changed.
        return (PodLimits::default(), PodLimits::default());
    }
    let to = resources::of_pod(pod);
    (ctx.seen.pod_limits.unwrap_or_else(|| resources::of_pod(&as_made(ctx))), to)
}

fn wanted_whole(ctx: &Context<'_>) -> String {
    resources::whole_text(&ctx.want.pod)
}

/// Whether the pod does not have what it was granted as a whole.
fn is_whole_outdated(ctx: &Context<'_>) -> bool {
    let has = ctx.seen.whole();
    !has.is_empty() && has != wanted_whole(ctx)
}

/// The pod with what it and its containers have.
pub fn as_made(ctx: &Context<'_>) -> Pod {
    let mut pod = Pod::clone(&ctx.want.pod);
    let Some(spec) = &mut pod.spec else { return pod };
    if is_whole_outdated(ctx) {
        spec.resources = parse(ctx.seen.whole()).filter(|has| *has != ResourceRequirements::default());
    }
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        let has = ctx.seen.runtime.latest(&container.name).map(|record| ctx.seen.resources(record));
        if let Some(has) = has.and_then(parse) {
            container.resources = Some(has);
        }
    }
    pod
}

/// Whether a container is made anew to get what it was granted. A request for memory is nothing that its kernel
/// objects know of.
fn needs_restart(member: &Member, from: &str) -> bool {
    let read = |text: &str| resources::parse_effective(text).unwrap_or_default();
    let (from, to) = (read(from), read(&member.resources));
    let amount = |list: &Option<BTreeMap<String, Quantity>>, name: &str| {
        list.as_ref().and_then(|list| list.get(name)?.0.parse::<api::quantity::Quantity>().ok())
    };
    let cpu = amount(&from.requests, "cpu") != amount(&to.requests, "cpu")
        || amount(&from.limits, "cpu") != amount(&to.limits, "cpu");
    let memory = amount(&from.limits, "memory") != amount(&to.limits, "memory");
    let policies = member.spec.resize_policy.iter().flatten();
    policies.filter(|policy| policy.restart_policy == "RestartContainer").any(|policy| {
        match policy.resource_name.as_str() {
            "cpu" => cpu,
            "memory" => memory,
            _ => false,
        }
    })
}

/// The condition `PodResizePending`: its reason and message.
pub fn pending(ctx: &Context<'_>) -> Option<(&'static str, String)> {
    ctx.want.pending_resize.as_ref().map(|pending| (pending.reason(), pending.message.clone()))
}

/// The condition `PodResizeInProgress`: its reason and message, for one that failed.
pub fn in_progress(ctx: &Context<'_>) -> Option<Option<(&'static str, String)>> {
    let failed = ctx.seen.setbacks.get(&ActionKey::Resize);
    is_in_progress(ctx).then(|| failed.map(|setback| ("Error", setback.message.clone())))
}

/// The events of a resize.
pub fn tell(ctx: &mut Context<'_>) {
    let generation = ctx.want.pod.metadata.generation;
    let notice = |ctx: &mut Context<'_>, warning, reason: &'static str, title: String, error: &str| {
        let is_pending = matches!(reason, "ResizeInfeasible" | "ResizeDeferred");
        let asked = ctx.want.pending_resize.as_ref().filter(|_| is_pending).map(|pending| &pending.asked);
        let message = format!("{title}: {}", summary(&ctx.want.pod, asked, error));
        let key = format!("resize/{reason}/{}", generation.unwrap_or_default());
        ctx.notice(Notice { key, container: None, warning, reason, message });
    };
    if let Some((why, message)) = pending(ctx) {
        let reason = if why == "Infeasible" { "ResizeInfeasible" } else { "ResizeDeferred" };
        notice(ctx, true, reason, format!("Pod resize {why}"), &message);
    }
    match in_progress(ctx) {
        Some(None) => notice(ctx, false, "ResizeStarted", "Pod resize started".to_owned(), ""),
        Some(Some((_, message))) => {
            notice(ctx, true, "ResizeError", "Pod resize error".to_owned(), &message);
        }
        None if ctx.seen.resized_to.is_some() && ctx.seen.resized_to == generation => {
            notice(ctx, false, "ResizeCompleted", "Pod resize completed".to_owned(), "");
        }
        None => {}
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Given>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Given>,
    generation: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

#[derive(Serialize)]
struct Given {
    name: String,
    resources: ResourceRequirements,
}

/// The resources of a pod's containers, or those they are asked to have, as upstream's events show them.
fn summary(pod: &Pod, asked: Option<&Allocation>, error: &str) -> String {
    let given = |container: &'_ Container| {
        let asked = asked.and_then(|asked| asked.of(&container.name));
        let resources = asked.or(container.resources.as_ref()).cloned().unwrap_or_default();
        Given { name: container.name.clone(), resources }
    };
    let Some(spec) = &pod.spec else { return String::new() };
    let sidecars = spec.init_containers.iter().flatten().filter(|container| pods::is_sidecar(container));
    let summary = Summary {
        init_containers: sidecars.map(given).collect(),
        containers: spec.containers.iter().map(given).collect(),
        generation: pod.metadata.generation.unwrap_or_default(),
        error,
    };
    serde_json::to_string(&summary).unwrap_or_default()
}
