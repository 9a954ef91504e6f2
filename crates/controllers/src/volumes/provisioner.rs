//! Makes the volumes of claims whose class says so: directories of the node that the scheduler has chosen. The object is
//! made here; the directory is made and removed by the node, which alone knows its disk.
//!
//! A volume is made with its claim's uid in its name and its claim in it, so that no claim has two, and none is forgotten
//! whose claim has gone meanwhile. Who takes a volume away is the node: its finalizer goes when the directory is gone.

use std::sync::Arc;

use client::EventType;
use informer::{
    Action, Cache, Controller, DeletePolicy, Delta, EventWords, Index, Key, Plan, Round, Sources,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    LocalVolumeSource, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume,
    PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use kube::core::ObjectMeta;
use pods::volumes::{self, directory};

use crate::target::{dynamic, target, target_of, update, update_status};

/// What the label of a node's volumes can hold.
const MAX_LABEL: usize = 63;
const HOSTNAME: &str = "kubernetes.io/hostname";

/// See the module's documentation. Keys with a namespace are claims, those without are volumes.
pub struct ProvisionerController {
    claims: Cache<PersistentVolumeClaim>,
    volumes: Cache<PersistentVolume>,
    classes: Cache<StorageClass>,
    nodes: Cache<Node>,
}

/// What a decision depends on.
pub enum Observed {
    Claim(Box<Claim>),
    Volume { volume: Arc<PersistentVolume>, node_is_gone: bool },
}

/// A claim, what it has, and where it is to have what it lacks.
pub struct Claim {
    claim: Arc<PersistentVolumeClaim>,
    class: Option<Arc<StorageClass>>,
    /// The volume that the claim has, or that was made for it.
    volume: Option<Arc<PersistentVolume>>,
    /// The node that was chosen, if it exists.
    node: Option<Arc<Node>>,
}

fn is_ours(claim: &PersistentVolumeClaim) -> bool {
    volumes::annotation(&claim.metadata.annotations, volumes::STORAGE_PROVISIONER)
        == Some(directory::PROVISIONER)
}

fn selected(claim: &PersistentVolumeClaim) -> Option<&str> {
    volumes::annotation(&claim.metadata.annotations, volumes::SELECTED_NODE).filter(|node| !node.is_empty())
}

/// The name of the volume that is made for the claim.
fn name_of(claim: &PersistentVolumeClaim) -> String {
    format!("pvc-{}", claim.metadata.uid.as_deref().unwrap_or_default())
}

/// Claims that wait for a volume on a node.
fn waiting(claims: &Cache<PersistentVolumeClaim>) -> Index<PersistentVolumeClaim> {
    claims.index("waiting-on-node", |claim, found| {
        let Some(claim) = claim.typed().filter(|claim| is_ours(claim)) else { return };
        if let Some(node) = selected(claim).filter(|_| volumes::volume_name(claim).is_empty()) {
            found(node);
        }
    })
}

impl Controller for ProvisionerController {
    const NAME: &'static str = "directory-provisioner";
    const EVENT_SOURCE: &'static str = directory::PROVISIONER;
    const QUEUE: &'static str = "directory_provisioner";
    const WORKERS: usize = 2;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let claims = sources.mapped(|delta: &Delta<PersistentVolumeClaim>| {
            let claim = delta.object();
            let is_ours = claim.typed().is_some_and(|claim| is_ours(claim));
            if is_ours { vec![claim.key.clone()] } else { Vec::new() }
        });
        let volumes = sources.mapped(|delta: &Delta<PersistentVolume>| {
            let object = delta.object();
            let Some(volume) = object.typed().filter(|volume| directory::is_ours(volume)) else {
                return Vec::new();
            };
            let of = volumes::claim_of(volume);
            let claim = of.and_then(|of| Some(Key::new(of.namespace.as_deref()?, of.name.as_deref()?)));
            std::iter::once(object.key.clone()).chain(claim).collect()
        });
        let (held, waiting) = (by_node(&volumes), waiting(&claims));
        let nodes = sources.mapped(move |delta: &Delta<Node>| {
            let name = delta.object().name();
            let mut keys = waiting.keys(name);
            if matches!(delta, Delta::Deleted(_)) {
                keys.extend(held.keys(name));
            }
            keys
        });
        Self { claims, volumes, classes: sources.reads(), nodes }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        if round.key.namespace.is_empty() {
            let Some(volume) = self.volumes.get_key(round.key) else { return Ok(None) };
            if !directory::is_ours(&volume) {
                return Ok(None);
            }
            let node = volume.metadata.labels.as_ref().and_then(|all| all.get(directory::NODE));
            let is_going = volume.metadata.deletion_timestamp.is_some();
            let node_is_gone = match node.filter(|_| is_going) {
                Some(node) => self.node(round, node).await?.is_none(),
                None => false,
            };
            return Ok(Some(Observed::Volume { volume, node_is_gone }));
        }
        let Some(claim) = self.claims.get_key(round.key).filter(|claim| is_ours(claim)) else {
            return Ok(None);
        };
        let bound = volumes::volume_name(&claim);
        let name = if bound.is_empty() { name_of(&claim) } else { bound.to_owned() };
        let volume = self.volumes.get("", &name);
        let node = match selected(&claim).filter(|_| volume.is_none() && bound.is_empty()) {
            Some(node) => self.node(round, node).await?,
            None => None,
        };
        let class = self.classes.get("", volumes::class_of_claim(&claim));
        Ok(Some(Observed::Claim(Box::new(Claim { claim, class, volume, node }))))
    }

    fn reconcile(observed: &Observed, _: Timestamp) -> Plan {
        match observed {
            Observed::Claim(claim) if volumes::is_fully_bound(&claim.claim) => grow(claim),
            Observed::Claim(claim) => provision(claim),
            Observed::Volume { volume, node_is_gone } => reclaim(volume, *node_is_gone),
        }
    }
}

impl ProvisionerController {
    /// A node; one that the cache does not have is asked for, since much is given up with it.
    async fn node(&self, round: &Round<'_>, name: &str) -> Result<Option<Arc<Node>>, kube::Error> {
        if let Some(node) = self.nodes.get("", name) {
            return Ok(Some(node));
        }
        let api: Api<Node> = Api::all(round.client.clone());
        Ok(api.get_opt(name).await?.map(Arc::new))
    }
}

/// Volumes of ours by their node.
fn by_node(volumes: &Cache<PersistentVolume>) -> Index<PersistentVolume> {
    volumes.index("directory-node", |volume, found| {
        if let Some(node) = volume.labels.get(directory::NODE) {
            found(node);
        }
    })
}

fn tell(
    claim: &PersistentVolumeClaim,
    event_type: EventType,
    reason: &'static str,
    message: String,
) -> Action {
    Action::Event { about: client::reference(claim), event_type, reason, message }
}

fn failed(class: &str, claim: &PersistentVolumeClaim, why: &str) -> Plan {
    let mut plan = Plan::nothing().because(why);
    let message = format!("failed to provision volume with StorageClass {class:?}: {why}");
    plan.then(tell(claim, EventType::Warning, "ProvisioningFailed", message));
    plan
}

/// Makes the volume of a claim that has none.
fn provision(Claim { claim, class, volume, node }: &Claim) -> Plan {
    let is_done = volume.is_some() || !volumes::volume_name(claim).is_empty();
    if is_done || claim.metadata.deletion_timestamp.is_some() {
        return Plan::nothing();
    }
    let name = volumes::class_of_claim(claim);
    let Some(class) = class.as_ref().filter(|class| class.provisioner == directory::PROVISIONER) else {
        return failed(name, claim, "the class is not of this provisioner any more");
    };
    let Some(chosen) = selected(claim) else {
        return failed(
            name,
            claim,
            "configuration error, no node was specified: the class must wait for consumers",
        );
    };
    let Some(node) = node else {
        // The scheduler chooses anew when the annotation is gone.
        let mut plan = failed(name, claim, &format!("node {chosen:?} not found"));
        let mut new = PersistentVolumeClaim::clone(claim);
        new.metadata.annotations.get_or_insert_default().remove(volumes::SELECTED_NODE);
        plan.then(update(&new));
        return plan;
    };
    match made(claim, class, node) {
        Err(why) => failed(name, claim, &why),
        Ok(volume) => {
            let mut plan = Plan::nothing().because("the claim has no volume");
            let Key { namespace, name } = Key::of(&**claim);
            let message =
                format!("External provisioner is provisioning volume for claim \"{namespace}/{name}\"");
            plan.then(tell(claim, EventType::Normal, "Provisioning", message));
            let object = dynamic(&volume);
            plan.then(Action::Create { target: target::<PersistentVolume>("", ""), object });
            plan.on_success = Some(EventWords {
                about: client::reference(&**claim),
                create: ("ProvisioningSucceeded", "Successfully provisioned volume "),
                delete: ("", ""),
            });
            plan
        }
    }
}

/// The volume of a claim on a node, or why there can be none.
fn made(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    node: &Node,
) -> Result<PersistentVolume, String> {
    let empty = Default::default();
    let spec = claim.spec.as_ref().unwrap_or(&empty);
    let node_name = node.metadata.name.as_deref().unwrap_or_default();
    let hostname = node.metadata.labels.as_ref().and_then(|labels| labels.get(HOSTNAME));
    let Some(hostname) = hostname.filter(|_| node_name.len() <= MAX_LABEL) else {
        return Err(format!("node {node_name:?} cannot be named by a label"));
    };
    let Some(folder) = volumes::annotation(&node.metadata.annotations, directory::FOLDER) else {
        return Err(format!("node {node_name:?} has no directory for volumes"));
    };
    if spec.selector.is_some() {
        return Err("claim.Spec.Selector is not supported".to_owned());
    }
    if spec.data_source.is_some() || spec.data_source_ref.is_some() {
        return Err("claim.Spec.DataSource is not supported".to_owned());
    }
    if attributes_class(claim).is_some() {
        return Err("claim.Spec.VolumeAttributesClassName is not supported".to_owned());
    }
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err("a directory is no block device: volumeMode Block is not supported".to_owned());
    }
    let name = name_of(claim);
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.clone());
    let on_node = NodeSelectorRequirement {
        key: HOSTNAME.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![hostname.clone()]),
    };
    let term = NodeSelectorTerm { match_expressions: Some(vec![on_node]), match_fields: None };
    Ok(PersistentVolume {
        metadata: ObjectMeta {
            labels: Some([(directory::NODE.to_owned(), node_name.to_owned())].into()),
            annotations: Some(
                [(volumes::PROVISIONED_BY.to_owned(), directory::PROVISIONER.to_owned())].into(),
            ),
            finalizers: Some(vec![directory::FINALIZER.to_owned()]),
            name: Some(name.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes.clone(),
            capacity: requests
                .and_then(|all| Some([("storage".to_owned(), all.get("storage")?.clone())].into())),
            claim_ref: Some(client::reference(claim)),
            local: Some(LocalVolumeSource { path: format!("{folder}/{name}"), fs_type: None }),
            mount_options: class.mount_options.clone().filter(|options| !options.is_empty()),
            node_affinity: Some(VolumeNodeAffinity {
                required: Some(NodeSelector { node_selector_terms: vec![term] }),
            }),
            persistent_volume_reclaim_policy: class.reclaim_policy.clone(),
            storage_class_name: Some(volumes::class_of_claim(claim).to_owned()),
            volume_mode: Some("Filesystem".to_owned()),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    })
}

/// The class of attributes that the claim asks for.
fn attributes_class(claim: &PersistentVolumeClaim) -> Option<&str> {
    let class = claim.spec.as_ref()?.volume_attributes_class_name.as_deref();
    class.filter(|name| !name.is_empty())
}

/// Lets a claim that asks for more have more: a directory has no size of its own, and no attributes.
fn grow(Claim { claim, volume, .. }: &Claim) -> Plan {
    let mut plan = Plan::nothing();
    if let Some(class) = attributes_class(claim) {
        let message =
            format!("volumes of {} cannot be given the attributes of {class:?}", directory::PROVISIONER);
        plan.then(tell(claim, EventType::Warning, "VolumeModifyFailed", message));
    }
    let is_for_it = |volume: &&Arc<PersistentVolume>| {
        directory::is_ours(volume)
            && volume.metadata.deletion_timestamp.is_none()
            && volumes::claim_of(volume).is_some_and(|of| of.uid == claim.metadata.uid)
    };
    let Some(volume) = volume.as_ref().filter(is_for_it) else { return plan };
    let requested = volumes::requested(claim);
    let asked =
        claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"));
    let Some(asked) = asked else { return plan };
    if volumes::capacity(volume) < requested {
        let mut new = PersistentVolume::clone(volume);
        let capacity = new.spec.get_or_insert_default().capacity.get_or_insert_default();
        capacity.insert("storage".to_owned(), asked.clone());
        plan.then(update(&new));
        return plan.because("the claim asks for more");
    }
    let had = claim.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage"));
    let had = had.and_then(|had| had.0.parse::<api::quantity::Quantity>().ok());
    if had.is_some_and(|had| had < requested) {
        let mut new = PersistentVolumeClaim::clone(claim);
        let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.clone());
        new.status.get_or_insert_default().capacity = capacity;
        plan.then(update_status(&new));
        let message = "Resize volume succeeded".to_owned();
        plan.then(tell(claim, EventType::Normal, "VolumeResizeSuccessful", message));
        return plan.because("the volume has grown");
    }
    plan
}

/// Gives a volume up that nobody has any more; its node then frees the space. Where the node is gone, so is the space.
fn reclaim(volume: &PersistentVolume, node_is_gone: bool) -> Plan {
    let mut plan = Plan::nothing();
    let spec = volume.spec.as_ref();
    let policy = spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    let is_released = matches!(volumes::phase(volume), "Released" | "Failed");
    if volume.metadata.deletion_timestamp.is_none() {
        if is_released && policy == Some("Delete") {
            let policy = DeletePolicy {
                uid: volume.metadata.uid.clone(),
                resource_version: volume.metadata.resource_version.clone(),
                ..DeletePolicy::default()
            };
            plan.then(Action::Delete { target: target_of(volume), policy });
            return plan.because("its claim is gone");
        }
        return plan;
    }
    let finalizers = volume.metadata.finalizers.as_deref().unwrap_or_default();
    let holds = |wanted: &str| finalizers.iter().any(|held| held == wanted);
    if node_is_gone && holds(directory::FINALIZER) && !holds(volumes::VOLUME_PROTECTION) {
        let mut new = volume.clone();
        let left = finalizers.iter().filter(|held| *held != directory::FINALIZER).cloned();
        new.metadata.finalizers = Some(left.collect());
        plan.then(update(&new));
        return plan.because("its node is gone");
    }
    plan
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of<K: serde::de::DeserializeOwned>(value: Value) -> K {
        serde_json::from_value(value).expect("an object")
    }

    fn claim(spec: &Value, annotations: &Value) -> Claim {
        let mut whole = json!({"metadata": {"name": "c", "namespace": "ns", "uid": "u", "resourceVersion": "1",
            "annotations": annotations},
            "spec": {"storageClassName": "s", "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}});
        for (key, value) in spec.as_object().expect("an object") {
            whole["spec"][key] = value.clone();
        }
        let node = json!({"metadata": {"name": "n", "labels": {HOSTNAME: "host"},
            "annotations": {directory::FOLDER: "/data"}}});
        let class = json!({"metadata": {"name": "s"}, "provisioner": directory::PROVISIONER,
            "reclaimPolicy": "Retain"});
        Claim { claim: of(whole), class: Some(of(class)), volume: None, node: Some(of(node)) }
    }

    fn chosen() -> Value {
        json!({volumes::SELECTED_NODE: "n"})
    }

    fn said(plan: &Plan) -> String {
        let told = plan.actions.iter().find_map(|action| match action {
            Action::Event { reason, message, .. } => Some(format!("{reason}: {message}")),
            _ => None,
        });
        told.unwrap_or_default()
    }

    #[test]
    fn a_volume_is_a_directory_of_the_chosen_node() {
        let plan = provision(&claim(&json!({}), &chosen()));
        let [Action::Event { .. }, Action::Create { object, .. }] = &plan.actions[..] else {
            panic!("{plan:?}")
        };
        assert_eq!(object.name(), "pvc-u");
        let spec = &object.0["spec"];
        assert_eq!(spec["local"]["path"], "/data/pvc-u");
        assert_eq!(spec["capacity"]["storage"], "1Gi");
        assert_eq!(spec["persistentVolumeReclaimPolicy"], "Retain");
        assert_eq!(spec["claimRef"]["uid"], "u");
        let term = &spec["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
        assert_eq!(term["values"], json!(["host"]));
        assert_eq!(object.label(directory::NODE), Some("n"));
        assert_eq!(
            said(&plan),
            "Provisioning: External provisioner is provisioning volume for claim \"ns/c\""
        );
    }

    #[test]
    fn what_cannot_be_made_is_said() {
        let why = |spec: &Value| said(&provision(&claim(spec, &chosen())));
        let prefix = "ProvisioningFailed: failed to provision volume with StorageClass \"s\": ";
        assert_eq!(
            why(&json!({"volumeAttributesClassName": "gold"})),
            format!("{prefix}claim.Spec.VolumeAttributesClassName is not supported")
        );
        assert_eq!(why(&json!({"selector": {}})), format!("{prefix}claim.Spec.Selector is not supported"));
        assert!(why(&json!({"volumeMode": "Block"})).ends_with("volumeMode Block is not supported"));
        let unplaced = said(&provision(&claim(&json!({}), &json!({}))));
        assert!(unplaced.starts_with(&format!("{prefix}configuration error, no node was specified")));
        let gone = Claim { node: None, ..claim(&json!({}), &chosen()) };
        let plan = provision(&gone);
        assert_eq!(said(&plan), format!("{prefix}node \"n\" not found"));
        let Some(Action::Update { object, .. }) = plan.actions.last() else { panic!("{plan:?}") };
        assert_eq!(object.annotation(volumes::SELECTED_NODE), None, "the scheduler chooses anew");
        let done = Claim { volume: Some(Arc::default()), ..claim(&json!({}), &chosen()) };
        assert_eq!(provision(&done), Plan::nothing(), "there is never a second one");
    }

    fn volume(phase: &str, policy: &str, more: &Value) -> PersistentVolume {
        let mut whole = json!({"metadata": {"name": "pvc-u", "uid": "v", "resourceVersion": "7",
            "annotations": {volumes::PROVISIONED_BY: directory::PROVISIONER},
            "finalizers": [directory::FINALIZER, volumes::VOLUME_PROTECTION]},
            "spec": {"persistentVolumeReclaimPolicy": policy, "capacity": {"storage": "1Gi"},
                "claimRef": {"name": "c", "namespace": "ns", "uid": "u"}}, "status": {"phase": phase}});
        for (key, value) in more.as_object().expect("an object") {
            whole["metadata"][key] = value.clone();
        }
        of(whole)
    }

    #[test]
    fn a_released_volume_is_deleted_where_its_policy_says_so() {
        for (phase, policy, deletes) in [
            ("Bound", "Delete", false),
            ("Available", "Delete", false),
            ("Released", "Retain", false),
            ("Released", "Delete", true),
        ] {
            let plan = reclaim(&volume(phase, policy, &json!({})), false);
            let deleted = matches!(&plan.actions[..], [Action::Delete { policy, .. }]
                if policy.uid.as_deref() == Some("v") && policy.resource_version.as_deref() == Some("7"));
            assert_eq!(deleted, deletes, "{phase} {policy}: {plan:?}");
        }
        let going = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert!(
            reclaim(&volume("Released", "Delete", &going), false).actions.is_empty(),
            "its node frees it"
        );
        assert!(reclaim(&volume("Bound", "Delete", &going), true).actions.is_empty(), "it is protected");
        let unheld =
            json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [directory::FINALIZER]});
        let plan = reclaim(&volume("Released", "Delete", &unheld), true);
        let [Action::Update { object, .. }] = &plan.actions[..] else { panic!("{plan:?}") };
        assert_eq!(object.at(&["metadata", "finalizers"]), Some(&json!([])));
    }

    #[test]
    fn a_claim_grows_in_two_steps() {
        let annotations = json!({volumes::BIND_COMPLETED: "yes"});
        let mut grown = claim(
            &json!({"volumeName": "pvc-u", "resources": {"requests": {"storage": "2Gi"}}}),
            &annotations,
        );
        let mut had = PersistentVolumeClaim::clone(&grown.claim);
        had.status = Some(of(json!({"capacity": {"storage": "1Gi"}})));
        grown.claim = Arc::new(had);
        grown.volume = Some(Arc::new(volume("Bound", "Delete", &json!({}))));
        let plan = grow(&grown);
        let [Action::Update { object, .. }] = &plan.actions[..] else { panic!("{plan:?}") };
        assert_eq!(object.at(&["spec", "capacity", "storage"]), Some(&json!("2Gi")));
        let mut larger = volume("Bound", "Delete", &json!({}));
        larger.spec.as_mut().expect("a spec").capacity = Some(of(json!({"storage": "2Gi"})));
        grown.volume = Some(Arc::new(larger));
        let plan = grow(&grown);
        let [Action::Update { object, .. }, Action::Event { .. }] = &plan.actions[..] else {
            panic!("{plan:?}")
        };
        assert_eq!(object.at(&["status", "capacity", "storage"]), Some(&json!("2Gi")));
    }

    #[test]
    fn a_claim_that_asks_for_attributes_later_is_told_that_directories_have_none() {
        let had = claim(&json!({"volumeAttributesClassName": "gold"}), &json!({}));
        assert_eq!(
            said(&grow(&had)),
            "VolumeModifyFailed: volumes of knarr.dev/directory cannot be given the attributes of \"gold\""
        );
        assert_eq!(said(&grow(&claim(&json!({"volumeAttributesClassName": ""}), &json!({})))), "");
    }
}
