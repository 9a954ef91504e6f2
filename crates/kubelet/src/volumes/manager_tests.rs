//! The manager against a small API of its own and the real kernel: mounts need root.

use std::convert::Infallible;
use std::path::Path;

use base::{ManualClock, SystemClock};
use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use nix::sys::inotify::AddWatchFlags;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_stream::wrappers::BroadcastStream;

use super::*;
use crate::logs::watch::FolderWatch;
use crate::seams::Volumes;

/// One ConfigMap `m`, no Secrets, and tokens that count up.
struct Api {
    state: Mutex<(u64, Option<Value>)>,
    changes: broadcast::Sender<String>,
    tokens: Mutex<u64>,
    /// How many requests are refused before the first is answered.
    refusals: Mutex<u32>,
    clock: Arc<dyn Clock>,
}

impl Api {
    fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new((1, None)),
            changes: broadcast::channel(8).0,
            tokens: Mutex::default(),
            refusals: Mutex::default(),
            clock,
        })
    }

    fn set(&self, data: Value) {
        let mut state = lock(&self.state);
        state.0 += 1;
        let version = state.0.to_string();
        let meta = json!({"name": "m", "namespace": "ns", "uid": "mu", "resourceVersion": version});
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data});
        let kind = if state.1.is_some() { "MODIFIED" } else { "ADDED" };
        state.1 = Some(map.clone());
        // Nobody watches yet when the first one is set.
        drop(self.changes.send(format!("{}\n", json!({"type": kind, "object": map}))));
    }

    fn client(self: &Arc<Self>) -> Client {
        let api = self.clone();
        client::in_process(tower::service_fn(move |request: Request<Body>| {
            let answer = api.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        }))
    }

    fn answer(
        &self,
        request: &Request<Body>,
    ) -> Response<http_body_util::combinators::BoxBody<Bytes, Infallible>> {
        let query = request.uri().query().unwrap_or_default();
        let refusals = std::mem::replace(&mut *lock(&self.refusals), 0);
        if refusals > 0 {
            *lock(&self.refusals) = refusals - 1;
            let status = json!({"kind": "Status", "metadata": {}, "status": "Failure", "code": 403,
                "reason": "Forbidden", "message": "no relationship found"});
            let mut response = full(&status);
            *response.status_mut() = http::StatusCode::FORBIDDEN;
            return response;
        }
        if request.method() == Method::POST
            && request.uri().path().ends_with("/serviceaccounts/default/token")
        {
            let mut count = lock(&self.tokens);
            *count += 1;
            let expires = self.clock.now() + SignedDuration::from_secs(3600);
            let status =
                json!({"token": format!("token-{count}"), "expirationTimestamp": expires.to_string()});
            return full(
                &json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {},
                "spec": {"audiences": []}, "status": status}),
            );
        }
        if query.contains("watch=true") {
            let changes = BroadcastStream::new(self.changes.subscribe());
            let frames = changes.filter_map(|c| async { c.ok().map(|c| Ok(Frame::data(Bytes::from(c)))) });
            return Response::new(BodyExt::boxed(StreamBody::new(frames)));
        }
        let state = lock(&self.state);
        let of_maps = request.uri().path().ends_with("/configmaps") && query.contains("metadata.name%3Dm");
        let items: Vec<&Value> = state.1.iter().filter(|_| of_maps).collect();
        full(&json!({"kind": "List", "metadata": {"resourceVersion": state.0.to_string()}, "items": items}))
    }
}

fn full(value: &Value) -> Response<http_body_util::combinators::BoxBody<Bytes, Infallible>> {
    Response::new(BodyExt::boxed(http_body_util::Full::new(Bytes::from(value.to_string()))))
}

fn pod(volumes: Value, labels: Value) -> Arc<Pod> {
    let meta = json!({"name": "p", "namespace": "ns", "uid": "u1", "labels": labels});
    let pod = json!({"metadata": meta, "spec": {"containers": [{"name": "c"}], "volumes": volumes}});
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

struct Fixture {
    manager: Arc<Manager>,
    folder: tempfile::TempDir,
    shutdown: Shutdown,
    tasks: JoinSet<()>,
}

fn start(api: &Arc<Api>) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let dirs = PodDirs::new(folder.path());
    let manager = Arc::new(Manager::new(api.client(), dirs, Arc::default(), api.clock.clone()));
    let (shutdown, mut tasks) = (Shutdown::new(), JoinSet::new());
    tasks.spawn(manager.clone().run(shutdown.clone()));
    Fixture { manager, folder, shutdown, tasks }
}

impl Fixture {
    /// Takes the pod down and checks that nothing is left.
    async fn end(mut self) {
        self.manager.teardown("u1").await.expect("taken down");
        self.manager.teardown("u1").await.expect("taken down twice");
        assert!(self.manager.config_maps.is_empty() && self.manager.secrets.is_empty());
        let left = super::super::mount_table::under(self.folder.path()).expect("listed");
        assert!(left.is_empty() && !self.manager.dirs.pod("u1").exists(), "{left:?}");
        self.shutdown.start();
        self.tasks.shutdown().await;
    }
}

/// Waits until the file in a projected volume has this content.
async fn becomes(folder: &Path, file: &str, expect: &str) {
    let watch = FolderWatch::new().expect("a watch");
    watch.add(folder, AddWatchFlags::IN_MOVED_TO).expect("watched");
    while std::fs::read_to_string(folder.join(file)).unwrap_or_default() != expect {
        watch.next().await.expect("changes");
    }
}

fn messages(result: Result<MountedVolumes, Vec<seams::VolumeFailure>>) -> Vec<String> {
    result.expect_err("an error").into_iter().map(|e| e.message).collect()
}

#[tokio::test]
async fn volumes_come_up_follow_their_sources_and_go() {
    let api = Api::new(Arc::new(SystemClock));
    let fixture = start(&api);
    let manager = &fixture.manager;
    let down = json!({"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]});
    let volumes = json!([
        {"name": "cfg", "configMap": {"name": "m"}},
        {"name": "none", "secret": {"secretName": "s", "optional": true}},
        {"name": "down", "downwardAPI": down},
        {"name": "disk", "emptyDir": {}},
        {"name": "ram", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]);
    let first = pod(volumes.clone(), json!({"a": "1"}));
    assert_eq!(
        messages(manager.setup(&first).await),
        ["MountVolume.SetUp failed for volume \"cfg\" : configmap \"m\" not found"]
    );
    api.set(json!({"k": "one"}));
    manager.config_maps.wait_present("ns", "m").await;
    let mounted = manager.setup(&first).await.expect("up").volumes;
    let path = |name: &str| mounted[name].host_path.clone();
    assert_eq!(std::fs::read_to_string(path("cfg").join("k")).expect("readable"), "one");
    assert!(mounted["cfg"].read_only && mounted["none"].read_only && !mounted["disk"].read_only);
    assert_eq!(std::fs::read_to_string(path("down").join("labels")).expect("readable"), "a=\"1\"");
    assert!(std::fs::write(path("ram").join("big"), vec![0; 2 << 20]).is_err(), "the limit holds");
    std::fs::write(path("disk").join("kept"), "x").expect("written");

    api.set(json!({"k": "two"}));
    becomes(&path("cfg"), "k", "two").await;
    manager.pod_changed(&pod(volumes.clone(), json!({"a": "2"}))).await;
    becomes(&path("down"), "labels", "a=\"2\"").await;
    // As after a restart: what is there is found again.
    let again = Manager::new(api.client(), manager.dirs.clone(), Arc::default(), api.clock.clone());
    assert_eq!(again.setup(&pod(volumes, json!({"a": "2"}))).await.expect("up").volumes, mounted);
    assert!(path("disk").join("kept").exists());
    assert_eq!(again.known_pods().await, ["u1"]);
    fixture.end().await;
}

#[tokio::test]
async fn what_cannot_be_mounted_is_said() {
    let fixture = start(&Api::new(Arc::new(SystemClock)));
    let volumes = json!([
        {"name": "claim", "nfs": {"server": "s", "path": "/"}},
        {"name": "host", "hostPath": {"path": "/nonexistent", "type": "Directory"}}]);
    assert_eq!(
        messages(fixture.manager.setup(&pod(volumes, json!({}))).await),
        [
            "MountVolume.SetUp failed for volume \"claim\" : volume type \"nfs\" is not implemented \
             on this node",
            "MountVolume.SetUp failed for volume \"host\" : hostPath type check failed: /nonexistent is not a directory",
        ]
    );
    fixture.end().await;
}

#[tokio::test(start_paused = true)]
async fn tokens_are_renewed_in_time() {
    let clock = ManualClock::new(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(500_000));
    let api = Api::new(Arc::new(clock.clone()));
    let fixture = start(&api);
    let sources = json!([{"serviceAccountToken": {"path": "token"}}]);
    let pod = pod(json!([{"name": "t", "projected": {"sources": sources}}]), json!({}));
    let mounted = fixture.manager.setup(&pod).await.expect("up");
    let folder = &mounted.volumes["t"].host_path;
    assert_eq!(std::fs::read_to_string(folder.join("token")).expect("readable"), "token-1");
    fixture.manager.setup(&pod).await.expect("up again, with the same token");
    assert_eq!(*lock(&api.tokens), 1);
    clock.advance(SignedDuration::from_secs(2881));
    becomes(folder, "token", "token-2").await;
    fixture.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_trusted_yet_tries_again() {
    let api = Api::new(Arc::new(SystemClock));
    api.set(json!({"k": "one"}));
    let fixture = start(&api);
    *lock(&api.refusals) = 4;
    let sources = json!([{"serviceAccountToken": {"path": "token"}}]);
    let volumes = json!([{"name": "cfg", "configMap": {"name": "m"}}, {"name": "t", "projected": {"sources": sources}}]);
    let mounted = fixture.manager.setup(&pod(volumes, json!({}))).await.expect("up");
    assert!(mounted.volumes["cfg"].host_path.join("k").exists());
    fixture.end().await;
}
