//! Binds a pod: first its volumes and devices, then the pod itself. The only writes of claims and volumes are here.

pub(crate) mod devices;

use std::time::Duration;

use api::Object;
use http::Method;
use informer::{Cache, Key};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::resource::v1::ResourceClaim;
use kube::Client;
use pods::volumes;
use serde_json::{Value, json};

use crate::pod::PodInfo;
use crate::state::Chosen;
use crate::storage::Choices;

/// How long a write may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a binding was not written.
pub(crate) struct Unbound {
    pub message: String,
    /// The pod's namespace is being deleted, and the pod with it.
    pub namespace_goes: bool,
    /// Volumes or devices were in the way, which the pod's events tell.
    pub is_of_claims: bool,
}

impl Unbound {
    pub fn other(message: impl ToString) -> Self {
        Self { message: message.to_string(), namespace_goes: false, is_of_claims: false }
    }

    fn of(error: &kube::Error) -> Self {
        Self {
            message: client::message(error),
            namespace_goes: client::is_without_namespace(error),
            is_of_claims: false,
        }
    }

    fn of_volumes(why: impl std::fmt::Display) -> Self {
        let message = format!("running PreBind plugin \"VolumeBinding\": binding volumes: {why}");
        Self { message, namespace_goes: false, is_of_claims: true }
    }
}

/// What shows whether the writes have come through.
pub(crate) struct Caches {
    pub volume_claims: Cache<PersistentVolumeClaim>,
    pub device_claims: Cache<ResourceClaim>,
}

/// Writes what was chosen for a pod's claims, then binds the pod to the node. Reservations are taken back where that
/// fails.
pub(crate) async fn bind_whole(
    client: &Client,
    caches: &Caches,
    pod: &PodInfo,
    node: &str,
    chosen: &Chosen,
    patience: Duration,
) -> Result<(), Unbound> {
    if !chosen.volumes.is_empty() {
        bind_volumes(client, &caches.volume_claims, node, &chosen.volumes, patience).await?;
    }
    let reserved = devices::reserve(client, &caches.device_claims, pod, &chosen.devices).await;
    let bound = match reserved {
        Ok(()) => bind(client, pod, node).await,
        refused => refused,
    };
    if bound.is_err() {
        devices::release(client, pod, &chosen.devices).await;
    }
    bound
}

/// Binds a pod to a node.
async fn bind(client: &Client, pod: &PodInfo, node: &str) -> Result<(), Unbound> {
    let Key { namespace, name } = &pod.key;
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": &**name, "namespace": &**namespace, "uid": &*pod.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
    send(client, Method::POST, &path, "application/json", &binding).await
}

async fn send(
    client: &Client,
    method: Method,
    path: &str,
    content_type: &str,
    body: &Value,
) -> Result<(), Unbound> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, content_type)
        .body(serde_json::to_vec(body).map_err(Unbound::other)?)
        .map_err(Unbound::other)?;
    match tokio::time::timeout(PATIENCE, client.request::<Value>(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Unbound::of(&error)),
        Err(_) => Err(Unbound::other("the API server did not answer in 30 s")),
    }
}

/// Writes what was decided for a pod's claims and waits until they are bound, as long as `patience` lasts. Nothing
/// is written that is there already.
async fn bind_volumes(
    client: &Client,
    claims: &Cache<PersistentVolumeClaim>,
    node: &str,
    choices: &Choices,
    patience: Duration,
) -> Result<(), Unbound> {
    let on_volumes = |why: Unbound| Unbound::of_volumes(why.message);
    for (claim, volume) in &choices.volumes {
        let Some(claim) = claims.get_key(claim) else { continue };
        if volumes::is_fully_bound(&claim)
            || volumes::claim_of(volume).is_some_and(|of| of.uid == claim.metadata.uid)
        {
            continue;
        }
        let mut taken = k8s_openapi::api::core::v1::PersistentVolume::clone(volume);
        if !volumes::is_bound_to(volume, &claim) {
            let annotations = taken.metadata.annotations.get_or_insert_default();
            annotations.insert(volumes::BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
        }
        taken.spec.get_or_insert_default().claim_ref = Some(client::reference(&*claim));
        let object = Object::from_typed(&taken).map_err(Unbound::of_volumes)?;
        let path = format!("/api/v1/persistentvolumes/{}", object.name());
        send(client, Method::PUT, &path, "application/json", &Value::Object(object.0))
            .await
            .map_err(on_volumes)?;
    }
    for key in &choices.to_make {
        let Some(claim) = claims.get_key(key) else { continue };
        let selected = volumes::annotation(&claim.metadata.annotations, volumes::SELECTED_NODE);
        if volumes::is_fully_bound(&claim) || selected == Some(node) {
            continue;
        }
        let meta = &claim.metadata;
        let patch = json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version,
            "annotations": {volumes::SELECTED_NODE: node}}});
        let path = format!("/api/v1/namespaces/{}/persistentvolumeclaims/{}", key.namespace, key.name);
        let sent = send(client, Method::PATCH, &path, "application/merge-patch+json", &patch).await;
        sent.map_err(on_volumes)?;
        // A cache that does not show the annotation yet would look as if somebody had taken it away.
        let is_told = |cache: &Cache<PersistentVolumeClaim>| {
            cache.get_key(key).is_none_or(|now| now.metadata.resource_version != meta.resource_version)
        };
        let told = tokio::time::timeout(PATIENCE, claims.wait_until(is_told)).await;
        told.map_err(|_| Unbound::of_volumes("the watch of claims is broken"))?;
    }
    wait(claims, node, choices, patience).await
}

/// What has become of a claim.
enum Progress {
    Bound,
    Waiting,
    Lost(String),
}

fn progress(claims: &Cache<PersistentVolumeClaim>, key: &Key, node: Option<&str>) -> Progress {
    let Some(claim) = claims.get_key(key) else {
        return Progress::Lost(format!("persistentvolumeclaim {:?} not found", key.name));
    };
    if volumes::is_fully_bound(&claim) {
        return Progress::Bound;
    }
    if claim.metadata.deletion_timestamp.is_some() {
        return Progress::Lost(format!("persistentvolumeclaim {:?} is being deleted", key.name));
    }
    let selected = volumes::annotation(&claim.metadata.annotations, volumes::SELECTED_NODE);
    match node {
        Some(node) if selected != Some(node) => Progress::Lost(match selected {
            None => format!("selectedNode annotation reset for PVC {:?}", key.name),
            Some(other) => {
                format!("selectedNode annotation value {other:?} not set to scheduled node {node:?}")
            }
        }),
        _ => Progress::Waiting,
    }
}

async fn wait(
    claims: &Cache<PersistentVolumeClaim>,
    node: &str,
    choices: &Choices,
    patience: Duration,
) -> Result<(), Unbound> {
    let all = || {
        let chosen = choices.volumes.iter().map(|(key, _)| progress(claims, key, None));
        chosen.chain(choices.to_make.iter().map(|key| progress(claims, key, Some(node))))
    };
    let is_over = |_: &Cache<PersistentVolumeClaim>| {
        all().all(|state| matches!(state, Progress::Bound))
            || all().any(|state| matches!(state, Progress::Lost(_)))
    };
    if tokio::time::timeout(patience, claims.wait_until(is_over)).await.is_err() {
        return Err(Unbound::of_volumes("context deadline exceeded"));
    }
    let lost = all().find_map(|state| match state {
        Progress::Lost(why) => Some(why),
        Progress::Bound | Progress::Waiting => None,
    });
    lost.map_or(Ok(()), |why| Err(Unbound::of_volumes(why)))
}
