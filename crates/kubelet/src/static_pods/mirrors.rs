//! The mirror pods: an object in the API for each static pod, by which others see it. They tell of what runs, whatever
//! becomes of them: a deleted one is made again, and its containers run on.
//!
//! Start at [`steps`], which is pure. [`MirroredApi`] has the status of a static pod written to its mirror.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base::Clock;
use base::backoff::Policy;
use informer::{Cache, Delta};
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Error;
use kube::api::{Api, PostParams};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::StaticPodsDeps;
use super::register::{Key, Register, Running, key};
use crate::origin::{MIRROR_ANNOTATION, is_mirror, is_mirror_of_static, is_static, mirrored_uid};
use crate::pod_api::{KubePodApi, PodApi, PodApiError};
use crate::workers::Workers;

/// How long to wait after a failed request: the namespace may not be there yet, another pod may have the name, and nobody
/// tells a node when that has changed.
const AGAIN: Policy = Policy::new(Duration::from_millis(500), Duration::from_secs(30));
/// How long a mirror that was deleted is away before it is made again: clients wait for the deletion of a name, and may
/// miss one that the next creation follows at once.
const AWAY: Duration = Duration::from_secs(1);

/// What makes the objects in the API what they must be.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Create(Box<Pod>),
    Delete(Arc<Pod>),
}

/// Keeps the mirror pods of a node.
pub struct Mirrors {
    node_name: String,
    pods: Cache<Pod>,
    node: Cache<Node>,
    client: kube::Client,
    api: KubePodApi,
    changed: Arc<Notify>,
    pub(super) clock: Arc<dyn Clock>,
    /// Failures of late, and when to try again.
    failed: Mutex<BTreeMap<Key, (u32, Instant)>>,
}

/// What is to be done so that each static pod has its mirror, and no other object says that it is one. `complete` says
/// whether all static pods are known.
fn steps(running: &[Running], mirrors: &[Arc<Pod>], node: &Node, complete: bool) -> Vec<Step> {
    let there: BTreeMap<Key, &Arc<Pod>> = mirrors.iter().map(|mirror| (key(mirror), mirror)).collect();
    let known: BTreeMap<Key, &Running> = running.iter().map(|running| (key(&running.pod), running)).collect();
    let mut steps = Vec::new();
    for (name, mirror) in &there {
        let is_right = is_on_its_way(mirror)
            || match known.get(name) {
                None => !complete,
                // It shows the pod's end, and is asked for again by nobody until then.
                Some(running) if running.ending => mirror.metadata.deletion_timestamp.is_none(),
                Some(running) => shows(mirror, &running.pod, node),
            };
        if !is_right {
            steps.push(Step::Delete(Arc::clone(mirror)));
        }
    }
    let missing = known.iter().filter(|(name, running)| !running.ending && !there.contains_key(*name));
    steps.extend(missing.map(|(_, running)| Step::Create(Box::new(mirror_of(&running.pod, node)))));
    steps
}

/// Whether somebody else's finalizer is all that holds an object which has been deleted: its end is told.
fn is_on_its_way(mirror: &Pod) -> bool {
    let meta = &mirror.metadata;
    meta.deletion_timestamp.is_some()
        && meta.deletion_grace_period_seconds == Some(0)
        && meta.finalizers.as_ref().is_some_and(|all| !all.is_empty())
}

fn shows(mirror: &Pod, pod: &Pod, node: &Node) -> bool {
    let mut owners = mirror.metadata.owner_references.iter().flatten();
    mirror.metadata.deletion_timestamp.is_none()
        && mirrored_uid(mirror) == pod.metadata.uid.as_deref()
        && owners.any(|owner| Some(&owner.uid) == node.metadata.uid.as_ref())
}

fn mirror_of(pod: &Pod, node: &Node) -> Pod {
    let mut annotations = pod.metadata.annotations.clone().unwrap_or_default();
    annotations.insert(MIRROR_ANNOTATION.to_owned(), pod.metadata.uid.clone().unwrap_or_default());
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: node.metadata.name.clone().unwrap_or_default(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    Pod {
        metadata: ObjectMeta {
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            labels: pod.metadata.labels.clone(),
            annotations: Some(annotations),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: pod.spec.clone(),
        status: None,
    }
}

impl Mirrors {
    pub(super) fn new(node: &str, deps: StaticPodsDeps, api: KubePodApi, changed: Arc<Notify>) -> Self {
        let StaticPodsDeps { pods, node: nodes, client, clock, .. } = deps;
        Self {
            node_name: node.to_owned(),
            pods,
            node: nodes,
            client,
            api,
            changed,
            clock,
            failed: Mutex::default(),
        }
    }

    /// The mirror of a static pod, if the API has it.
    pub(super) fn of(&self, pod: &Pod) -> Option<Arc<Pod>> {
        let (namespace, name) = key(pod);
        let mirror = self.pods.get(&namespace, &name)?;
        (mirrored_uid(&mirror) == pod.metadata.uid.as_deref()).then_some(mirror)
    }

    /// Keeps the objects as they must be, and has the workers hear of them. Never ends.
    pub(super) async fn keep(
        &self,
        register: &Mutex<Register>,
        workers: &Workers,
        mut complete: watch::Receiver<bool>,
    ) {
        self.pods.wait_synced().await;
        let (changed, workers) = (self.changed.clone(), workers.clone());
        self.pods.subscribe(move |delta| {
            let Some(mirror) =
                delta.object().typed().filter(|pod| is_mirror_of_static(pod) && is_mirror(delta.object()))
            else {
                return;
            };
            if let Delta::Applied { .. } = delta {
                workers.mirrored(mirror);
            }
            changed.notify_one();
        });
        let changed = self.changed.clone();
        self.node.subscribe(move |delta| {
            // Mirrors belong to one Node object, not to its name.
            if let Delta::Applied { new, old } = delta
                && old.as_ref().is_none_or(|old| old.uid != new.uid)
            {
                changed.notify_one();
            }
        });
        let name = self.node_name.clone();
        self.node.wait_until(|nodes| nodes.get("", &name).is_some()).await;
        loop {
            let running = register.lock().unwrap_or_else(|e| e.into_inner()).running();
            let known = *complete.borrow_and_update();
            let again = self.round(&running, known).await;
            let wait = async {
                match again {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                Ok(()) = complete.changed() => {}
                () = wait => {}
            }
        }
    }

    /// Takes the steps that are due; the moment of the next one that failed.
    async fn round(&self, running: &[Running], complete: bool) -> Option<Instant> {
        let node = self.node.get("", &self.node_name)?;
        let all =
            self.pods.scan("a node has a hundred pods, and looks for mirror pods when one of them changes");
        let mirrors: Vec<Arc<Pod>> = all
            .iter()
            .filter(|pod| is_mirror(pod))
            .filter_map(|pod| pod.typed())
            .filter(|pod| is_mirror_of_static(pod))
            .cloned()
            .collect();
        let steps = steps(running, &mirrors, &node, complete);
        let pod_of = |step: &Step| match step {
            Step::Create(pod) => key(pod),
            Step::Delete(pod) => key(pod),
        };
        let names: Vec<Key> = steps.iter().map(pod_of).collect();
        self.failed().retain(|name, _| names.contains(name));
        for (step, name) in steps.into_iter().zip(names) {
            if self.failed().get(&name).is_some_and(|(_, at)| *at > Instant::now()) {
                continue;
            }
            match self.take(step).await {
                Ok(None) => drop(self.failed().remove(&name)),
                Ok(Some(pause)) => {
                    // What is still there after that is not asked to go again and again.
                    let mut failed = self.failed();
                    let (count, at) = failed.entry(name).or_insert_with(|| (0, Instant::now()));
                    *count = count.saturating_add(1);
                    *at = Instant::now() + pause.max(AGAIN.delay(*count));
                }
                Err(error) => {
                    let mut failed = self.failed();
                    let (count, at) = failed.entry(name.clone()).or_insert_with(|| (0, Instant::now()));
                    *count = count.saturating_add(1);
                    *at = Instant::now() + AGAIN.delay(*count);
                    if *count == 1 {
                        tracing::warn!(
                            namespace = name.0,
                            pod = name.1,
                            error,
                            "a static pod cannot be shown in the API yet"
                        );
                    }
                }
            }
        }
        self.failed().values().map(|(_, at)| *at).min()
    }

    /// Takes a step; how long the next one for the same name has to wait.
    async fn take(&self, step: Step) -> Result<Option<Duration>, String> {
        match step {
            Step::Create(pod) => {
                let namespace = pod.metadata.namespace.clone().unwrap_or_default();
                let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
                match pods.create(&PostParams::default(), &pod).await {
                    Ok(_) => Ok(None),
                    Err(Error::Api(status)) if status.code == 409 => {
                        // One that this node's watch has not told of yet, or somebody else's.
                        let name = pod.metadata.name.clone().unwrap_or_default();
                        let there = pods.get(&name).await.map_err(|error| client::message(&error))?;
                        if mirrored_uid(&there) == mirrored_uid(&pod) {
                            Ok(None)
                        } else {
                            Err(status.message.clone())
                        }
                    }
                    Err(error) => Err(client::message(&error)),
                }
            }
            Step::Delete(mirror) => {
                self.api.delete(&mirror).await.map_err(|error| error.to_string())?;
                Ok(Some(AWAY))
            }
        }
    }

    fn failed(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, (u32, Instant)>> {
        self.failed.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// The API for pod workers, in which a static pod is its mirror.
pub struct MirroredApi {
    pub api: KubePodApi,
    /// The pods of this node in the API.
    pub pods: Cache<Pod>,
}

#[async_trait]
impl PodApi for MirroredApi {
    async fn patch_status(&self, pod: &Pod, mut patch: serde_json::Value) -> Result<Arc<Pod>, PodApiError> {
        if !is_static(pod) {
            return self.api.patch_status(pod, patch).await;
        }
        let (namespace, name) = key(pod);
        let mirror = self.pods.get(&namespace, &name).filter(|mirror| {
            mirrored_uid(mirror) == pod.metadata.uid.as_deref()
                && mirror.metadata.deletion_timestamp.is_none()
        });
        // The worker hears of the mirror when it is there.
        let mirror = mirror.ok_or(PodApiError::Gone)?;
        patch["metadata"]["uid"] = mirror.metadata.uid.clone().into();
        self.api.patch_status(&mirror, patch).await
    }

    async fn delete(&self, pod: &Pod) -> Result<(), PodApiError> {
        // The mirror of a static pod is not its worker's matter.
        if is_static(pod) { Ok(()) } else { self.api.delete(pod).await }
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, PodApiError> {
        self.api.secret(namespace, name).await
    }

    async fn node(&self, name: &str) -> Result<Node, PodApiError> {
        self.api.node(name).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node() -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n", "uid": "node-uid"}})).expect("a node")
    }

    fn running(name: &str, uid: &str, ending: bool) -> Running {
        let annotations = json!({"kubernetes.io/config.source": "file", "kubernetes.io/config.hash": uid});
        let metadata = json!({"name": name, "namespace": "ns", "uid": uid, "annotations": annotations});
        let pod = json!({"metadata": metadata, "spec": {"nodeName": "n", "containers": []}});
        Running { pod: Arc::new(serde_json::from_value(pod).expect("a pod")), ending }
    }

    fn mirror(name: &str, uid: &str) -> Arc<Pod> {
        Arc::new(mirror_of(&running(name, uid, false).pod, &node()))
    }

    fn words(running: &[Running], mirrors: &[Arc<Pod>], complete: bool) -> Vec<String> {
        let word = |step| match step {
            Step::Create(pod) => {
                format!("create {} of {}", key(&pod).1, mirrored_uid(&pod).unwrap_or("none"))
            }
            Step::Delete(pod) => {
                format!("delete {} of {}", key(&pod).1, mirrored_uid(&pod).unwrap_or("none"))
            }
        };
        steps(running, mirrors, &node(), complete).into_iter().map(word).collect()
    }

    #[test]
    fn a_mirror_belongs_to_its_node_and_shows_one_version() {
        let pod = mirror("web", "1");
        let owner = &pod.metadata.owner_references.as_ref().expect("an owner")[0];
        assert_eq!(
            (owner.kind.as_str(), owner.uid.as_str(), owner.controller),
            ("Node", "node-uid", Some(true))
        );
        assert_eq!((mirrored_uid(&pod), &pod.metadata.uid), (Some("1"), &None));
        assert!(is_static(&running("web", "1", false).pod) && !is_static(&pod) && is_mirror_of_static(&pod));
    }

    #[test]
    fn each_static_pod_has_one_mirror() {
        let web = || running("web", "1", false);
        assert_eq!(words(&[web()], &[], false), ["create web of 1"]);
        assert!(words(&[web()], &[mirror("web", "1")], true).is_empty());
        assert_eq!(
            words(&[web()], &[mirror("web", "0")], true),
            ["delete web of 0"],
            "the next round makes the new one"
        );
        let mut asked = Pod::clone(&mirror("web", "1"));
        asked.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            "2026-01-01T00:00:00Z".parse().expect("a time"),
        ));
        assert_eq!(words(&[web()], &[Arc::new(asked)], true), ["delete web of 1"]);
        let time = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut held = Pod::clone(&mirror("web", "1"));
        held.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
        held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
        held.metadata.deletion_grace_period_seconds = Some(30);
        assert_eq!(words(&[web()], &[Arc::new(held.clone())], true), ["delete web of 1"]);
        held.metadata.deletion_grace_period_seconds = Some(0);
        assert!(words(&[web()], &[Arc::new(held)], true).is_empty(), "its end is waited for");
        let mut of_former_node = Pod::clone(&mirror("web", "1"));
        of_former_node.metadata.owner_references.as_mut().expect("an owner")[0].uid = "other".into();
        assert_eq!(words(&[web()], &[Arc::new(of_former_node)], true), ["delete web of 1"]);
    }

    #[test]
    fn a_mirror_stays_until_its_pod_has_ended() {
        assert!(words(&[running("web", "1", true)], &[mirror("web", "1")], true).is_empty());
        assert!(words(&[running("web", "1", true)], &[], true).is_empty(), "and is not made again");
        assert_eq!(words(&[], &[mirror("web", "1")], true), ["delete web of 1"]);
        assert!(
            words(&[], &[mirror("web", "1")], false).is_empty(),
            "who asks for it may not have been read"
        );
    }
}
