//! Brings a pod's volumes up and down and keeps projected ones fresh. Start at [`Manager::setup`].
//!
//! One lock per pod orders what happens to its folder. Changes of objects arrive as the uids of the
//! pods they concern; the one task of [`Manager::run`] rewrites those pods' files.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::{Clock, Shutdown};
use futures::StreamExt;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Volume};
use kube::Client;
use tokio::sync::{Mutex as AsyncMutex, Notify, watch};

use super::complaints::Complaints;
use super::csi::Csi;
use super::csi::asked::Asked;
use super::csi::expansion::{Growth, Used};
use super::error::SetupError;
use super::exclusive::Exclusive;
use super::figures::{Figures, Measured};
use super::limits::{Limit, Limits};
use super::objects::{Objects, OnChange};
use super::persistent::{Found, PersistentVolumes};
use super::plugins::{Plugins, Setup};
use super::rounds::Rounds;
use super::sources::{References, Sources};
use super::tokens::Tokens;
use super::{PodDirs, VolumeError, mount_table, teardown};
use crate::node_facts::NodeFacts;
use crate::seams;
pub use crate::seams::{MountedVolume, MountedVolumes};

/// How often it is looked whether volumes have grown, as often as upstream looks at each pod.
const EXPAND_EVERY: Duration = Duration::from_mins(1);
/// How many volumes of one driver are expanded at once.
const EXPANDING: usize = 4;

/// Shared with the callbacks of the watches.
#[derive(Default)]
struct Dirty {
    pods: Mutex<HashSet<String>>,
    wake: Notify,
}

impl Dirty {
    fn add<'a>(&self, uids: impl IntoIterator<Item = &'a String>) {
        lock(&self.pods).extend(uids.into_iter().cloned());
        self.wake.notify_one();
    }
}

struct Managed {
    pod: Arc<Pod>,
    order: Arc<AsyncMutex<()>>,
    complaints: Complaints,
    /// The volumes of claims, once they are ready.
    measured: Vec<Measured>,
    /// Becomes true when the pod's volumes are to be taken down.
    leaving: watch::Sender<bool>,
}

/// The volumes of all pods on this node.
pub struct Manager {
    dirs: PodDirs,
    facts: Arc<NodeFacts>,
    clock: Arc<dyn Clock>,
    config_maps: Objects<ConfigMap>,
    secrets: Objects<Secret>,
    tokens: Tokens,
    persistent: PersistentVolumes,
    plugins: Plugins,
    drivers: Option<Arc<Csi>>,
    pods: Mutex<HashMap<String, Managed>>,
    dirty: Arc<Dirty>,
    limits: Limits,
    figures: Figures,
    exclusive: Exclusive,
}

impl Manager {
    pub fn new(client: Client, dirs: PodDirs, facts: Arc<NodeFacts>, clock: Arc<dyn Clock>) -> Self {
        let dirty = Arc::new(Dirty::default());
        let marks = dirty.clone();
        let on_change: OnChange = Arc::new(move |users: &HashSet<String>| marks.add(users));
        Self {
            facts,
            config_maps: Objects::new(client.clone(), on_change.clone()),
            secrets: Objects::new(client.clone(), on_change),
            persistent: PersistentVolumes::new(client.clone(), dirs.persistent()),
            tokens: Tokens::new(client, clock.clone()),
            exclusive: Exclusive::new(dirs.clone()),
            dirs,
            plugins: Plugins::default(),
            drivers: None,
            clock,
            pods: Mutex::default(),
            dirty,
            limits: Limits::default(),
            figures: Figures::default(),
        }
    }

    /// The same with volumes of drivers.
    #[must_use]
    pub fn with_drivers(mut self, drivers: Arc<Csi>) -> Self {
        self.plugins = Plugins::new(Some(drivers.clone()));
        self.drivers = Some(drivers);
        self
    }

    /// The ConfigMaps followed for pods, for whoever else needs them (environments).
    pub fn config_maps(&self) -> &Objects<ConfigMap> {
        &self.config_maps
    }

    /// The Secrets followed for pods.
    pub fn secrets(&self) -> &Objects<Secret> {
        &self.secrets
    }

    pub fn dirs(&self) -> &PodDirs {
        &self.dirs
    }

    /// Rewrites projected files when what they show changes, until `shutdown`. No work when idle.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        tokio::select! {
            () = shutdown.started() => {}
            () = self.follow() => {}
            () = self.limits.run() => {}
            () = self.expand() => {}
        }
    }

    async fn follow(&self) {
        loop {
            let due = self.dirty.wake.notified();
            let renewal = self.until_next_renewal();
            tokio::select! {
                () = due => {}
                () = renewal => self.dirty.add(&self.tokens.due()),
            }
            let uids = std::mem::take(&mut *lock(&self.dirty.pods));
            for uid in uids {
                self.refresh(&uid).await;
            }
        }
    }

    async fn until_next_renewal(&self) {
        let Some(at) = self.tokens.next_renewal() else { return std::future::pending().await };
        let wait = self.clock.now().duration_until(at).unsigned_abs();
        let passed = at <= self.clock.now();
        tokio::time::sleep(if passed { Duration::ZERO } else { wait }).await;
    }

    async fn refresh(&self, uid: &str) {
        let Some((pod, order)) = self.managed(uid) else { return };
        let _turn = order.lock().await;
        if self.managed(uid).is_none() {
            return;
        }
        let (sources, mut failed) = self.gather(&pod).await;
        let volumes = volumes(&pod).filter(|volume| self.follows_sources(volume)).collect();
        failed.extend(self.set_up_all(&pod, volumes, sources).await.1);
        // What is mounted stays as it was, as upstream; the next change tries again.
        let deleted = pod.metadata.deletion_timestamp.is_some();
        let told = lock(&self.pods).get_mut(uid).map(|managed| managed.complaints.renew(&failed, deleted));
        for (error, warn) in told.into_iter().flatten() {
            match warn {
                true => tracing::warn!(pod = uid, error, "a volume could not be updated"),
                false => tracing::debug!(pod = uid, error, "a volume still cannot be updated"),
            }
        }
    }

    fn track_limits(&self, pod: &Pod, mounted: &MountedVolumes) {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        for volume in volumes(pod) {
            let limit = self.plugins.of(volume).ok().and_then(|plugin| plugin.size_limit(volume));
            if let (Some(limit), Some(place)) = (limit, mounted.volumes.get(&volume.name)) {
                let (uid, volume) = (uid.to_owned(), volume.name.clone());
                let limit = Limit { uid, volume, bytes: limit.bytes, text: limit.text };
                self.limits.track(place.host_path.clone(), limit);
            }
        }
    }

    /// Has drivers expand the volumes that have grown while pods use them. A node may read the claims and volumes of its
    /// pods one by one and follow none: they are looked at where a driver expands volumes. Never ends.
    async fn expand(&self) {
        let Some(drivers) = &self.drivers else { return std::future::pending().await };
        let mut rounds = Rounds::default();
        loop {
            tokio::select! {
                () = rounds.work() => {}
                () = tokio::time::sleep(EXPAND_EVERY) => {}
            }
            let mut of_drivers: HashMap<String, Vec<(Arc<Pod>, Measured)>> = HashMap::new();
            for (pod, one) in self.measured() {
                if let Some(driver) = one.driver() {
                    of_drivers.entry(driver.to_owned()).or_default().push((pod, one));
                }
            }
            for (driver, volumes) in of_drivers {
                rounds.begin(&driver.clone(), self.expand_all(drivers, driver, volumes));
            }
        }
    }

    /// Has one driver expand those of its volumes that have grown, a few at a time.
    async fn expand_all(&self, drivers: &Csi, driver: String, measured: Vec<(Arc<Pod>, Measured)>) {
        if !drivers.expands(&driver).await {
            return;
        }
        let looks = futures::stream::iter(measured).map(|(pod, one)| async move {
            let Some(volume) = volumes(&pod).find(|volume| volume.name == one.volume()) else { return };
            if let Err(error) = self.expand_one(drivers, &pod, volume, one.path()).await {
                let (pod, volume) = (&pod.metadata.name, &volume.name);
                tracing::warn!(pod, volume, error, "a volume cannot be expanded");
            }
        });
        looks.buffer_unordered(EXPANDING).for_each(|()| async {}).await;
    }

    async fn expand_one(&self, drivers: &Csi, pod: &Pod, volume: &Volume, path: &Path) -> Result<(), String> {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let leaving = lock(&self.pods).get(uid).map(|managed| managed.leaving.subscribe());
        let Some(leaving) = leaving.filter(|leaving| !*leaving.borrow()) else { return Ok(()) };
        let Some(found) = self.persistent.find(pod, volume).await else { return Ok(()) };
        let found = found.map_err(|error| error.to_string())?;
        let growth = Growth::of(&found.volume, &found.claim).filter(|_| !found.read_only);
        let asked = Asked::persistent(&found.volume, found.read_only);
        let Some((growth, asked)) = growth.zip(asked) else { return Ok(()) };
        drivers.expand(Used { uid, asked: &asked, target: path, leaving }, growth).await.map(drop)
    }

    /// The volumes of claims that pods have.
    fn measured(&self) -> Vec<(Arc<Pod>, Measured)> {
        let pods = lock(&self.pods);
        let of = |managed: &Managed| {
            let pod = managed.pod.clone();
            managed.measured.clone().into_iter().map(move |one| (pod.clone(), one)).collect::<Vec<_>>()
        };
        pods.values().flat_map(of).collect()
    }

    /// From now on it can be said what the pod's claims hold.
    fn measure(&self, pod: &Pod, persistent: &HashMap<String, Found>, mounted: &MountedVolumes) {
        let measured = volumes(pod).filter_map(|volume| {
            let (found, place) = persistent.get(&volume.name).zip(mounted.volumes.get(&volume.name))?;
            Measured::new(pod, volume, found, place)
        });
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        if let Some(managed) = lock(&self.pods).get_mut(uid) {
            managed.measured = measured.collect();
        }
    }

    fn follows_sources(&self, volume: &Volume) -> bool {
        self.plugins.of(volume).is_ok_and(|plugin| plugin.follows_sources())
    }

    fn managed(&self, uid: &str) -> Option<(Arc<Pod>, Arc<AsyncMutex<()>>)> {
        lock(&self.pods).get(uid).map(|m| (m.pod.clone(), m.order.clone()))
    }

    fn enter(&self, pod: &Arc<Pod>) -> Arc<AsyncMutex<()>> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut pods = lock(&self.pods);
        let managed = pods.entry(uid).or_insert_with(|| Managed {
            pod: pod.clone(),
            order: Arc::default(),
            complaints: Complaints::default(),
            measured: Vec::new(),
            leaving: watch::Sender::new(false),
        });
        managed.pod = pod.clone();
        // The renewal timer must see tokens that setup is about to get.
        managed.order.clone()
    }

    /// Fetches what the pod's volumes need. What is absent is left out; what could not be asked for
    /// comes back as errors of the volumes that need it.
    async fn gather(&self, pod: &Arc<Pod>) -> (Sources, Vec<SetupError>) {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let mut wanted = References::default();
        for volume in volumes(pod) {
            let References { config_maps, secrets, tokens } = self.plugins.references(volume);
            wanted.config_maps.extend(config_maps);
            wanted.secrets.extend(secrets);
            wanted.tokens.extend(tokens);
        }
        let maps = join_all(
            wanted
                .config_maps
                .iter()
                .map(|name| async move { (name.clone(), self.config_maps.get(uid, namespace, name).await) }),
        );
        let secrets = join_all(
            wanted
                .secrets
                .iter()
                .map(|name| async move { (name.clone(), self.secrets.get(uid, namespace, name).await) }),
        );
        let tokens = join_all(
            wanted.tokens.iter().map(|key| async move { (key.clone(), self.tokens.get(pod, key).await) }),
        );
        let (maps, secrets, tokens) = tokio::join!(maps, secrets, tokens);
        let mut sources = Sources { allocatable: self.facts.allocatable(), ..Sources::default() };
        let mut failed = Vec::new();
        for (name, result) in maps {
            match result {
                Ok(object) => sources.config_maps.extend(object.map(|o| (name, o))),
                Err(message) => self.blame(
                    pod,
                    &mut failed,
                    |r| r.config_maps.contains(&name),
                    || VolumeError::Fetch { kind: "configmap", message: message.clone() },
                ),
            }
        }
        for (name, result) in secrets {
            match result {
                Ok(object) => sources.secrets.extend(object.map(|o| (name, o))),
                Err(message) => self.blame(
                    pod,
                    &mut failed,
                    |r| r.secrets.contains(&name),
                    || VolumeError::Fetch { kind: "secret", message: message.clone() },
                ),
            }
        }
        for (key, result) in tokens {
            match result {
                Ok(token) => {
                    sources.tokens.insert(key, token);
                }
                Err(error) => self.blame(
                    pod,
                    &mut failed,
                    |r| r.tokens.contains(&key),
                    || VolumeError::Token(error.to_string()),
                ),
            }
        }
        (sources, failed)
    }

    /// Finds what the pod's claims stand for.
    async fn find_persistent(&self, pod: &Pod, sources: &mut Sources, failed: &mut Vec<SetupError>) {
        let found = volumes(pod).map(|volume| async move {
            let mut found = self.persistent.find(pod, volume).await?;
            if let Ok(volume) = &found {
                let uid = pod.metadata.uid.as_deref().unwrap_or_default();
                let taken = self.exclusive.take(uid, &volume.volume).await;
                found = taken.and(found);
            }
            Some((volume.name.clone(), found))
        });
        for (volume, found) in join_all(found).await.into_iter().flatten() {
            match found {
                Ok(found) => drop(sources.persistent.insert(volume, found)),
                Err(source) => failed.push(SetupError { volume, source }),
            }
        }
    }

    /// Sets `volumes` up. Returns those that are ready, by name, and why others are not.
    async fn set_up_all(
        &self,
        pod: &Arc<Pod>,
        volumes: Vec<&Volume>,
        sources: Sources,
    ) -> (Vec<(String, MountedVolume)>, Vec<SetupError>) {
        let (sources, now) = (Arc::new(sources), self.clock.now());
        let node_memory_bytes = self.facts.allocatable_amount("memory");
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        // One that is not known any more leaves.
        let leaving = lock(&self.pods).get(uid).map(|managed| managed.leaving.subscribe());
        let leaving = leaving.unwrap_or_else(|| watch::channel(true).1);
        let one = async |volume: &Volume| {
            let (dirs, pod, sources) = (self.dirs.clone(), pod.clone(), sources.clone());
            let (volume, leaving) = (volume.clone(), leaving.clone());
            let setup = Setup { dirs, pod, volume: volume.clone(), sources, now, node_memory_bytes, leaving };
            self.plugins.of(&volume)?.set_up(setup).await
        };
        let results = join_all(volumes.iter().map(|volume| one(volume))).await;
        let (mut ready, mut failed) = (Vec::new(), Vec::new());
        for (volume, result) in volumes.into_iter().zip(results) {
            match result {
                Ok(mounted) => ready.push((volume.name.clone(), mounted)),
                Err(source) => failed.push(SetupError { volume: volume.name.clone(), source }),
            }
        }
        (ready, failed)
    }

    /// Adds `error` for each volume of the pod whose references `concerns`.
    fn blame(
        &self,
        pod: &Pod,
        failed: &mut Vec<SetupError>,
        concerns: impl Fn(&References) -> bool,
        error: impl Fn() -> VolumeError,
    ) {
        for volume in volumes(pod) {
            if concerns(&self.plugins.references(volume)) && failed.iter().all(|e| e.volume != volume.name) {
                failed.push(SetupError { volume: volume.name.clone(), source: error() });
            }
        }
    }
}

#[async_trait::async_trait]
impl seams::Volumes for Manager {
    async fn setup(&self, pod: &Arc<Pod>) -> Result<MountedVolumes, Vec<seams::VolumeFailure>> {
        let order = self.enter(pod);
        let _turn = order.lock().await;
        let (mut sources, mut failed) = self.gather(pod).await;
        self.find_persistent(pod, &mut sources, &mut failed).await;
        let blamed: HashSet<String> = failed.iter().map(|e| e.volume.clone()).collect();
        let volumes = volumes(pod).filter(|v| !blamed.contains(&v.name)).collect();
        let persistent = sources.persistent.clone();
        let (ready, late) = self.set_up_all(pod, volumes, sources).await;
        let mounted = MountedVolumes { volumes: ready.into_iter().collect() };
        failed.extend(late);
        self.measure(pod, &persistent, &mounted);
        self.track_limits(pod, &mounted);
        // A new token may be due before the one the timer waits for.
        self.dirty.wake.notify_one();
        if failed.is_empty() {
            return Ok(mounted);
        }
        let convert = |e: SetupError| seams::VolumeFailure {
            reason: e.reason(),
            message: e.to_string(),
            volume: e.volume,
        };
        Err(failed.into_iter().map(convert).collect())
    }

    async fn pod_changed(&self, pod: &Arc<Pod>) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let shows_pod = volumes(pod).any(|v| self.plugins.of(v).is_ok_and(|plugin| plugin.shows_metadata(v)));
        let known = {
            let mut pods = lock(&self.pods);
            pods.get_mut(&uid).map(|m| std::mem::replace(&mut m.pod, pod.clone()))
        };
        let Some(old) = known else { return };
        let shown = |p: &Pod| (p.metadata.labels.clone(), p.metadata.annotations.clone());
        if shows_pod && shown(&old) != shown(pod) {
            self.dirty.add([&uid]);
        }
    }

    async fn teardown(&self, pod_uid: &str) -> Result<(), seams::VolumeFailure> {
        let managed = self.managed(pod_uid);
        let order = managed.map(|(_, order)| order).unwrap_or_default();
        self.pod_ends(pod_uid);
        let _turn = order.lock().await;
        self.config_maps.release(pod_uid);
        self.secrets.release(pod_uid);
        self.tokens.forget(pod_uid);
        self.limits.forget(pod_uid);
        let fail = |volume: String, error: VolumeError| seams::VolumeFailure {
            reason: "FailedUnMount",
            volume,
            message: error.to_string(),
        };
        if let Some(drivers) = &self.drivers {
            // What is bound to parts of volumes would keep drivers from unmounting them.
            let parts = self.dirs.subpaths(pod_uid);
            let unbound = blocking(move || mount_table::unmount_under(&teardown::real(&parts))).await;
            unbound.map_err(|error| fail(String::new(), error))?;
            drivers.tear_down(pod_uid).await.map_err(|(volume, error)| fail(volume, error))?;
        }
        let (dirs, uid) = (self.dirs.clone(), pod_uid.to_owned());
        let removed = blocking(move || teardown::pod(&dirs, &uid)).await;
        removed.map_err(|error| fail(String::new(), error))?;
        lock(&self.pods).remove(pod_uid);
        Ok(())
    }

    fn pod_ends(&self, pod_uid: &str) {
        if let Some(managed) = lock(&self.pods).get(pod_uid) {
            managed.leaving.send_replace(true);
        }
    }

    async fn claim_figures(&self) -> Arc<Vec<seams::ClaimFigures>> {
        self.figures.of(self.drivers.as_deref(), || self.measured()).await
    }

    async fn next_over_limit(&self) -> seams::OverLimit {
        self.limits.next().await
    }

    async fn known_pods(&self) -> Vec<String> {
        let dirs = self.dirs.clone();
        tokio::task::spawn_blocking(move || teardown::known_pods(&dirs)).await.unwrap_or_default()
    }
}

async fn blocking(
    work: impl FnOnce() -> Result<(), VolumeError> + Send + 'static,
) -> Result<(), VolumeError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(VolumeError::TaskLost(error.to_string())))
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.iter().flat_map(|s| s.volumes.iter().flatten())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

#[cfg(test)]
#[path = "manager_tests.rs"]
mod privileged;
