//! Every controller and the scheduler at work while a third of their writes is refused: somebody else was faster.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use api::{Error, Object};
use apiserver::Eventual;
use apiserver::admission::Review;
use base::{Clock, SystemClock};
use etcd::Etcd;
use informer::{Cache, Cached, Informers};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::cluster::{self, Cluster};
use crate::layout::Layout;
use crate::pki::Names;
use crate::settings::{self, Settings};

/// Nothing that is waited for takes longer, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(240);
const NODES: usize = 4;
/// Pods of the Deployment: a batch of more is refused again and again, and waits longer each time.
const PLAIN: usize = 12;
const COMPLETIONS: i32 = 12;
/// Why all pods are looked at.
const FEW: &str = "a test has few pods";

/// Refuses a third of what controllers and scheduler write.
struct Contested {
    /// The state of a generator of numbers: the same writes meet the same refusals.
    dice: Mutex<u64>,
    /// Who was refused something.
    refused: Mutex<BTreeSet<String>>,
}

impl Contested {
    fn refuse(&self, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let user = &review.attributes.user.name;
        let account = user.strip_prefix("system:serviceaccount:kube-system:");
        let Some(who) = account.or_else(|| user.strip_prefix("system:kube-")) else { return Ok(()) };
        let mut dice = self.dice.lock().expect("no panic");
        *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if !(*dice >> 33).is_multiple_of(3) {
            return Ok(());
        }
        self.refused.lock().expect("no panic").insert(who.to_owned());
        let name = object.or(review.old).map_or("", Object::name);
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Err(Error::conflict(&review.resource.group_resource(), name, why))
    }
}

struct Plugin(Arc<Contested>);

impl Admission for Plugin {
    fn name(&self) -> &'static str {
        "Contested"
    }

    fn validate<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        self.0.refuse(review, object).into()
    }
}

/// A control plane that does not listen, and its caches as a user follows them.
struct World {
    parts: Parts,
    plane: ControlPlane,
    client: Client,
    informers: Informers,
    pods: Cache<Pod>,
    contested: Arc<Contested>,
    _addresses: watch::Sender<Vec<IpAddr>>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start(etcd: Option<Etcd>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let layout = Layout::new("contested", Some(folder.path()));
        // Of the documentation's range: nobody calls the server there.
        let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let names = Names { node_name: "n".into(), addresses: vec![ip] };
        let parts = Parts {
            pki: Pki::load_or_create(&layout.pki_dir(), &names, now()).expect("keys"),
            // Ports are opened by the Ingress alone.
            settings: Settings {
                ingress: settings::Ingress { enabled: false, ..settings::Ingress::default() },
                ..Settings::default()
            },
            cluster: Cluster { node_name: "n".into(), ..cluster::at(0) },
            layout,
            etcd,
            addresses: vec![ip],
            clock: Arc::new(SystemClock),
            supervisor: Supervisor::new(Shutdown::new()),
        };
        let contested = Arc::new(Contested { dice: Mutex::new(1), refused: Mutex::new(BTreeSet::new()) });
        let (plane, security) =
            prepare(&parts, vec![Arc::new(Plugin(contested.clone()))]).await.expect("a control plane");
        let (told, addresses) = watch::channel(vec![ip]);
        loops::start(&parts, &plane, loops::sign_token(&security), addresses).await.expect("loops");
        let client = plane.client("test", "admin", &["system:masters"]);
        let informers = Informers::new(client.clone(), parts.supervisor.clone());
        let pods = informers.cache();
        let world =
            Self { parts, plane, client, informers, pods, contested, _addresses: told, _folder: folder };
        world.add_nodes().await;
        world.play_kubelets();
        let accounts: Cache<ServiceAccount> = world.informers.cache();
        patiently("an account", accounts.wait_until(|all| all.get("default", "default").is_some())).await;
        world
    }

    async fn add_nodes(&self) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        for number in 0..NODES {
            let resources = json!({"cpu": "64", "memory": "64Gi", "pods": "200"});
            let name = node_name(number);
            let node = json!({
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
                "status": {"capacity": resources, "allocatable": resources, "conditions": [ready_node()]},
            });
            nodes.create(&PostParams::default(), &typed(node)).await.expect("a node");
        }
    }

    /// Pods run once they have a node, those of jobs end at once, and whoever is told to go is gone.
    fn play_kubelets(&self) {
        let (client, pods) = (self.client.clone(), self.pods.clone());
        let shutdown = self.parts.supervisor.shutdown().clone();
        self.parts.supervisor.spawn(TaskKind::Background, "played kubelets", async move {
            let is_due = |pods: &Cache<Pod>| pods.scan(FEW).iter().any(|pod| due(pod).is_some());
            let mut beats = tokio::time::interval(Duration::from_secs(5));
            let work = async {
                loop {
                    tokio::select! {
                        () = pods.wait_until(is_due) => (),
                        _ = beats.tick() => beat(&client).await,
                    }
                    for pod in pods.scan(FEW) {
                        if let Some(deed) = due(&pod) {
                            play(&client, &pod, deed).await;
                        }
                    }
                }
            };
            tokio::select! {
                () = work => (),
                () = shutdown.started() => (),
            }
        });
    }

    async fn apply(&self, manifest: Value) {
        let path = match manifest["kind"].as_str().expect("a kind") {
            "Job" => "/apis/batch/v1/namespaces/default/jobs".to_owned(),
            kind => format!("/apis/apps/v1/namespaces/default/{}s", kind.to_lowercase()),
        };
        let request = http::Request::post(format!("{path}?fieldManager=test"))
            .header("content-type", "application/json")
            .body(manifest.to_string().into_bytes())
            .expect("a request");
        self.client.request::<Value>(request).await.expect("made");
    }

    async fn patch(&self, plural: &str, name: &str, patch: Value) {
        let request = http::Request::patch(format!("/apis/apps/v1/namespaces/default/{plural}/{name}"))
            .header("content-type", "application/merge-patch+json")
            .body(patch.to_string().into_bytes())
            .expect("a request");
        self.client.request::<Value>(request).await.expect("changed");
    }

    /// The images of the pods of an application that are not going.
    fn images(&self, app: &str) -> Vec<String> {
        let mut images: Vec<String> = self
            .pods
            .scan(FEW)
            .iter()
            .filter_map(|pod| pod.typed().cloned())
            .filter(|pod| {
                pod.metadata.labels.as_ref().is_some_and(|all| all.get("app").is_some_and(|a| a == app))
            })
            .map(|pod| pod.spec.as_ref().and_then(|s| s.containers[0].image.clone()).unwrap_or_default())
            .collect();
        images.sort();
        images
    }

    async fn stop(self) {
        self.parts.supervisor.shutdown().start();
        self.parts.supervisor.drain(PATIENCE).await;
        self.plane.close().await;
    }
}

fn now() -> jiff::Timestamp {
    SystemClock.now()
}

fn typed<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object of the kind")
}

async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what} is not there in time"))
}

fn node_name(number: usize) -> String {
    format!("node-{number}")
}

fn ready_node() -> Value {
    json!({"type": "Ready", "status": "True", "lastHeartbeatTime": now()})
}

/// The nodes' signs of life.
async fn beat(client: &Client) {
    let nodes: Api<Node> = Api::all(client.clone());
    for number in 0..NODES {
        let status = json!({"status": {"conditions": [ready_node()]}});
        let patched =
            nodes.patch_status(&node_name(number), &PatchParams::default(), &Patch::Strategic(status)).await;
        patched.expect("a node's status");
    }
}

enum Deed {
    Run,
    Succeed,
    Remove,
}

fn due(pod: &Cached<Pod>) -> Option<Deed> {
    let typed = pod.typed()?;
    if pod.is_being_deleted() {
        return (typed.metadata.deletion_grace_period_seconds != Some(0)).then_some(Deed::Remove);
    }
    let phase = typed.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    let spec = typed.spec.as_ref()?;
    let ends = spec.restart_policy.as_deref() == Some("Never");
    spec.node_name
        .as_ref()
        .filter(|_| phase == "Pending")
        .map(|_| if ends { Deed::Succeed } else { Deed::Run })
}

async fn play(client: &Client, pod: &Cached<Pod>, deed: Deed) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), pod.namespace());
    let phase = match deed {
        Deed::Remove => {
            // Whoever has it removed first is right.
            let _ = pods.delete(pod.name(), &DeleteParams::default().grace_period(0)).await;
            return;
        }
        Deed::Run => "Running",
        Deed::Succeed => "Succeeded",
    };
    let ready = if phase == "Running" { "True" } else { "False" };
    let now = now();
    let status = json!({"metadata": {"uid": &*pod.uid}, "status": {
        "phase": phase,
        "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": now}],
        "containerStatuses": [{"name": "c", "image": "v1", "imageID": "", "ready": ready == "True", "restartCount": 0}],
    }});
    // It may be gone meanwhile.
    let _ = pods.patch_status(pod.name(), &PatchParams::default(), &Patch::Strategic(status)).await;
}

fn workload(kind: &str, name: &str, replicas: usize) -> Value {
    let labels = json!({"app": name});
    let mut made = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "v1"}], "terminationGracePeriodSeconds": 1},
            },
        },
    });
    match kind {
        "StatefulSet" => made["spec"]["serviceName"] = name.into(),
        "DaemonSet" => drop(made["spec"].as_object_mut().and_then(|spec| spec.remove("replicas"))),
        _ => (),
    }
    made
}

fn is_rolled_out(all: &Cache<Deployment>) -> bool {
    all.get("default", "plain").is_some_and(|one| {
        let status = one.status.clone().unwrap_or_default();
        let counts = [status.replicas, status.updated_replicas, status.ready_replicas];
        status.observed_generation == one.metadata.generation
            && counts.iter().all(|count| usize::try_from(count.unwrap_or(0)) == Ok(PLAIN))
    })
}

fn is_set_rolled_out(all: &Cache<StatefulSet>) -> bool {
    all.get("default", "set").is_some_and(|one| {
        let status = one.status.clone().unwrap_or_default();
        status.observed_generation == one.metadata.generation
            && (status.replicas, status.ready_replicas) == (3, Some(3))
            && status.update_revision == status.current_revision
    })
}

fn is_daemon_rolled_out(all: &Cache<DaemonSet>) -> bool {
    all.get("default", "daemon").is_some_and(|one| {
        let status = one.status.clone().unwrap_or_default();
        status.observed_generation == one.metadata.generation
            && (status.number_ready, status.updated_number_scheduled) == (4, Some(4))
    })
}

fn is_complete(all: &Cache<Job>) -> bool {
    all.get("default", "count").is_some_and(|job| {
        let status = job.status.clone().unwrap_or_default();
        status.conditions.iter().flatten().any(|c| c.type_ == "Complete" && c.status == "True")
            && status.succeeded == Some(COMPLETIONS)
            && status.failed.unwrap_or(0) == 0
    })
}

impl World {
    /// Waits until the workloads that stay say that they are as they should be.
    async fn rolled_out(&self, image: &str) {
        patiently(image, self.informers.cache().wait_until(is_rolled_out)).await;
        patiently(image, self.informers.cache().wait_until(is_set_rolled_out)).await;
        patiently(image, self.informers.cache().wait_until(is_daemon_rolled_out)).await;
    }

    /// Waits until these are the only pods of an application.
    async fn only(&self, app: &str, count: usize) {
        let wanted = vec!["v2".to_owned(); count];
        patiently(app, self.pods.wait_until(|_| self.images(app) == wanted)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workloads_reach_their_end_though_a_third_of_all_writes_is_refused() {
    reach_their_end(World::start(None).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workloads_reach_their_end_on_etcd_too() {
    let members = etcd::testing::Cluster::start(1, None).expect("etcd starts");
    let etcd = Etcd::connect(members.config()).await.expect("etcd answers");
    reach_their_end(World::start(Some(etcd)).await).await;
}

async fn reach_their_end(world: World) {
    world.apply(workload("Deployment", "plain", PLAIN)).await;
    world.apply(workload("StatefulSet", "set", 3)).await;
    world.apply(workload("DaemonSet", "daemon", 0)).await;
    world
        .apply(json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "count"},
            "spec": {"completions": COMPLETIONS, "parallelism": 3, "template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "c", "image": "v1"}],
            }}},
        }))
        .await;
    world.rolled_out("v1").await;
    patiently("the job", world.informers.cache().wait_until(is_complete)).await;

    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "v2"}]}}}});
    for (plural, name) in [("deployments", "plain"), ("statefulsets", "set"), ("daemonsets", "daemon")] {
        world.patch(plural, name, image.clone()).await;
    }
    world.rolled_out("v2").await;
    world.only("plain", PLAIN).await;
    world.only("set", 3).await;
    world.only("daemon", NODES).await;
    let (revisions, sets): (Cache<ControllerRevision>, Cache<ReplicaSet>) =
        (world.informers.cache(), world.informers.cache());
    patiently("two revisions of each", revisions.wait_until(|all| all.len() == 4)).await;
    patiently("two replica sets", sets.wait_until(|all| all.len() == 2)).await;

    world.patch("deployments", "plain", json!({"spec": {"replicas": 0}})).await;
    world.only("plain", 0).await;
    // The refusals were there.
    let refused = world.contested.refused.lock().expect("no panic").clone();
    for who in [
        "deployment-controller",
        "replicaset-controller",
        "statefulset-controller",
        "daemon-set-controller",
        "job-controller",
        "scheduler",
    ] {
        assert!(refused.contains(who), "{who} met no conflict: {refused:?}");
    }
    world.stop().await;
}
