//! Ends pods before the node runs out of memory, disk or process ids.
//!
//! Start at [`Evictor::run`]. It looks at the machine, [`crate::pressure`] judges, and what it says is done: images that
//! nobody uses are removed, then one pod at a time is ended. The kernel tells nobody that a file system fills up, so it
//! is looked at every [`LOOK_EVERY`], as upstream does; a look reads four files of the kernel and asks nobody.

mod local_storage;
mod measured;
mod usage;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::Clock;
use cri::{ImageServiceClient, RuntimeServiceClient, v1};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::events::{Events, Severity};
use crate::node::machine;
use crate::node_facts::NodeFacts;
use crate::planner::{Eviction, Rejection};
use crate::pressure::judge::{Judge, Starved};
use crate::pressure::ranking::{self, Candidate};
use crate::pressure::thresholds::Thresholds;
use crate::pressure::{Observation, Observations, Signal, State, is_critical};
use crate::volumes::PodDirs;
use crate::workers::Workers;
use measured::Measured;

/// How often the machine is looked at, as upstream.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long to wait for what an ended pod gives back before the next one is ended, as upstream.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an evictor is built from.
pub struct EvictorDeps {
    pub node: String,
    pub thresholds: Thresholds,
    pub workers: Workers,
    pub runtime: RuntimeServiceClient,
    pub images: ImageServiceClient,
    pub dirs: PodDirs,
    pub log_root: PathBuf,
    pub facts: Arc<NodeFacts>,
    pub events: Events,
    pub clock: Arc<dyn Clock>,
    /// Hears what the node is short of.
    pub tell: watch::Sender<State>,
}

/// See the module's documentation.
pub struct Evictor {
    deps: Arc<EvictorDeps>,
    judge: Judge,
    measured: Arc<Measured>,
    /// The pod that was ended last, and until when to wait for its end.
    ending: Option<(String, Instant)>,
}

impl Evictor {
    pub fn new(deps: EvictorDeps) -> Self {
        let judge = Judge::new(deps.thresholds.clone());
        Self { deps: Arc::new(deps), judge, measured: Arc::default(), ending: None }
    }

    /// Looks and acts, for ever. Files are counted beside that, however long it takes.
    pub async fn run(self) {
        let (deps, measured) = (self.deps.clone(), self.measured.clone());
        tokio::join!(self.watch(), measured.keep(&deps));
    }

    async fn watch(mut self) {
        loop {
            match self.observe().await {
                Ok(observed) => {
                    let starved = self.judge(&observed);
                    self.end_excessive();
                    if let Some(starved) = unless_ending(starved, self.ending.as_ref()) {
                        self.relieve(&starved).await;
                    }
                }
                Err(why) => {
                    let problem = Some(format!("machine state cannot be read: {why}"));
                    self.tell(|state| State { problem, ..state.clone() });
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn observe(&self) -> Result<Observations, String> {
        let root = self.deps.dirs.root().to_owned();
        let read = tokio::task::spawn_blocking(move || observe(&root)).await;
        read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// What the node is short of, so that pods have to end.
    fn judge(&mut self, observed: &Observations) -> Option<Starved> {
        let verdict = self.judge.look(observed, self.deps.clock.now());
        self.deps.facts.set_pressure(verdict.conditions.clone());
        self.tell(|_| State { conditions: verdict.conditions, problem: None });
        let now = Instant::now();
        let ending = self.ending.take();
        self.ending = ending.filter(|(uid, until)| *until > now && self.deps.workers.holds(uid));
        verdict.starved
    }

    /// Ends the pods that were found to have written more than their containers may: before others have to end, who wait
    /// for what those give back.
    fn end_excessive(&mut self) {
        for pod in self.deps.workers.active() {
            let Some(uid) = pod.metadata.uid.clone() else { continue };
            let Some(usage) = self.measured.of(&uid, Instant::now()) else { continue };
            let Some(excess) = local_storage::excess(&pod, &usage) else { continue };
            if !is_news(self.deps.workers.ending_within_s(&uid), 1) {
                continue;
            }
            let why = Rejection { reason: "Evicted".to_owned(), message: excess.message };
            // As upstream: who fills the disk is not waited for.
            let eviction = Eviction { grace_s: Some(1), signal: Some(excess.signal), ..Eviction::from(why) };
            self.deps.workers.evict(&uid, eviction);
            // Critical pods stay: nothing is to be waited for.
            if !is_critical(&pod) {
                self.ending = Some((uid, Instant::now() + PATIENCE));
            }
        }
    }

    fn tell(&self, state: impl FnOnce(&State) -> State) {
        self.deps.tell.send_if_modified(|told| {
            let next = state(told);
            let is_new = *told != next;
            *told = next;
            is_new
        });
    }

    async fn relieve(&mut self, starved: &Starved) {
        let resource = starved.signal.resource();
        let about = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(self.deps.node.clone()),
            // Upstream's node events carry the name here: describe looks for them by it.
            uid: Some(self.deps.node.clone()),
            ..ObjectReference::default()
        };
        let text = format!("Attempting to reclaim {resource}");
        self.deps.events.record(about, Severity::Warning, "EvictionThresholdMet", text);
        let pods = self.deps.workers.active();
        if matches!(starved.signal, Signal::NodefsAvailable | Signal::NodefsInodesFree) {
            let removed = self.remove_unused_images(&pods).await;
            if removed > 0 && self.observe().await.is_ok_and(|now| self.judge.is_resolved(&now)) {
                tracing::info!(resource, removed, "images that nobody used have made room");
                return;
            }
        }
        let usages = match usage::read(&self.deps, &pods, starved.signal).await {
            Ok(usages) => usages,
            Err(error) => {
                // Who would be ended for want of figures may be anybody.
                tracing::warn!(
                    error = error.message(),
                    resource,
                    "what pods use is not known: none is ended"
                );
                return;
            }
        };
        let candidate = |pod: &Arc<Pod>| {
            let usage = pod.metadata.uid.as_ref().and_then(|uid| usages.get(uid)).cloned();
            Candidate { pod: pod.clone(), usage }
        };
        let grace_s = self.judge.grace_s(starved);
        // Who ends already can be hurried, and otherwise gives nothing back by being told again.
        let may_be_told = |pod: &&Arc<Pod>| {
            let told = pod.metadata.uid.as_ref().and_then(|uid| self.deps.workers.ending_within_s(uid));
            is_news(told, grace_s)
        };
        let candidates: Vec<Candidate> = pods.iter().filter(may_be_told).map(candidate).collect();
        let Some(first) = ranking::ranked(candidates, starved.signal).into_iter().next() else {
            tracing::warn!(resource, "the node is short of something, and no pod may be ended");
            return;
        };
        let uid = first.pod.metadata.uid.clone().unwrap_or_default();
        let message = ranking::message(&first, starved);
        tracing::warn!(
            pod = first.pod.metadata.name,
            namespace = first.pod.metadata.namespace,
            message,
            "a pod is ended for the node's sake"
        );
        let why = Rejection { reason: "Evicted".to_owned(), message: message.clone() };
        let (disruption, signal) = (Some(message), Some(starved.signal.name()));
        let eviction = Eviction { grace_s: Some(grace_s), disruption, signal, ..Eviction::from(why) };
        self.deps.workers.evict(&uid, eviction);
        self.ending = Some((uid, Instant::now() + PATIENCE));
    }

    /// Removes the images that neither a container nor a pod needs; how many.
    async fn remove_unused_images(&self, pods: &[Arc<Pod>]) -> usize {
        let (mut runtime, mut images) = (self.deps.runtime.clone(), self.deps.images.clone());
        let listed = tokio::try_join!(
            images.list_images(v1::ListImagesRequest::default()),
            runtime.list_containers(v1::ListContainersRequest::default()),
        );
        let (all, containers) = match listed {
            Ok((all, containers)) => (all.into_inner().images, containers.into_inner().containers),
            Err(error) => {
                tracing::warn!(error = error.message(), "images cannot be listed: none is removed");
                return 0;
            }
        };
        let mut used: HashSet<String> = HashSet::new();
        for container in containers {
            used.extend([container.image_ref, container.image_id]);
            used.extend(container.image.map(|image| image.image));
        }
        for name in pods.iter().flat_map(|pod| named_images(pod)) {
            let image = Some(v1::ImageSpec { image: name, ..v1::ImageSpec::default() });
            let request = v1::ImageStatusRequest { image, ..v1::ImageStatusRequest::default() };
            match self.deps.images.clone().image_status(request).await {
                Ok(status) => used.extend(status.into_inner().image.map(|image| image.id)),
                Err(error) => {
                    tracing::warn!(
                        error = error.message(),
                        "an image in use cannot be told: none is removed"
                    );
                    return 0;
                }
            }
        }
        let mut removed = 0;
        for image in all.into_iter().filter(|image| !image.pinned && !is_used(image, &used)) {
            let spec = Some(v1::ImageSpec { image: image.id.clone(), ..v1::ImageSpec::default() });
            match images.remove_image(v1::RemoveImageRequest { image: spec }).await {
                Ok(_) => removed += 1,
                Err(error) => {
                    tracing::warn!(image = image.id, error = error.message(), "an image cannot be removed")
                }
            }
        }
        removed
    }
}

/// What pods have to end for in this look: nothing while the end of another is waited for.
fn unless_ending(starved: Option<Starved>, ending: Option<&(String, Instant)>) -> Option<Starved> {
    starved.filter(|_| ending.is_none())
}

/// Whether a pod that was told to end within `told` seconds would end sooner if it were told `grace_s`.
fn is_news(told: Option<i64>, grace_s: i64) -> bool {
    told.is_none_or(|told| grace_s.max(1) < told)
}

fn is_used(image: &v1::Image, used: &HashSet<String>) -> bool {
    let names = image.repo_tags.iter().chain(&image.repo_digests);
    used.contains(&image.id) || names.into_iter().any(|name| used.contains(name))
}

/// The images that a pod names: those of its containers, which may be about to start, and of its volumes.
fn named_images(pod: &Pod) -> Vec<String> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let volumes = spec.volumes.iter().flatten().filter_map(|volume| volume.image.as_ref()?.reference.clone());
    let ephemeral =
        spec.ephemeral_containers.iter().flatten().filter_map(|container| container.image.clone());
    containers.filter_map(|container| container.image.clone()).chain(volumes).chain(ephemeral).collect()
}

/// What is left on the machine; `root` is on the node's file system. Blocks shortly.
///
/// # Errors
/// When the kernel does not say.
pub fn observe(root: &Path) -> std::io::Result<Observations> {
    let now = machine::Pressure::read(root)?;
    let memory = machine::memory_bytes().unwrap_or(now.memory_available_bytes);
    let of = |available, capacity| Observation { available, capacity };
    let mut observed = Observations::from([
        (Signal::MemoryAvailable, of(now.memory_available_bytes, memory)),
        (Signal::NodefsAvailable, of(now.storage_available_bytes, now.storage_bytes)),
        (Signal::PidAvailable, of(now.pids_max.saturating_sub(now.pids), now.pids_max)),
    ]);
    // Some file systems count no inodes.
    if now.inodes > 0 {
        observed.insert(Signal::NodefsInodesFree, of(now.inodes_free, now.inodes));
    }
    Ok(observed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ends_as_soon_as_it_can_is_left_alone() {
        assert!(is_news(None, 1) && is_news(Some(30), 1) && is_news(Some(30), 0));
        assert!(!is_news(Some(1), 1) && !is_news(Some(1), 0) && !is_news(Some(5), 30));
    }

    #[test]
    fn nobody_ends_for_the_node_while_another_gives_something_back() {
        let starved = || {
            let signal = Signal::NodefsAvailable;
            Some(Starved { signal, is_hard: true, least: 1, available: 0 })
        };
        let excessive = ("u".to_owned(), Instant::now());
        assert_eq!(unless_ending(starved(), Some(&excessive)), None);
        assert_eq!(unless_ending(starved(), None), starved());
        assert_eq!(unless_ending(None, None), None);
    }
}
