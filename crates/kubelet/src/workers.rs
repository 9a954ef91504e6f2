//! All pods on this node: makes a worker for each pod, passes changes on to the workers, and returns which pods are
//! present.
//!
//! Start at [`Workers::deliver`]. Holds no decision about any pod.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use base::backoff::Policy;
use futures::FutureExt;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::Notify;

use crate::admission::{Admission, Place, Preemption};
use crate::allocation::{Allocation, PendingResize};
use crate::cri_view::Record;
use crate::node_facts::OwnNode;
use crate::origin::{is_static, mirrored_uid};
use crate::planner::{self, Eviction, Rejection};
use crate::pressure;
use crate::seams::{ContainerHandle, LookupError, PodDirectory};
use crate::worker::{Mailbox, PodNews, PodView, Refusal, Tools, Worker};
use roster::{Entry, Roster};

mod former;
mod roster;
#[cfg(test)]
mod tests;

pub use roster::is_taken_on;

/// How long a worker that panicked is left alone before another takes its pod.
const AFTER_FAULT: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(300));

/// The workers of this node. Cheap to clone.
#[derive(Clone)]
pub struct Workers {
    tools: Tools,
    inner: Arc<Mutex<Roster>>,
    /// Rung when nothing is left of a pod.
    retired: Arc<Notify>,
    /// Rung when a pod waits for the node's labels to be read.
    unsure: Arc<Notify>,
}

impl Workers {
    pub fn new(tools: Tools) -> Self {
        Self { tools, inner: Arc::default(), retired: Arc::default(), unsure: Arc::default() }
    }

    /// Passes news of a pod to its worker; makes one for a pod that has none, unless the pod has to wait for room.
    /// Never waits. Must be called within the async runtime.
    pub fn deliver(&self, news: PodNews) {
        let (PodNews::Current(pod) | PodNews::Gone(pod)) = &news;
        let Some(uid) = pod.metadata.uid.clone() else { return };
        let mut roster = self.lock();
        while roster.tasks.try_join_next().is_some() {}
        if roster.by_uid.contains_key(&uid) {
            self.update(&mut roster, &uid, news);
            return;
        }
        if self.tools.shutdown.is_started() {
            return;
        }
        match (news, roster.held_at(&uid)) {
            (PodNews::Current(pod), Some(at)) => roster.held[at].pod = pod,
            (PodNews::Current(pod), None) => roster.hold(pod),
            (PodNews::Gone(_), Some(at)) => {
                roster.held.remove(at);
                self.retired.notify_one();
            }
            (news @ PodNews::Gone(_), None) => self.begin(&mut roster, uid, news, None),
        }
        self.admit_held(&mut roster);
    }

    /// Passes news on to the worker of a pod; the worker sees the pod with what the node has granted.
    fn update(&self, roster: &mut Roster, uid: &str, news: PodNews) {
        let has_resized = match &news {
            PodNews::Current(pod) => roster.resize(uid, pod, &self.tools.facts.allocatable()),
            PodNews::Gone(_) => false,
        };
        let Some(entry) = roster.by_uid.get_mut(uid) else { return };
        let (pod, gone) = news.into_parts();
        let pod = entry.allocation.granted(pod);
        entry.gone |= gone;
        entry.mailbox.resize(pending_of(entry));
        entry.mailbox.put(if gone { PodNews::Gone(pod) } else { PodNews::Current(pod) });
        if has_resized {
            // It may have given room up.
            self.resize_waiting(roster);
        }
    }

    /// Grants those that wait for other resources what they ask for, where it can be had by now.
    fn resize_waiting(&self, roster: &mut Roster) {
        for (uid, pod) in roster.waiting_to_resize() {
            let granted = roster.resize(&uid, &pod, &self.tools.facts.allocatable());
            let Some(entry) = roster.by_uid.get(&uid) else { continue };
            entry.mailbox.resize(pending_of(entry));
            if granted {
                entry.mailbox.put(PodNews::Current(pod));
            }
        }
    }

    /// Takes on or refuses those that wait, as soon as it can be told which; those before a pod come first.
    fn admit_held(&self, roster: &mut Roster) {
        let (allocatable, node) = (self.tools.facts.allocatable(), self.tools.facts.own());
        let place = Place { node: &node, allocatable: &allocatable };
        let mut at = 0;
        while let Some(held) = roster.held.get(at) {
            let (pod, is_sure) = (held.pod.clone(), held.is_sure);
            let answer = match self.short_of(&pod) {
                Some(why) => Admission::Refused(why),
                None => roster.admit(&pod, at, place),
            };
            let refusal = match answer {
                Admission::Waits => {
                    at += 1;
                    continue;
                }
                Admission::Misplaced(_) if !is_sure => {
                    self.unsure.notify_one();
                    at += 1;
                    continue;
                }
                Admission::Preempts(preemption) => {
                    self.preempt(roster, &pod, &preemption);
                    continue;
                }
                Admission::TakenOn => None,
                Admission::Misplaced(why) | Admission::Refused(why) => Some(roster.refuse(why)),
            };
            roster.held.remove(at);
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            self.begin(roster, uid, PodNews::Current(pod), refusal);
        }
        if at > 0 {
            tracing::debug!(
                pods = at,
                "pods wait for the room of those that are leaving, or for the node's labels"
            );
        }
    }

    /// Has pods give way to a critical one, which waits for their room from now on.
    fn preempt(&self, roster: &mut Roster, pod: &Pod, preemption: &Preemption) {
        for victim in &preemption.victims {
            let uid = victim.metadata.uid.as_deref().unwrap_or_default();
            let Some(entry) = roster.by_uid.get_mut(uid) else { continue };
            tracing::warn!(
                pod = victim.metadata.name,
                namespace = victim.metadata.namespace,
                critical = pod.metadata.name,
                resource = preemption.resource,
                "a pod gives way to a critical one"
            );
            entry.gives_way = true;
            tell_to_end(entry, Eviction::preemption());
            self.tools.metrics.preempted(&preemption.resource);
        }
    }

    /// Reads the node's object whenever a pod asks for labels that the node was not known to have: they may have been
    /// given to it just before. Never ends.
    pub async fn make_sure(&self) {
        loop {
            self.unsure.notified().await;
            let waiting: Vec<String> = {
                let roster = self.lock();
                roster.held.iter().filter_map(|held| held.pod.metadata.uid.clone()).collect()
            };
            let name = self.tools.facts.own().name.clone();
            match self.tools.executor.api.node(&name).await {
                Ok(node) => self.tools.facts.set_own(OwnNode::of(&node)),
                // As upstream: what is known counts then.
                Err(error) => tracing::warn!(%error, "the node's labels cannot be read anew"),
            }
            let mut roster = self.lock();
            for uid in waiting {
                if let Some(at) = roster.held_at(&uid) {
                    roster.held[at].is_sure = true;
                }
            }
            self.admit_held(&mut roster);
        }
    }

    /// Why a new pod is not taken on while the node is short of something.
    fn short_of(&self, pod: &Pod) -> Option<Rejection> {
        if is_taken_on(pod) || pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let message = pressure::refusal(pod, &self.tools.facts.pressure())?;
        Some(Rejection { reason: "Evicted".to_owned(), message })
    }

    fn begin(&self, roster: &mut Roster, uid: String, news: PodNews, refusal: Option<Refusal>) {
        let (asked, gone) = news.into_parts();
        // The node took it on before: it has what its status says, until all pods of the node are known again.
        let allocation =
            if is_taken_on(&asked) { Allocation::reported(&asked) } else { Allocation::asked(&asked) };
        let pod = allocation.granted(asked.clone());
        let pending = (!gone && !allocation.is_asked_by(&asked)).then(|| (asked.clone(), reported(&asked)));
        let first =
            PodView { holds_nothing: pods::is_terminal(&pod), pod: pod.clone(), ..PodView::default() };
        let (mailbox, view) = (Arc::new(Mailbox::default()), Arc::new(ArcSwap::from_pointee(first)));
        let entry = Entry {
            mailbox: mailbox.clone(),
            view: view.clone(),
            refused: refusal.is_some(),
            gone,
            allocation,
            pending,
            evicted_within_s: None,
            gives_way: false,
        };
        if let Some((_, pending)) = &entry.pending {
            mailbox.resize(Some(pending.clone()));
            self.tools.freed.notify_one();
        }
        let news = if gone { PodNews::Gone(pod) } else { PodNews::Current(pod) };
        roster.by_uid.insert(uid.clone(), entry);
        let former = roster.former.take(&uid, self.tools.executor.clock.now());
        let worker = Worker::new(self.tools.clone(), mailbox.clone(), view.clone(), news, refusal);
        let worker = worker.going_on_from(former);
        roster.tasks.spawn(self.clone().keep_working(uid, worker, mailbox, view));
    }

    /// Looks after the pods that wait for room, whenever some becomes free. Never ends.
    pub async fn fill_freed_room(&self) {
        loop {
            self.tools.freed.notified().await;
            let mut roster = self.lock();
            self.admit_held(&mut roster);
            self.resize_waiting(&mut roster);
        }
    }

    /// Runs a worker until nothing is left of its pod. One that panics is replaced, which finds in the runtime how
    /// things stand: a fault met by one pod must not leave it without anybody.
    async fn keep_working(
        self,
        uid: String,
        mut worker: Worker,
        mailbox: Arc<Mailbox>,
        view: Arc<ArcSwap<PodView>>,
    ) {
        let refusal = worker.refusal();
        let mut faults = 0;
        loop {
            match AssertUnwindSafe(worker.run()).catch_unwind().await {
                Ok(true) if !self.retire(&uid, &mailbox) => {}
                Ok(_) => return,
                Err(_) => {
                    faults += 1;
                    tracing::error!(uid, faults, "a pod's worker panicked and begins anew");
                    tokio::time::sleep(AFTER_FAULT.delay(faults)).await;
                    let pod = view.load().pod.clone();
                    let gone = self.lock().by_uid.get_mut(&uid).is_some_and(|entry| {
                        mailbox.resize(pending_of(entry));
                        // The new worker knows of no eviction.
                        entry.evicted_within_s = None;
                        entry.gives_way = false;
                        entry.gone
                    });
                    let news = if gone { PodNews::Gone(pod) } else { PodNews::Current(pod) };
                    let refusal = refusal.clone();
                    worker = Worker::new(self.tools.clone(), mailbox.clone(), view.clone(), news, refusal);
                }
            }
        }
    }

    /// Takes a worker off the list unless news came in its last moment.
    fn retire(&self, uid: &str, mailbox: &Arc<Mailbox>) -> bool {
        let mut inner = self.lock();
        if !mailbox.is_empty() && !self.tools.shutdown.is_started() {
            return false;
        }
        if let Some(entry) = inner.by_uid.remove(uid) {
            let view = entry.view.load();
            if is_static(&view.pod) {
                let attempts = view.runtime.newest.clone();
                inner.former.gone(uid, attempts, self.tools.executor.clock.now());
            }
        }
        self.retired.notify_one();
        true
    }

    /// Tells the worker of one pod that the runtime's state changed; false if the pod has no worker.
    pub fn runtime_changed(&self, uid: &str) -> bool {
        let inner = self.lock();
        let entry = inner.by_uid.get(uid);
        if let Some(entry) = entry {
            entry.mailbox.runtime_changed();
        }
        entry.is_some()
    }

    /// Tells the worker of a static pod about the object by which the API shows the pod. What an object of another name
    /// says of itself counts for nothing.
    pub fn mirrored(&self, mirror: &Arc<Pod>) {
        let Some(uid) = mirrored_uid(mirror) else { return };
        let roster = self.lock();
        let Some(entry) = roster.by_uid.get(uid) else { return };
        let (shown, pod) = (&mirror.metadata, entry.view.load());
        if (&shown.namespace, &shown.name) == (&pod.pod.metadata.namespace, &pod.pod.metadata.name) {
            entry.mailbox.mirror(mirror.clone());
        }
    }

    /// Waits until nothing is left of some pod; for one caller. Cancellation safe.
    pub async fn retired(&self) {
        self.retired.notified().await;
    }

    /// The pods that the node has taken on and that have not ended.
    pub fn active(&self) -> Vec<Arc<Pod>> {
        let roster = self.lock();
        let here = roster.by_uid.values().filter(|entry| !entry.refused && !entry.gone);
        let views = here.map(|entry| entry.view.load());
        views.filter(|view| !view.holds_nothing).map(|view| view.pod.clone()).collect()
    }

    /// Whether something of the pod may still run here.
    pub fn holds(&self, uid: &str) -> bool {
        self.lock().by_uid.get(uid).is_some_and(|entry| !entry.view.load().holds_nothing)
    }

    /// Ends a pod for the node's sake; it becomes `Failed` with this reason. One that is ending already ends within the
    /// shorter grace.
    pub fn evict(&self, uid: &str, why: impl Into<Eviction>) {
        if let Some(entry) = self.lock().by_uid.get_mut(uid) {
            tell_to_end(entry, why.into());
        }
    }

    /// How long a pod that was told to end, by the API or for the node's sake, may take, in seconds; `None` for one that
    /// was not told.
    pub fn ending_within_s(&self, uid: &str) -> Option<i64> {
        let roster = self.lock();
        let entry = roster.by_uid.get(uid)?;
        let deleted = planner::deletion_grace_s(&entry.view.load().pod);
        deleted.into_iter().chain(entry.evicted_within_s).min()
    }

    /// Tells every worker that the runtime's state may have changed.
    pub fn all_changed(&self) {
        for entry in self.lock().by_uid.values() {
            entry.mailbox.runtime_changed();
        }
    }

    /// Whether the pod has a worker, or waits for room.
    pub fn knows(&self, uid: &str) -> bool {
        let roster = self.lock();
        roster.by_uid.contains_key(uid) || roster.held_at(uid).is_some()
    }

    /// Waits until every worker has ended. To be called after shutdown has started.
    pub async fn drain(&self) {
        let mut tasks = std::mem::take(&mut self.lock().tasks);
        while tasks.join_next().await.is_some() {}
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Roster> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The newest pod of this name; an older one of the same name may still be ending.
    fn view(&self, namespace: &str, name: &str) -> Result<Arc<PodView>, LookupError> {
        let views: Vec<_> = self.lock().by_uid.values().map(|e| e.view.load_full()).collect();
        let named = views.into_iter().filter(|v| {
            v.pod.metadata.name.as_deref() == Some(name)
                && v.pod.metadata.namespace.as_deref() == Some(namespace)
        });
        named
            .max_by_key(|v| v.pod.metadata.creation_timestamp.as_ref().map(|t| t.0))
            .ok_or_else(|| LookupError::NoPod(name.to_owned()))
    }
}

impl PodDirectory for Workers {
    fn pods(&self) -> Vec<Arc<Pod>> {
        let (views, held) = {
            let roster = self.lock();
            let views: Vec<_> = roster.by_uid.values().map(|e| e.view.load_full()).collect();
            (views, roster.held.iter().map(|held| held.pod.clone()).collect::<Vec<_>>())
        };
        let with_status = |view: Arc<PodView>| {
            let mut pod = Pod::clone(&view.pod);
            pod.status = Some(view.status.as_ref().clone());
            Arc::new(pod)
        };
        views.into_iter().map(with_status).chain(held).collect()
    }

    fn container(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        previous: bool,
    ) -> Result<ContainerHandle, LookupError> {
        let view = self.view(namespace, pod)?;
        let names = || (pod.to_owned(), container.to_owned());
        let Some(latest) = view.runtime.latest(container) else {
            let (pod, container) = names();
            return Err(match waiting_reason(&view, &container) {
                Some(reason) => LookupError::Waiting { pod, container, reason },
                None => LookupError::NoContainer { pod, container },
            });
        };
        let record = if previous { view.runtime.before(latest) } else { Some(latest) };
        record.map(handle).ok_or_else(|| {
            let (pod, container) = names();
            LookupError::NoPrevious { pod, container }
        })
    }

    fn sandbox(&self, namespace: &str, pod: &str) -> Result<String, LookupError> {
        let view = self.view(namespace, pod)?;
        let ready = view.runtime.sandboxes.iter().find(|s| s.ready);
        ready.map(|s| s.id.clone()).ok_or_else(|| LookupError::NoSandbox(pod.to_owned()))
    }
}

fn tell_to_end(entry: &mut Entry, why: Eviction) {
    let grace_s = why.grace_of(&entry.view.load().pod);
    entry.evicted_within_s = Some(entry.evicted_within_s.map_or(grace_s, |told| told.min(grace_s)));
    entry.mailbox.evict(why);
}

fn pending_of(entry: &Entry) -> Option<PendingResize> {
    entry.pending.as_ref().map(|(_, why)| why.clone())
}

/// Why a pod waits for other resources, as its status says; for want of that, because it was not looked at yet.
fn reported(pod: &Pod) -> PendingResize {
    let said = pods::condition(pod, "PodResizePending");
    PendingResize {
        infeasible: said.is_some_and(|said| said.reason.as_deref() == Some("Infeasible")),
        message: said.and_then(|said| said.message.clone()).unwrap_or_default(),
        asked: Allocation::asked(pod),
    }
}

fn handle(record: &Record) -> ContainerHandle {
    ContainerHandle {
        id: record.id.clone(),
        running: record.is_running(),
        log_path: PathBuf::from(&record.log_path),
    }
}

/// Why a container that belongs to the pod is not there yet.
fn waiting_reason(view: &PodView, container: &str) -> Option<String> {
    let lists = [
        &view.status.container_statuses,
        &view.status.init_container_statuses,
        &view.status.ephemeral_container_statuses,
    ];
    let status = lists.into_iter().flatten().flatten().find(|s| s.name == container)?;
    let waiting = status.state.as_ref().and_then(|s| s.waiting.as_ref());
    Some(waiting.and_then(|w| w.reason.clone()).unwrap_or_default())
}
