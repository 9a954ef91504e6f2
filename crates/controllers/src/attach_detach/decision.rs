//! Which attachments of a volume are made and which are taken away. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::EventType;
use informer::{Action, DeletePolicy, Plan};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, Pod};
use k8s_openapi::api::storage::v1::{VolumeAttachment, VolumeAttachmentSource, VolumeAttachmentSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pods::volumes::attachment;

use crate::target::{dynamic, target};

/// How long a node that is not well may keep a volume that nobody wants there (upstream's
/// `ReconcilerMaxWaitForUnmountDuration`).
const MAX_WAIT_FOR_UNMOUNT: SignedDuration = SignedDuration::from_mins(6);

/// The driver's side of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub driver: String,
    pub handle: String,
    pub is_exclusive: bool,
}

impl Source {
    pub fn of(volume: &PersistentVolume) -> Option<Self> {
        let (driver, handle) = attachment::driver_of(volume)?;
        let is_exclusive = attachment::is_exclusive(volume);
        Some(Self { driver: driver.to_owned(), handle: handle.to_owned(), is_exclusive })
    }

    pub fn unique_name(&self) -> String {
        attachment::unique_name(&self.driver, &self.handle)
    }
}

/// A pod that wants the volume on its node.
#[derive(Debug, Clone)]
pub struct User {
    pub node: String,
    pub about: ObjectReference,
    /// It has not begun to run.
    pub is_pending: bool,
}

impl User {
    pub fn of(pod: &Pod) -> Option<Self> {
        Some(Self {
            node: pod.spec.as_ref()?.node_name.clone()?,
            about: client::reference(pod),
            is_pending: pod.status.as_ref().and_then(|s| s.phase.as_deref()).is_none_or(|p| p == "Pending"),
        })
    }

    fn name(&self) -> &str {
        self.about.name.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.about.uid.as_deref().unwrap_or_default()
    }
}

/// A VolumeAttachment of the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    pub name: String,
    pub uid: String,
    pub driver: String,
    pub node: String,
    pub is_attached: bool,
    pub error: Option<String>,
    pub is_going: bool,
}

impl Attached {
    pub fn of(object: &VolumeAttachment) -> Option<Self> {
        let status = object.status.clone().unwrap_or_default();
        Some(Self {
            name: object.metadata.name.clone()?,
            uid: object.metadata.uid.clone().unwrap_or_default(),
            driver: object.spec.attacher.clone(),
            node: object.spec.node_name.clone(),
            is_attached: status.attached,
            error: status.attach_error.map(|error| error.message.unwrap_or_default()),
            is_going: object.metadata.deletion_timestamp.is_some(),
        })
    }
}

/// What matters of a node that there is.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeState {
    /// Whether the node says that it uses the volume.
    pub uses: bool,
    pub is_ready: bool,
    pub is_out_of_service: bool,
}

/// Everything that is decided by.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    pub volume: String,
    /// `None` of a volume that is gone, or is no driver's.
    pub source: Option<Source>,
    /// Nobody where the driver does not attach volumes.
    pub users: Vec<User>,
    pub attachments: Vec<Attached>,
    pub nodes: BTreeMap<String, NodeState>,
    pub unwanted_since: BTreeMap<String, Timestamp>,
    pub told: Arc<BTreeSet<String>>,
}

/// An event that is told once.
struct Notice {
    key: String,
    about: ObjectReference,
    event_type: EventType,
    reason: &'static str,
    message: String,
}

impl Observed {
    /// The nodes that must be known.
    pub fn node_names(&self) -> BTreeSet<String> {
        let of_users = self.users.iter().map(|user| user.node.clone());
        of_users.chain(self.attachments.iter().map(|attached| attached.node.clone())).collect()
    }

    /// The attachments that are this controller's: by their names. Of a volume that is gone by the look of the name.
    fn own(&self) -> impl Iterator<Item = &Attached> {
        self.attachments.iter().filter(|attached| match &self.source {
            Some(source) => {
                attached.name == attachment::object_name(&source.driver, &source.handle, &attached.node)
            }
            None => attached.name.starts_with("csi-"),
        })
    }

    /// Whether a node calls the volume so among those that it uses; of a volume that is gone by its attachment's name.
    pub fn is_named(&self, in_use: &str, node: &str) -> bool {
        if let Some(source) = &self.source {
            return source.unique_name() == in_use;
        }
        let Some((driver, handle)) = attachment::of_unique_name(in_use) else { return false };
        let name = attachment::object_name(driver, handle, node);
        self.attachments.iter().any(|attached| attached.node == node && attached.name == name)
    }

    fn on(&self, node: &str) -> Option<&Attached> {
        self.own().find(|attached| attached.node == node)
    }

    /// The nodes whose pods want the volume, also where the node's object is gone: its pods may run on.
    fn wanted(&self) -> BTreeSet<&str> {
        self.users.iter().map(|user| user.node.as_str()).collect()
    }

    /// The nodes that have the volume though nobody there wants it.
    pub fn unwanted_nodes(&self) -> BTreeSet<String> {
        let wanted = self.wanted();
        let unwanted = self.own().filter(|attached| !wanted.contains(attached.node.as_str()));
        unwanted.map(|attached| attached.node.clone()).collect()
    }

    /// The keys of the events that are due now, told or not.
    pub fn notice_keys(&self) -> BTreeSet<String> {
        self.notices().into_iter().map(|notice| notice.key).collect()
    }

    fn notices(&self) -> Vec<Notice> {
        let mut notices = Vec::new();
        for user in &self.users {
            let volume = &self.volume;
            let (event_type, reason, key, message) = match self.on(&user.node) {
                Some(attached) if attached.is_attached && user.is_pending => (
                    EventType::Normal,
                    "SuccessfulAttachVolume",
                    format!("attached {} {}", attached.uid, user.uid()),
                    format!("AttachVolume.Attach succeeded for volume \"{volume}\" "),
                ),
                Some(Attached { error: Some(error), is_attached: false, uid, .. }) => (
                    EventType::Warning,
                    "FailedAttachVolume",
                    format!("failed {uid} {} {error}", user.uid()),
                    format!("AttachVolume.Attach failed for volume \"{volume}\" : {error}"),
                ),
                None if self.is_elsewhere(&user.node) => (
                    EventType::Warning,
                    "FailedAttachVolume",
                    format!("elsewhere {} {}", user.node, user.uid()),
                    format!("Multi-Attach error for volume \"{volume}\" {}", self.who_elsewhere(user)),
                ),
                _ => continue,
            };
            notices.push(Notice { key, about: user.about.clone(), event_type, reason, message });
        }
        notices
    }

    /// Whether the volume is attached to another node, and may not be attached to two.
    fn is_elsewhere(&self, node: &str) -> bool {
        self.source.as_ref().is_some_and(|source| source.is_exclusive)
            && self.attachments.iter().any(|attached| attached.node != node)
    }

    fn who_elsewhere(&self, user: &User) -> String {
        let others: Vec<&User> = self.users.iter().filter(|other| other.node != user.node).collect();
        let (near, far): (Vec<&User>, Vec<&User>) =
            others.into_iter().partition(|other| other.about.namespace == user.about.namespace);
        let names: Vec<&str> = near.iter().map(|other| other.name()).collect();
        match (names.is_empty(), far.len()) {
            (true, 0) => {
                "Volume is already exclusively attached to one node and can't be attached to another"
                    .to_owned()
            }
            (true, count) => format!("Volume is already used by {count} pod(s) in different namespaces"),
            (false, 0) => format!("Volume is already used by pod(s) {}", names.join(", ")),
            (false, count) => format!(
                "Volume is already used by pod(s) {} and {count} pod(s) in different namespaces",
                names.join(", ")
            ),
        }
    }

    /// Whether an attachment that nobody wants may go now; else when it may at the latest, if ever.
    fn may_go(&self, attached: &Attached, now: Timestamp) -> Result<(), Option<Timestamp>> {
        // A node whose object is gone may have the volume mounted all the same.
        let unknown = NodeState { uses: true, ..NodeState::default() };
        let node = self.nodes.get(&attached.node).copied().unwrap_or(unknown);
        if !node.uses || node.is_out_of_service {
            return Ok(());
        }
        if node.is_ready {
            return Err(None);
        }
        let since = self.unwanted_since.get(&attached.node).copied().unwrap_or(now);
        let at = since + MAX_WAIT_FOR_UNMOUNT;
        if at <= now { Ok(()) } else { Err(Some(at)) }
    }
}

/// See the module's documentation.
pub fn decide(seen: &Observed, now: Timestamp) -> Plan {
    let mut plan = Plan::nothing();
    let wanted = seen.wanted();
    for attached in seen.own().filter(|attached| !attached.is_going) {
        if wanted.contains(attached.node.as_str()) {
            continue;
        }
        match seen.may_go(attached, now) {
            Ok(()) => {
                plan = plan.because(format!("nobody on {} wants {} any more", attached.node, seen.volume));
                plan.then(Action::Delete {
                    target: target::<VolumeAttachment>("", &attached.name),
                    policy: DeletePolicy { uid: Some(attached.uid.clone()), ..DeletePolicy::default() },
                });
            }
            Err(at) => {
                plan = plan.because(format!("{} still uses {}", attached.node, seen.volume));
                if let Some(at) = at {
                    plan.look_again(now.duration_until(at).unsigned_abs());
                }
            }
        }
    }
    if let Some(source) = &seen.source {
        let without = |node: &&&str| seen.nodes.contains_key(**node) && seen.on(node).is_none();
        for node in wanted.iter().filter(without) {
            if seen.is_elsewhere(node) {
                plan = plan.because(format!("{} is attached to another node than {node}", seen.volume));
                continue;
            }
            plan.then(attach(source, &seen.volume, node));
            if source.is_exclusive {
                break;
            }
        }
    }
    for notice in seen.notices().into_iter().filter(|notice| !seen.told.contains(&notice.key)) {
        let Notice { about, event_type, reason, message, .. } = notice;
        plan.then(Action::Event { about, event_type, reason, message });
    }
    plan
}

fn attach(source: &Source, volume: &str, node: &str) -> Action {
    let object = VolumeAttachment {
        metadata: ObjectMeta {
            name: Some(attachment::object_name(&source.driver, &source.handle, node)),
            ..ObjectMeta::default()
        },
        spec: VolumeAttachmentSpec {
            attacher: source.driver.clone(),
            node_name: node.to_owned(),
            source: VolumeAttachmentSource {
                persistent_volume_name: Some(volume.to_owned()),
                ..VolumeAttachmentSource::default()
            },
        },
        status: None,
    };
    Action::Create { target: target::<VolumeAttachment>("", ""), object: dynamic(&object) }
}
