//! Attaches the volumes of drivers to the nodes of the pods that use them, and detaches them after.
//! Upstream: `pkg/controller/volume/attachdetach`.
//!
//! Start with [`decision`], which is pure: a VolumeAttachment is the wish, the driver's attacher fulfils it. [`node_list`] tells
//! nodes what is attached to them.

mod decision;
mod node_list;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use informer::{Cache, Cached, Controller, Delta, Index, Key, Plan, Round, Sources, Tally};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{CSIDriver, VolumeAttachment};
use pods::volumes;

use crate::node_view::node_view;
use crate::replicas::pod;
use crate::volumes::users_of;
use decision::{Attached, NodeState, Observed, Source, User};
pub use node_list::AttachedVolumesController;

/// What is remembered of a volume between two rounds.
#[derive(Default)]
struct Memory {
    /// Since when nobody on a node wants the volume that is attached to it.
    unwanted: BTreeMap<String, Timestamp>,
    /// What was told by events.
    told: Arc<BTreeSet<String>>,
}

/// See the module's documentation. Keys are volumes.
pub struct AttachDetachController {
    volumes: Cache<PersistentVolume>,
    nodes: Cache<Node>,
    drivers: Cache<CSIDriver>,
    /// Pods by the claims that they use.
    users: Index<Pod>,
    /// Attachments by their volume.
    attachments: Index<VolumeAttachment>,
    memory: Arc<Mutex<HashMap<String, Memory>>>,
}

/// Attachments by their volume.
fn by_volume(attachments: &Cache<VolumeAttachment>) -> Index<VolumeAttachment> {
    attachments.index("volume", |object, found| {
        if let Some(name) =
            object.typed().and_then(|object| object.spec.source.persistent_volume_name.clone())
        {
            found(&name);
        }
    })
}

/// Attachments by their node.
fn by_node(attachments: &Cache<VolumeAttachment>) -> Index<VolumeAttachment> {
    attachments.index("node", |object, found| {
        if let Some(object) = object.typed() {
            found(&object.spec.node_name);
        }
    })
}

/// The volume of an attachment, as a key.
fn volume_of(attachment: &Cached<VolumeAttachment>) -> Option<Key> {
    let name = attachment.typed()?.spec.source.persistent_volume_name.clone()?;
    Some(Key::new("", &name))
}

/// The volumes of a pod that has a node.
fn volumes_of(claims: &Cache<PersistentVolumeClaim>, delta: &Delta<Pod>) -> Vec<Key> {
    let mut keys = Vec::new();
    for state in std::iter::once(delta.object()).chain(delta.old()) {
        let facts = pod::facts(state);
        if facts.node_name.is_empty() {
            continue;
        }
        for used in &facts.claims {
            let claim = claims.get(state.namespace(), &used.name);
            let name = claim.as_deref().map(volumes::volume_name).unwrap_or_default().to_owned();
            if !name.is_empty() {
                keys.push(Key::new("", &name));
            }
        }
    }
    keys
}

impl Controller for AttachDetachController {
    const NAME: &'static str = "attachdetach-controller";
    const QUEUE: &'static str = "attachdetach";
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let pods: Cache<Pod> = sources.reads();
        let users = users_of(&pods);
        let claims: Cache<PersistentVolumeClaim> = sources.mapped(|delta: &Delta<PersistentVolumeClaim>| {
            let claim = delta.object().typed();
            let name = claim.map(|claim| volumes::volume_name(claim)).unwrap_or_default().to_owned();
            if name.is_empty() { Vec::new() } else { vec![Key::new("", &name)] }
        });
        sources.mapped(move |delta: &Delta<Pod>| volumes_of(&claims, delta));
        let attached: Cache<VolumeAttachment> =
            sources.mapped(|delta: &Delta<VolumeAttachment>| volume_of(delta.object()).into_iter().collect());
        let here = by_node(&attached);
        let nodes = sources.mapped(move |delta: &Delta<Node>| {
            here.get(delta.object().name()).iter().filter_map(volume_of).collect()
        });
        Self {
            volumes: sources.primary(),
            nodes,
            drivers: sources.reads(),
            users,
            attachments: by_volume(&attached),
            memory: Arc::default(),
        }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let name = round.key.name.to_string();
        let volume = self.volumes.get_key(round.key);
        let source = volume.as_deref().and_then(Source::of);
        let attachments: Vec<Attached> =
            self.attachments.get(&name).iter().filter_map(|held| Attached::of(held.typed()?)).collect();
        if attachments.is_empty() && source.is_none() {
            self.lock().remove(&name);
            return Ok(None);
        }
        let attach_required = source.as_ref().is_some_and(|source| {
            let driver = self.drivers.get("", &source.driver);
            driver.is_none_or(|driver| driver.spec.attach_required != Some(false))
        });
        let claim = volume.as_deref().and_then(volumes::claim_of);
        let claim = claim.and_then(|of| Some(Key::new(of.namespace.as_deref()?, of.name.as_deref()?)));
        let users: Vec<User> = match claim.filter(|_| attach_required) {
            Some(claim) => self.users_of(&claim),
            None => Vec::new(),
        };
        let mut seen = Observed { volume: name, source, users, attachments, ..Observed::default() };
        for node in seen.node_names() {
            if let Some(found) = self.nodes.find(&Key::new("", &node)) {
                let state = self.state(&found, &seen);
                seen.nodes.insert(node, state);
            }
        }
        self.remember(&mut seen, round.now);
        Ok(Some(seen))
    }

    fn reconcile(observed: &Observed, now: Timestamp) -> Plan {
        decision::decide(observed, now)
    }

    fn tally(&self, _: &Key, round: Option<(&Observed, &Plan)>) -> Option<Tally> {
        let (observed, _) = round?;
        let (memory, volume, told) = (self.memory.clone(), observed.volume.clone(), observed.notice_keys());
        Some(Box::new(move |is_done| {
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(held) = memory.get_mut(&volume).filter(|_| is_done) {
                held.told = Arc::new(told);
            }
        }))
    }
}

impl AttachDetachController {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pods with a node that use a claim and have not ended.
    fn users_of(&self, claim: &Key) -> Vec<User> {
        let pods = crate::volumes::users(&self.users, claim);
        let here = pods.into_iter().filter(|held| {
            let facts = pod::facts(held);
            !facts.node_name.is_empty() && !facts.is_terminal()
        });
        here.filter_map(|held| User::of(held.typed()?)).collect()
    }

    fn state(&self, node: &Cached<Node>, seen: &Observed) -> NodeState {
        let view = node_view(node);
        let used =
            node.typed().and_then(|node| node.status.as_ref()?.volumes_in_use.clone()).unwrap_or_default();
        NodeState {
            uses: used.iter().any(|name| seen.is_named(name, node.name())),
            is_ready: &*view.ready == "True",
            is_out_of_service: view.out_of_service,
        }
    }

    /// Notes since when attachments have been unwanted, and says what is known from before.
    fn remember(&self, seen: &mut Observed, now: Timestamp) {
        let unwanted = seen.unwanted_nodes();
        let mut memory = self.lock();
        let held = memory.entry(seen.volume.clone()).or_default();
        held.unwanted.retain(|node, _| unwanted.contains(node));
        for node in unwanted {
            held.unwanted.entry(node).or_insert(now);
        }
        seen.unwanted_since.clone_from(&held.unwanted);
        seen.told = held.told.clone();
    }
}

#[cfg(test)]
mod tests;
