//! The loop: receives events from the caches and results of bindings; writes bindings, conditions and Events.

mod controllers;

use std::collections::HashMap;
use std::sync::Arc;

use api::selector::LabelSelector;
use base::{Clock, Shutdown, Supervisor, TaskKind};
use client::{EventType, Recorder};
use informer::{Delta, Informers, Key};
use k8s_openapi::api::core::v1::{Namespace, Node, ObjectReference, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument;

use crate::binding::{Caches, Unbound, bind_whole, devices};
use crate::condition;
use crate::configuration::Configuration;
use crate::devices::Devices;
use crate::metrics::{Metrics, Outcome};
use crate::outline;
use crate::pod::PodInfo;
use crate::preemption::{Preemption, Victim};
use crate::profile::Profile;
use crate::queue::Attempt;
use crate::state::{Chosen, Round, State, Waits};
use crate::storage::Storage;

/// How many bindings may be under way at once.
const BINDINGS: usize = 64;

/// Everything the loop reacts to.
enum Event {
    Pod(Delta<Pod>),
    Node(Delta<Node>),
    Namespace(Delta<Namespace>),
    Claim(Key),
    /// A volume or a class of volumes.
    Storage,
    /// A claim of devices, and whether it has given some back.
    DeviceClaim(Key, bool),
    /// A slice or a class of devices.
    Devices,
    Budget(Delta<PodDisruptionBudget>),
    Service(Delta<Service>),
    /// A controller of pods, with the selector of one that is new or changed; `None` for one that is gone.
    Controller(Arc<str>, Option<LabelSelector>),
    /// The pods that are to go for this one could not be told.
    NotPreempted(PodInfo),
    /// A binding ended; with the reason when it failed.
    Bound(Box<Attempt>, String, Chosen, Result<(), Unbound>),
}

/// The scheduler, built and ready to run.
pub struct Scheduler {
    client: Client,
    clock: Arc<dyn Clock>,
    /// One for each profile, whose names Events bear.
    recorders: HashMap<Arc<str>, Recorder>,
    inbox: mpsc::UnboundedReceiver<Event>,
    outbox: mpsc::UnboundedSender<Event>,
    state: State,
    writes: JoinSet<()>,
    /// Bindings that wait for volumes.
    waits: JoinSet<()>,
    metrics: Metrics,
    informers: Informers,
}

impl Scheduler {
    /// Subscribes to pods, nodes and namespaces in `informers`, which may be shared; writes go through `client`.
    /// Nothing is decided before [`Scheduler::start`].
    pub fn build(
        config: &Configuration,
        client: Client,
        informers: &Informers,
        clock: Arc<dyn Clock>,
        supervisor: &Supervisor,
        metrics: Metrics,
    ) -> Self {
        let (outbox, inbox) = mpsc::unbounded_channel();
        let (pods, nodes, namespaces) = (outbox.clone(), outbox.clone(), outbox.clone());
        // A closed channel means the scheduler has stopped; there is nobody left to tell.
        informers.cache::<Node>().subscribe(move |delta| drop(nodes.send(Event::Node(delta.clone()))));
        informers
            .cache::<Namespace>()
            .subscribe(move |delta| drop(namespaces.send(Event::Namespace(delta.clone()))));
        let (services, selectors) = (outbox.clone(), outbox.clone());
        informers
            .cache::<Service>()
            .subscribe(move |delta| drop(services.send(Event::Service(delta.clone()))));
        controllers::subscribe(informers, move |uid, selector| {
            drop(selectors.send(Event::Controller(uid, selector)));
        });
        let budgets = outbox.clone();
        informers
            .cache::<PodDisruptionBudget>()
            .subscribe(move |delta| drop(budgets.send(Event::Budget(delta.clone()))));
        informers.cache::<Pod>().subscribe(move |delta| drop(pods.send(Event::Pod(delta.clone()))));
        let recorder = |profile: &Arc<Profile>| {
            let name = Arc::clone(&profile.scheduler_name);
            let recorder = Recorder::start(client.clone(), &name, None, Arc::clone(&clock), supervisor);
            (name, recorder)
        };
        let recorders = config.profiles.iter().map(recorder).collect();
        let storage = Storage::of(informers);
        storage.subscribe(
            {
                let outbox = outbox.clone();
                move |claim| drop(outbox.send(Event::Claim(claim)))
            },
            {
                let outbox = outbox.clone();
                move || drop(outbox.send(Event::Storage))
            },
        );
        let mut state = State::new(config, &metrics);
        state.store_in(storage);
        state.equip_from(equipment(informers, &outbox));
        Self {
            state,
            client,
            clock,
            recorders,
            inbox,
            outbox,
            writes: JoinSet::new(),
            waits: JoinSet::new(),
            metrics,
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
        let (storage, devices) = (self.state.nodes.storage.clone(), self.state.nodes.devices.clone());
        let (budgets, services) =
            (self.informers.cache::<PodDisruptionBudget>(), self.informers.cache::<Service>());
        let synced = async {
            tokio::join!(
                pods.wait_synced(),
                nodes.wait_synced(),
                namespaces.wait_synced(),
                budgets.wait_synced(),
                services.wait_synced(),
                controllers::wait_synced(&self.informers),
                storage.wait_synced(),
                devices.wait_synced()
            );
        };
        tokio::select! {
            () = synced => {}
            () = shutdown.started() => return,
        }
        // Whom pods are spread among is found when they are read: what says so is learnt first.
        let known: Vec<Event> = std::iter::from_fn(|| self.inbox.try_recv().ok()).collect();
        let (first, rest): (Vec<Event>, Vec<Event>) =
            known.into_iter().partition(|event| matches!(event, Event::Service(_) | Event::Controller(..)));
        first.into_iter().chain(rest).for_each(|event| self.learn(event));
        loop {
            while let Ok(event) = self.inbox.try_recv() {
                self.learn(event);
            }
            self.metrics.show(self.state.sizes(), |queue| self.state.waiting(queue));
            let started = Instant::now();
            if self.writes.len() < BINDINGS
                && let Some(round) = self.state.round(base::random::below(u64::MAX), started)
            {
                self.metrics.decided(started.elapsed());
                self.carry_out(round, started);
                // Other tasks of this thread get their turn between two decisions.
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.state.queue().next_due();
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
                Some(ended) = self.waits.join_next(), if !self.waits.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a binding that waited for volumes panicked");
                    }
                }
                () = until(due) => {}
                () = shutdown.started() => return,
            }
        }
    }

    fn learn(&mut self, event: Event) {
        let now = Instant::now();
        let state = &mut self.state;
        match event {
            Event::Pod(Delta::Applied { new, .. }) => state.pod_changed(&new, now),
            Event::Pod(Delta::Deleted(old)) => state.pod_gone(&old.uid, now),
            Event::Node(Delta::Applied { new, .. }) => {
                if let Some(node) = outline::of(&new) {
                    state.node_changed(&node, now);
                }
            }
            Event::Node(Delta::Deleted(old)) => state.node_gone(old.name(), now),
            Event::Namespace(Delta::Applied { new, .. }) => {
                let labels = new.labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
                state.namespace_changed(new.name(), Some(labels.collect()), now);
            }
            Event::Namespace(Delta::Deleted(old)) => state.namespace_changed(old.name(), None, now),
            Event::Budget(Delta::Applied { new, .. }) => {
                state.budget_changed(&new.key, new.typed().map(|budget| &**budget));
            }
            Event::Budget(Delta::Deleted(old)) => state.budget_changed(&old.key, None),
            Event::Service(Delta::Applied { new, .. }) => {
                let selector = new.typed().and_then(|service| service.spec.as_ref()?.selector.clone());
                state.siblings.service_changed(&new.key, selector);
            }
            Event::Service(Delta::Deleted(old)) => state.siblings.service_changed(&old.key, None),
            Event::Controller(uid, Some(selector)) => state.siblings.controller_changed(&uid, selector),
            Event::Controller(uid, None) => state.siblings.controller_gone(&uid),
            Event::NotPreempted(pod) => state.not_preempted(&pod, now),
            Event::Claim(claim) => state.claim_changed(&claim, now),
            Event::Storage => state.storage_changed(now),
            Event::DeviceClaim(claim, freed) => state.device_claim_changed(&claim, freed, now),
            Event::Devices => state.devices_changed(now),
            Event::Bound(attempt, _, choices, Ok(())) => {
                state.settled(&choices);
                state.bound(&attempt);
            }
            Event::Bound(attempt, node, choices, Err(why)) => {
                state.settled(&choices);
                let pod = &attempt.pod.key;
                let present = self.informers.cache::<Pod>().find(pod);
                let still_there = present.as_ref().is_some_and(|present| present.uid == attempt.pod.uid);
                if still_there && !why.namespace_goes {
                    tracing::warn!(%pod, %node, why = why.message, "binding failed");
                } else {
                    tracing::debug!(%pod, %node, why = why.message, "the pod went while it was bound");
                }
                state.not_bound(*attempt, present.as_ref(), now);
            }
        }
    }

    /// The recorder under the name of the pod's profile.
    fn recorder(&self, pod: &PodInfo) -> Option<&Recorder> {
        self.recorders.get(&pod.profile().scheduler_name)
    }

    fn carry_out(&mut self, round: Round, started: Instant) {
        let (metrics, profile) = (self.metrics.clone(), Arc::clone(round.pod().profile()));
        let (name, patience) = (Arc::clone(&profile.scheduler_name), profile.bind_timeout);
        let ended = move |outcome| metrics.attempted(&name, outcome, started.elapsed());
        match round {
            Round::Bind(attempt, node, choices) => {
                let metrics = self.metrics.clone();
                let waits = !choices.is_empty();
                let caches = Caches {
                    volume_claims: self.informers.cache(),
                    device_claims: self.state.nodes.devices.claims().clone(),
                };
                let span = tracing::debug_span!("bind", pod = %attempt.pod.key, %node);
                let (client, outbox) = (self.client.clone(), self.outbox.clone());
                let recorder = self.recorder(&attempt.pod).cloned();
                let bound = async move {
                    let result = bind_whole(&client, &caches, &attempt.pod, &node, &choices, patience).await;
                    ended(if result.is_ok() { Outcome::Scheduled } else { Outcome::Error });
                    if result.is_ok() {
                        metrics.placed(attempt.attempts + 1, attempt.first.elapsed());
                        let Key { namespace, name } = &attempt.pod.key;
                        let message = format!("Successfully assigned {namespace}/{name} to {node}");
                        record(
                            recorder.as_ref(),
                            &attempt.pod.reference(),
                            EventType::Normal,
                            "Scheduled",
                            message,
                        );
                    } else if let Err(why) = &result
                        && why.is_of_claims
                    {
                        let (about, message) = (attempt.pod.reference(), why.message.clone());
                        record(recorder.as_ref(), &about, EventType::Warning, "FailedScheduling", message);
                    }
                    drop(outbox.send(Event::Bound(Box::new(attempt), node, choices, result)));
                };
                // Volumes may take minutes: bindings that wait for them take nobody's place.
                let tasks = if waits { &mut self.waits } else { &mut self.writes };
                tasks.spawn(bound.instrument(span));
            }
            Round::Unschedulable(pod, waits) => {
                ended(Outcome::Unschedulable);
                self.metrics.preempted(0);
                self.explain(&pod, &waits);
                if let Some(claim) = waits.deallocate {
                    let (client, uid) = (self.client.clone(), Arc::clone(&pod.uid));
                    self.writes.spawn(async move { devices::deallocate(&client, &claim, &uid).await });
                }
            }
            Round::Preempt(pod, waits, preemption) => {
                ended(Outcome::Unschedulable);
                self.metrics.preempted(preemption.victims.len());
                self.explain(&pod, &waits);
                self.preempt(pod, preemption);
            }
            Round::Panicked(pod) => {
                ended(Outcome::Error);
                tracing::error!(pod = %pod.key, "a decision panicked and will be tried again");
            }
        }
    }

    /// Records why a pod has no node, and starts a write of the condition that states so and of the node on which room
    /// is kept, unless the pod's newest state has them.
    fn explain(&mut self, pod: &PodInfo, waits: &Waits) {
        let message = &waits.message;
        let recorder = self.recorder(pod);
        record(recorder, &pod.reference(), EventType::Warning, "FailedScheduling", message.clone());
        let newest = self.informers.cache::<Pod>().get(&pod.key.namespace, &pod.key.name);
        let Some(newest) = newest.filter(|newest| newest.metadata.uid.as_deref() == Some(&*pod.uid)) else {
            return;
        };
        let told =
            newest.status.as_ref().and_then(|status| status.nominated_node_name.as_deref()).unwrap_or("");
        let nominated = waits.nominated.as_deref().unwrap_or("");
        let mut status = serde_json::Map::new();
        if let Some(condition) = condition::unschedulable(&newest, message, self.clock.now()) {
            status.insert("conditions".to_owned(), json!([condition]));
        }
        if told != nominated {
            let nominated = waits.nominated.as_deref().map_or(serde_json::Value::Null, Into::into);
            status.insert("nominatedNodeName".to_owned(), nominated);
        }
        if !status.is_empty() {
            let (client, pod) = (self.client.clone(), pod.clone());
            self.writes.spawn(async move { tell(&client, &pod, status.into()).await });
        }
    }

    /// Starts telling the pods to go that are in the way of a more important one.
    fn preempt(&mut self, pod: PodInfo, preemption: Preemption) {
        let (client, outbox) = (self.client.clone(), self.outbox.clone());
        let recorder = self.recorder(&pod).cloned();
        let (now, scheduler) = (self.clock.now(), Arc::clone(&pod.profile().scheduler_name));
        self.writes.spawn(async move {
            let Preemption { node, victims, .. } = preemption;
            for victim in victims.iter().filter(|victim| !victim.is_going) {
                if let Err(error) = evict(&client, victim, &scheduler, now).await {
                    tracing::warn!(pod = %pod.key, victim = %victim.key, %error, "a pod could not be preempted");
                    drop(outbox.send(Event::NotPreempted(pod)));
                    return;
                }
                let message = format!("Preempted by pod {} on node {node}", pod.uid);
                record(recorder.as_ref(), &victim.reference(), EventType::Normal, "Preempted", message);
            }
        });
    }
}

/// The cluster's claims of devices and devices, whose changes are told.
fn equipment(informers: &Informers, outbox: &mpsc::UnboundedSender<Event>) -> Devices {
    let devices = Devices::of(informers);
    let (claims, others) = (outbox.clone(), outbox.clone());
    devices.subscribe(
        move |claim, freed| drop(claims.send(Event::DeviceClaim(claim, freed))),
        move || drop(others.send(Event::Devices)),
    );
    devices
}

/// Records an Event. There is a recorder for each profile.
fn record(
    recorder: Option<&Recorder>,
    about: &ObjectReference,
    event_type: EventType,
    reason: &str,
    message: String,
) {
    match recorder {
        Some(recorder) => recorder.event(about, event_type, reason, message),
        None => tracing::error!(reason, message, "an event of a profile that is not there"),
    }
}

/// Says on a pod why it goes, and deletes it. One that is gone already is no failure.
async fn evict(
    client: &Client,
    victim: &Victim,
    scheduler: &str,
    now: jiff::Timestamp,
) -> Result<(), kube::Error> {
    let api = kube::Api::<Pod>::namespaced(client.clone(), &victim.key.namespace);
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
        "message": format!("{scheduler}: preempting to accommodate a higher priority pod"),
        "lastTransitionTime": Time(now), "observedGeneration": victim.generation,
    });
    let patch = json!({"metadata": {"uid": &*victim.uid}, "status": {"conditions": [condition]}});
    let told = api.patch_status(&victim.key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
    let uid = Some(victim.uid.to_string());
    let only_this = DeleteParams {
        preconditions: Some(Preconditions { uid, resource_version: None }),
        ..DeleteParams::default()
    };
    let gone = match told {
        Ok(_) => api.delete(&victim.key.name, &only_this).await.map(|_| ()),
        Err(error) => Err(error),
    };
    match gone {
        // Another pod of the name is not this one.
        Err(error) if client::is_not_found(&error) || client::is_conflict(&error) => Ok(()),
        done => done,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Writes into the pod's status why and for what the pod waits.
async fn tell(client: &Client, pod: &PodInfo, status: serde_json::Value) {
    let api = kube::Api::<Pod>::namespaced(client.clone(), &pod.key.namespace);
    let patch = json!({"metadata": {"uid": &*pod.uid}, "status": status});
    let result = api.patch_status(&pod.key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
    if let Err(error) = result
        && !client::is_not_found(&error)
    {
        tracing::warn!(pod = %pod.key, %error, "why the pod waits could not be written");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pod(name: &str, node: Option<&str>) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "ns", "uid": name},
            "spec": {"schedulerName": "default-scheduler", "nodeName": node, "containers": []},
        }))
        .expect("a pod")
    }

    /// One whose API server is out of reach.
    fn scheduler() -> (Scheduler, Supervisor, informer::Cache<Pod>) {
        let nowhere = kube::Config::new("http://127.0.0.1:1".parse().expect("a URI"));
        let client = Client::try_from(nowhere).expect("a client");
        let supervisor = Supervisor::new(Shutdown::new());
        let informers = Informers::new(client.clone(), supervisor.clone());
        let pods = informers.cache::<Pod>();
        let clock = Arc::new(base::SystemClock);
        let scheduler = Scheduler::build(
            &Configuration::default(),
            client,
            &informers,
            clock,
            &supervisor,
            Metrics::default(),
        );
        (scheduler, supervisor, pods)
    }

    fn learn_all(scheduler: &mut Scheduler) {
        while let Ok(event) = scheduler.inbox.try_recv() {
            scheduler.learn(event);
        }
    }

    #[tokio::test]
    async fn a_pod_whose_binding_failed_waits_only_if_it_still_needs_a_node() {
        let (mut scheduler, supervisor, pods) = scheduler();
        let node = json!({"metadata": {"name": "n"}});
        scheduler.state.nodes.set_node(&serde_json::from_value(node).expect("a node"));
        for name in ["waits", "went", "bound"] {
            pods.apply(pod(name, None));
        }
        learn_all(&mut scheduler);
        let now = Instant::now();
        let attempts: Vec<Attempt> = std::iter::from_fn(|| scheduler.state.queue.pop(now)).collect();
        assert_eq!(attempts.len(), 3);
        pods.objects().remove(&Key::new("ns", "went"));
        pods.apply(pod("bound", Some("n")));
        learn_all(&mut scheduler);
        for attempt in attempts {
            scheduler.learn(Event::Bound(
                Box::new(attempt),
                "n".into(),
                Chosen::default(),
                Err(Unbound::other("refused")),
            ));
        }
        let later = now + Duration::from_secs(60);
        let waiting: Vec<_> =
            std::iter::from_fn(|| scheduler.state.queue.pop(later)).map(|a| a.pod.uid.to_string()).collect();
        assert_eq!(waiting, ["waits"]);
        assert!(scheduler.state.nodes.remove_pod("bound").is_some(), "it is on its node");
        supervisor.shutdown().start();
    }

    #[tokio::test]
    async fn a_round_is_counted() {
        let (mut scheduler, supervisor, pods) = scheduler();
        pods.apply(pod("waits", None));
        learn_all(&mut scheduler);
        let started = Instant::now();
        let round = scheduler.state.round(0, started).expect("a pod waits");
        scheduler.carry_out(round, started);
        let count = |outcome| scheduler.metrics.count("default-scheduler", outcome);
        assert_eq!([Outcome::Unschedulable, Outcome::Scheduled].map(count), [1, 0]);
        supervisor.shutdown().start();
    }
}
