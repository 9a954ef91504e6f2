//! Registers the node and keeps its object true. Start at [`NodeAgent::run`].
//!
//! One timer: at each renewal of the lease the runtime is looked at too, and the
//! status is written if it has changed, or after [`HEARTBEAT`]. A change of the node's addresses, or of what it is short of, is written at once, and so
//! is what somebody else has changed meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base::backoff::Policy;
use base::{Clock, Shutdown};
use cri::v1;
use cri::{ImageServiceClient, RuntimeServiceClient};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeStatus, ObjectReference};
use kube::api::{Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::{Notify, watch};

use super::conditions::{self, Signals};
use super::lease::{NodeLease, RENEW_EVERY};
use super::{Machine, NodeConfig, object};
use crate::events::{Events, Severity};
use crate::metrics::Metrics;
use crate::node_facts::OwnNode;
use crate::pressure::State;

/// The status is written at least this often, as upstream's `nodeStatusReportFrequency`.
const HEARTBEAT: SignedDuration = SignedDuration::from_mins(5);
/// How often a node that is not ready yet looks again, at first.
const RETRY: Policy = Policy::new(Duration::from_millis(50), Duration::from_secs(5));
const WATCH_TIMEOUT_S: u32 = 290;

/// Keeps one Node object.
pub struct NodeAgent {
    config: NodeConfig,
    machine: Machine,
    client: Client,
    runtime: RuntimeServiceClient,
    images: ImageServiceClient,
    operations: Metrics,
    clock: Arc<dyn Clock>,
    events: Events,
    poke: Arc<Notify>,
    pod_cidr: watch::Sender<Option<String>>,
    /// The conditions that were last written.
    conditions: Mutex<Vec<NodeCondition>>,
    /// The API has other conditions than that, such as those of a node that was not heard of for a while.
    is_disputed: AtomicBool,
}

/// What was last written.
#[derive(Default)]
struct Written {
    status: NodeStatus,
    at: Option<Timestamp>,
    uid: String,
}

impl NodeAgent {
    pub fn new(
        config: NodeConfig,
        machine: Machine,
        client: Client,
        (runtime, images): (RuntimeServiceClient, ImageServiceClient),
        operations: Metrics,
        clock: Arc<dyn Clock>,
        events: Events,
    ) -> Self {
        let (poke, pod_cidr) = (Arc::default(), watch::Sender::new(None));
        let (conditions, is_disputed) = (Mutex::default(), AtomicBool::new(false));
        // What the node will be registered with counts until the API has said more.
        config.own.learn(OwnNode::of(&object::node(&config, &machine)));
        Self {
            config,
            machine,
            client,
            runtime,
            images,
            operations,
            clock,
            events,
            poke,
            pod_cidr,
            conditions,
            is_disputed,
        }
    }

    /// The addresses pods here get theirs from, once the control plane has decided.
    pub fn pod_cidr(&self) -> watch::Receiver<Option<String>> {
        self.pod_cidr.subscribe()
    }

    /// Makes the agent look at once: something the status shows (images, the runtime) has changed.
    pub fn poke(&self) -> Arc<Notify> {
        self.poke.clone()
    }

    /// Runs until `shutdown`.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        tokio::select! {
            () = shutdown.started() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&self) {
        let node = self.register_until_done().await;
        let conditions = node.status.as_ref().and_then(|s| s.conditions.clone());
        let written = Written {
            uid: node.metadata.uid.clone().unwrap_or_default(),
            status: NodeStatus { conditions, ..NodeStatus::default() },
            at: None,
        };
        self.announce(&node);
        self.learn(&node);
        self.take_pod_cidr(&node).await;
        let version = node.metadata.resource_version.clone().unwrap_or_default();
        tokio::join!(self.report(written), self.follow(version));
    }

    async fn register_until_done(&self) -> Node {
        let mut failures = 0;
        loop {
            match self.register().await {
                Ok(node) => return node,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(node = self.config.name, %error, "the node could not be registered yet");
                    tokio::time::sleep(RETRY.delay(failures)).await;
                }
            }
        }
    }

    async fn register(&self) -> Result<Node, kube::Error> {
        let api: Api<Node> = Api::all(self.client.clone());
        let mut wanted = object::node(&self.config, &self.machine);
        wanted.status = Some(object::status(&self.config, &self.machine, ""));
        match api.create(&PostParams::default(), &wanted).await {
            Err(error) if client::is_already_exists(&error) => {
                // What the node knows of itself is set right; what others have set stays.
                let metadata = json!({
                    "labels": object::labels(&self.config, &self.machine),
                    "annotations": object::annotations(&self.config),
                });
                let patch = json!({"metadata": metadata});
                api.patch(&self.config.name, &PatchParams::default(), &Patch::Merge(patch)).await
            }
            other => other,
        }
    }

    fn announce(&self, node: &Node) {
        self.event(Severity::Normal, "Starting", "Starting kubelet.".to_owned());
        let before = node.status.as_ref().and_then(|s| s.node_info.as_ref()).map(|i| i.boot_id.as_str());
        if before.is_some_and(|b| !b.is_empty() && b != self.machine.boot_id) {
            let (name, id) = (&self.config.name, &self.machine.boot_id);
            let text = format!("Node {name} has been rebooted, boot id: {id}");
            self.event(Severity::Warning, "Rebooted", text);
        }
    }

    fn event(&self, severity: Severity, reason: &'static str, message: String) {
        let about = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(self.config.name.clone()),
            // Upstream's node events carry the name here: describe looks for them by it.
            uid: Some(self.config.name.clone()),
            ..ObjectReference::default()
        };
        self.events.record(about, severity, reason, message);
    }

    /// Renews the lease and writes the status, for ever.
    async fn report(&self, mut written: Written) {
        let lease = NodeLease::new(self.client.clone(), &self.config.name);
        let mut failures = 0;
        let (mut ips, mut pressure) = (self.config.ips.clone(), self.config.pressure.clone());
        let mut in_use = self.config.volumes_in_use.clone();
        loop {
            let renewal = lease.renew(&written.uid, self.clock.now());
            let (renewed, status) = tokio::join!(renewal, self.observe(&written));
            if let Err(error) = &renewed {
                tracing::warn!(%error, "the node's lease could not be renewed");
            }
            let ready = is_ready(&status);
            let reported = self.write(status, &mut written).await;
            failures = if renewed.is_ok() && reported && ready { 0 } else { failures + 1 };
            let wait = if failures == 0 { RENEW_EVERY } else { RETRY.delay(failures).min(RENEW_EVERY) };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.poke.notified() => {}
                Ok(()) = ips.changed() => {}
                Ok(()) = pressure.changed() => {}
                Ok(()) = in_use.changed() => {}
            }
        }
    }

    /// What the status should say now.
    async fn observe(&self, written: &Written) -> NodeStatus {
        let (mut runtime, mut images) = (self.runtime.clone(), self.images.clone());
        let mut same_runtime = runtime.clone();
        let (version, state, images) = tokio::join!(
            self.operations.counted("version", runtime.version(v1::VersionRequest::default())),
            self.operations.counted("status", same_runtime.status(v1::StatusRequest::default())),
            self.operations.counted("list_images", images.list_images(v1::ListImagesRequest::default())),
        );
        let features = state.as_ref().ok().map(|state| state.get_ref().clone());
        let mut signals = Signals { not_ready: runtime_problems(state), ..Signals::default() };
        let State { conditions, problem } = self.config.pressure.borrow().clone();
        signals.pressure = conditions;
        signals.not_ready.extend(problem);
        let version = version.map(|v| v.into_inner()).unwrap_or_default();
        let version = format!("{}://{}", version.runtime_name, version.runtime_version);
        let mut status = object::status(&self.config, &self.machine, &version);
        match features {
            Some(runtime) => object::tell_features(&mut status, &runtime),
            None => {
                status.features.clone_from(&written.status.features);
                status.runtime_handlers.clone_from(&written.status.runtime_handlers);
                status.declared_features.clone_from(&written.status.declared_features);
            }
        }
        let before = written.status.conditions.as_deref().unwrap_or_default();
        status.conditions = Some(conditions::conditions(before, &signals, self.clock.now()));
        status.images = match images {
            Ok(list) => Some(object::images(&list.into_inner().images)),
            Err(_) => written.status.images.clone(),
        };
        status
    }

    /// Writes the status if it is news, disputed or due. Whether the API knows it now.
    async fn write(&self, status: NodeStatus, written: &mut Written) -> bool {
        let now = self.clock.now();
        let due = written.at.is_none_or(|at| at.duration_until(now) >= HEARTBEAT);
        let was_disputed = self.is_disputed.swap(false, Ordering::Relaxed);
        if !due && !was_disputed && same(&status, &written.status) {
            self.acknowledge(&status);
            return true;
        }
        let before = written.status.conditions.clone().unwrap_or_default();
        let after = status.conditions.clone().unwrap_or_default();
        let api: Api<Node> = Api::all(self.client.clone());
        let mut patch = json!({"status": status});
        if status.volumes_in_use.as_ref().is_none_or(Vec::is_empty) {
            patch["status"]["volumesInUse"] = serde_json::Value::Null;
        }
        let patch = Patch::Strategic(patch);
        // What comes by the watch from now on is compared with this.
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&after);
        match api.patch_status(&self.config.name, &PatchParams::default(), &patch).await {
            Ok(_) => {
                for reason in conditions::events(&before, &after) {
                    let text = format!("Node {} status is now: {reason}", self.config.name);
                    self.event(Severity::Normal, reason, text);
                }
                self.acknowledge(&status);
                written.status = status;
                written.at = Some(now);
                true
            }
            Err(error) if client::is_not_found(&error) => {
                // Deleted while it runs: it comes back, as upstream's does when its kubelet restarts.
                let node = self.register_until_done().await;
                *written = Written { uid: node.metadata.uid.unwrap_or_default(), ..Written::default() };
                false
            }
            Err(error) => {
                tracing::warn!(%error, "the node's status could not be written");
                self.is_disputed.fetch_or(was_disputed, Ordering::Relaxed);
                false
            }
        }
    }

    /// The API has this status.
    fn acknowledge(&self, status: &NodeStatus) {
        let known = status.volumes_in_use.iter().flatten().cloned().collect();
        self.config.volumes_known.send_replace(known);
    }

    /// Pods are measured against this from now on.
    fn learn(&self, node: &Node) {
        self.config.own.learn(OwnNode::of(node));
    }

    /// Has the status written again where the API says something else of the node than the node itself, as after a time
    /// in which the node was not heard of. Upstream's kubelet compares at each of its reports.
    fn compare(&self, node: &Node) {
        let ours = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        if is_disputed(&ours, theirs) {
            self.is_disputed.store(true, Ordering::Relaxed);
            self.poke.notify_one();
        }
    }

    /// Follows the own object for what the control plane decides.
    async fn follow(&self, mut version: String) {
        let api: Api<Node> = Api::all(self.client.clone());
        let selector = format!("metadata.name={}", self.config.name);
        let (mut failures, mut is_cordoned) = (0, false);
        loop {
            let params = WatchParams::default().fields(&selector).timeout(WATCH_TIMEOUT_S);
            // A watch that tells nothing counts as failed: one that ends at once must not spin.
            failures += 1;
            match api.watch(&params, &version).await {
                Ok(stream) => {
                    let mut stream = std::pin::pin!(stream);
                    while let Some(Ok(event)) = stream.next().await {
                        match event {
                            WatchEvent::Added(node) | WatchEvent::Modified(node) => {
                                failures = 0;
                                version = node.metadata.resource_version.clone().unwrap_or_default();
                                self.learn(&node);
                                self.compare(&node);
                                self.tell_cordon(&node, &mut is_cordoned);
                                self.take_extended(&node).await;
                                self.take_pod_cidr(&node).await;
                            }
                            WatchEvent::Bookmark(mark) => version = mark.metadata.resource_version,
                            WatchEvent::Error(_) => version.clear(),
                            WatchEvent::Deleted(_) => {}
                        }
                    }
                }
                Err(error) if client::is_expired(&error) => version.clear(),
                Err(error) => tracing::debug!(%error, "the watch of the own node is interrupted"),
            }
            tokio::time::sleep(RETRY.delay(failures)).await;
        }
    }

    /// Records when the node is cordoned or uncordoned.
    fn tell_cordon(&self, node: &Node, is_cordoned: &mut bool) {
        let now = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
        if std::mem::replace(is_cordoned, now) != now {
            let reason = if now { "NodeNotSchedulable" } else { "NodeSchedulable" };
            let text = format!("Node {} status is now: {reason}", self.config.name);
            self.event(Severity::Normal, reason, text);
        }
    }

    /// Lets pods ask for what others count on the node, as upstream's kubelet does.
    async fn take_extended(&self, node: &Node) {
        let changes = node.status.as_ref().map(object::extended).unwrap_or_default();
        if changes.is_empty() {
            return;
        }
        let api: Api<Node> = Api::all(self.client.clone());
        let patch = Patch::Merge(json!({"status": {"allocatable": changes}}));
        if let Err(error) = api.patch_status(&self.config.name, &PatchParams::default(), &patch).await {
            tracing::warn!(%error, "what others count on the node could not be made available");
        }
    }

    async fn take_pod_cidr(&self, node: &Node) {
        let Some(cidr) = node.spec.as_ref().and_then(|s| s.pod_cidr.clone()).filter(|c| !c.is_empty()) else {
            return;
        };
        if self.pod_cidr.borrow().as_ref() == Some(&cidr) {
            return;
        }
        let network = v1::NetworkConfig { pod_cidr: cidr.clone() };
        let request = v1::UpdateRuntimeConfigRequest {
            runtime_config: Some(v1::RuntimeConfig { network_config: Some(network) }),
        };
        if let Err(error) = self.runtime.clone().update_runtime_config(request).await {
            tracing::warn!(%error, cidr, "the runtime did not take the pods' address range");
        }
        self.pod_cidr.send_replace(Some(cidr));
        self.poke.notify_one();
    }
}

fn is_ready(status: &NodeStatus) -> bool {
    let ready = |c: &NodeCondition| c.type_ == "Ready" && c.status == "True";
    status.conditions.iter().flatten().any(ready)
}

/// Why the runtime is not ready, in upstream's words.
fn runtime_problems(state: Result<tonic::Response<v1::StatusResponse>, tonic::Status>) -> Vec<String> {
    let state = match state {
        Ok(state) => state.into_inner().status.unwrap_or_default(),
        Err(error) => return vec![format!("container runtime is down: {}", error.message())],
    };
    let mut out = Vec::new();
    for (kind, text) in [
        ("RuntimeReady", "container runtime not ready"),
        ("NetworkReady", "container runtime network not ready"),
    ] {
        match state.conditions.iter().find(|c| c.r#type == kind) {
            Some(c) if c.status => {}
            Some(c) => {
                out.push(format!("{text}: {kind}={} reason:{} message:{}", c.status, c.reason, c.message))
            }
            None => out.push(format!("{text}: the runtime does not report {kind}")),
        }
    }
    out
}

/// Whether a condition of ours has another status in the API.
fn is_disputed<'a>(ours: &[NodeCondition], theirs: impl Iterator<Item = &'a NodeCondition> + Clone) -> bool {
    ours.iter()
        .any(|our| !theirs.clone().any(|their| (&their.type_, &their.status) == (&our.type_, &our.status)))
}

/// Whether two statuses say the same, heartbeats aside.
fn same(a: &NodeStatus, b: &NodeStatus) -> bool {
    let still = |s: &NodeStatus| {
        let mut s = s.clone();
        s.conditions.iter_mut().flatten().for_each(|c| c.last_heartbeat_time = None);
        s
    };
    still(a) == still(b)
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
