//! Volumes of a driver that runs in the test, over its socket and the real kernel: mounts need root.

use std::convert::Infallible;
use std::path::Path;

use base::{Shutdown, Supervisor, SystemClock};
use bytes::Bytes;
use csi::registration_v1::PluginInfo;
use csi::testing::{Behaviour, Driver};
use csi::v1::node_service_capability::rpc::Type as Capability;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use informer::{Informers, Scope};
use k8s_openapi::api::core::v1::Pod;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::asked::Asked;
use super::expansion::Used;
use super::mounter::Job;
use super::*;
use crate::plugins::drivers;
use crate::plugins::registration;
use crate::seams::MountedVolume;
use crate::volumes::persistent::Found;
use crate::volumes::plugins::persistent_volume_claim::Claimed;
use crate::volumes::plugins::{Plugin, Setup};
use crate::volumes::sources::Sources;
use crate::volumes::{VolumeError, mount_table};

type Answer = Response<http_body_util::combinators::BoxBody<Bytes, Infallible>>;

/// An API that has the same objects for ever.
fn api(terms: &Value, node: &Value) -> kube::Client {
    let (terms, node) = (terms.clone(), node.clone());
    client::in_process(tower::service_fn(move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let is_watch = request.uri().query().unwrap_or_default().contains("watch=true");
        let answer = match path.as_str() {
            "/apis/storage.k8s.io/v1/csidrivers" if is_watch => events(&terms),
            _ if is_watch => events(&json!([node])),
            "/api/v1/namespaces/n/persistentvolumeclaims/c/status" => {
                full(&json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}}))
            }
            _ => full(&json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment",
                "metadata": {"name": "a"}, "spec": {"attacher": "d", "nodeName": "n", "source": {}},
                "status": {"attached": true, "attachmentMetadata": {"port": "7"}}})),
        };
        async move { Ok::<Answer, Infallible>(answer) }
    }))
}

/// A watch that begins with all objects, and to which nothing comes.
fn events(objects: &Value) -> Answer {
    let end =
        json!({"metadata": {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}});
    let added =
        objects.as_array().into_iter().flatten().map(|object| json!({"type": "ADDED", "object": object}));
    let all = added.chain([json!({"type": "BOOKMARK", "object": end})]);
    let text: String = all.map(|event| format!("{event}\n")).collect();
    let first = futures::stream::once(async { Ok(Frame::data(Bytes::from(text))) });
    Response::new(BodyExt::boxed(StreamBody::new(first.chain(futures::stream::pending()))))
}

fn full(value: &Value) -> Answer {
    Response::new(BodyExt::boxed(Full::new(Bytes::from(value.to_string()))))
}

struct Fixture {
    dir: tempfile::TempDir,
    driver: Driver,
    drivers: Drivers,
    client: kube::Client,
    csi: Csi,
    supervisor: Supervisor,
    _tasks: JoinSet<std::io::Result<()>>,
}

/// A node whose driver stages volumes and is treated by these terms.
async fn start(terms: Value, node: Value) -> Fixture {
    let dir = tempfile::tempdir().expect("a folder");
    let dirs = PodDirs::new(dir.path().join("root"));
    let endpoint = dirs.plugins().join("d/csi.sock");
    let behaviour = Behaviour {
        name: "d".into(),
        capabilities: vec![
            Capability::StageUnstageVolume,
            Capability::GetVolumeStats,
            Capability::ExpandVolume,
        ],
        data: dir.path().join("data"),
        ..Behaviour::default()
    };
    let driver = Driver::new(behaviour, endpoint.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(driver.clone().serve(dirs.plugin_registrations().join("d.sock")));
    while !endpoint.exists() {
        tokio::task::yield_now().await;
    }
    let info = PluginInfo {
        r#type: registration::DRIVER.into(),
        name: "d".into(),
        supported_versions: vec!["1.0.0".into()],
        ..PluginInfo::default()
    };
    let version = registration::judge(&info, "", None).expect("a driver");
    let drivers = Drivers::new(dirs);
    drivers.insert("d", drivers::Driver { endpoint, version, registration: 0 });
    let client = api(&terms, &node);
    let supervisor = Supervisor::new(Shutdown::new());
    let csi = volumes(&dir, &client, &drivers, &supervisor);
    Fixture { dir, driver, drivers, client, csi, supervisor, _tasks: tasks }
}

fn volumes(
    dir: &tempfile::TempDir,
    client: &kube::Client,
    drivers: &Drivers,
    supervisor: &Supervisor,
) -> Csi {
    let dirs = PodDirs::new(dir.path().join("root"));
    let informers = Informers::new(client.clone(), supervisor.clone());
    Csi::new(Deps {
        client: client.clone(),
        node: "n".into(),
        in_use: InUse::read(&dirs),
        dirs,
        drivers: drivers.clone(),
        terms: informers.cache(),
        own_node: informers.cache_of(Scope::fields("metadata.name=n")),
        clock: Arc::new(SystemClock),
    })
}

fn terms(spec: Value) -> Value {
    json!([{"metadata": {"name": "d", "resourceVersion": "1", "uid": "u"}, "spec": spec}])
}

fn bare_node() -> Value {
    json!({"metadata": {"name": "n", "resourceVersion": "1", "uid": "n"}})
}

fn pod(uid: &str) -> Arc<Pod> {
    let pod = json!({"metadata": {"name": "p", "namespace": "ns", "uid": uid}, "spec": {"containers": []}});
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

fn persistent(driver: &str) -> Asked {
    called("pv", driver, "h")
}

fn called(name: &str, driver: &str, handle: &str) -> Asked {
    let volume = json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteMany"],
        "csi": {"driver": driver, "volumeHandle": handle}}});
    Asked::persistent(&serde_json::from_value(volume).expect("a volume"), false).expect("a driver's")
}

impl Fixture {
    async fn set_up(&self, uid: &str, asked: Asked) -> Result<MountedVolume, String> {
        let (_stays, leaving) = watch::channel(false);
        let job = Job { pod: pod(uid), asked, group: None, trusts_root: false, leaving };
        let done = self.csi.set_up(job).await;
        done.map_err(|source| crate::volumes::error::SetupError { volume: "v".into(), source }.to_string())
    }

    async fn tear_down(&self, uid: &str) {
        self.csi.tear_down(uid).await.map_err(|(_, error)| error.to_string()).expect("torn down");
    }

    /// The agent is killed and starts anew.
    fn restart(&mut self) {
        self.csi = volumes(&self.dir, &self.client, &self.drivers, &self.supervisor);
    }

    fn mounts(&self) -> usize {
        mount_table::under(self.dir.path()).expect("read").len()
    }

    fn records(&self) -> usize {
        let dirs = PodDirs::new(self.dir.path().join("root"));
        record::of_all(&dirs).mounted.len()
    }
}

#[tokio::test]
async fn a_volume_is_staged_once_and_leaves_with_its_last_pod() {
    let mut node = start(terms(json!({"attachRequired": false})), bare_node()).await;
    let had = node.set_up("u1", persistent("d")).await.expect("a volume");
    assert!(had.host_path.ends_with("pods/u1/volumes/kubernetes.io~csi/pv/mount"), "{:?}", had.host_path);
    assert_eq!(node.driver.calls(), ["stage h", "publish h"]);
    std::fs::write(had.host_path.join("file"), "x").expect("written");
    let other = node.set_up("u2", persistent("d")).await.expect("a volume");
    assert_eq!(node.driver.calls(), ["publish h"]);
    assert!(other.host_path.join("file").exists(), "it is the same volume");
    node.restart();
    node.set_up("u1", persistent("d")).await.expect("it is there");
    assert_eq!(node.driver.calls(), [""; 0], "what is mounted is left alone");
    node.tear_down("u1").await;
    assert_eq!(node.driver.calls(), ["unpublish h"]);
    node.tear_down("u2").await;
    assert_eq!(node.driver.calls(), ["unpublish h", "unstage h"]);
    node.tear_down("u2").await;
    assert_eq!(node.driver.calls(), [""; 0]);
    assert_eq!((node.mounts(), node.records()), (0, 0));
    assert!(!Path::new(&had.host_path).exists());
}

#[tokio::test]
async fn what_a_driver_refuses_is_tried_again_and_what_it_began_is_taken_back() {
    let node = start(terms(json!({"attachRequired": false})), bare_node()).await;
    node.driver.fail_next("stage", tonic::Status::internal("no room"));
    let text = "MountVolume.MountDevice failed for volume \"pv\" : rpc error: code = Internal desc = no room";
    assert_eq!(node.set_up("u", persistent("d")).await, Err(text.to_owned()));
    node.driver.fail_next("publish", tonic::Status::unavailable("busy"));
    let text = "MountVolume.SetUp failed for volume \"pv\" : rpc error: code = Unavailable desc = busy";
    assert_eq!(node.set_up("u", persistent("d")).await, Err(text.to_owned()));
    node.driver.calls();
    node.tear_down("u").await;
    assert_eq!(node.driver.calls(), ["unpublish h", "unstage h"]);
    assert_eq!((node.mounts(), node.records()), (0, 0));
}

#[tokio::test]
async fn a_driver_that_is_not_there_is_named_and_holds_nobody_up() {
    let node = start(terms(json!({"attachRequired": false})), bare_node()).await;
    node.drivers.remove("d", 0);
    let text = "MountVolume.MountDevice failed for volume \"pv\" : kubernetes.io/csi: attacher.MountDevice failed to \
                create newCsiDriverClient: driver name d not found in the list of registered CSI drivers";
    assert_eq!(node.set_up("u", persistent("d")).await, Err(text.to_owned()));
    node.tear_down("u").await;
}

#[tokio::test]
async fn a_volume_that_is_mounted_is_not_forgotten_when_its_driver_is_away() {
    let node = start(terms(json!({"attachRequired": false})), bare_node()).await;
    node.set_up("u", persistent("d")).await.expect("a volume");
    let driver = node.drivers.get("d").expect("known");
    node.drivers.remove("d", 0);
    let (name, error) = node.csi.tear_down("u").await.expect_err("its driver is away");
    let text = "UnmountVolume.TearDown failed for volume \"pv\" : kubernetes.io/csi: Unmounter.TearDownAt failed to get \
                CSI client: driver name d not found in the list of registered CSI drivers";
    assert_eq!((name.as_str(), error.to_string().as_str()), ("pv", text));
    assert_eq!((node.mounts(), node.records()), (2, 1));
    node.drivers.insert("d", driver);
    node.tear_down("u").await;
    assert_eq!((node.mounts(), node.records()), (0, 0));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_concerns_its_pod_alone() {
    let mut node = start(terms(json!({"attachRequired": false})), bare_node()).await;
    let had = node.set_up("u1", persistent("d")).await.expect("a volume");
    node.set_up("u1", called("other", "d", "i")).await.expect("a volume");
    node.set_up("u2", called("third", "d", "j")).await.expect("a volume");
    let file = had.host_path.parent().expect("a folder").join(record::FILE);
    let good = std::fs::read(&file).expect("read");
    std::fs::write(&file, "{").expect("written");
    node.restart();
    node.driver.calls();
    node.tear_down("u2").await;
    assert_eq!(node.driver.calls(), ["unpublish j", "unstage j"]);
    let (name, error) = node.csi.tear_down("u1").await.expect_err("it cannot be read");
    assert!(name == "pv" && error.to_string().contains(record::FILE), "{name}: {error}");
    assert_eq!(node.driver.calls(), ["unpublish i", "unstage i"]);
    assert_eq!(node.mounts(), 2, "nothing is unmounted behind the driver's back");
    std::fs::write(&file, good).expect("written");
    node.tear_down("u1").await;
    assert_eq!((node.mounts(), node.records()), (0, 0));
}

#[tokio::test]
async fn a_driver_does_not_hear_of_what_cannot_be_written_down() {
    let node = start(terms(json!({"attachRequired": false})), bare_node()).await;
    let long = called("pv", "d", &"h".repeat(64 << 10));
    let error = node.set_up("u", long).await.expect_err("too large");
    assert!(error.contains(record::FILE), "{error}");
    assert_eq!((node.driver.calls().len(), node.mounts(), node.records()), (0, 0, 0));
    node.tear_down("u").await;
}

#[tokio::test]
async fn a_volume_of_a_pods_own_is_published_alone_and_again_where_the_driver_wants() {
    let spec =
        json!({"podInfoOnMount": true, "requiresRepublish": true, "volumeLifecycleModes": ["Ephemeral"]});
    let node = start(terms(spec), bare_node()).await;
    let own = || {
        let volume =
            json!({"name": "v", "csi": {"driver": "d", "readOnly": true, "volumeAttributes": {"a": "b"}}});
        Asked::inline(&pod("u"), &serde_json::from_value(volume).expect("a volume")).expect("a driver's")
    };
    let had = node.set_up("u", own()).await.expect("a volume");
    assert!(had.read_only);
    node.set_up("u", own()).await.expect("a volume");
    let handle = own().handle;
    assert_eq!(node.driver.calls(), [format!("publish {handle}"), format!("publish {handle}")]);
    let told = node.driver.published().pop().expect("published");
    assert_eq!(told.volume_context["csi.storage.k8s.io/ephemeral"], "true");
    assert_eq!((told.readonly, told.volume_context["a"].as_str()), (true, "b"));
    assert!(told.staging_target_path.is_empty());
    let text = "MountVolume.SetUp failed for volume \"pv\" : volume mode \"Persistent\" not supported by driver d \
                (only supports [\"Ephemeral\"])";
    assert_eq!(node.set_up("u", persistent("d")).await, Err(text.to_owned()));
    node.tear_down("u").await;
    assert_eq!(node.driver.calls(), [format!("unpublish {handle}")]);
    assert_eq!((node.mounts(), node.records()), (0, 0));
}

#[tokio::test]
async fn a_volume_is_mounted_once_it_is_attached() {
    let name = "kubernetes.io/csi/d^h";
    let there = json!({"metadata": {"name": "n", "resourceVersion": "1", "uid": "n"},
        "status": {"volumesInUse": [name], "volumesAttached": [{"name": name, "devicePath": ""}]}});
    let node = start(json!([]), there).await;
    let in_use = node.csi.deps.in_use.clone();
    let acknowledge = async {
        in_use.watch().wait_for(|names| !names.is_empty()).await.expect("it is told");
        tokio::task::yield_now().await;
        assert_eq!(node.driver.calls(), [""; 0], "that it was in use before counts for nothing");
        in_use.known().send_replace([name.to_owned()].into());
    };
    let (had, ()) = tokio::join!(node.set_up("u", persistent("d")), acknowledge);
    had.expect("a volume");
    let told = node.driver.published().pop().expect("published");
    assert_eq!(told.publish_context["port"], "7");
    assert_eq!(node.csi.deps.in_use.watch().borrow().iter().collect::<Vec<_>>(), [name]);
    node.tear_down("u").await;
    assert!(node.csi.deps.in_use.watch().borrow().is_empty());
}

#[tokio::test]
async fn nobody_waits_for_the_volumes_of_a_pod_that_leaves() {
    let node = start(json!([]), bare_node()).await;
    let (leave, leaving) = watch::channel(false);
    let job = Job { pod: pod("u"), asked: persistent("d"), group: None, trusts_root: false, leaving };
    let left = async {
        node.csi.deps.in_use.watch().wait_for(|names| !names.is_empty()).await.expect("it waits");
        leave.send_replace(true);
    };
    let (done, ()) = tokio::join!(node.csi.set_up(job), left);
    assert!(matches!(done, Err(VolumeError::PodLeaves)));
    node.tear_down("u").await;
    assert!(node.csi.deps.in_use.watch().borrow().is_empty());
    assert_eq!(node.driver.calls(), [""; 0]);
}

#[tokio::test]
async fn devices_of_one_handle_are_staged_for_each_persistent_volume() {
    let node = start(terms(json!({"attachRequired": false})), bare_node()).await;
    let device = |name: &str| Asked { is_block: true, ..called(name, "d", "h") };
    node.set_up("u1", device("pv1")).await.expect("a volume");
    node.set_up("u2", device("pv2")).await.expect("a volume");
    node.set_up("u3", device("pv2")).await.expect("a volume");
    assert_eq!(node.driver.calls(), ["stage h", "publish h", "stage h", "publish h", "publish h"]);
    node.tear_down("u1").await;
    assert_eq!(node.driver.calls(), ["unpublish h", "unstage h"]);
    node.tear_down("u2").await;
    node.tear_down("u3").await;
    assert_eq!(node.driver.calls(), ["unpublish h", "unpublish h", "unstage h"]);
    assert_eq!((node.mounts(), node.records()), (0, 0));
}

#[tokio::test]
async fn a_driver_says_what_its_volume_holds() {
    let node = start(terms(json!({"attachRequired": false})), bare_node()).await;
    let had = node.set_up("u", persistent("d")).await.expect("a volume");
    let figures = node.csi.figures("d", "h", &had.host_path).await.expect("an answer").expect("figures");
    assert_eq!((figures.capacity_bytes, figures.used_bytes), (Some(1000), Some(400)));
    assert_eq!((figures.inodes, figures.inodes_free), (Some(50), Some(40)));
    node.driver.fail_next("stats", tonic::Status::not_found("no such volume"));
    let error = node.csi.figures("d", "h", &had.host_path).await;
    assert_eq!(error, Err("rpc error: code = NotFound desc = no such volume".to_owned()));
    node.tear_down("u").await;
}

#[tokio::test]
async fn a_driver_expands_a_volume_that_has_grown() {
    let node = start(terms(json!({"attachRequired": false})), bare_node()).await;
    let had = node.set_up("u", persistent("d")).await.expect("a volume");
    node.driver.calls();
    assert!(node.csi.expands("d").await && !node.csi.expands("other").await);
    let asked = persistent("d");
    let expand_for = async |uid: &str, growth, leaves| {
        let leaving = watch::channel(leaves).1;
        let used = Used { uid, asked: &asked, target: &had.host_path, leaving };
        node.csi.expand(used, growth).await
    };
    let expand = |growth| expand_for("u", growth, false);
    node.driver.fail_next("expand", tonic::Status::internal("no"));
    let text = "Expander.NodeExpand failed to expand the volume: rpc error: code = Internal desc = no";
    assert_eq!(expand(sized("2Ki", "1Ki")).await, Err(text.to_owned()));
    assert_eq!(node.driver.calls(), ["expand h 2048"]);
    assert_eq!(expand(sized("2Ki", "1Ki")).await, Ok(true));
    assert_eq!(node.driver.calls(), ["expand h 2048"]);
    node.set_up("u2", persistent("d")).await.expect("a volume");
    node.driver.calls();
    assert_eq!(expand_for("u2", sized("2Ki", "2Ki"), false).await, Ok(false), "the node knows it");
    assert_eq!(expand(sized("3Ki", "3Ki")).await, Ok(true), "another node has told the claim");
    assert_eq!(node.driver.calls(), ["expand h 3072"]);
    assert_eq!(expand_for("u", sized("4Ki", "3Ki"), true).await, Ok(false), "the pod leaves");
    assert_eq!(expand_for("u3", sized("4Ki", "3Ki"), false).await, Ok(false), "it has no such volume");
    node.driver.fail_next("expand", tonic::Status::failed_precondition("in use"));
    assert_eq!(expand(sized("4Ki", "3Ki")).await, Ok(false), "it may be mounted");
    assert_eq!(expand(sized("4Ki", "3Ki")).await, Ok(false), "it is not asked again");
    assert_eq!(node.driver.calls(), ["expand h 4096"]);
    node.tear_down("u").await;
    node.tear_down("u2").await;
    let had = node.set_up("u", persistent("d")).await.expect("a volume");
    node.driver.calls();
    let used = Used { uid: "u", asked: &asked, target: &had.host_path, leaving: watch::channel(false).1 };
    assert_eq!(node.csi.expand(used, sized("4Ki", "3Ki")).await, Ok(true), "it was not in use meanwhile");
    node.tear_down("u").await;
}

#[tokio::test]
async fn a_pod_waits_for_a_volume_that_cannot_be_expanded() {
    let node = start(terms(json!({"attachRequired": false})), bare_node()).await;
    let drivers = Arc::new(volumes(&node.dir, &node.client, &node.drivers, &node.supervisor));
    let volume = json!({"metadata": {"name": "pv"}, "spec": {"accessModes": ["ReadWriteMany"],
        "capacity": {"storage": "2Ki"}, "csi": {"driver": "d", "volumeHandle": "h"}}});
    let claim =
        json!({"metadata": {"name": "c", "namespace": "n"}, "status": {"capacity": {"storage": "1Ki"}}});
    let found = Found {
        volume: Arc::new(serde_json::from_value(volume).expect("a volume")),
        claim: Arc::new(serde_json::from_value(claim).expect("a claim")),
        read_only: false,
        directory: None,
    };
    let used = json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}});
    let set_up = async || {
        let (_stays, leaving) = watch::channel(false);
        let volume = serde_json::from_value(used.clone()).expect("a volume");
        let sources = Sources { persistent: [("v".to_owned(), found.clone())].into(), ..Sources::default() };
        let setup = Setup {
            dirs: PodDirs::new(node.dir.path().join("root")),
            pod: pod("u"),
            volume,
            sources: Arc::new(sources),
            now: jiff::Timestamp::UNIX_EPOCH,
            node_memory_bytes: 0,
            leaving,
        };
        let done = Claimed { drivers: Some(drivers.clone()) }.set_up(setup).await;
        done.map_err(|source| crate::volumes::error::SetupError { volume: "v".into(), source }.to_string())
    };
    node.driver.fail_next("expand", tonic::Status::internal("no"));
    let text = "MountVolume.Setup failed while expanding volume for volume \"pv\" : \
        Expander.NodeExpand failed to expand the volume: rpc error: code = Internal desc = no";
    assert_eq!(set_up().await.map(drop), Err(text.to_owned()));
    node.driver.fail_next("expand", tonic::Status::failed_precondition("in use"));
    assert_eq!(set_up().await.map(drop), Ok(()), "it is not expanded while it is used");
    drivers.tear_down("u").await.map_err(|(_, error)| error.to_string()).expect("torn down");
}

/// A volume, and what its claim says.
fn sized(has: &str, told: &str) -> expansion::Growth {
    let volume = json!({"metadata": {"name": "pv"}, "spec": {"capacity": {"storage": has}}});
    let claim =
        json!({"metadata": {"name": "c", "namespace": "n"}, "status": {"capacity": {"storage": told}}});
    let growth = expansion::Growth::of(
        &serde_json::from_value(volume).expect("a volume"),
        &serde_json::from_value(claim).expect("a claim"),
    );
    growth.expect("it is bound")
}
