//! The pod side of the node agent: builds it from its configuration and runs it.
//!
//! Start at [`build`], then [`Pods::run`]: containers that run already are adopted, the remains of pods
//! deleted meanwhile are cleaned up, and from then on everything follows from the API's watch and the
//! runtime's events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::Shutdown;
use base::backoff::Policy;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::watch;

use crate::config::PodsConfig;
use crate::cri_calls::{Counted, Cri, CriError, GrpcCri};
use crate::cri_view::{LABEL_POD_NAME, LABEL_POD_NAMESPACE, LABEL_POD_UID};
use crate::executor::Executor;
use crate::images::Images;
use crate::planner::{Eviction, Rejection};
use crate::pod_api::KubePodApi;
use crate::relist::{PERIOD, Seen};
use crate::source::PodSource;
use crate::static_pods::StaticPods;
use crate::static_pods::mirrors::MirroredApi;
use crate::worker::{PodNews, Tools};
use crate::workers::Workers;

/// How long to wait between tries to reach the runtime.
const REACH: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(10));

/// The pods of this node.
pub struct Pods {
    workers: Workers,
    executor: Arc<Executor>,
    source: PodSource,
    statics: StaticPods,
    /// Whether all static pods are known.
    statics_known: watch::Sender<bool>,
    /// Whether all pods of the API are known.
    api_known: watch::Sender<bool>,
    shutdown: Shutdown,
}

/// Builds the pod side of the agent; nothing runs yet. Waits until the runtime answers.
///
/// # Errors
/// When the shutdown starts before the runtime has answered.
pub async fn build(config: PodsConfig, shutdown: Shutdown) -> Result<Pods, CriError> {
    let cri = Arc::new(GrpcCri::new(config.runtime, config.images));
    let cri: Arc<dyn Cri> = Arc::new(Counted::new(cri, config.metrics.clone()));
    let api =
        Arc::new(MirroredApi { api: KubePodApi::new(config.client), pods: config.source.pods().clone() });
    let images = Images::new(cri.clone(), api.clone(), config.events.clone(), config.clock.clone());
    let executor = Executor {
        cri,
        api,
        volumes: config.volumes,
        devices: config.devices,
        containers: config.containers,
        sandboxes: config.sandboxes,
        images,
        events: config.events,
        clock: config.clock,
    };
    let executor = Arc::new(executor);
    let tools = Tools {
        runtime_name: runtime_name(executor.cri.as_ref(), &shutdown).await?,
        executor: executor.clone(),
        facts: config.facts,
        metrics: config.metrics,
        freed: Arc::default(),
        shutdown: shutdown.clone(),
    };
    Ok(Pods {
        workers: Workers::new(tools),
        executor,
        source: config.source,
        statics: config.statics,
        statics_known: watch::Sender::new(false),
        api_known: watch::Sender::new(false),
        shutdown,
    })
}

async fn runtime_name(cri: &dyn Cri, shutdown: &Shutdown) -> Result<String, CriError> {
    let mut failures = 0;
    loop {
        match cri.runtime_name().await {
            Ok(name) => return Ok(name),
            Err(error) => {
                failures += 1;
                tracing::warn!(%error, "the container runtime does not answer yet");
                tokio::select! {
                    () = tokio::time::sleep(REACH.delay(failures)) => {}
                    () = shutdown.started() => return Err(error),
                }
            }
        }
    }
}

impl Pods {
    /// Who is here; for the node's HTTP API.
    pub fn workers(&self) -> Workers {
        self.workers.clone()
    }

    /// Runs until shutdown. Containers run on.
    pub async fn run(self) {
        tokio::select! {
            () = self.follow() => {}
            () = self.statics.run(&self.workers, self.executor.cri.as_ref(), &self.statics_known) => {}
            () = self.learn() => {}
            () = self.evict() => {}
            () = self.workers.fill_freed_room() => {}
            () = self.workers.make_sure() => {}
            () = self.shutdown.started() => {}
        }
        self.workers.drain().await;
    }

    async fn evict(&self) {
        loop {
            let over = self.executor.volumes.next_over_limit().await;
            let why = Rejection { reason: "Evicted".to_owned(), message: over.message };
            // As upstream: who fills the disk is not waited for.
            let eviction =
                Eviction { grace_s: Some(1), signal: Some("emptydirfs.limit"), ..Eviction::from(why) };
            self.workers.evict(&over.pod_uid, eviction);
        }
    }

    /// Hears of the pods of the API, and ends what nobody asks for once all that ask are known. Never ends.
    async fn learn(&self) {
        self.source.connect(&self.workers).await;
        self.api_known.send_replace(true);
        // The other half may take until a web server answers.
        let mut statics_known = self.statics_known.subscribe();
        let _ = statics_known.wait_for(|known| *known).await;
        let mut failures = 0;
        while let Err(error) = self.find_orphans().await {
            failures += 1;
            tracing::warn!(%error, "the container runtime cannot be listed");
            tokio::time::sleep(REACH.delay(failures)).await;
        }
        std::future::pending().await
    }

    fn knows_all(&self) -> bool {
        *self.api_known.borrow() && *self.statics_known.borrow()
    }

    async fn follow(&self) {
        let mut failures = 0;
        loop {
            // The stream is opened before the state is read, so that no change falls between.
            let mut events = match self.executor.cri.events().await {
                Ok(events) => events,
                Err(error) if error.is_unimplemented() => return self.relist().await,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, "the container runtime's events cannot be followed");
                    tokio::time::sleep(REACH.delay(failures)).await;
                    continue;
                }
            };
            self.workers.all_changed();
            match self.find_orphans().await {
                Ok(()) => failures = 0,
                Err(error) => tracing::warn!(%error, "the container runtime cannot be listed"),
            }
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => self.pass_on(&event),
                    Err(error) => {
                        tracing::warn!(%error, "the container runtime's event stream broke");
                        break;
                    }
                }
            }
            failures += 1;
            tokio::time::sleep(REACH.delay(failures)).await;
        }
    }

    /// Follows a runtime that sends no events; never ends.
    async fn relist(&self) {
        tracing::info!("the container runtime sends no events: what it runs is listed every second");
        let cri = &self.executor.cri;
        let mut seen = Seen::default();
        let mut knows_orphans = false;
        loop {
            match tokio::try_join!(cri.sandboxes(None), cri.containers(None)) {
                Ok((sandboxes, containers)) => {
                    for uid in seen.changes(&sandboxes, &containers) {
                        self.workers.runtime_changed(&uid);
                    }
                    if !knows_orphans {
                        self.workers.all_changed();
                        knows_orphans = self.find_orphans().await.is_ok();
                    }
                }
                Err(error) => tracing::warn!(%error, "the container runtime cannot be listed"),
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    fn pass_on(&self, event: &cri::v1::ContainerEventResponse) {
        let sandbox = event.pod_sandbox_status.as_ref();
        let by_sandbox = sandbox.and_then(|s| s.metadata.as_ref()).map(|m| m.uid.clone());
        let by_label = || event.containers_statuses.iter().find_map(|c| c.labels.get(LABEL_POD_UID).cloned());
        match by_sandbox.filter(|uid| !uid.is_empty()).or_else(by_label) {
            Some(uid) => drop(self.workers.runtime_changed(&uid)),
            None => self.workers.all_changed(),
        }
    }

    /// Pods that have something here but that nobody asks for: they are ended and cleared away. Does nothing while it is
    /// not known who asks for what.
    async fn find_orphans(&self) -> Result<(), CriError> {
        let cri = &self.executor.cri;
        let (sandboxes, containers) = tokio::try_join!(cri.sandboxes(None), cri.containers(None))?;
        if !self.knows_all() {
            return Ok(());
        }
        let mut orphans: BTreeMap<String, (String, String)> = BTreeMap::new();
        let labels = sandboxes.iter().map(|s| &s.labels).chain(containers.iter().map(|c| &c.labels));
        for labels in labels {
            let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
            let uid = label(LABEL_POD_UID);
            if !uid.is_empty() {
                orphans.insert(uid, (label(LABEL_POD_NAMESPACE), label(LABEL_POD_NAME)));
            }
        }
        let executor = &self.executor;
        let (mounted, logged) = tokio::join!(executor.volumes.known_pods(), executor.sandboxes.logged_pods());
        for uid in mounted.into_iter().chain(logged).chain(executor.devices.known_pods()) {
            orphans.entry(uid).or_default();
        }
        for (uid, (namespace, name)) in orphans {
            if !self.workers.knows(&uid) {
                tracing::info!(uid, namespace, name, "clears away a pod that nobody asks for any more");
                let metadata = ObjectMeta {
                    uid: Some(uid),
                    namespace: Some(namespace),
                    name: Some(name),
                    ..ObjectMeta::default()
                };
                self.workers.deliver(PodNews::Gone(Arc::new(Pod { metadata, ..Pod::default() })));
            }
        }
        Ok(())
    }
}
