//! Reports a pod's status to the API: one write at a time, only changes; progress is held back for a moment.

use std::sync::Arc;
use std::time::Duration;

use base::backoff::Policy;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::time::Instant;

use super::{Finished, Worker};
use crate::planner::ActionKey;
use crate::pod_api::PodApiError;
use crate::status;

/// How long mere progress waits for more to report.
const PROGRESS_DELAY: Duration = Duration::from_millis(300);
/// How long to wait after a write failed.
const RETRY: Policy = Policy::new(Duration::from_millis(200), Duration::from_secs(30));

/// What the API knows, and what is on the way to it.
pub struct Reporting {
    /// The status the API has, as far as this node's fields go.
    reported: Arc<PodStatus>,
    /// The whole status the last write left in the API; tells our own echo from another's change.
    echo: Option<PodStatus>,
    echo_version: u64,
    /// A mirror that came while a write was under way.
    mirror: Option<Arc<Pod>>,
    /// The last status computed here.
    computed: Option<Arc<PodStatus>>,
    writing: bool,
    /// Nothing is written before.
    not_before: Option<Instant>,
    due: Option<Instant>,
    failures: u32,
}

fn version(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(u64::MAX)
}

impl Reporting {
    /// The API has `known`; it is told nothing before `not_before`.
    pub fn new(known: PodStatus, not_before: Option<Instant>) -> Self {
        Self {
            reported: Arc::new(known),
            echo: None,
            echo_version: 0,
            mirror: None,
            computed: None,
            writing: false,
            not_before,
            due: None,
            failures: 0,
        }
    }

    pub fn reported(&self) -> Arc<PodStatus> {
        self.reported.clone()
    }

    /// When something held back must be written.
    pub fn due(&self) -> Option<Instant> {
        self.due.filter(|_| !self.writing)
    }

    /// Takes in a new version of the pod. The planner goes on from what was computed here last (its times and
    /// states), with others' conditions, and a final phase another has set, from the API.
    pub fn absorb(&mut self, pod: Arc<Pod>, ending: bool) -> Arc<Pod> {
        let known = pod.status.clone().unwrap_or_default();
        let newer = version(&pod) >= self.echo_version;
        if newer && !self.writing && !ending && self.echo.as_ref().is_some_and(|echo| *echo != known) {
            self.reported = Arc::new(known.clone());
            self.echo = Some(known.clone());
        }
        let Some(computed) = &self.computed else { return pod };
        let mut status = PodStatus::clone(computed);
        let own: Vec<String> = status.conditions.iter().flatten().map(|c| c.type_.clone()).collect();
        let others = known.conditions.into_iter().flatten().filter(|c| !own.contains(&c.type_));
        status.conditions.get_or_insert_default().extend(others);
        if matches!(known.phase.as_deref(), Some("Failed" | "Succeeded")) {
            (status.phase, status.reason, status.message) = (known.phase, known.reason, known.message);
        }
        let mut pod = Arc::unwrap_or_clone(pod);
        pod.status = Some(status);
        Arc::new(pod)
    }

    /// Takes in a new version of a static pod's mirror. Only what the API has is read from it, never what is wanted: a
    /// mirror that was made anew has no status, and gets the whole one.
    pub fn mirrored(&mut self, mirror: Arc<Pod>) {
        if self.writing {
            self.mirror = Some(mirror);
            return;
        }
        let known = mirror.status.clone().unwrap_or_default();
        if version(&mirror) >= self.echo_version && self.echo.as_ref() != Some(&known) {
            self.reported = Arc::new(known.clone());
            self.echo = Some(known);
        }
    }

    /// Takes in how a write went.
    pub fn acknowledge(&mut self, sent: Arc<PodStatus>, result: Result<Arc<Pod>, PodApiError>) {
        self.writing = false;
        match result {
            Ok(pod) => {
                self.failures = 0;
                self.reported = sent;
                self.echo_version = version(&pod);
                self.echo = Some(pod.status.clone().unwrap_or_default());
            }
            // The watch tells soon that the pod is gone; until then nothing is worth writing.
            // A static pod's mirror is made anew, and is told all again.
            Err(PodApiError::Gone) => {
                self.reported = sent;
                self.echo = None;
            }
            Err(PodApiError::Failed(why)) => {
                self.failures = self.failures.saturating_add(1);
                tracing::warn!(why, "a pod's status cannot be written");
                self.due = Some(Instant::now() + RETRY.delay(self.failures));
            }
        }
        if let Some(mirror) = self.mirror.take() {
            self.mirrored(mirror);
        }
    }
}

impl Worker {
    /// Writes the status if it is worth a write now, else makes sure it is written soon.
    pub(super) fn report(&mut self, status: &Arc<PodStatus>) {
        self.carry_over(status);
        let reporting = &mut self.reporting;
        reporting.computed = Some(status.clone());
        let ending = self.seen.api_gone || self.seen.in_flight.contains(&ActionKey::Object);
        if ending || self.want.gone {
            // What was held back must not wake the worker again and again.
            reporting.due = None;
            return;
        }
        if reporting.writing {
            return;
        }
        let Some(patch) = status::patch(&self.want.pod, &reporting.reported, status) else {
            reporting.due = None;
            return;
        };
        let now = Instant::now();
        if let Some(later) = reporting.not_before.filter(|at| *at > now) {
            reporting.due = Some(later);
            return;
        }
        let urgent = status::is_urgent(&reporting.reported, status) && reporting.failures == 0;
        let due = *reporting.due.get_or_insert(now + PROGRESS_DELAY);
        if !urgent && due > now {
            return;
        }
        reporting.due = None;
        reporting.writing = true;
        let (executor, pod, status) = (self.tools.executor.clone(), self.want.pod.clone(), status.clone());
        self.tasks.spawn(async move {
            let result = executor.api.patch_status(&pod, patch).await;
            Finished::Reported(status, result)
        });
    }

    /// The next plan starts from this status: the moments at which conditions turned are kept.
    fn carry_over(&mut self, status: &Arc<PodStatus>) {
        let known = self.want.pod.status.as_ref();
        let foreign = |c: &&k8s_openapi::api::core::v1::PodCondition| {
            !status.conditions.iter().flatten().any(|own| own.type_ == c.type_)
        };
        let others: Vec<_> =
            known.iter().flat_map(|k| k.conditions.iter().flatten()).filter(foreign).cloned().collect();
        let mut next = PodStatus::clone(status);
        next.conditions.get_or_insert_default().extend(others);
        if known == Some(&next) {
            return;
        }
        let want = Arc::make_mut(&mut self.want);
        Arc::make_mut(&mut want.pod).status = Some(next);
    }
}
