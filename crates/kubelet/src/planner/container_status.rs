//! The status of one container: its state, the state before, counts and readiness.

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    ContainerUser, LinuxContainerUser, ResourceRequirements, VolumeMount, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::context::Context;
use super::desired::{Member, Role};
use super::observed::{ProbeKind, Verdict};
use super::reported::{in_api, of_started};
use super::restart_all;
use crate::cri_view::{Record, Run, User};
use crate::resources;

/// The status of `member`; `ended` says that nothing of the pod will run again.
pub fn build(ctx: &Context<'_>, member: &Member, ended: bool) -> ContainerStatus {
    let Some(record) = ctx.seen.runtime.latest(&member.spec.name) else {
        return without_record(ctx, member, ended);
    };
    let scheme = &ctx.want.runtime_name;
    let waiting = ctx.waiting.get(&member.spec.name).filter(|_| !ended && !record.is_running());
    let has_made_way = !ended && restart_all::has_made_way(ctx, record);
    let (state, last_state) = match (&record.run, waiting) {
        // What follows a container's start is part of it: it counts as created until its hook is done.
        (Run::Running, _) if hook_under_way(ctx, member) => (default_waiting(ctx), previous(ctx, record)),
        (Run::Running, _) => (running(record), previous(ctx, record)),
        (Run::Exited(_), None) if has_made_way => (default_waiting(ctx), terminated(record, scheme)),
        (Run::Exited(_), None) => (terminated(record, scheme), previous(ctx, record)),
        (Run::Exited(_), Some(w)) => (waits(&w.reason, &w.message), terminated(record, scheme)),
        (_, Some(w)) => (waits(&w.reason, &w.message), previous(ctx, record)),
        (Run::Created | Run::Unknown, None) => (default_waiting(ctx), previous(ctx, record)),
    };
    let started = ctx.is_started(member, record);
    let resources = granted(ctx, member, record);
    ContainerStatus {
        container_id: Some(format!("{scheme}://{}", record.id)),
        image: if record.image.is_empty() {
            member.spec.image.clone().unwrap_or_default()
        } else {
            record.image.clone()
        },
        image_id: record.image_id.clone(),
        last_state: Some(last_state),
        name: member.spec.name.clone(),
        ready: !has_made_way && is_ready(ctx, member, record, started),
        restart_count: i32::try_from(record.attempt).unwrap_or(i32::MAX),
        started: Some(started),
        state: Some(state),
        allocated_resources: member.spec.resources.as_ref().and_then(|granted| granted.requests.clone()),
        resources: Some(resources),
        user: record.user.as_ref().map(user),
        volume_mounts: mounts(member),
        ..ContainerStatus::default()
    }
}

/// What the container has; its pod may have been granted something else since.
fn granted(ctx: &Context<'_>, member: &Member, record: &Record) -> ResourceRequirements {
    let has = resources::parse(ctx.seen.resources(record));
    has.or_else(|| member.spec.resources.clone()).unwrap_or_default()
}

fn hook_under_way(ctx: &Context<'_>, member: &Member) -> bool {
    let hook = member.spec.lifecycle.as_ref().and_then(|l| l.post_start.as_ref());
    hook.is_some() && ctx.is_starting(&member.spec.name)
}

fn user(user: &User) -> ContainerUser {
    let groups = user.supplemental_groups.clone();
    let supplemental_groups = (!groups.is_empty()).then_some(groups);
    ContainerUser { linux: Some(LinuxContainerUser { gid: user.gid, supplemental_groups, uid: user.uid }) }
}

/// The mounts as the API tells them; a read-only one says whether what is mounted below it is so too (KEP-3857).
fn mounts(member: &Member) -> Option<Vec<VolumeMountStatus>> {
    let told = |mount: &VolumeMount| {
        let read_only = mount.read_only.filter(|only| *only);
        let recursive = match mount.recursive_read_only.as_deref() {
            Some("Enabled" | "IfPossible") => "Enabled",
            _ => "Disabled",
        };
        VolumeMountStatus {
            mount_path: mount.mount_path.clone(),
            name: mount.name.clone(),
            read_only,
            recursive_read_only: read_only.map(|_| recursive.to_owned()),
            ..VolumeMountStatus::default()
        }
    };
    member.spec.volume_mounts.as_ref().map(|mounts| mounts.iter().map(told).collect())
}

/// A container the runtime knows nothing of: not started yet, or its record is lost.
fn without_record(ctx: &Context<'_>, member: &Member, ended: bool) -> ContainerStatus {
    let known = of_started(ctx.want, &member.spec.name);
    let mut status = ContainerStatus {
        image: member.spec.image.clone().unwrap_or_default(),
        last_state: Some(ContainerState::default()),
        name: member.spec.name.clone(),
        started: Some(false),
        volume_mounts: mounts(member),
        ..ContainerStatus::default()
    };
    if let Some(known) = known {
        let was = known.state.clone().unwrap_or_default();
        if was.terminated.is_some() && (ended || member.role == Role::Init) {
            return ContainerStatus { ready: member.role == Role::Init, ..known.clone() };
        }
        let lost = was.running.is_some().then(|| lost_running(known.container_id.clone()));
        let last = was.terminated.or(lost);
        status.last_state = Some(match last {
            Some(ended) => ContainerState { terminated: Some(ended), ..ContainerState::default() },
            None => known.last_state.clone().unwrap_or_default(),
        });
        status.restart_count = known.restart_count;
        if ended && let Some(last) = status.last_state.take() {
            status.state = Some(last);
            status.last_state = Some(ContainerState::default());
            return status;
        }
    }
    status.state = Some(match ctx.waiting.get(&member.spec.name) {
        Some(w) => waits(&w.reason, &w.message),
        None => default_waiting(ctx),
    });
    status
}

/// What upstream says of a container that ran and cannot be found any more.
fn lost_running(container_id: Option<String>) -> ContainerStateTerminated {
    ContainerStateTerminated {
        container_id,
        exit_code: 137,
        reason: Some("ContainerStatusUnknown".to_owned()),
        message: Some(
            "The container could not be located when the pod was deleted.  The container used to be Running"
                .to_owned(),
        ),
        ..ContainerStateTerminated::default()
    }
}

/// `PodInitializing` for pods with init containers, `ContainerCreating` for others.
fn default_waiting(ctx: &Context<'_>) -> ContainerState {
    let reason = if ctx.want.initial().next().is_some() { "PodInitializing" } else { "ContainerCreating" };
    waits(reason, "")
}

fn waits(reason: &str, message: &str) -> ContainerState {
    let waiting = ContainerStateWaiting {
        reason: Some(reason.to_owned()),
        message: (!message.is_empty()).then(|| message.to_owned()),
    };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn running(record: &Record) -> ContainerState {
    let started_at = Some(Time(record.started_at.unwrap_or(record.created_at)));
    ContainerState { running: Some(ContainerStateRunning { started_at }), ..ContainerState::default() }
}

fn terminated(record: &Record, scheme: &str) -> ContainerState {
    let Some(exit) = record.exit() else { return ContainerState::default() };
    let ended = ContainerStateTerminated {
        container_id: Some(format!("{scheme}://{}", record.id)),
        exit_code: exit.code,
        finished_at: Some(Time(exit.finished_at)),
        message: (!exit.message.is_empty()).then(|| exit.message.clone()),
        reason: Some(exit.reason.clone()),
        started_at: record.started_at.map(Time),
        signal: None,
    };
    ContainerState { terminated: Some(ended), ..ContainerState::default() }
}

/// The end of the attempt before this one.
fn previous(ctx: &Context<'_>, record: &Record) -> ContainerState {
    match ctx.seen.runtime.before(record) {
        Some(before) => terminated(before, &ctx.want.runtime_name),
        None if record.attempt > 0 => {
            in_api(ctx.want, &record.name).and_then(|s| s.last_state.clone()).unwrap_or_default()
        }
        None => ContainerState::default(),
    }
}

fn is_ready(ctx: &Context<'_>, member: &Member, record: &Record, started: bool) -> bool {
    match member.role {
        Role::Init => record.exit().is_some_and(|exit| exit.code == 0),
        Role::Ephemeral => false,
        Role::App | Role::Sidecar => {
            started
                && (member.spec.readiness_probe.is_none()
                    || ctx.seen.verdict(&record.id, ProbeKind::Readiness) == Some(Verdict::Success))
        }
    }
}
