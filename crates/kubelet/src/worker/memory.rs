//! The outcomes of actions that a worker remembers, and the state that a restarted agent can take over.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::executor::Outcome;
use crate::planner::{Action, Desired, Observed, ProbeKind, Verdict, after_failure};
use crate::resources;

/// The runtime's clock at a wall-clock moment that lies ahead of `now`.
pub fn after(now: Timestamp, at: Timestamp) -> Instant {
    let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    // A deadline further away than the clock reaches is looked at again in a day.
    let furthest = Duration::from_secs(24 * 3600);
    // Timers may fire within the same millisecond they are set for: never before the moment itself.
    Instant::now() + wait.min(furthest) + Duration::from_millis(1)
}

/// Notes how an action went; true if the runtime's state may have changed by it.
pub fn remember(seen: &mut Observed, action: &Action, outcome: Outcome, now: Timestamp) -> bool {
    let key = action.key();
    seen.in_flight.remove(&key);
    if let Action::StopContainer { id, .. } | Action::RestartContainer { id, .. } = action {
        seen.stopping.remove(id);
    }
    match outcome {
        Outcome::Failed(failure) => {
            let setback = after_failure(&key, seen.setbacks.get(&key), failure, now);
            seen.setbacks.insert(key, setback);
        }
        Outcome::Image { container, attempt, image } => {
            seen.setbacks.remove(&key);
            seen.images.insert(container, (attempt, image));
        }
        Outcome::Done | Outcome::Mounted(_) | Outcome::Sandbox(_) => {
            seen.setbacks.remove(&key);
            match action {
                Action::MountVolumes => seen.volumes_ready = true,
                Action::UnmountVolumes => (seen.volumes_ready, seen.volumes_gone) = (false, true),
                Action::Release { .. } => seen.released = true,
                Action::DeleteObject => seen.api_gone = true,
                // Its cgroup is made anew with it.
                Action::CreateSandbox { .. } => (seen.pod_limits, seen.whole) = (None, None),
                Action::RestartContainer { generation, .. } => seen.resized_to = *generation,
                Action::Resize { to, whole, containers, generation, .. } => {
                    seen.pod_limits = Some(*to);
                    seen.whole = Some(whole.clone());
                    seen.resized_to = *generation;
                    seen.resized.extend(containers.iter().map(|c| (c.id.clone(), c.to.clone())));
                }
                _ => {}
            }
        }
    }
    !matches!(
        action,
        Action::MountVolumes
            | Action::UnmountVolumes
            | Action::EnsureImage { .. }
            | Action::Resize { .. }
            | Action::Release { .. }
            | Action::DeleteObject
    )
}

/// Takes over containers that ran before the agent (re)started: those the API calls started and ready stay
/// so until a probe says otherwise.
pub fn adopt(seen: &mut Observed, want: &Desired) {
    let Some(status) = &want.pod.status else { return };
    if pods::condition(&want.pod, "PodResizeInProgress").is_none() && status.start_time.is_some() {
        seen.whole = Some(resources::whole_text(&want.pod));
    }
    let whole = want.spec().and_then(|spec| spec.resources.as_ref());
    let lists = [&status.init_container_statuses, &status.container_statuses];
    for known in lists.into_iter().flatten().flatten() {
        seen.runtime.know_attempt(&known.name, u32::try_from(known.restart_count).unwrap_or_default());
        let Some((_, id)) = known.container_id.as_deref().and_then(|id| id.split_once("://")) else {
            continue;
        };
        if !seen.runtime.containers.iter().any(|c| c.id == id && c.is_running()) {
            continue;
        }
        if let Some(has) = &known.resources {
            seen.resized.insert(id.to_owned(), resources::text(Some(has), whole));
        }
        if known.started == Some(true) {
            seen.probes.insert((id.to_owned(), ProbeKind::Startup), Verdict::Success);
        }
        if known.ready {
            seen.probes.insert((id.to_owned(), ProbeKind::Readiness), Verdict::Success);
        }
    }
}

/// Drops what was remembered about containers that are no more.
pub fn forget_lost(seen: &mut Observed) {
    let containers = &seen.runtime.containers;
    let alive = |id: &String| containers.iter().any(|c| &c.id == id);
    seen.probes.retain(|(id, _), _| alive(id));
    seen.stopping.retain(|id, _| alive(id));
    seen.resized.retain(|id, _| alive(id));
    seen.to_restart.retain(|id| alive(id));
}
