//! [`Graph`]: which objects belong to which node, through the pods bound to it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Deserialize;
use serde_json::Value;

use crate::cache::follow::Index;
use crate::cache::lookup::decode;
use crate::cache::{Entry, EventKind, WatchEvent};

const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// What a node may have to do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Pod,
    Secret,
    ConfigMap,
    Claim,
    ServiceAccount,
    /// A persistent volume, by the claim it is bound to.
    Volume,
    Attachment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Pods,
    Volumes,
    Attachments,
}

impl Source {
    pub(super) const ALL: [Self; 3] = [Self::Pods, Self::Volumes, Self::Attachments];

    pub(super) const fn resource(self) -> (&'static str, &'static str) {
        match self {
            Self::Pods => ("", "pods"),
            Self::Volumes => ("", "persistentvolumes"),
            Self::Attachments => ("storage.k8s.io", "volumeattachments"),
        }
    }
}

/// An object in a namespace.
type Place = (String, String);

/// A pod that is bound to a node, and what it refers to in its namespace.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BoundPod {
    pub node: String,
    pub needs: Vec<(Kind, String)>,
}

#[derive(Default)]
struct State {
    pods: HashMap<Place, BoundPod>,
    /// Node → object → how many of the node's pods need it.
    nodes: HashMap<String, HashMap<(Kind, String, String), usize>>,
    /// Volume → the claim it is bound to.
    volumes: HashMap<String, Place>,
    /// Attachment → node.
    attachments: HashMap<String, String>,
}

/// Kept current by the watch cache.
#[derive(Default)]
pub(super) struct Graph(RwLock<State>);

impl Graph {
    pub(super) fn related(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let needs = |kind: Kind, namespace: &str, name: &str| {
            let key = (kind, namespace.to_owned(), name.to_owned());
            state.nodes.get(node).is_some_and(|objects| objects.contains_key(&key))
        };
        match kind {
            Kind::Volume => {
                state.volumes.get(name).is_some_and(|(namespace, claim)| needs(Kind::Claim, namespace, claim))
            }
            Kind::Attachment => state.attachments.get(name).is_some_and(|home| home == node),
            kind => needs(kind, namespace, name),
        }
    }

    /// Whether the pod is known to be bound to the node.
    pub(super) fn knows(&self, namespace: &str, name: &str, node: &str) -> bool {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        state.pods.get(&(namespace.to_owned(), name.to_owned())).is_some_and(|pod| pod.node == node)
    }

    fn update(&self, source: Source, entry: &Entry, present: bool) {
        match source {
            Source::Pods => {
                let pod = present.then(|| bound_pod(entry)).flatten();
                self.write(|state| state.put_pod(entry.namespace(), entry.name(), pod));
            }
            Source::Volumes => {
                let claim = present.then(|| bound_claim(entry)).flatten();
                self.write(|state| put(&mut state.volumes, entry.name(), claim));
            }
            Source::Attachments => {
                let node = present.then(|| attached_node(entry)).flatten();
                self.write(|state| put(&mut state.attachments, entry.name(), node));
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
    fn put_pod(&mut self, namespace: &str, name: &str, pod: Option<BoundPod>) {
        let place = (namespace.to_owned(), name.to_owned());
        if let Some(old) = self.pods.remove(&place)
            && let Some(objects) = self.nodes.get_mut(&old.node)
        {
            for (kind, needed) in old.needs {
                let key = (kind, namespace.to_owned(), needed);
                if let Some(count) = objects.get_mut(&key) {
                    *count -= 1;
                    if *count == 0 {
                        objects.remove(&key);
                    }
                }
            }
            if objects.is_empty() {
                self.nodes.remove(&old.node);
            }
        }
        let Some(pod) = pod else { return };
        let objects = self.nodes.entry(pod.node.clone()).or_default();
        for (kind, needed) in &pod.needs {
            *objects.entry((*kind, namespace.to_owned(), needed.clone())).or_default() += 1;
        }
        self.pods.insert(place, pod);
    }
}

impl Index for Graph {
    fn replace(&self, source: usize, entries: &[Arc<Entry>]) {
        let source = Source::ALL[source];
        self.write(|state| match source {
            Source::Pods => {
                state.pods.clear();
                state.nodes.clear();
            }
            Source::Volumes => state.volumes.clear(),
            Source::Attachments => state.attachments.clear(),
        });
        for entry in entries {
            self.update(source, entry, true);
        }
    }

    fn apply(&self, source: usize, events: &[WatchEvent]) {
        let source = Source::ALL[source];
        for event in events {
            if source == Source::Pods && is_idle(event) {
                continue;
            }
            self.update(source, event.object(), event.kind != EventKind::Deleted);
        }
    }
}

/// Whether a pod's change cannot change what it needs: what a pod refers to is fixed but for ephemeral
/// containers, and most changes are of its status.
fn is_idle(event: &WatchEvent) -> bool {
    let (now, before) = (&event.event.entry, &event.event.previous);
    let node = |entry: &Entry| entry.field("spec.nodeName").map(str::to_owned);
    let ephemeral = b"\"ephemeralContainers\"";
    event.kind == EventKind::Modified
        && before.as_ref().is_some_and(|before| node(before) == node(now))
        && !now.json.lean().windows(ephemeral.len()).any(|window| window == ephemeral)
}

#[derive(Deserialize)]
struct PodView {
    metadata: PodMetadata,
    #[serde(default)]
    spec: Value,
}

#[derive(Deserialize)]
struct PodMetadata {
    #[serde(default)]
    annotations: Option<HashMap<String, String>>,
}

pub(super) fn bound_pod(entry: &Entry) -> Option<BoundPod> {
    let pod: PodView = decode(entry)?;
    let node = pod.spec.get("nodeName")?.as_str()?.to_owned();
    let mut needs = vec![(Kind::Pod, entry.name().to_owned())];
    // A mirror pod refers to nothing: the node made it, so the node could make it refer to anything.
    if !pod.metadata.annotations.is_some_and(|all| all.contains_key(MIRROR_ANNOTATION)) {
        needs.extend(references(&pod.spec, entry.name()));
    }
    Some(BoundPod { node, needs })
}

/// The objects of its namespace that a pod refers to.
fn references(spec: &Value, pod: &str) -> Vec<(Kind, String)> {
    let mut out = Vec::new();
    let mut add = |kind: Kind, name: Option<&Value>| {
        if let Some(name) = name.and_then(Value::as_str).filter(|name| !name.is_empty()) {
            out.push((kind, name.to_owned()));
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

fn items<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn bound_claim(entry: &Entry) -> Option<Place> {
    let volume: Value = decode(entry)?;
    let claim = volume.pointer("/spec/claimRef")?;
    Some((claim.get("namespace")?.as_str()?.to_owned(), claim.get("name")?.as_str()?.to_owned()))
}

fn attached_node(entry: &Entry) -> Option<String> {
    let attachment: Value = decode(entry)?;
    Some(attachment.pointer("/spec/nodeName")?.as_str()?.to_owned())
}
