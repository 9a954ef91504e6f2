//! Network policies: has the kernel drop what the cluster's NetworkPolicies do not let pass, on its way to and from the pods
//! of this node.
//!
//! Start with [`Policies`]: the agent, which follows policies, namespaces and pods and tells the kernel what has changed.
//! `policy` is what a NetworkPolicy says and `shape` what of it holds for a pod; `groups` are the pods that rules speak of,
//! `chains` the rules that pods share, `holders` who has an address; `state` puts these together, and `table` is how the
//! kernel has them and what happens to a packet. `desk` hears from the CNI plugin that a pod gets an address, and answers
//! once the kernel has the pod's rules: no packet is earlier. Everything but `kernel` and `desk` is pure.
//!
//! Never here: packets. The agent may end, and what it told the kernel stays in force.

mod calls;
mod chains;
mod changes;
mod desk;
mod groups;
mod holders;
mod interned;
mod kernel;
mod pod;
mod policy;
mod ranges;
mod shape;
mod state;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::Shutdown;
use base::backoff::Policy as Backoff;
use informer::{Cache, Key};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use tokio::net::UnixListener;
use tokio::sync::Notify;

use calls::Call;
use kernel::Kernel;

use crate::protocol::Protocol;
use crate::tables::Guard;

/// How long after a transaction that the kernel refused the next one is tried.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));

/// The settings of the agent.
#[derive(Debug)]
pub struct PoliciesConfig {
    /// The table's name.
    pub table: String,
    /// The node that this is.
    pub node: String,
    /// What the node answers itself on the addresses of Services, as if it were pods.
    pub answered: Vec<Answered>,
    /// Where the CNI plugin says which pod gets which address.
    pub socket: UnixListener,
}

/// An address of a Service that the node answers on, and the pod that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub address: Ipv4Addr,
    pub namespace: String,
    /// In the order of their keys.
    pub labels: Vec<(String, String)>,
    /// Names, protocols and numbers of the pod's ports.
    pub ports: Vec<(String, String, u16)>,
}

impl Answered {
    /// A name that no pod has.
    fn key(&self) -> Key {
        Key::new(&self.namespace, &format!("({})", self.address))
    }

    fn pod(&self) -> pod::Pod {
        let port = |(name, protocol, number): &(String, String, u16)| {
            let protocol = Protocol::named(Some(protocol))?;
            Some(pod::NamedPort { name: name.clone(), protocol, number: *number })
        };
        pod::Pod {
            uid: "".into(),
            labels: self.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            is_here: false,
            address: Some(self.address),
            ports: self.ports.iter().filter_map(port).collect(),
            seniority: pod::Seniority { stays: true, created: None },
        }
    }
}

/// The watches that the agent follows.
#[derive(Clone)]
pub struct PoliciesView {
    pub policies: Cache<NetworkPolicy>,
    pub namespaces: Cache<Namespace>,
    /// Of the whole cluster.
    pub pods: Cache<Pod>,
}

/// What is to be looked at again.
#[derive(Debug, Default)]
struct Dirty {
    news: Mutex<News>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct News {
    policies: BTreeSet<Key>,
    namespaces: BTreeSet<Key>,
    pods: BTreeSet<Key>,
    /// What the plugin says, until the pod is known.
    calls: Vec<Call>,
    /// What it has said, until the kernel has taken it.
    done: Vec<Call>,
}

impl Dirty {
    fn add(&self, add: impl FnOnce(&mut News)) {
        add(&mut self.news());
        self.wake.notify_one();
    }

    fn call(&self, call: Call) {
        self.add(|news| news.calls.push(call));
    }

    /// What is new, after what was left.
    fn take(&self, left: News) -> News {
        let mut news = std::mem::take(&mut *self.news());
        news.calls.extend(left.calls);
        // What the kernel did not take is said again.
        news.calls.extend(left.done);
        news
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The agent.
pub struct Policies {
    kernel: Kernel,
    view: PoliciesView,
    dirty: Arc<Dirty>,
    socket: UnixListener,
}

impl Policies {
    /// Follows the watches from now on; the kernel is told once [`Policies::run`] runs.
    pub fn new(config: PoliciesConfig, view: PoliciesView) -> Self {
        let dirty: Arc<Dirty> = Arc::default();
        let changed = dirty.clone();
        view.policies.subscribe(move |delta| {
            changed.add(|news| {
                news.policies.insert(delta.object().key.clone());
            });
        });
        let changed = dirty.clone();
        view.namespaces.subscribe(move |delta| {
            // Of a namespace only its labels count.
            if delta.old().map(|old| &old.labels) != Some(&delta.object().labels) {
                changed.add(|news| {
                    news.namespaces.insert(delta.object().key.clone());
                });
            }
        });
        let changed = dirty.clone();
        view.pods.subscribe(move |delta| {
            changed.add(|news| {
                news.pods.insert(delta.object().key.clone());
            });
        });
        let kernel = Kernel::new(config.table, config.node, config.answered, view.clone());
        Self { kernel, view, dirty, socket: config.socket }
    }

    /// Keeps the kernel's table until `shutdown` starts; the table stays.
    pub async fn run(self, shutdown: Shutdown) {
        let dirty = self.dirty.clone();
        let busy = Arc::new(tokio::sync::Mutex::new(()));
        let work = async {
            self.view.namespaces.wait_synced().await;
            self.view.policies.wait_synced().await;
            self.view.pods.wait_synced().await;
            follow(self.kernel, &self.dirty, &busy).await;
        };
        tokio::select! {
            () = work => {}
            () = desk::serve(self.socket, dirty) => {}
            () = shutdown.started() => {}
        }
        // A round that has begun comes to its end: two agents that correct one table would undo each other's work.
        drop(busy.lock().await);
    }
}

/// Tells the kernel all, and then what changes, until a round panics. `busy` is held by a round.
async fn follow(kernel: Kernel, dirty: &Dirty, busy: &Arc<tokio::sync::Mutex<()>>) {
    let mut kernel = Some(kernel);
    let mut guard = Guard::default();
    let mut failures = 0u32;
    let mut left = News::default();
    // Whether what the kernel has is to be looked at.
    let mut begins = true;
    while let Some(mut working) = kernel.take() {
        let mut news = dirty.take(std::mem::take(&mut left));
        // The kernel works in the caller's thread, for as long as a second where there is much.
        let held = busy.clone().lock_owned().await;
        let round = tokio::task::spawn_blocking(move || {
            let _held = held;
            let result = if begins { working.correct(&mut news) } else { working.update(&mut news) };
            (working, news, result)
        });
        let (working, mut news, result) = match round.await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "the agent of network policies stops");
                return;
            }
        };
        let waited = match result {
            Ok(()) => {
                std::mem::take(&mut news.done).into_iter().for_each(Call::answer);
                wait(&working, &mut guard, dirty).await
            }
            Err(error) => Err(error),
        };
        left = news;
        kernel = Some(working);
        match waited {
            Ok(is_touched) => (failures, begins) = (0, is_touched),
            Err(error) => {
                (failures, begins) = (failures.saturating_add(1), true);
                tracing::error!(%error, failures, "the kernel does not take the NetworkPolicies; trying again");
                tokio::time::sleep(BACKOFF.delay(failures)).await;
            }
        }
    }
}

/// Waits for news, and returns whether somebody else has changed the table.
async fn wait(kernel: &Kernel, guard: &mut Guard, dirty: &Dirty) -> io::Result<bool> {
    tokio::select! {
        () = dirty.wake.notified() => Ok(false),
        touched = guard.touched(kernel.line()) => {
            touched?;
            tracing::warn!("somebody has changed the NetworkPolicies' table; it is put right");
            Ok(true)
        }
    }
}
