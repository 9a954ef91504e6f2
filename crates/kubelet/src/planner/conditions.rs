//! A pod's conditions, with upstream's reasons and messages (`pkg/kubelet/status/generate.go`).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::context::Context;
use super::desired::Role;
use super::{resize, restart_all};

/// A condition before it is compared with the one in the API.
struct Draft {
    kind: &'static str,
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Draft {
    fn holds(kind: &'static str) -> Self {
        Self { kind, holds: true, reason: None, message: None }
    }

    fn because(kind: &'static str, why: Option<(&'static str, String)>) -> Self {
        let (reason, message) = why.unzip();
        Self { kind, holds: true, reason, message }
    }

    fn fails(kind: &'static str, reason: Option<&'static str>, message: Option<String>) -> Self {
        Self { kind, holds: false, reason, message }
    }
}

/// What conditions are made of.
pub struct Facts<'a> {
    pub phase: &'a str,
    pub init: &'a [ContainerStatus],
    pub apps: &'a [ContainerStatus],
    /// An app container has been started in the current sandbox.
    pub initialized: bool,
}

/// The conditions the node owns, in upstream's order.
pub fn build(ctx: &Context<'_>, facts: &Facts<'_>) -> Vec<PodCondition> {
    let ready_to_start = if ctx.usable_sandbox().is_some() {
        Draft::holds("PodReadyToStartContainers")
    } else {
        Draft::fails("PodReadyToStartContainers", None, None)
    };
    let containers = containers_ready(ctx, facts);
    let mut drafts = vec![
        ready_to_start,
        initialized(ctx, facts),
        ready(ctx, &containers),
        containers,
        Draft::holds("PodScheduled"),
    ];
    drafts.extend(restarting(ctx, facts));
    if let Some(told) = ctx.want.eviction.as_ref().and_then(|eviction| eviction.disruption.clone()) {
        let why = ("TerminationByKubelet", told);
        drafts.push(Draft::because("DisruptionTarget", Some(why)));
    }
    if let Some((reason, message)) = resize::pending(ctx) {
        drafts.push(Draft::because("PodResizePending", Some((reason, message))));
    }
    if let Some(failure) = resize::in_progress(ctx) {
        drafts.push(Draft::because("PodResizeInProgress", failure));
    }
    drafts.into_iter().map(|draft| settle(ctx, draft)).collect()
}

/// Said of pods alone whose containers may restart together (KEP-5532).
fn restarting(ctx: &Context<'_>, facts: &Facts<'_>) -> Option<Draft> {
    let kind = "AllContainersRestarting";
    ctx.want.may_restart_all().then(|| match facts.phase {
        "Succeeded" => Draft::fails(kind, Some("PodCompleted"), None),
        "Failed" => Draft::fails(kind, Some("PodFailed"), None),
        _ if restart_all::is_ending(ctx) => {
            let message = "container exited with restart policy rule".to_owned();
            Draft::because(kind, Some(("RestartAllContainersStarted", message)))
        }
        _ => Draft::fails(kind, None, None),
    })
}

/// Keeps the moment of the last transition where the condition has not turned.
fn settle(ctx: &Context<'_>, draft: Draft) -> PodCondition {
    let status = if draft.holds { "True" } else { "False" };
    let known = ctx.want.pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let same = known.into_iter().find(|c| c.type_ == draft.kind && c.status == status);
    let since: Option<Timestamp> = same.and_then(|c| c.last_transition_time.as_ref()).map(|t| t.0);
    PodCondition {
        last_probe_time: None,
        last_transition_time: Some(Time(since.unwrap_or(ctx.now))),
        message: draft.message,
        observed_generation: ctx.want.pod.metadata.generation,
        reason: draft.reason.map(str::to_owned),
        status: status.to_owned(),
        type_: draft.kind.to_owned(),
    }
}

/// Names in brackets, as Go prints a list.
fn listed(names: &[&str]) -> String {
    format!("[{}]", names.join(" "))
}

fn unmet(unknown: &[&str], what: &str, others: &[&str]) -> Option<String> {
    let mut parts = Vec::new();
    if !unknown.is_empty() {
        parts.push(format!("containers with unknown status: {}", listed(unknown)));
    }
    if !others.is_empty() {
        parts.push(format!("containers with {what} status: {}", listed(others)));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn containers_ready(ctx: &Context<'_>, facts: &Facts<'_>) -> Draft {
    let kind = "ContainersReady";
    match facts.phase {
        "Succeeded" => return Draft::fails(kind, Some("PodCompleted"), None),
        "Failed" => return Draft::fails(kind, Some("PodFailed"), None),
        _ => {}
    }
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    let counted = ctx.want.members.iter().filter(|m| matches!(m.role, Role::Sidecar | Role::App));
    for member in counted {
        let name = member.spec.name.as_str();
        match facts.init.iter().chain(facts.apps).find(|s| s.name == name) {
            None => unknown.push(name),
            Some(status) if !status.ready => unready.push(name),
            Some(_) => {}
        }
    }
    match unmet(&unknown, "unready", &unready) {
        Some(message) => Draft::fails(kind, Some("ContainersNotReady"), Some(message)),
        None => Draft::holds(kind),
    }
}

fn ready(ctx: &Context<'_>, containers: &Draft) -> Draft {
    if !containers.holds {
        return Draft {
            kind: "Ready",
            reason: containers.reason,
            message: containers.message.clone(),
            holds: false,
        };
    }
    let gates = ctx.want.spec().into_iter().flat_map(|s| s.readiness_gates.iter().flatten());
    let known: Vec<&PodCondition> =
        ctx.want.pod.status.iter().flat_map(|s| s.conditions.iter().flatten()).collect();
    let mut messages = Vec::new();
    for gate in gates {
        let name = &gate.condition_type;
        match known.iter().find(|c| &c.type_ == name) {
            None => messages
                .push(format!("corresponding condition of pod readiness gate {name:?} does not exist.")),
            Some(c) if c.status != "True" => messages
                .push(format!("the status of pod readiness gate {name:?} is not \"True\", but {}", c.status)),
            Some(_) => {}
        }
    }
    if messages.is_empty() {
        return Draft::holds("Ready");
    }
    Draft::fails("Ready", Some("ReadinessGatesNotReady"), Some(messages.join(", ")))
}

fn initialized(ctx: &Context<'_>, facts: &Facts<'_>) -> Draft {
    let kind = "Initialized";
    if facts.phase == "Succeeded" {
        return Draft { reason: Some("PodCompleted"), ..Draft::holds(kind) };
    }
    if facts.initialized {
        return Draft::holds(kind);
    }
    let mut incomplete = Vec::new();
    for member in ctx.want.initial() {
        let status = facts.init.iter().find(|s| s.name == member.spec.name);
        let done = status.is_some_and(|s| match member.role {
            Role::Sidecar => s.started == Some(true),
            _ => s.ready,
        });
        if !done {
            incomplete.push(member.spec.name.as_str());
        }
    }
    match unmet(&[], "incomplete", &incomplete) {
        Some(message) => Draft::fails(kind, Some("ContainersNotInitialized"), Some(message)),
        None => Draft::holds(kind),
    }
}
