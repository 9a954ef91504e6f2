//! The loop: events from the caches and from bindings in, bindings, conditions and Events out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Shutdown, Supervisor, TaskKind};
use client::{EventType, Recorder};
use informer::{Delta, Informers, Key};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, PodCondition};
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::condition;
use crate::cycle::{Chance, Decision, decide};
use crate::hints;
use crate::nodes::Nodes;
use crate::pod::{PodInfo, Shapes};
use crate::queue::{Attempt, PodQueue};

/// How many bindings may be under way at once.
const BINDINGS: usize = 64;

/// What can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// Pods name the scheduler that is to place them.
    pub scheduler_name: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { scheduler_name: "default-scheduler".into() }
    }
}

/// Everything the loop reacts to.
enum Event {
    Pod(Delta<Pod>),
    Node(Delta<Node>),
    Namespace(Delta<Namespace>),
    /// A binding ended; with the reason when it failed.
    Bound(Box<Attempt>, String, Result<(), String>),
}

/// The scheduler, built and ready to run.
pub struct Scheduler {
    config: Config,
    client: Client,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    inbox: mpsc::UnboundedReceiver<Event>,
    outbox: mpsc::UnboundedSender<Event>,
    nodes: Nodes,
    queue: PodQueue,
    shapes: Shapes,
    start: usize,
    writes: JoinSet<()>,
    informers: Informers,
}

impl Scheduler {
    /// Subscribes to pods, nodes and namespaces in `informers`, which may be shared; writes go through `client`.
    /// Nothing is decided before [`Scheduler::start`].
    pub fn build(
        config: Config,
        client: Client,
        informers: &Informers,
        clock: Arc<dyn Clock>,
        supervisor: &Supervisor,
    ) -> Self {
        let (outbox, inbox) = mpsc::unbounded_channel();
        let (pods, nodes, namespaces) = (outbox.clone(), outbox.clone(), outbox.clone());
        // A closed channel means the scheduler has stopped; there is nobody left to tell.
        informers.cache::<Node>().subscribe(move |delta| drop(nodes.send(Event::Node(delta.clone()))));
        informers
            .cache::<Namespace>()
            .subscribe(move |delta| drop(namespaces.send(Event::Namespace(delta.clone()))));
        informers.cache::<Pod>().subscribe(move |delta| drop(pods.send(Event::Pod(delta.clone()))));
        let recorder =
            Recorder::start(client.clone(), "default-scheduler", None, Arc::clone(&clock), supervisor);
        Self {
            config,
            client,
            clock,
            recorder,
            inbox,
            outbox,
            nodes: Nodes::default(),
            queue: PodQueue::default(),
            shapes: Shapes::default(),
            start: 0,
            writes: JoinSet::new(),
            informers: informers.clone(),
        }
    }

    /// Runs under the supervisor until shutdown.
    pub fn start(self, supervisor: &Supervisor) {
        let shutdown = supervisor.shutdown().clone();
        supervisor.spawn(TaskKind::Essential, "scheduler", self.run(shutdown));
    }

    async fn run(mut self, shutdown: Shutdown) {
        let (pods, nodes) = (self.informers.cache::<Pod>(), self.informers.cache::<Node>());
        let namespaces = self.informers.cache::<Namespace>();
        tokio::select! {
            () = async { tokio::join!(pods.wait_synced(), nodes.wait_synced(), namespaces.wait_synced()); } => {}
            () = shutdown.started() => return,
        }
        loop {
            while let Ok(event) = self.inbox.try_recv() {
                self.learn(event);
            }
            if self.writes.len() < BINDINGS
                && let Some(attempt) = self.queue.pop(Instant::now())
            {
                self.schedule(attempt);
                // Other tasks of this thread get their turn between two decisions.
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.queue.next_due();
            tokio::select! {
                event = self.inbox.recv() => match event {
                    Some(event) => self.learn(event),
                    None => return,
                },
                Some(ended) = self.writes.join_next(), if !self.writes.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a scheduler write panicked");
                    }
                }
                () = until(due) => {}
                () = shutdown.started() => return,
            }
        }
    }

    fn learn(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Pod(Delta::Applied { new, .. }) => {
                if let Some(pod) = new.typed() {
                    self.pod_changed(pod, now);
                }
            }
            Event::Pod(Delta::Deleted(old)) => {
                self.queue.remove(&old.uid);
                self.leave(&old.uid, now);
            }
            Event::Node(Delta::Applied { new, .. }) => {
                let Some(present) = new.typed() else { return };
                let changed = self.nodes.set_node(present).any();
                if let Some(node) = self.nodes.get(new.name()).filter(|_| changed) {
                    self.queue.something_changed(now, |waiting| hints::node_changed(waiting, node));
                }
            }
            Event::Node(Delta::Deleted(old)) => {
                self.nodes.remove_node(old.name());
                self.queue.something_changed(now, hints::node_gone);
            }
            Event::Namespace(delta) => self.namespace_changed(&delta, now),
            Event::Bound(attempt, _, Ok(())) => self.queue.remove(&attempt.pod.uid),
            Event::Bound(attempt, node, Err(why)) => self.not_bound(*attempt, &node, &why, now),
        }
    }

    /// A pod that went meanwhile, or has a node after all, does not wait for one any more.
    fn not_bound(&mut self, attempt: Attempt, node: &str, why: &str, now: Instant) {
        let (key, uid) = (attempt.pod.key.clone(), Arc::clone(&attempt.pod.uid));
        self.leave(&uid, now);
        let present = self.informers.cache::<Pod>().get(&key.namespace, &key.name);
        let Some(present) = present.filter(|pod| pod.metadata.uid.as_deref() == Some(&*uid)) else {
            tracing::debug!(pod = %key, %node, %why, "the pod went while it was bound");
            return;
        };
        tracing::warn!(pod = %key, %node, %why, "binding failed");
        if self.is_ours(&present) && present.spec.as_ref().is_none_or(|spec| spec.node_name.is_none()) {
            self.queue.failed(attempt, now);
        } else {
            self.pod_changed(&present, now);
        }
    }

    fn pod_changed(&mut self, pod: &Pod, now: Instant) {
        let uid = pod.metadata.uid.as_deref().unwrap_or("");
        let node = pods::node_name(pod);
        if !node.is_empty() {
            self.queue.remove(uid);
            if !pods::holds_resources(pod) {
                self.leave(uid, now);
            } else if !self.nodes.knows(pod, node) {
                let info = PodInfo::shared(pod, &mut self.shapes);
                self.place(&info, node, now);
            }
        } else if self.is_ours(pod) {
            self.queue.add(PodInfo::shared(pod, &mut self.shapes), now);
        } else {
            self.queue.remove(uid);
        }
    }

    /// A pod is on a node, or about to be.
    fn place(&mut self, pod: &PodInfo, node: &str, now: Instant) {
        if let Some(arrival) = self.nodes.place(pod, node) {
            let (nodes, identity) = (&self.nodes, &pod.shape.identity);
            self.queue.something_changed(now, |waiting| hints::pod_came(waiting, identity, &arrival, nodes));
        }
    }

    /// A pod takes nothing of its node any more.
    fn leave(&mut self, uid: &str, now: Instant) {
        if let Some(departure) = self.nodes.remove_pod(uid) {
            self.queue.something_changed(now, |pod| hints::pod_left(pod, &departure, &self.nodes));
        }
    }

    /// Terms of pods may select by the labels of namespaces.
    fn namespace_changed(&mut self, delta: &Delta<Namespace>, now: Instant) {
        let namespace = delta.object();
        let gone = matches!(delta, Delta::Deleted(_));
        let labels = || namespace.labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        if self.nodes.set_namespace(namespace.name(), (!gone).then(|| labels().collect())) && !gone {
            self.queue.something_changed(now, |_| true);
        }
    }

    fn is_ours(&self, pod: &Pod) -> bool {
        let spec = pod.spec.as_ref();
        spec.and_then(|s| s.scheduler_name.as_deref()) == Some(self.config.scheduler_name.as_str())
            && spec.and_then(|s| s.scheduling_gates.as_ref()).is_none_or(Vec::is_empty)
            && pods::is_active(pod)
    }

    fn schedule(&mut self, attempt: Attempt) {
        let chance = Chance { start: self.start, tie: base::random::below(u64::MAX) };
        // One pod that trips the decision over must not stop the rest.
        let decided = catch_unwind(AssertUnwindSafe(|| decide(&attempt.pod, &mut self.nodes, chance)));
        let Ok((decision, next)) = decided else {
            tracing::error!(pod = %attempt.pod.key, "a decision panicked and will be tried again");
            return self.queue.failed(attempt, Instant::now());
        };
        self.start = next;
        match decision {
            Decision::Bind(node) => {
                self.place(&attempt.pod, &node, Instant::now());
                let (client, recorder, outbox) =
                    (self.client.clone(), self.recorder.clone(), self.outbox.clone());
                self.writes.spawn(async move {
                    let result = bind(&client, &attempt.pod, &node).await;
                    if result.is_ok() {
                        let Key { namespace, name } = &attempt.pod.key;
                        let message = format!("Successfully assigned {namespace}/{name} to {node}");
                        recorder.event(&attempt.pod.reference(), EventType::Normal, "Scheduled", message);
                    }
                    drop(outbox.send(Event::Bound(Box::new(attempt), node, result)));
                });
            }
            Decision::Unschedulable(message) => {
                let about = attempt.pod.reference();
                self.recorder.event(&about, EventType::Warning, "FailedScheduling", message.clone());
                self.explain(&attempt.pod, &message);
                self.queue.unschedulable(attempt, Instant::now());
            }
        }
    }
}

impl Scheduler {
    /// Has the condition written that says why a pod has no node, where its newest state does not say so.
    fn explain(&mut self, pod: &PodInfo, message: &str) {
        let newest = self.informers.cache::<Pod>().get(&pod.key.namespace, &pod.key.name);
        let Some(newest) = newest.filter(|newest| newest.metadata.uid.as_deref() == Some(&*pod.uid)) else {
            return;
        };
        if let Some(condition) = condition::unschedulable(&newest, message, self.clock.now()) {
            let (client, pod) = (self.client.clone(), pod.clone());
            self.writes.spawn(async move { tell(&client, &pod, &condition).await });
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn bind(client: &Client, pod: &PodInfo, node: &str) -> Result<(), String> {
    let Key { namespace, name } = &pod.key;
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": &**name, "namespace": &**namespace, "uid": &*pod.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let body = serde_json::to_vec(&binding).map_err(|e| e.to_string())?;
    let request = kube::core::Request::new(format!("/api/v1/namespaces/{namespace}/pods"))
        .create_subresource("binding", name, &kube::api::PostParams::default(), body)
        .map_err(|e| e.to_string())?;
    let answered =
        tokio::time::timeout(Duration::from_secs(30), client.request::<serde_json::Value>(request)).await;
    match answered {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the API server did not answer in 30 s".into()),
    }
}

/// Writes the condition that says why the pod waits.
async fn tell(client: &Client, pod: &PodInfo, condition: &PodCondition) {
    let api = kube::Api::<Pod>::namespaced(client.clone(), &pod.key.namespace);
    let patch = json!({"metadata": {"uid": &*pod.uid}, "status": {"conditions": [condition]}});
    let result = api.patch_status(&pod.key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
    if let Err(error) = result
        && !client::is_not_found(&error)
    {
        tracing::warn!(pod = %pod.key, %error, "the PodScheduled condition could not be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, node: Option<&str>) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "ns", "uid": name},
            "spec": {"schedulerName": "default-scheduler", "nodeName": node, "containers": []},
        }))
        .expect("a pod")
    }

    fn learn_all(scheduler: &mut Scheduler) {
        while let Ok(event) = scheduler.inbox.try_recv() {
            scheduler.learn(event);
        }
    }

    #[tokio::test]
    async fn a_pod_whose_binding_failed_waits_only_if_it_still_needs_a_node() {
        let nowhere = kube::Config::new("http://127.0.0.1:1".parse().expect("a URI"));
        let client = Client::try_from(nowhere).expect("a client");
        let supervisor = Supervisor::new(Shutdown::new());
        let informers = Informers::new(client.clone(), supervisor.clone());
        let pods = informers.cache::<Pod>();
        let clock = Arc::new(base::SystemClock);
        let mut scheduler = Scheduler::build(Config::default(), client, &informers, clock, &supervisor);
        let node = json!({"metadata": {"name": "n"}});
        scheduler.nodes.set_node(&serde_json::from_value(node).expect("a node"));
        for name in ["waits", "went", "bound"] {
            pods.apply(pod(name, None));
        }
        learn_all(&mut scheduler);
        let now = Instant::now();
        let attempts: Vec<Attempt> = std::iter::from_fn(|| scheduler.queue.pop(now)).collect();
        assert_eq!(attempts.len(), 3);
        pods.objects().remove(&Key::new("ns", "went"));
        pods.apply(pod("bound", Some("n")));
        learn_all(&mut scheduler);
        for attempt in attempts {
            scheduler.learn(Event::Bound(Box::new(attempt), "n".into(), Err("refused".into())));
        }
        let later = now + Duration::from_secs(60);
        let waiting: Vec<_> =
            std::iter::from_fn(|| scheduler.queue.pop(later)).map(|a| a.pod.uid.to_string()).collect();
        assert_eq!(waiting, ["waits"]);
        assert!(scheduler.nodes.remove_pod("bound").is_some(), "it is on its node");
        supervisor.shutdown().start();
    }
}
