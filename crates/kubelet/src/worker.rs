//! One pod's worker: the loop that observes, plans, acts and reports, until nothing is left of the pod.
//!
//! Start at [`Worker::run`]. The worker owns everything it started: actions, probes and status writes end with
//! it. The worker decides nothing (the planner does) and never calls the runtime without a reason.

mod mailbox;
pub(crate) mod memory;
mod probing;
mod report;
mod startup;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base::Shutdown;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::Instrument;

use crate::cri_view::PodRuntime;
use crate::events::Severity;
use crate::executor::{Executor, Input, Outcome, regarding};
use crate::inspect::inspect;
use crate::metrics::{Metrics, Sync};
use crate::node_facts::NodeFacts;
use crate::planner::{
    self, Action, ActionKey, Desired, Eviction, Observed, Plan, ProbeTarget, Rejection, Role, current_round,
};
use crate::pod_api::PodApiError;
use crate::pressure;
use crate::probes::Report;
use crate::seams::MountedVolumes;

pub use mailbox::{Mailbox, PodNews};
use memory::after;
use report::Reporting;
use startup::Startup;

/// How many probe verdicts may wait for the worker; probes wait when it is full.
const REPORT_QUEUE: usize = 16;
/// How long the runtime is left alone after it could not be asked.
const INSPECT_RETRY: Duration = Duration::from_secs(1);
/// How long starts under way may take when the agent stops.
const DRAIN: Duration = Duration::from_secs(3);

/// The state of a pod that other modules may read.
#[derive(Debug, Clone, Default)]
pub struct PodView {
    pub pod: Arc<Pod>,
    pub status: Arc<PodStatus>,
    pub runtime: Arc<PodRuntime>,
    /// The pod holds neither room nor ports of the node: it was refused, or it has ended.
    pub holds_nothing: bool,
}

/// That the node does not take a pod on.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub why: Rejection,
    /// When the API is told: whoever replaces pods must not do it as fast as a node can refuse them.
    pub told_at: Instant,
}

/// The dependencies of all workers.
#[derive(Clone)]
pub struct Tools {
    pub executor: Arc<Executor>,
    pub facts: Arc<NodeFacts>,
    /// The scheme of container ids.
    pub runtime_name: String,
    pub metrics: Metrics,
    /// Rung when a pod has ended and what it held of the node is free.
    pub freed: Arc<Notify>,
    pub shutdown: Shutdown,
}

enum Finished {
    Action(Action, Outcome),
    Reported(Arc<PodStatus>, Result<Arc<Pod>, PodApiError>),
    Told,
}

enum Event {
    Mail,
    Finished(Finished),
    Probe(Report),
    Time,
    Stop,
}

/// The worker of one pod.
pub struct Worker {
    tools: Tools,
    mailbox: Arc<Mailbox>,
    view: Arc<ArcSwap<PodView>>,
    want: Arc<Desired>,
    refusal: Option<Refusal>,
    seen: Observed,
    mounted: Arc<MountedVolumes>,
    sandbox_config: Option<Arc<cri::v1::PodSandboxConfig>>,
    reporting: Reporting,
    tasks: JoinSet<Finished>,
    probes: BTreeMap<ProbeTarget, AbortHandle>,
    probe_tasks: JoinSet<()>,
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    /// Notices of the last plan: a notice is an event only when it appears.
    noticed: BTreeSet<String>,
    runtime_changed: bool,
    /// Containers got other resources than they had: room may be free.
    has_resized: bool,
    inspected: bool,
    /// Why the pod is looked at next.
    sync: Sync,
    /// Since when a pod is known that has not run yet.
    first_seen: Option<Instant>,
    /// How the pod comes up, until it is.
    startup: Option<Startup>,
    wake: Option<Instant>,
}

impl Worker {
    /// A worker that has not looked yet. With a `refusal` it only reports that the node refuses the pod.
    /// The same where containers of the pod were here a moment ago: they restart.
    #[must_use]
    pub fn going_on_from(mut self, former: BTreeMap<String, u32>) -> Self {
        self.seen.former = former;
        self
    }

    pub fn new(
        tools: Tools,
        mailbox: Arc<Mailbox>,
        view: Arc<ArcSwap<PodView>>,
        news: PodNews,
        refusal: Option<Refusal>,
    ) -> Self {
        let now = tools.executor.clock.now();
        let (pod, gone) = news.into_parts();
        let told_at = refusal.as_ref().map(|refusal| refusal.told_at);
        let reporting = Reporting::new(pod.status.clone().unwrap_or_default(), told_at);
        let started_at = pod.status.as_ref().and_then(|s| s.start_time.as_ref()).map_or(now, |t| t.0);
        let seen = Observed { started_at: Some(started_at), ..Observed::default() };
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        let first_seen = phase.is_none_or(|phase| phase == "Pending").then(Instant::now);
        let host_ips = tools.facts.host_ips().to_vec();
        let startup = Startup::of(&pod);
        let mut want = Desired::new(pod, gone, host_ips, tools.runtime_name.clone());
        want.refusal = refusal.as_ref().map(|Refusal { why, .. }| {
            let about = crate::events::reference(&want.pod, crate::events::Part::Pod);
            tools.executor.events.record(about, Severity::Warning, &why.reason, why.message.clone());
            let message = format!("Pod was rejected: {}", why.message);
            Rejection { reason: why.reason.clone(), message }
        });
        let want = Arc::new(want);
        Self {
            tools,
            mailbox,
            view,
            want,
            refusal,
            seen,
            mounted: Arc::default(),
            sandbox_config: None,
            reporting,
            tasks: JoinSet::new(),
            probes: BTreeMap::new(),
            probe_tasks: JoinSet::new(),
            reports: mpsc::channel(REPORT_QUEUE),
            noticed: BTreeSet::new(),
            runtime_changed: true,
            has_resized: false,
            inspected: false,
            sync: Sync::Create,
            first_seen,
            startup,
            wake: None,
        }
    }

    /// That the node does not take the pod on, as given to [`Worker::new`].
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal.clone()
    }

    /// Works until nothing is left of the pod (true) or the agent stops (false).
    pub async fn run(&mut self) -> bool {
        loop {
            // Also when all is done: news that came in the last moment would keep the worker on its list.
            if !self.mailbox.is_empty() {
                self.read_mail();
            }
            let (pod, namespace) = (self.want.name(), self.want.namespace());
            let span = tracing::debug_span!("sync", pod, namespace);
            let began = Instant::now();
            let done = self.look().instrument(span).await;
            let why = if self.seen.ending_since.is_some() { Sync::Kill } else { self.sync };
            self.tools.metrics.synced(why, began.elapsed());
            self.sync = Sync::Sync;
            if done {
                return true;
            }
            match self.next_event().await {
                Event::Mail => self.read_mail(),
                Event::Finished(finished) => self.finish(finished),
                Event::Probe(report) => {
                    self.seen.probes.insert((report.container_id, report.kind), report.verdict);
                }
                Event::Time => {}
                Event::Stop => {
                    self.drain().await;
                    return false;
                }
            }
            // What ended at the same time is looked at once.
            while let Some(Ok(finished)) = self.tasks.try_join_next() {
                self.finish(finished);
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let due = [self.wake, self.reporting.due()].into_iter().flatten().min();
        let time = async {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.tools.shutdown.started() => Event::Stop,
            () = self.mailbox.wait() => Event::Mail,
            Some(joined) = self.tasks.join_next() => match joined {
                Ok(finished) => Event::Finished(finished),
                Err(error) => {
                    tracing::error!(%error, pod = self.want.name(), "a pod's task ended without a result");
                    self.seen.in_flight.clear();
                    self.runtime_changed = true;
                    Event::Time
                }
            },
            Some(report) = self.reports.1.recv() => Event::Probe(report),
            () = time => Event::Time,
        }
    }

    fn read_mail(&mut self) {
        let mail = self.mailbox.take();
        self.runtime_changed |= mail.runtime_changed;
        if let Some(eviction) = mail.eviction {
            self.evict(eviction);
        }
        if let Some(pending) = mail.resize
            && self.want.pending_resize != pending
        {
            Arc::make_mut(&mut self.want).pending_resize = pending;
        }
        if let Some(mirror) = mail.mirror {
            self.mirrored(mirror);
        }
        let Some(news) = mail.news else { return };
        if self.inspected {
            self.sync = Sync::Update;
        }
        let (pod, gone) = news.into_parts();
        let pod = self.reporting.absorb(pod, self.seen.in_flight.contains(&ActionKey::Object));
        let host_ips = self.tools.facts.host_ips().to_vec();
        let mut want = Desired::new(pod, gone || self.want.gone, host_ips, self.tools.runtime_name.clone());
        (want.refusal, want.eviction) = (self.want.refusal.clone(), self.want.eviction.clone());
        want.pending_resize.clone_from(&self.want.pending_resize);
        want.keep_own_ips(&self.want);
        let granted = |want: &Desired| want.members.iter().map(|m| m.resources.clone()).collect::<Vec<_>>();
        if granted(&want) != granted(&self.want) {
            // What could not be put into effect is not what is wanted now.
            self.seen.setbacks.remove(&ActionKey::Resize);
        }
        self.want = Arc::new(want);
        if self.seen.volumes_ready {
            let (executor, want) = (self.tools.executor.clone(), self.want.clone());
            self.tasks.spawn(async move {
                executor.volumes.pod_changed(&want.pod).await;
                Finished::Told
            });
        }
    }

    /// The API shows a static pod, perhaps since an earlier agent ran it: it began then.
    fn mirrored(&mut self, mirror: Arc<Pod>) {
        let since = mirror.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
        if let Some(since) = since.filter(|since| self.seen.started_at.is_none_or(|began| *since < began)) {
            self.seen.started_at = Some(since);
        }
        self.reporting.mirrored(mirror);
    }

    /// The node ends the pod; the first reason stays, and the shortest grace counts.
    fn evict(&mut self, eviction: Eviction) {
        if self.want.refusal.is_some() {
            return;
        }
        if self.want.eviction.is_some() {
            let under_way = Arc::make_mut(&mut self.want).eviction.as_mut();
            if under_way.is_some_and(|under_way| under_way.hurry(&eviction)) {
                tracing::debug!(
                    pod = self.want.name(),
                    grace_s = eviction.grace_s,
                    "the eviction is hurried"
                );
            }
            return;
        }
        let about = crate::events::reference(&self.want.pod, crate::events::Part::Pod);
        let (events, why) = (&self.tools.executor.events, &eviction.why);
        if pressure::is_critical(&self.want.pod) && !eviction.is_for_other {
            // As upstream: the node may be unable to do without it. Nobody would ask for a static pod again either.
            let message = format!("A critical pod is not evicted: {}", why.message);
            events.record(about, Severity::Warning, "EvictionSkipped", message);
            return;
        }
        events.record(about, Severity::Warning, &why.reason, why.message.clone());
        if let Some(signal) = eviction.signal {
            self.tools.metrics.evicted(signal);
        }
        Arc::make_mut(&mut self.want).eviction = Some(eviction);
    }

    /// Reads the runtime if it may have changed, plans, and sets the plan in motion. True when all is done.
    async fn look(&mut self) -> bool {
        self.wake = None;
        if self.runtime_changed && !self.inspect().await {
            self.wake = Some(Instant::now() + INSPECT_RETRY);
            return false;
        }
        let now = self.tools.executor.clock.now();
        let plan = planner::plan(&self.want, &self.seen, now);
        if !plan.reasons.is_empty() || !plan.actions.is_empty() {
            tracing::debug!(
                pod = self.want.name(), namespace = self.want.namespace(),
                actions = ?plan.actions, reasons = ?plan.reasons, "planned"
            );
        }
        if plan.ending {
            self.seen.ending_since.get_or_insert(now);
            if self.seen.in_flight.contains(&ActionKey::Volumes) {
                // Nobody waits any more for a volume that is still to be attached.
                self.tools.executor.volumes.pod_ends(self.want.uid());
            }
        }
        self.wake = plan.wake.map(|at| after(now, at));
        self.notify(&plan);
        let status = Arc::new(plan.status);
        if status.phase.as_deref() == Some("Running")
            && let Some(first_seen) = self.first_seen.take()
        {
            self.tools.metrics.started(first_seen.elapsed());
        }
        self.publish(&status, plan.ended);
        self.align_probes(plan.probes);
        for action in plan.actions {
            self.begin(action, &status);
        }
        self.report(&status);
        if plan.done {
            // What may still go on (a pull, say) is for a pod that is no more.
            self.tasks.shutdown().await;
        }
        plan.done
    }

    async fn inspect(&mut self) -> bool {
        let executor = &self.tools.executor;
        let reading =
            inspect(executor.cri.as_ref(), executor.containers.as_ref(), self.want.uid(), &self.seen.runtime);
        match reading.await {
            Ok(runtime) => {
                self.seen.runtime = runtime;
                self.runtime_changed = false;
                if !self.inspected {
                    self.inspected = true;
                    memory::adopt(&mut self.seen, &self.want);
                }
                memory::forget_lost(&mut self.seen);
                true
            }
            Err(error) => {
                tracing::warn!(%error, pod = self.want.name(), "the runtime cannot be asked about a pod");
                false
            }
        }
    }

    fn notify(&mut self, plan: &Plan) {
        let events = &self.tools.executor.events;
        for notice in plan.notices.iter().filter(|n| !self.noticed.contains(&n.key)) {
            let member = notice.container.as_deref().and_then(|name| self.want.member(name));
            let about = match member {
                Some(member) => regarding(&self.want, member),
                None => crate::events::reference(&self.want.pod, crate::events::Part::Pod),
            };
            events.record(about, notice.severity(), notice.reason, notice.message.clone());
        }
        self.noticed = plan.notices.iter().map(|n| n.key.clone()).collect();
    }

    fn publish(&mut self, status: &Arc<PodStatus>, ended: bool) {
        let before = self.view.swap(Arc::new(PodView {
            pod: self.want.pod.clone(),
            status: status.clone(),
            runtime: Arc::new(self.seen.runtime.clone()),
            holds_nothing: ended,
        }));
        if (ended && !before.holds_nothing) || std::mem::take(&mut self.has_resized) {
            self.tools.freed.notify_one();
        }
    }

    fn begin(&mut self, action: Action, status: &Arc<PodStatus>) {
        self.seen.in_flight.insert(action.key());
        let mut image = None;
        match &action {
            Action::EnsureImage { .. } => {
                self.startup.iter_mut().for_each(Startup::touched_images);
            }
            Action::StartContainer { container, backoff, .. } => {
                if let Some(backoff) = backoff {
                    self.seen.crashes.insert(container.clone(), *backoff);
                }
                self.seen.begun_round = current_round(&self.want, &self.seen);
                image = self.seen.images.get(container).map(|(_, image)| image.clone());
            }
            Action::StopContainer { id, grace_s, .. } => {
                self.seen.stopping.insert(id.clone(), *grace_s);
            }
            Action::RestartContainer { id, grace_s, .. } => {
                self.seen.stopping.insert(id.clone(), *grace_s);
                self.seen.to_restart.insert(id.clone());
            }
            _ => {}
        }
        let sandbox = self.seen.runtime.sandboxes.first();
        let pod_ips = match sandbox {
            _ if self.want.host_network => self.want.own_ips.clone(),
            Some(sandbox) => sandbox.ips.clone(),
            None => Vec::new(),
        };
        let input = Input {
            want: self.want.clone(),
            mounted: self.mounted.clone(),
            image,
            pod_ips,
            sandbox: self.sandbox_config.clone(),
            round: current_round(&self.want, &self.seen),
            sandbox_attempt: sandbox.map_or(0, |s| s.attempt),
            reported: self.reporting.reported(),
            status: status.clone(),
        };
        let executor = self.tools.executor.clone();
        self.tasks.spawn(async move {
            let outcome = executor.run(action.clone(), input).await;
            Finished::Action(action, outcome)
        });
    }

    fn finish(&mut self, finished: Finished) {
        match finished {
            Finished::Told => {}
            Finished::Reported(status, result) => {
                if result.is_ok() {
                    self.note_start(&status);
                }
                self.reporting.acknowledge(status, result);
            }
            Finished::Action(action, outcome) => {
                match &outcome {
                    Outcome::Mounted(mounted) => self.mounted = mounted.clone(),
                    Outcome::Sandbox(config) => self.sandbox_config = Some(config.clone()),
                    Outcome::Failed(failure) => {
                        let (pod, message) = (self.want.name(), failure.message.as_str());
                        if self.is_going() {
                            tracing::debug!(pod, ?action, message, "an action failed for a pod that goes");
                        } else {
                            tracing::info!(pod, ?action, message, "an action failed");
                        }
                    }
                    Outcome::Done | Outcome::Image { .. } => {}
                }
                self.count(&action, &outcome);
                self.has_resized |= match &action {
                    Action::Resize { .. } => outcome == Outcome::Done,
                    // Made anew it has what the pod was granted, which may be less.
                    Action::StartContainer { attempt, .. } => *attempt > 0,
                    _ => false,
                };
                let now = self.tools.executor.clock.now();
                self.runtime_changed |= memory::remember(&mut self.seen, &action, outcome, now);
            }
        }
    }

    /// The API knows this status: perhaps all of the pod has started.
    fn note_start(&mut self, told: &PodStatus) {
        let now = self.tools.executor.clock.now();
        let done = self.startup.as_ref().and_then(|startup| startup.is_done(&self.want.pod, told, now));
        if let Some((after, busy)) = done {
            self.tools.metrics.starts.pod_is_up(after, busy);
            self.startup = None;
        }
    }

    /// Counts what was started.
    fn count(&mut self, action: &Action, outcome: &Outcome) {
        let failed = match outcome {
            Outcome::Failed(failure) => Some(failure.reason.as_str()),
            _ => None,
        };
        let starts = &self.tools.metrics.starts;
        match action {
            Action::EnsureImage { .. } => self.startup.iter_mut().for_each(Startup::touched_images),
            Action::CreateSandbox { .. } => starts.pod(failed.is_some()),
            Action::StartContainer { container, .. } => {
                let kind = match self.want.member(container).map(|member| member.role) {
                    Some(Role::Init | Role::Sidecar) => "init_container",
                    Some(Role::Ephemeral) => "ephemeral_container",
                    Some(Role::App) | None => "container",
                };
                starts.container(kind, failed);
            }
            _ => {}
        }
    }

    /// Whether the pod is being deleted or ended: what fails for it then is of the ordinary course of things.
    fn is_going(&self) -> bool {
        self.want.gone
            || self.seen.ending_since.is_some()
            || self.want.pod.metadata.deletion_timestamp.is_some()
    }

    /// Lets starts under way come to their end, so that nothing half-made is left; everything else stops now.
    async fn drain(&mut self) {
        self.probe_tasks.abort_all();
        let starting = |key: &ActionKey| matches!(key, ActionKey::Start(_) | ActionKey::NewSandbox);
        let until = Instant::now() + DRAIN;
        while self.seen.in_flight.iter().any(starting) {
            match tokio::time::timeout_at(until, self.tasks.join_next()).await {
                Ok(Some(Ok(finished))) => self.finish(finished),
                Ok(Some(Err(_))) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.tasks.shutdown().await;
    }
}
