//! Static pods: those that a folder, a file or a URL asks this node for, and that run without the API.
//!
//! Start at [`StaticPods`]. [`manifest`] reads manifests and [`register`] decides which pods run; both are pure. `folder`
//! and `url` are the sources. [`mirrors`] keeps an object in the API for each static pod, the mirror pod, by which others
//! see it (upstream `pkg/kubelet/config` and `pkg/kubelet/pod`). What happens to the mirror pod changes nothing here.

mod complaints;
mod folder;
pub mod manifest;
pub mod mirrors;
mod register;
#[cfg(test)]
mod tests;
mod url;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base::Clock;
use base::backoff::Policy;
use informer::Cache;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use tokio::sync::{Notify, watch};

use crate::cri_calls::{Cri, CriError};
use crate::cri_view::{LABEL_POD_NAME, LABEL_POD_NAMESPACE, LABEL_POD_UID};
use crate::events::Events;
use crate::origin::{SEEN_ANNOTATION, SOURCE_ANNOTATION, is_elsewhere};
use crate::pod_api::KubePodApi;
use crate::worker::PodNews;
use crate::workers::Workers;
use complaints::Complaints;
use folder::Folder;
use mirrors::Mirrors;
use register::{Key, Register, Step, key};
use url::Url;

/// How long to wait after the runtime could not be listed.
const AGAIN: Policy = Policy::new(Duration::from_millis(200), Duration::from_secs(10));

/// Where this node's static pods come from.
#[derive(Debug, Clone, Default)]
pub struct StaticPodsConfig {
    /// A folder of manifests, or one manifest.
    pub path: Option<PathBuf>,
    /// How often to look at the path though the kernel tells of no change, if at all.
    pub look_every: Option<Duration>,
    pub url: Option<UrlConfig>,
}

/// A URL that gives manifests.
#[derive(Debug, Clone)]
pub struct UrlConfig {
    pub url: String,
    /// Names and values of what is sent along.
    pub headers: Vec<(String, String)>,
    pub ask_every: Duration,
}

/// What the static pods of a node are built from.
pub struct StaticPodsDeps {
    /// The pods of this node in the API.
    pub pods: Cache<Pod>,
    /// Has at least the node itself.
    pub node: Cache<Node>,
    pub client: kube::Client,
    pub events: Events,
    pub clock: Arc<dyn Clock>,
}

/// What a source asks for; `None` until it was read.
type Offer = Option<Vec<Arc<Pod>>>;

/// The static pods of this node.
pub struct StaticPods {
    node: String,
    config: StaticPodsConfig,
    mirrors: Mirrors,
    complaints: Complaints,
    register: Arc<Mutex<Register>>,
    /// Rung when the register has changed.
    changed: Arc<Notify>,
    clock: Arc<dyn Clock>,
}

impl StaticPods {
    pub fn new(node: &str, config: StaticPodsConfig, deps: StaticPodsDeps) -> Self {
        let (register, changed) = (Arc::<Mutex<Register>>::default(), Arc::new(Notify::new()));
        let complaints = Complaints::new(node, deps.events.clone());
        let api = KubePodApi::new(deps.client.clone());
        let mirrors = Mirrors::new(node, deps, api, changed.clone());
        let clock = mirrors.clock.clone();
        Self { node: node.to_owned(), config, mirrors, complaints, register, changed, clock }
    }

    /// Follows the sources, has workers run what they ask for, and keeps the mirror pods. Never ends. `complete` becomes
    /// true once all sources were read: only then is it known which pods nobody asks for.
    pub async fn run(&self, workers: &Workers, cri: &dyn Cri, complete: &watch::Sender<bool>) {
        let (files, url) = (watch::Sender::new(None), watch::Sender::new(None));
        tokio::join!(
            self.follow_path(&files),
            self.follow_url(&url),
            self.keep_pods(workers, cri, [files.subscribe(), url.subscribe()], complete),
            self.mirrors.keep(&self.register, workers, complete.subscribe()),
        );
    }

    async fn follow_path(&self, tell: &watch::Sender<Offer>) {
        match &self.config.path {
            Some(path) => {
                Folder::new(path.clone(), self.config.look_every)
                    .follow(&self.node, tell, &self.complaints)
                    .await
            }
            None => drop(tell.send_replace(Some(Vec::new()))),
        }
    }

    async fn follow_url(&self, tell: &watch::Sender<Offer>) {
        match &self.config.url {
            Some(config) => Url::new(config.clone()).follow(&self.node, tell, &self.complaints).await,
            None => drop(tell.send_replace(Some(Vec::new()))),
        }
    }

    async fn keep_pods(
        &self,
        workers: &Workers,
        cri: &dyn Cri,
        mut sources: [watch::Receiver<Offer>; 2],
        complete: &watch::Sender<bool>,
    ) {
        let (mut checked, mut failures) = (BTreeSet::new(), 0u32);
        loop {
            let offers: Vec<Offer> =
                sources.iter_mut().map(|source| source.borrow_and_update().clone()).collect();
            let all_read = offers.iter().all(Option::is_some);
            let mut offered: Vec<Arc<Pod>> = offers.into_iter().flatten().flatten().collect();
            match self.end_predecessors(workers, cri, &offered, &mut checked).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(%error, "what runs of earlier static pods is not known: new ones wait");
                    offered.retain(|pod| checked.contains(&key(pod)));
                }
            }
            self.settle(workers, &offered);
            if all_read && failures == 0 {
                complete.send_if_modified(|complete| !std::mem::replace(complete, true));
            }
            let again = async {
                match failures {
                    0 => std::future::pending().await,
                    failures => tokio::time::sleep(AGAIN.delay(failures)).await,
                }
            };
            let [files, url] = &mut sources;
            tokio::select! {
                () = again => {}
                Ok(()) = files.changed() => {}
                Ok(()) = url.changed() => {}
                () = workers.retired() => {}
            }
        }
    }

    fn settle(&self, workers: &Workers, offered: &[Arc<Pod>]) {
        let now = Time(self.clock.now());
        let steps = self.lock().settle(offered, |uid| workers.knows(uid));
        let has_steps = !steps.is_empty();
        let mut doubles = Vec::new();
        for step in steps {
            match step {
                Step::Start(pod) => {
                    let pod = Arc::new(seen_at(&pod, &now));
                    self.lock().has_started(pod.clone());
                    workers.deliver(PodNews::Current(pod.clone()));
                    if let Some(mirror) = self.mirrors.of(&pod) {
                        workers.mirrored(&mirror);
                    }
                }
                Step::End(pod) => workers.deliver(PodNews::Gone(Arc::new(asked_to_end(&pod, &now)))),
                Step::Waits(pod) => doubles.push(pod),
            }
        }
        self.complaints.doubles(&doubles);
        // A pod that has ended needs no step, but its mirror has to go.
        if has_steps || self.lock().has_forgotten() {
            self.changed.notify_one();
        }
    }

    /// Has what runs of earlier versions of these pods ended first: their manifests were changed while the agent was away.
    /// Each name is looked for once; `checked` are those that were.
    async fn end_predecessors(
        &self,
        workers: &Workers,
        cri: &dyn Cri,
        offered: &[Arc<Pod>],
        checked: &mut BTreeSet<Key>,
    ) -> Result<(), CriError> {
        let wanted: BTreeMap<Key, &str> =
            offered.iter().map(|pod| (key(pod), pod.metadata.uid.as_deref().unwrap_or_default())).collect();
        checked.retain(|name| wanted.contains_key(name));
        if wanted.len() == checked.len() {
            return Ok(());
        }
        for sandbox in cri.sandboxes(None).await? {
            let label = |key: &str| sandbox.labels.get(key).cloned().unwrap_or_default();
            let (name, uid) = ((label(LABEL_POD_NAMESPACE), label(LABEL_POD_NAME)), label(LABEL_POD_UID));
            let is_static = sandbox.annotations.get(SOURCE_ANNOTATION).is_some_and(|from| is_elsewhere(from));
            let is_other = wanted.get(&name).is_some_and(|wanted| *wanted != uid);
            if uid.is_empty() || !is_static || !is_other || checked.contains(&name) || workers.knows(&uid) {
                continue;
            }
            let metadata = ObjectMeta {
                uid: Some(uid),
                namespace: Some(name.0),
                name: Some(name.1),
                ..ObjectMeta::default()
            };
            let pod = Arc::new(Pod { metadata, ..Pod::default() });
            self.lock().is_ending(pod.clone());
            workers.deliver(PodNews::Gone(Arc::new(asked_to_end(&pod, &Time(self.clock.now())))));
        }
        checked.extend(wanted.into_keys());
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Register> {
        self.register.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// The pod with the moment from which the node knows it.
fn seen_at(pod: &Pod, now: &Time) -> Pod {
    let mut pod = pod.clone();
    pod.metadata.annotations.get_or_insert_default().insert(SEEN_ANNOTATION.to_owned(), now.0.to_string());
    pod
}

/// Nobody asks for the pod any more: it has its whole grace period, as one that is deleted through the API.
fn asked_to_end(pod: &Pod, now: &Time) -> Pod {
    let mut pod = pod.clone();
    let grace_s = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    pod.metadata.deletion_timestamp = Some(now.clone());
    pod.metadata.deletion_grace_period_seconds = Some(grace_s.unwrap_or(30));
    pod
}
