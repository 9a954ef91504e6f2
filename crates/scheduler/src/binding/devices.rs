//! Writes what was decided for a pod's ResourceClaims: the finalizer, then allocation and reservation.

use std::sync::Arc;

use informer::{Cache, Key};
use k8s_openapi::api::resource::v1::{AllocationResult, ResourceClaim};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use pods::devices;
use serde_json::json;

use super::{PATIENCE, Unbound};
use crate::devices::Choices;
use crate::pod::PodInfo;

/// How often a write is made anew where somebody else has written in between.
const ATTEMPTS: usize = 5;

fn refused(why: impl std::fmt::Display) -> Unbound {
    let message = format!("running PreBind plugin \"DynamicResources\": {why}");
    Unbound { message, namespace_goes: false, is_of_claims: true }
}

fn api(client: &Client, claim: &Key) -> Api<ResourceClaim> {
    Api::namespaced(client.clone(), &claim.namespace)
}

/// Reserves the pod's claims for it, those without devices with what was chosen for them, and waits until `claims` shows
/// that: nothing else may be decided before.
pub(crate) async fn reserve(
    client: &Client,
    claims: &Cache<ResourceClaim>,
    pod: &PodInfo,
    choices: &Choices,
) -> Result<(), Unbound> {
    for (key, uid) in &choices.reserve {
        let chosen = choices.allocations.iter().find(|(claim, _)| claim == key);
        let chosen = chosen.map(|(_, allocation)| &**allocation);
        let written = tokio::time::timeout(PATIENCE, reserve_one(client, key, uid, pod, chosen)).await;
        let version = written.map_err(|_| refused("the API server did not answer in 30 s"))??;
        let shown = claims.wait_until(|cache| cache.find(key).is_none_or(|claim| claim.version >= version));
        let shown = tokio::time::timeout(PATIENCE, shown).await;
        shown.map_err(|_| refused("the watch of claims is broken"))?;
    }
    Ok(())
}

/// The version of the claim that was written.
async fn reserve_one(
    client: &Client,
    key: &Key,
    uid: &Arc<str>,
    pod: &PodInfo,
    chosen: Option<&AllocationResult>,
) -> Result<u64, Unbound> {
    let api = api(client, key);
    let mut conflict = None;
    for _ in 0..ATTEMPTS {
        let claim = api.get(&key.name).await;
        let claim =
            claim.map_err(|error| refused(format!("get claim {key}: {}", client::message(&error))))?;
        if claim.metadata.uid.as_deref() != Some(uid) || claim.metadata.deletion_timestamp.is_some() {
            return Err(refused(format!("claim {key} got deleted in the meantime")));
        }
        match written(&api, claim, pod, chosen).await {
            Ok(claim) => {
                let version = claim.metadata.resource_version.as_deref().unwrap_or_default();
                return Ok(version.parse().unwrap_or_default());
            }
            Err(Written::Conflict(why)) => conflict = Some(why),
            Err(Written::Refused(why)) => return Err(refused(format!("claim {key} {why}"))),
        }
    }
    let why = conflict.unwrap_or_default();
    Err(refused(format!("add allocation and reservation to claim {key}: {why}")))
}

enum Written {
    /// Somebody else wrote in between.
    Conflict(String),
    Refused(String),
}

fn failed(error: &kube::Error) -> Written {
    let message = client::message(error);
    if client::is_conflict(error) { Written::Conflict(message) } else { Written::Refused(message) }
}

async fn written(
    api: &Api<ResourceClaim>,
    mut claim: ResourceClaim,
    pod: &PodInfo,
    chosen: Option<&AllocationResult>,
) -> Result<ResourceClaim, Written> {
    let name = claim.metadata.name.clone().unwrap_or_default();
    let post = PostParams::default();
    if let Some(allocation) = chosen {
        if devices::allocation(&claim).is_some() {
            return Err(Written::Refused("got allocated elsewhere in the meantime".to_owned()));
        }
        if !devices::is_protected(&claim) {
            claim.metadata.finalizers.get_or_insert_default().push(devices::PROTECTION.to_owned());
            claim = api.replace(&name, &post, &claim).await.map_err(|error| failed(&error))?;
        }
        claim.status.get_or_insert_default().allocation = Some(allocation.clone());
    } else if devices::allocation(&claim).is_none() {
        return Err(Written::Refused("got deallocated elsewhere in the meantime".to_owned()));
    }
    if devices::is_reserved_for(&claim, &pod.uid) {
        return Ok(claim);
    }
    let consumers = claim.status.get_or_insert_default().reserved_for.get_or_insert_default();
    consumers.push(devices::consumer(&pod.key.name, &pod.uid));
    api.replace_status(&name, &post, &claim).await.map_err(|error| failed(&error))
}

/// Takes the pod's reservations back: it was not bound. What stays is taken away by the controller of claims once the
/// pod is gone.
pub(crate) async fn release(client: &Client, pod: &PodInfo, choices: &Choices) {
    for (key, uid) in &choices.reserve {
        let patch = json!({"metadata": {"uid": &**uid},
            "status": {"reservedFor": [{"$patch": "delete", "uid": &*pod.uid}]}});
        let result =
            api(client, key).patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        if let Err(error) = result
            && !client::is_not_found(&error)
            && !client::is_conflict(&error)
        {
            tracing::warn!(claim = %key, pod = %pod.key, %error, "a reservation could not be taken back");
        }
    }
}

/// Has a claim give its devices back that nobody uses but the pod which waits.
pub(crate) async fn deallocate(client: &Client, key: &Key, pod_uid: &str) {
    let api = api(client, key);
    let result = async {
        let Some(mut claim) = api.get_opt(&key.name).await? else { return Ok(()) };
        let is_alone = devices::consumers(&claim).iter().all(|consumer| consumer.uid == pod_uid);
        if !is_alone || devices::allocation(&claim).is_none() {
            return Ok(());
        }
        let status = claim.status.get_or_insert_default();
        (status.allocation, status.reserved_for) = (None, None);
        api.replace_status(&key.name, &PostParams::default(), &claim).await.map(drop)
    };
    let result: Result<(), kube::Error> = result.await;
    if let Err(error) = result {
        tracing::warn!(claim = %key, %error, "a claim could not give its devices back");
    }
}
