//! [`Manager`]: prepares the claims of pods and unprepares them, in upstream's order and words
//! (`pkg/kubelet/cm/dra/manager.go`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use csi::devices::Method;
use csi::devices_v1::{
    Claim as Asked, Device as Told, NodePrepareResourcesRequest, NodeUnprepareResourcesRequest,
};
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::api::resource::v1::ResourceClaim;
use kube::{Api, Client};
use pods::devices::{PodClaim, Source, allocation, claims_of, is_not_owner, is_of_pod, is_reserved_for};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::Drivers;
use super::checkpoint::{Checkpoint, Claim, Device, Key};
use crate::metrics::devices::Devices as Figures;
use crate::seams;

/// How long a call of a driver may take (upstream `defaultClientCallTimeout`).
const LIMIT: Duration = Duration::from_secs(45);

/// What claims are prepared with.
pub struct Deps {
    pub client: Client,
    pub drivers: Drivers,
    pub figures: Figures,
    /// The file that claims are kept in.
    pub checkpoint: PathBuf,
}

/// See the module's documentation.
pub struct Manager {
    deps: Deps,
    kept: Mutex<Checkpoint>,
    /// Who writes the file.
    writing: AsyncMutex<()>,
    /// One thing at a time happens to a claim, whichever pods it is for.
    turns: Mutex<HashMap<Key, Weak<AsyncMutex<()>>>>,
}

/// A claim that a pod asks for.
struct Wanted {
    key: Key,
    uid: String,
    drivers: BTreeSet<String>,
}

impl Manager {
    /// Reads what an earlier agent has prepared.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn new(deps: Deps) -> io::Result<Self> {
        let kept = Checkpoint::read(&deps.checkpoint)?;
        Ok(Self { deps, kept: Mutex::new(kept), writing: AsyncMutex::default(), turns: Mutex::default() })
    }

    fn kept(&self) -> MutexGuard<'_, Checkpoint> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the file say what is known now.
    async fn save(&self) -> Result<(), String> {
        let _turn = self.writing.lock().await;
        let text = self.kept().text();
        let path = self.deps.checkpoint.clone();
        let written = tokio::task::spawn_blocking(move || Checkpoint::store(&path, &text?)).await;
        let written =
            written.map_err(|error| error.to_string()).and_then(|done| done.map_err(|e| e.to_string()));
        written.map_err(|why| format!("checkpoint ResourceClaim state: {why}"))
    }

    /// Waits for the turn of all these claims.
    async fn turns(&self, keys: BTreeSet<Key>) -> Vec<OwnedMutexGuard<()>> {
        let mut held = Vec::new();
        // In one order, so that nobody waits for one who waits.
        for key in keys {
            let turn = {
                let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
                turns.retain(|_, turn| turn.strong_count() > 0);
                let slot = turns.entry(key).or_default();
                slot.upgrade().unwrap_or_else(|| {
                    let turn = Arc::new(AsyncMutex::new(()));
                    *slot = Arc::downgrade(&turn);
                    turn
                })
            };
            held.push(turn.lock_owned().await);
        }
        held
    }

    /// What an entry of the pod stands for; `None` where no claim is needed. Nothing is changed.
    async fn find(&self, pod: &Pod, entry: &PodClaim) -> Result<Option<Wanted>, String> {
        let (namespace, name, uid) = names(pod);
        let claim = match (&entry.source, entry.claim()) {
            (Source::NotNeeded, _) => return Ok(None),
            (_, None) => return Err(format!("pod \"{namespace}/{name}\": ResourceClaim not created yet")),
            (_, Some(claim)) => claim,
        };
        let api: Api<ResourceClaim> = Api::namespaced(self.deps.client.clone(), namespace);
        let found = api.get(claim).await.map_err(|error| match error {
            kube::Error::Api(status) => format!("fetch ResourceClaim {claim}: {}", status.message),
            error => format!("fetch ResourceClaim {claim}: {error}"),
        })?;
        if entry.is_made() && !is_of_pod(&found, uid) {
            return Err(is_not_owner(namespace, claim, name));
        }
        let claim_uid = found.metadata.uid.clone().unwrap_or_default();
        if !is_reserved_for(&found, uid) {
            return Err(format!(
                "pod {name} ({uid}) is not allowed to use ResourceClaim {claim} ({claim_uid})"
            ));
        }
        let Some(allocated) = allocation(&found) else {
            return Err(format!("ResourceClaim {claim}: not allocated"));
        };
        let results = allocated.devices.iter().flat_map(|devices| devices.results.iter().flatten());
        let drivers: BTreeSet<String> = results.map(|result| result.driver.clone()).collect();
        drivers.iter().try_for_each(|driver| self.deps.drivers.check(driver))?;
        Ok(Some(Wanted { key: (namespace.to_owned(), claim.to_owned()), uid: claim_uid, drivers }))
    }

    async fn prepare_all(&self, pod: &Pod) -> Result<(), String> {
        let mut wanted: Vec<Wanted> = Vec::new();
        for entry in claims_of(pod) {
            let found = self.find(pod, &entry).await?;
            wanted.extend(found.filter(|found| wanted.iter().all(|other| other.key != found.key)));
        }
        let _turns = self.turns(wanted.iter().map(|wanted| wanted.key.clone()).collect()).await;
        let unprepared = self.note(names(pod).2, wanted)?;
        // On disk before a driver is called: if the agent ends now, the claims are unprepared with the pod all the same.
        self.save().await?;
        for (driver, claims) in by_driver(&unprepared) {
            let devices = self.call_prepare(&driver, claims).await?;
            let mut kept = self.kept();
            for (key, devices) in devices {
                if let Some(claim) = kept.claims.get_mut(&key) {
                    claim.drivers.insert(driver.clone(), devices);
                }
            }
        }
        if unprepared.is_empty() {
            return Ok(());
        }
        self.save().await?;
        let mut kept = self.kept();
        for claim in &unprepared {
            if let Some(claim) = kept.claims.get_mut(&(claim.namespace.clone(), claim.name.clone())) {
                claim.is_prepared = true;
            }
        }
        Ok(())
    }

    /// Notes that the pod uses the claims. Returns those that are to be prepared.
    fn note(&self, pod_uid: &str, wanted: Vec<Wanted>) -> Result<Vec<Claim>, String> {
        let mut kept = self.kept();
        for Wanted { key, uid, .. } in &wanted {
            if let Some(old) = kept.claims.get(key).filter(|old| old.uid != *uid) {
                return Err(format!(
                    "old ResourceClaim with same name {} and different UID {} still exists (previous pod force-deleted?!)",
                    key.1, old.uid
                ));
            }
        }
        let mut unprepared = Vec::new();
        for Wanted { key, uid, drivers } in wanted {
            let (namespace, name) = key.clone();
            let fresh = || Claim { namespace, name, uid, ..Claim::default() };
            let claim = kept.claims.entry(key).or_insert_with(fresh);
            claim.pods.insert(pod_uid.to_owned());
            for driver in drivers {
                claim.drivers.entry(driver).or_default();
            }
            if !claim.is_prepared {
                unprepared.push(claim.clone());
            }
        }
        Ok(unprepared)
    }

    /// Has a driver prepare claims. Returns their devices.
    async fn call_prepare(
        &self,
        driver: &str,
        claims: Vec<Asked>,
    ) -> Result<Vec<(Key, Vec<Device>)>, String> {
        let client = self.deps.drivers.call(driver).await?;
        let began = Instant::now();
        let answer = client.prepare(NodePrepareResourcesRequest { claims: claims.clone() }, LIMIT).await;
        let method = client.service().path(Method::Prepare);
        self.deps.figures.called(driver, method, code_of(answer.as_ref().err()), began.elapsed());
        let answer = answer.map_err(|status| format!("NodePrepareResources: {}", words(&status)))?.claims;
        let mut prepared = Vec::new();
        let count = answer.len();
        for (uid, result) in answer {
            let claim = claims.iter().find(|claim| claim.uid == uid);
            let claim = claim
                .ok_or_else(|| format!("NodePrepareResources returned result for unknown claim UID {uid}"))?;
            if !result.error.is_empty() {
                let why = result.error;
                return Err(format!("NodePrepareResources failed for ResourceClaim {}: {why}", claim.name));
            }
            let devices = result.devices.into_iter().map(device).collect();
            prepared.push(((claim.namespace.clone(), claim.name.clone()), devices));
        }
        match claims.len() - count {
            0 => Ok(prepared),
            skipped => Err(format!("NodePrepareResources skipped {skipped} ResourceClaims")),
        }
    }

    async fn unprepare_all(&self, pod_uid: &str, keys: Vec<Key>) -> Result<(), String> {
        let _turns = self.turns(keys.iter().cloned().collect()).await;
        let mut last = Vec::new();
        {
            let mut kept = self.kept();
            for key in &keys {
                let Some(claim) = kept.claims.get_mut(key) else { continue };
                if claim.pods.iter().any(|other| other != pod_uid) {
                    claim.pods.remove(pod_uid);
                } else {
                    // What is half unprepared is not to be used again.
                    claim.is_prepared = false;
                    last.push(claim.clone());
                }
            }
        }
        for (driver, claims) in by_driver(&last) {
            self.call_unprepare(&driver, claims).await?;
        }
        for claim in last {
            self.kept().claims.remove(&(claim.namespace, claim.name));
        }
        self.save().await
    }

    async fn call_unprepare(&self, driver: &str, claims: Vec<Asked>) -> Result<(), String> {
        let client = self.deps.drivers.call(driver).await?;
        let began = Instant::now();
        let answer = client.unprepare(NodeUnprepareResourcesRequest { claims: claims.clone() }, LIMIT).await;
        let method = client.service().path(Method::Unprepare);
        self.deps.figures.called(driver, method, code_of(answer.as_ref().err()), began.elapsed());
        let answer = answer.map_err(|status| format!("NodeUnprepareResources: {}", words(&status)))?.claims;
        for (uid, result) in &answer {
            let claim = claims.iter().find(|claim| claim.uid == *uid);
            let claim = claim.ok_or_else(|| {
                format!("NodeUnprepareResources returned result for unknown claim UID {uid}")
            })?;
            if !result.error.is_empty() {
                let (name, why) = (&claim.name, &result.error);
                return Err(format!("NodeUnprepareResources failed for ResourceClaim {name}: {why}"));
            }
        }
        match claims.len() - answer.len() {
            0 => Ok(()),
            skipped => Err(format!("NodeUnprepareResources skipped {skipped} ResourceClaims")),
        }
    }
}

#[async_trait::async_trait]
impl seams::Devices for Manager {
    async fn prepare(&self, pod: &Pod) -> Result<(), String> {
        if claims_of(pod).is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        let done = self.prepare_all(pod).await;
        self.deps.figures.operated("PrepareResources", done.is_err(), began.elapsed());
        done.map_err(|why| format!("prepare dynamic resources: {why}"))
    }

    fn names(&self, pod: &Pod, container: &Container) -> Result<Vec<String>, String> {
        let asked = container.resources.iter().flat_map(|resources| resources.claims.iter().flatten());
        let (entries, kept) = (claims_of(pod), self.kept());
        let namespace = names(pod).0;
        let mut devices: Vec<String> = Vec::new();
        for asked in asked {
            let entry = entries.iter().find(|entry| *entry.name == *asked.name);
            let Some(claim) = entry.and_then(PodClaim::claim) else { continue };
            let known = kept.claims.get(&(namespace.to_owned(), claim.to_owned())).ok_or_else(|| {
                format!(
                    "internal error: unable to get claim info for ResourceClaim {claim} in namespace {namespace}"
                )
            })?;
            let request = asked.request.as_deref().filter(|request| !request.is_empty());
            let is_asked = |d: &&Device| {
                d.requests.is_empty() || request.is_none_or(|r| d.requests.iter().any(|own| own == r))
            };
            let found = known.drivers.values().flatten().filter(is_asked).flat_map(|d| d.cdi_devices.iter());
            for name in found {
                if !devices.contains(name) {
                    devices.push(name.clone());
                }
            }
        }
        Ok(devices)
    }

    async fn unprepare(&self, pod_uid: &str) -> Result<(), String> {
        let keys = self.kept().of_pod(pod_uid);
        if keys.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        let done = self.unprepare_all(pod_uid, keys).await;
        self.deps.figures.operated("UnprepareResources", done.is_err(), began.elapsed());
        done.map_err(|why| format!("unprepare dynamic resources: {why}"))
    }

    fn known_pods(&self) -> BTreeSet<String> {
        self.kept().pods()
    }
}

fn names(pod: &Pod) -> (&str, &str, &str) {
    fn text(value: &Option<String>) -> &str {
        value.as_deref().unwrap_or_default()
    }
    let meta = &pod.metadata;
    (text(&meta.namespace), text(&meta.name), text(&meta.uid))
}

/// The claims that each driver has a part in.
fn by_driver(claims: &[Claim]) -> BTreeMap<String, Vec<Asked>> {
    let mut batches: BTreeMap<String, Vec<Asked>> = BTreeMap::new();
    for claim in claims {
        let asked =
            Asked { namespace: claim.namespace.clone(), uid: claim.uid.clone(), name: claim.name.clone() };
        for driver in claim.drivers.keys() {
            batches.entry(driver.clone()).or_default().push(asked.clone());
        }
    }
    batches
}

fn device(told: Told) -> Device {
    Device {
        pool: told.pool_name,
        device: told.device_name,
        requests: told.request_names,
        cdi_devices: told.cdi_device_ids,
    }
}

/// gRPC's name of an outcome, as upstream writes it.
fn code_of(error: Option<&Status>) -> String {
    match error.map(Status::code) {
        None => "OK".to_owned(),
        Some(Code::Cancelled) => "Canceled".to_owned(),
        Some(code) => format!("{code:?}"),
    }
}

fn words(status: &Status) -> String {
    format!("rpc error: code = {} desc = {}", code_of(Some(status)), status.message())
}

#[cfg(test)]
#[path = "manager_tests.rs"]
mod tests;
