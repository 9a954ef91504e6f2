//! [`Graph`]: which objects belong to which node, through the pods bound to it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use memchr::memmem;
use serde::Deserialize;
use serde_json::Value;

use crate::cache::follow::Index;
use crate::cache::lookup::decode;
use crate::cache::{Entry, EventKind, WatchEvent};

const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// What a node may have to do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Pod,
    Secret,
    ConfigMap,
    Claim,
    ServiceAccount,
    /// A persistent volume, by the claim it is bound to.
    Volume,
    Attachment,
    /// A ResourceClaim.
    DeviceClaim,
    /// A ResourceSlice, by the node whose devices it lists.
    Slice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Pods,
    Volumes,
    Attachments,
    Slices,
}

impl Source {
    pub(super) const ALL: [Self; 4] = [Self::Pods, Self::Volumes, Self::Attachments, Self::Slices];

    pub(super) const fn resource(self) -> (&'static str, &'static str) {
        match self {
            Self::Pods => ("", "pods"),
            Self::Volumes => ("", "persistentvolumes"),
            Self::Attachments => ("storage.k8s.io", "volumeattachments"),
            Self::Slices => ("resource.k8s.io", "resourceslices"),
        }
    }
}

/// An object in a namespace.
type Place = (String, String);

/// What pods refer to in their namespace, in order, once for all pods that refer to the same: most have siblings.
type Needs = Arc<[(Kind, Box<str>)]>;

/// A pod that is bound to a node.
struct BoundPod {
    /// As the store has it.
    key: Arc<str>,
    needs: Needs,
}

impl BoundPod {
    fn is(&self, namespace: &str, name: &str) -> bool {
        let place = self.key.rsplit_once('/').filter(|(_, own)| *own == name);
        place.and_then(|(rest, _)| rest.rsplit_once('/')).is_some_and(|(_, own)| own == namespace)
    }

    fn is_in(&self, namespace: &str) -> bool {
        self.key.rsplit('/').nth(1) == Some(namespace)
    }
}

#[derive(Default)]
struct State {
    /// The pods of each node that has any, by their keys.
    nodes: HashMap<Box<str>, Vec<BoundPod>>,
    /// All needs there are.
    needs: HashSet<Needs>,
    /// Volume → the claim it is bound to.
    volumes: HashMap<String, Place>,
    /// Attachment → node.
    attachments: HashMap<String, String>,
    /// ResourceSlice → node.
    slices: HashMap<String, String>,
}

/// Kept current by the watch cache.
#[derive(Default)]
pub(super) struct Graph(RwLock<State>);

impl Graph {
    pub(super) fn related(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match kind {
            Kind::Pod => state.has(node, namespace, name),
            Kind::Volume => state
                .volumes
                .get(name)
                .is_some_and(|(namespace, claim)| state.needs(node, Kind::Claim, namespace, claim)),
            Kind::Attachment => state.attachments.get(name).is_some_and(|home| home == node),
            Kind::Slice => state.slices.get(name).is_some_and(|home| home == node),
            kind => state.needs(node, kind, namespace, name),
        }
    }

    /// Whether the pod is known to be bound to the node.
    pub(super) fn knows(&self, namespace: &str, name: &str, node: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).has(node, namespace, name)
    }

    /// How many nodes have pods, their pods, and the different needs of those.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (state.nodes.len(), state.nodes.values().map(Vec::len).sum(), state.needs.len())
    }

    /// A pod is now as `now` says, where it still exists, and was as `before` says, where it did.
    fn update_pod(&self, before: Option<&Entry>, now: Option<&Entry>) {
        let needs = now.filter(|pod| !node_of(pod).is_empty()).and_then(needs_of);
        self.write(|state| {
            if let Some(before) = before {
                state.remove(node_of(before), &before.key);
            }
            if let (Some(pod), Some(needs)) = (now, needs) {
                state.insert(node_of(pod), pod.key.clone(), needs);
            }
        });
    }

    fn update(&self, source: Source, entry: &Entry, present: bool) {
        match source {
            Source::Pods => self.update_pod(None, present.then_some(entry)),
            Source::Volumes => {
                let claim = present.then(|| bound_claim(entry)).flatten();
                self.write(|state| put(&mut state.volumes, entry.name(), claim));
            }
            Source::Attachments => {
                let node = present.then(|| node_in_spec(entry)).flatten();
                self.write(|state| put(&mut state.attachments, entry.name(), node));
            }
            Source::Slices => {
                let node = present.then(|| node_in_spec(entry)).flatten();
                self.write(|state| put(&mut state.slices, entry.name(), node));
            }
        }
    }

    fn write(&self, work: impl FnOnce(&mut State)) {
        work(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

fn put<T>(map: &mut HashMap<String, T>, name: &str, value: Option<T>) {
    match value {
        Some(value) => drop(map.insert(name.to_owned(), value)),
        None => drop(map.remove(name)),
    }
}

impl State {
    fn pods(&self, node: &str) -> &[BoundPod] {
        self.nodes.get(node).map_or(&[], Vec::as_slice)
    }

    fn has(&self, node: &str, namespace: &str, name: &str) -> bool {
        self.pods(node).iter().any(|pod| pod.is(namespace, name))
    }

    /// Whether a pod of the node needs the object.
    fn needs(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        let needs = |pod: &BoundPod| pod.needs.iter().any(|(needed, own)| *needed == kind && **own == *name);
        self.pods(node).iter().any(|pod| pod.is_in(namespace) && needs(pod))
    }

    fn insert(&mut self, node: &str, key: Arc<str>, needs: Vec<(Kind, Box<str>)>) {
        let needs = match self.needs.get(needs.as_slice()) {
            Some(shared) => shared.clone(),
            None => {
                let needs = Needs::from(needs);
                self.needs.insert(needs.clone());
                needs
            }
        };
        let pods = match self.nodes.get_mut(node) {
            Some(pods) => pods,
            None => self.nodes.entry(node.into()).or_default(),
        };
        let pod = BoundPod { key, needs };
        match pods.binary_search_by(|held| held.key.cmp(&pod.key)) {
            Ok(at) => {
                let replaced = std::mem::replace(&mut pods[at], pod);
                self.let_go(replaced.needs);
            }
            Err(at) => pods.insert(at, pod),
        }
    }

    fn remove(&mut self, node: &str, key: &str) {
        let Some(pods) = self.nodes.get_mut(node) else { return };
        let Ok(at) = pods.binary_search_by(|held| (*held.key).cmp(key)) else { return };
        let removed = pods.remove(at);
        if pods.is_empty() {
            self.nodes.remove(node);
        }
        self.let_go(removed.needs);
    }

    /// Needs that no pod has any more go.
    fn let_go(&mut self, needs: Needs) {
        // These and the set's own.
        if Arc::strong_count(&needs) == 2 {
            self.needs.remove(&needs);
        }
    }
}

impl Index for Graph {
    fn replace(&self, source: usize, entries: &[Arc<Entry>]) {
        let source = Source::ALL[source];
        self.write(|state| match source {
            Source::Pods => {
                state.nodes.clear();
                state.needs.clear();
            }
            Source::Volumes => state.volumes.clear(),
            Source::Attachments => state.attachments.clear(),
            Source::Slices => state.slices.clear(),
        });
        for entry in entries {
            self.update(source, entry, true);
        }
    }

    fn apply(&self, source: usize, events: &[WatchEvent]) {
        let source = Source::ALL[source];
        for event in events {
            let present = event.kind != EventKind::Deleted;
            match source {
                Source::Pods if is_idle(event) => {}
                Source::Pods => {
                    let now = present.then_some(&*event.event.entry);
                    self.update_pod(event.event.previous.as_deref(), now);
                }
                source => self.update(source, event.object(), present),
            }
        }
    }
}

/// Whether a pod's change cannot change what it needs: what a pod refers to is fixed but for ephemeral containers and
/// the claims that were made for it, and most changes are of its status.
fn is_idle(event: &WatchEvent) -> bool {
    let (now, before) = (&event.event.entry, &event.event.previous);
    let json = now.json.lean();
    let moving = ["\"ephemeralContainers\"", "\"resourceClaimStatuses\"", "\"extendedResourceClaimStatus\""];
    event.kind == EventKind::Modified
        && before.as_ref().is_some_and(|before| node_of(before) == node_of(now))
        && moving.iter().all(|field| memmem::find(&json, field.as_bytes()).is_none())
}

/// The node that a pod is bound to; empty for none.
fn node_of(pod: &Entry) -> &str {
    pod.field("spec.nodeName").unwrap_or_default()
}

#[derive(Deserialize)]
struct PodView {
    metadata: PodMetadata,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

#[derive(Deserialize)]
struct PodMetadata {
    #[serde(default)]
    annotations: Option<HashMap<String, String>>,
}

/// What a pod refers to in its namespace; `None` for an object that cannot be read.
pub(super) fn needs_of(entry: &Entry) -> Option<Vec<(Kind, Box<str>)>> {
    let pod: PodView = decode(entry)?;
    // A mirror pod refers to nothing: the node made it, so the node could make it refer to anything.
    if pod.metadata.annotations.is_some_and(|all| all.contains_key(MIRROR_ANNOTATION)) {
        return Some(Vec::new());
    }
    let mut needs = references(&pod.spec, entry.name());
    needs.extend(device_claims(&pod.spec, &pod.status));
    needs.sort_unstable();
    needs.dedup();
    Some(needs)
}

/// The objects of its namespace that a pod refers to.
fn references(spec: &Value, pod: &str) -> Vec<(Kind, Box<str>)> {
    let mut out = Vec::new();
    let mut add = |kind: Kind, name: Option<&Value>| {
        if let Some(name) = name.and_then(Value::as_str).filter(|name| !name.is_empty()) {
            out.push((kind, name.into()));
        }
    };
    add(Kind::ServiceAccount, spec.get("serviceAccountName"));
    for secret in items(spec, "imagePullSecrets") {
        add(Kind::Secret, secret.get("name"));
    }
    let containers = ["initContainers", "containers", "ephemeralContainers"];
    for container in containers.into_iter().flat_map(|key| items(spec, key)) {
        for variable in items(container, "env") {
            add(Kind::Secret, variable.pointer("/valueFrom/secretKeyRef/name"));
            add(Kind::ConfigMap, variable.pointer("/valueFrom/configMapKeyRef/name"));
        }
        for source in items(container, "envFrom") {
            add(Kind::Secret, source.pointer("/secretRef/name"));
            add(Kind::ConfigMap, source.pointer("/configMapRef/name"));
        }
    }
    for volume in items(spec, "volumes") {
        add(Kind::Secret, volume.pointer("/secret/secretName"));
        add(Kind::Secret, volume.pointer("/azureFile/secretName"));
        add(Kind::Secret, volume.pointer("/csi/nodePublishSecretRef/name"));
        for driver in ["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"] {
            add(Kind::Secret, volume.get(driver).and_then(|v| v.pointer("/secretRef/name")));
        }
        add(Kind::ConfigMap, volume.pointer("/configMap/name"));
        add(Kind::Claim, volume.pointer("/persistentVolumeClaim/claimName"));
        if volume.get("ephemeral").is_some()
            && let Some(name) = volume.get("name").and_then(Value::as_str)
        {
            add(Kind::Claim, Some(&format!("{pod}-{name}").into()));
        }
        for source in volume.get("projected").into_iter().flat_map(|projected| items(projected, "sources")) {
            add(Kind::Secret, source.pointer("/secret/name"));
            add(Kind::ConfigMap, source.pointer("/configMap/name"));
        }
    }
    out
}

/// The ResourceClaims that a pod names, and those that were made for it.
fn device_claims(spec: &Value, status: &Value) -> Vec<(Kind, Box<str>)> {
    let named = items(spec, "resourceClaims").filter_map(|claim| claim.get("resourceClaimName"));
    let made = items(status, "resourceClaimStatuses").filter_map(|claim| claim.get("resourceClaimName"));
    let extended = status.pointer("/extendedResourceClaimStatus/resourceClaimName");
    let names = named.chain(made).chain(extended).filter_map(Value::as_str).filter(|name| !name.is_empty());
    names.map(|name| (Kind::DeviceClaim, name.into())).collect()
}

fn items<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn bound_claim(entry: &Entry) -> Option<Place> {
    let volume: Value = decode(entry)?;
    let claim = volume.pointer("/spec/claimRef")?;
    Some((claim.get("namespace")?.as_str()?.to_owned(), claim.get("name")?.as_str()?.to_owned()))
}

fn node_in_spec(entry: &Entry) -> Option<String> {
    let object: Value = decode(entry)?;
    Some(object.pointer("/spec/nodeName")?.as_str()?.to_owned())
}
