//! The parts of the node's own process, shown as pods of `kube-system`: what upstream runs in static pods runs here in
//! one process, and users look for it with `kubectl get pods -A`.
//!
//! Start with [`ProcessPods`], which keeps the API's objects as they must be; [`object`] says how that is. As with
//! upstream's static pods, the objects are mirror pods: they tell of what runs whatever becomes of them, so a deleted
//! one is made again. No worker ever acts on a mirror pod.

mod object;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base::backoff::Policy;
use base::{Clock, Shutdown};
use informer::{Cache, Delta};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, PostParams};
use kube::{Client, Error};
use tokio::sync::{Notify, watch};

use crate::origin::{is_mirror, is_mirror_of_static, mirrored_uid};
use crate::pod_api::{KubePodApi, PodApi, PodApiError};
use crate::seams::{ContainerHandle, LookupError, PodDirectory};

const NAMESPACE: &str = "kube-system";
/// How long an object that was deleted is away before it is made again. Clients wait for the deletion of a name, and
/// may miss one that the next creation follows at once.
const AWAY: Duration = Duration::from_secs(1);
/// How long to wait after a failed request.
const AGAIN: Policy = Policy::new(Duration::from_millis(200), Duration::from_secs(30));

/// A part of the process.
#[derive(Debug, Clone)]
pub struct Part {
    /// The container's name; with the node's name behind, the pod's.
    pub name: &'static str,
    /// What upstream's own pods for the same task carry, for whoever selects by labels.
    pub labels: BTreeMap<&'static str, &'static str>,
    /// A port of the node that the part takes, and the port's name.
    pub port: Option<(&'static str, u16)>,
}

/// The process that the parts are of.
#[derive(Debug, Clone)]
pub struct Process {
    pub node: String,
    /// The node's addresses as they are now, the primary one first.
    pub ips: watch::Receiver<Vec<IpAddr>>,
    pub started: Time,
    /// Name and version of the program.
    pub program: String,
    /// Where the log of the whole process is, if it goes to a file.
    pub log: Option<PathBuf>,
}

/// Keeps the mirror pods of a process.
pub struct ProcessPods {
    process: Process,
    parts: Vec<Part>,
    pods: Cache<Pod>,
    node: Cache<Node>,
    client: Client,
    api: KubePodApi,
    changed: Arc<Notify>,
    /// Whether one of the objects was deleted since the last round.
    deleted: Arc<AtomicBool>,
}

/// What makes the API's object of a part what it must be.
#[derive(Debug, PartialEq)]
enum Step {
    Create(Box<Pod>),
    /// It is going away, or tells of something else.
    Delete,
    /// The patch of its status.
    Tell(serde_json::Value),
    Nothing,
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

impl ProcessPods {
    /// `pods` are those of the node, `node` has at least the node itself.
    pub fn new(
        process: Process,
        parts: Vec<Part>,
        pods: Cache<Pod>,
        node: Cache<Node>,
        client: Client,
    ) -> Self {
        let changed = Arc::new(Notify::new());
        let api = KubePodApi::new(client.clone());
        Self { process, parts, pods, node, client, api, changed, deleted: Arc::default() }
    }

    /// Keeps the objects until shutdown; they stay after it, as those of a node that is not heard of any more.
    pub async fn run(self: Arc<Self>, clock: Arc<dyn Clock>, shutdown: Shutdown) {
        let (changed, deleted) = (self.changed.clone(), self.deleted.clone());
        self.pods.subscribe(move |delta| {
            if is_mirror(delta.object()) {
                deleted.fetch_or(matches!(delta, Delta::Deleted(_)), Ordering::Relaxed);
                changed.notify_one();
            }
        });
        tokio::select! {
            () = self.keep(&*clock) => {}
            () = shutdown.started() => {}
        }
    }

    async fn keep(&self, clock: &dyn Clock) {
        self.pods.wait_synced().await;
        let name = self.process.node.clone();
        // Of pods on a node that is not Ready the control plane says so in events.
        let there = self.node.wait_until(|nodes| nodes.get("", &name).is_some_and(|node| is_ready(&node)));
        there.await;
        let mut failures = 0;
        let mut ips = self.process.ips.clone();
        loop {
            match self.round(clock).await {
                Ok(()) => {
                    failures = 0;
                    tokio::select! {
                        () = self.changed.notified() => {}
                        Ok(()) = ips.changed() => {}
                    }
                    if self.deleted.swap(false, Ordering::Relaxed) {
                        tokio::time::sleep(AWAY).await;
                    }
                }
                Err(error) => {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(%error, "the process's own parts cannot be shown as pods");
                    }
                    tokio::time::sleep(AGAIN.delay(failures)).await;
                }
            }
        }
    }

    async fn round(&self, clock: &dyn Clock) -> Result<(), PodApiError> {
        let Some(node) = self.node.get("", &self.process.node) else { return Ok(()) };
        for part in &self.parts {
            let name = object::name(part, &self.process);
            let current = self.pods.get(NAMESPACE, &name);
            let step = object::step(part, &self.process, &node, current.as_deref(), clock.now());
            self.take(step, current).await?;
        }
        for pod in self.strangers() {
            tracing::info!(pod = pod.metadata.name, "a mirror pod of what does not run here is removed");
            self.api.delete(&pod).await?;
        }
        Ok(())
    }

    /// Mirror pods of parts that the process does not have, or has no more; those of static pods are no matter of it.
    fn strangers(&self) -> Vec<Arc<Pod>> {
        let all =
            self.pods.scan("a node has a hundred pods, and looks for mirror pods when one of them changes");
        let names: Vec<String> = self.parts.iter().map(|part| object::name(part, &self.process)).collect();
        let is_own = |pod: &Pod| {
            pod.metadata.namespace.as_deref() == Some(NAMESPACE)
                && pod.metadata.name.as_ref().is_some_and(|name| names.contains(name))
        };
        let typed = all.iter().filter_map(|pod| pod.typed());
        typed
            .filter(|pod| mirrored_uid(pod).is_some() && !is_mirror_of_static(pod) && !is_own(pod))
            .cloned()
            .collect()
    }

    async fn take(&self, step: Step, current: Option<Arc<Pod>>) -> Result<(), PodApiError> {
        match (step, current) {
            (Step::Create(pod), _) => {
                let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
                match pods.create(&PostParams::default(), &pod).await {
                    // One that this node's watch has not told of yet.
                    Err(Error::Api(status)) if status.code == 409 => Ok(()),
                    other => other.map(drop).map_err(|error| PodApiError::Failed(client::message(&error))),
                }
            }
            (Step::Delete, Some(pod)) => self.api.delete(&pod).await,
            (Step::Tell(patch), Some(pod)) => match self.api.patch_status(&pod, patch).await {
                Ok(_) | Err(PodApiError::Gone) => Ok(()),
                Err(error) => Err(error),
            },
            _ => Ok(()),
        }
    }

    fn part_of(&self, namespace: &str, pod: &str) -> Option<&Part> {
        let named = |part: &&Part| object::name(part, &self.process) == pod;
        self.parts.iter().find(named).filter(|_| namespace == NAMESPACE)
    }
}

/// All pods of a node for its HTTP API: those that the runtime runs, and the parts of the process.
pub struct AllPods {
    pub run: Arc<dyn PodDirectory>,
    pub process: Arc<ProcessPods>,
}

impl PodDirectory for AllPods {
    fn pods(&self) -> Vec<Arc<Pod>> {
        let own = self.process.parts.iter();
        let own = own
            .filter_map(|part| self.process.pods.get(NAMESPACE, &object::name(part, &self.process.process)));
        self.run.pods().into_iter().chain(own).collect()
    }

    fn container(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        previous: bool,
    ) -> Result<ContainerHandle, LookupError> {
        match self.process.part_of(namespace, pod) {
            None => self.run.container(namespace, pod, container, previous),
            Some(part) if part.name != container => {
                Err(LookupError::NoContainer { pod: pod.to_owned(), container: container.to_owned() })
            }
            Some(_) => Err(self.in_process(container)),
        }
    }

    fn sandbox(&self, namespace: &str, pod: &str) -> Result<String, LookupError> {
        match self.process.part_of(namespace, pod) {
            None => self.run.sandbox(namespace, pod),
            Some(part) => Err(self.in_process(part.name)),
        }
    }
}

impl AllPods {
    fn in_process(&self, container: &str) -> LookupError {
        let process = &self.process.process;
        let log = process.log.as_ref().map_or_else(
            || "goes to the process's standard error".to_owned(),
            |log| format!("is in {} on node {}", log.display(), process.node),
        );
        LookupError::InProcess { container: container.to_owned(), program: process.program.clone(), log }
    }
}
