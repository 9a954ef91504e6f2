//! How long a pod takes to come up, and how much of that was spent on images and init containers (the SLI of upstream's
//! `pkg/kubelet/util/pod_startup_latency_tracker.go`).

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use tokio::time::Instant;

use crate::origin::is_static;

/// Of a pod that the node has not taken on before.
#[derive(Debug, Default)]
pub struct Startup {
    /// When the first image was looked for, and when the last was there.
    images: Option<(Instant, Instant)>,
}

impl Startup {
    /// `None` for a pod whose start is nobody's concern: it began before this agent, or no API made it.
    pub fn of(pod: &Pod) -> Option<Self> {
        let began = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
        (!began && !is_static(pod)).then(Self::default)
    }

    /// An image is looked for, or is there.
    pub fn touched_images(&mut self) {
        let now = Instant::now();
        let first = self.images.map_or(now, |(first, _)| first);
        self.images = Some((first, now));
    }

    /// How long the pod took, and how much of that images and init containers took; `None` until all has started.
    pub fn is_done(&self, pod: &Pod, told: &PodStatus, now: Timestamp) -> Option<(Duration, Duration)> {
        let containers = told.container_statuses.as_deref().filter(|all| !all.is_empty())?;
        let has_started = |status: &ContainerStatus| {
            status
                .state
                .as_ref()
                .and_then(|state| state.running.as_ref())
                .is_some_and(|r| r.started_at.is_some())
        };
        containers.iter().all(has_started).then_some(())?;
        let created = pod.metadata.creation_timestamp.as_ref()?.0;
        let images = self.images.map_or(Duration::ZERO, |(first, last)| last.duration_since(first));
        let init: Duration = told.init_container_statuses.iter().flatten().map(ran_for).sum();
        let after = Duration::try_from(now.duration_since(created)).unwrap_or_default();
        Some((after, images + init))
    }
}

/// How long a container ran that has ended.
fn ran_for(status: &ContainerStatus) -> Duration {
    let ended = status.state.as_ref().and_then(|state| state.terminated.as_ref());
    let times = ended.and_then(|ended| ended.started_at.as_ref().zip(ended.finished_at.as_ref()));
    times.map_or(Duration::ZERO, |(start, end)| {
        Duration::try_from(end.0.duration_since(start.0)).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: Value, annotations: Value) -> Pod {
        let metadata = json!({"creationTimestamp": "2026-01-01T00:00:00Z", "annotations": annotations});
        serde_json::from_value(json!({"metadata": metadata, "status": status})).expect("a pod")
    }

    #[tokio::test(start_paused = true)]
    async fn images_and_init_containers_are_told_apart() {
        let pod = pod(json!({}), json!({}));
        let mut startup = Startup::of(&pod).expect("it is new");
        startup.touched_images();
        tokio::time::advance(Duration::from_secs(4)).await;
        startup.touched_images();
        let now: Timestamp = "2026-01-01T00:00:20Z".parse().expect("a time");
        let container = |name: &str, state: Value| json!({"name": name, "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state});
        let status = |second: Value| -> PodStatus {
            let ended = json!({"terminated": {"exitCode": 0, "startedAt": "2026-01-01T00:00:05Z",
                "finishedAt": "2026-01-01T00:00:08Z"}});
            let running = json!({"running": {"startedAt": "2026-01-01T00:00:10Z"}});
            let all = json!({"initContainerStatuses": [container("i", ended)],
                "containerStatuses": [container("a", running), container("b", second)]});
            serde_json::from_value(all).expect("a status")
        };
        assert_eq!(startup.is_done(&pod, &PodStatus::default(), now), None);
        assert_eq!(startup.is_done(&pod, &status(json!({"waiting": {}})), now), None);
        let done =
            startup.is_done(&pod, &status(json!({"running": {"startedAt": "2026-01-01T00:00:12Z"}})), now);
        assert_eq!(done, Some((Duration::from_secs(20), Duration::from_secs(7))));
    }

    #[test]
    fn what_began_before_or_is_static_does_not_count() {
        assert!(Startup::of(&pod(json!({"startTime": "2026-01-01T00:00:00Z"}), json!({}))).is_none());
        assert!(Startup::of(&pod(json!({}), json!({"kubernetes.io/config.source": "file"}))).is_none());
    }
}
