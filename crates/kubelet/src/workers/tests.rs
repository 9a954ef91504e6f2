//! Pods' lives through workers and executor, against fakes and with paused time.

mod devices;
mod room;
mod spans;

use std::sync::Arc;
use std::time::Duration;

use base::Shutdown;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Workers;
use crate::executor::Executor;
use crate::fakes::{FakeApi, FakeConfigs, FakeCri, FakeDevices, FakeEvents, FakeVolumes, TestClock};
use crate::images::Images;
use crate::metrics::Metrics;
use crate::node_facts::NodeFacts;
use crate::origin::{MIRROR_ANNOTATION, SOURCE_ANNOTATION};
use crate::planner::{Eviction, Rejection};
use crate::seams::{LookupError, PodDirectory, Volumes};
use crate::worker::{PodNews, Tools};

struct Node {
    cri: Arc<FakeCri>,
    api: Arc<FakeApi>,
    volumes: Arc<FakeVolumes>,
    devices: Arc<FakeDevices>,
    configs: Arc<FakeConfigs>,
    events: Arc<FakeEvents>,
    workers: Workers,
    shutdown: Shutdown,
}

fn node_with(cri: FakeCri, clock: TestClock) -> Node {
    let cri = Arc::new(cri);
    let (api, volumes) = (Arc::new(FakeApi::default()), Arc::new(FakeVolumes::default()));
    let (configs, events) = (Arc::new(FakeConfigs::default()), Arc::new(FakeEvents::default()));
    let devices = Arc::new(FakeDevices::default());
    let workers = workers(&cri, &api, (&volumes, &devices), &configs, &events, clock, Shutdown::new());
    let shutdown = workers.tools.shutdown.clone();
    Node { cri, api, volumes, devices, configs, events, workers, shutdown }
}

fn node() -> Node {
    let clock = TestClock::new();
    node_with(FakeCri::new(clock), clock)
}

fn workers(
    cri: &Arc<FakeCri>,
    api: &Arc<FakeApi>,
    (volumes, devices): (&Arc<FakeVolumes>, &Arc<FakeDevices>),
    configs: &Arc<FakeConfigs>,
    events: &Arc<FakeEvents>,
    clock: TestClock,
    shutdown: Shutdown,
) -> Workers {
    let executor = Executor {
        cri: cri.clone(),
        api: api.clone(),
        volumes: volumes.clone(),
        devices: devices.clone(),
        containers: configs.clone(),
        sandboxes: configs.clone(),
        images: Images::new(cri.clone(), api.clone(), events.clone(), Arc::new(clock)),
        events: events.clone(),
        clock: Arc::new(clock),
    };
    let allocatable = [("cpu".to_owned(), Quantity("4".to_owned()))].into();
    let facts =
        Arc::new(NodeFacts::new(allocatable, 1 << 30, vec!["192.0.2.1".to_owned()], Default::default()));
    Workers::new(Tools {
        executor: Arc::new(executor),
        facts,
        runtime_name: "knarr".to_owned(),
        metrics: Metrics::default(),
        freed: Arc::default(),
        shutdown,
    })
}

fn pod(spec: Value) -> Pod {
    let pod = json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "u1", "resourceVersion": "5"},
        "spec": spec,
        "status": {"phase": "Pending", "qosClass": "BestEffort"}
    });
    serde_json::from_value(pod).expect("a pod")
}

fn simple() -> Pod {
    pod(json!({"containers": [{"name": "web", "image": "nginx:1"}]}))
}

impl Node {
    fn deliver(&self, pod: &Pod) {
        self.workers.deliver(PodNews::Current(Arc::new(pod.clone())));
    }

    /// Deletes the pod the way the API does it: the object stays, with a deletion time.
    fn ask_to_end(&self, pod: &Pod, grace_s: i64) {
        let mut pod = pod.clone();
        pod.metadata.deletion_timestamp = Some(Time("2026-01-01T01:00:00Z".parse().expect("a time")));
        pod.metadata.deletion_grace_period_seconds = Some(grace_s);
        self.deliver(&pod);
    }

    fn status_writes(&self) -> usize {
        self.api.patches.lock().expect("no panic").len()
    }

    fn phase(&self) -> String {
        let pod = self.api.pod.lock().expect("no panic").clone();
        pod.and_then(|p| p.status?.phase).unwrap_or_default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_comes_up_with_one_status_write() {
    let node = node();
    node.cri.add_image("nginx:1");
    node.deliver(&simple());
    sleep(Duration::from_millis(10)).await;
    assert_eq!(node.cri.take_calls(), ["run_sandbox s1", "create web c2 in s1", "start c2"]);
    assert_eq!(
        node.events.take(),
        [
            "Normal Pulled Container image \"nginx:1\" already present on machine and can be accessed by the pod",
            "Normal Created Container created",
            "Normal Started Container started",
        ]
    );
    assert_eq!((node.status_writes(), node.phase().as_str()), (1, "Running"));
    let status = node.api.pod.lock().expect("no panic").clone().and_then(|p| p.status).expect("a status");
    assert_eq!(status.pod_ip.as_deref(), Some("10.0.0.1"));
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(node.status_writes(), 1, "nothing is written while nothing changes");
    assert!(node.cri.take_calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pods_start_and_its_syncs_are_counted() {
    let node = node();
    let shown = base::Metrics::default();
    node.workers.tools.metrics.register(&shown);
    let mut made = simple();
    made.metadata.creation_timestamp = Some(Time("2026-01-01T00:00:00Z".parse().expect("a time")));
    node.deliver(&made);
    sleep(Duration::from_secs(4)).await;
    let mut running = made;
    running.status = node.api.pod.lock().expect("no panic").clone().and_then(|pod| pod.status);
    node.ask_to_end(&running, 1);
    sleep(Duration::from_secs(4)).await;
    let text = shown.render(base::metrics::Format::Prometheus).expect("text");
    for line in [
        "kubelet_pod_start_duration_seconds_count 1",
        "kubelet_pod_start_sli_duration_seconds_count 1",
        "kubelet_started_pods_total 1",
        "kubelet_started_containers_total{container_type=\"container\"} 1",
        "kubelet_pod_worker_duration_seconds_count{operation_type=\"create\"} 1",
        "kubelet_pod_worker_duration_seconds_count{operation_type=\"kill\"}",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_panics_is_replaced() {
    let node = node();
    node.cri.add_image("nginx:1");
    node.cri.fail("sandboxes", "Panic", "a fault");
    node.deliver(&simple());
    sleep(Duration::from_millis(10)).await;
    assert!(node.cri.take_calls().is_empty());
    sleep(Duration::from_secs(3)).await;
    assert_eq!(node.cri.take_calls(), ["run_sandbox s1", "create web c2 in s1", "start c2"]);
    assert_eq!(node.phase(), "Running");
}

#[tokio::test(start_paused = true)]
async fn deletion_runs_the_hook_then_stops_then_clears_away() {
    let clock = TestClock::new();
    let mut cri = FakeCri::new(clock);
    cri.stop_takes = Duration::from_secs(3);
    let node = node_with(cri, clock);
    node.cri.add_image("nginx:1");
    let pod = pod(json!({"containers": [{
        "name": "web", "image": "nginx:1",
        "lifecycle": {"preStop": {"sleep": {"seconds": 4}}}
    }]}));
    node.deliver(&pod);
    sleep(Duration::from_secs(1)).await;
    node.cri.take_calls();
    node.events.take();
    node.ask_to_end(&pod, 10);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(node.cri.take_calls(), ["stop c2 within 6s"]);
    assert_eq!(node.events.take(), ["Normal Killing Stopping container web"]);
    assert!(!*node.api.deleted.lock().expect("no panic"));
    sleep(Duration::from_secs(5)).await;
    let calls = node.cri.take_calls();
    assert_eq!(calls, ["stop_sandbox s1", "remove c2", "stop_sandbox s1", "remove_sandbox s1"]);
    assert!(*node.api.deleted.lock().expect("no panic"));
    assert_eq!(node.phase(), "Failed");
    assert_eq!(*node.configs.released.lock().expect("no panic"), ["u1"]);
    assert!(!node.workers.knows("u1"), "the worker has ended");
}

/// Time stands still while a worker spins: then this test does not end.
#[tokio::test(start_paused = true)]
async fn a_report_that_is_due_does_not_keep_the_worker_of_a_gone_pod_busy() {
    let clock = TestClock::new();
    let mut cri = FakeCri::new(clock);
    cri.stop_takes = Duration::from_secs(30);
    let node = node_with(cri, clock);
    node.cri.add_image("nginx:1");
    node.deliver(&simple());
    sleep(Duration::from_secs(1)).await;
    let mut pod = node.api.pod.lock().expect("no panic").clone().expect("reported");
    pod.metadata.generation = Some(2);
    node.deliver(&pod);
    sleep(Duration::from_millis(100)).await;
    node.workers.deliver(PodNews::Gone(Arc::new(pod)));
    sleep(Duration::from_secs(10)).await;
    assert!(node.workers.knows("u1"), "its container is being stopped");
    sleep(Duration::from_secs(60)).await;
    assert!(!node.workers.knows("u1"), "all of it is cleared away");
}

#[tokio::test(start_paused = true)]
async fn a_failed_pull_is_told_and_tried_again() {
    let node = node();
    node.cri.fail("pull", "NotFound", "no such image");
    node.deliver(&simple());
    sleep(Duration::from_secs(5)).await;
    let events = node.events.take();
    assert_eq!(
        events,
        [
            "Normal Pulling Pulling image \"nginx:1\"",
            "Warning Failed Failed to pull image \"nginx:1\": rpc error: code = NotFound desc = no such image",
            "Warning Failed Error: ErrImagePull",
            "Normal BackOff Back-off pulling image \"nginx:1\"",
            "Warning Failed Error: ImagePullBackOff",
        ]
    );
    assert!(matches!(
        node.workers.container("ns", "web", "web", false),
        Err(LookupError::Waiting { reason, .. }) if reason == "ImagePullBackOff"
    ));
    sleep(Duration::from_secs(10)).await;
    assert_eq!(
        node.events.take()[1],
        "Normal Pulled Successfully pulled image \"nginx:1\" in 1.5s (1.5s including waiting). Image size: 7 bytes."
    );
    assert_eq!(node.phase(), "Running");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_can_never_be_there_is_told_with_its_reason() {
    for (image, policy, reason, told) in [
        (
            "Bad/Name:1",
            "Always",
            "InvalidImageName",
            "Warning InspectFailed Failed to apply default image tag \"Bad/Name:1\": couldn't parse image name \
             \"Bad/Name:1\": invalid reference format: repository name (Name) must be lowercase",
        ),
        (
            "absent:1",
            "Never",
            "ErrImageNeverPull",
            "Warning ErrImageNeverPull Container image \"absent:1\" is not present with pull policy of Never",
        ),
    ] {
        let node = node();
        node.deliver(&pod(
            json!({"containers": [{"name": "web", "image": image, "imagePullPolicy": policy}]}),
        ));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(node.events.take(), [told.to_owned(), format!("Warning Failed Error: {reason}")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pull_secret_that_cannot_be_read_is_told_and_the_image_pulled_without() {
    let node = node();
    node.deliver(&pod(json!({
        "imagePullSecrets": [{"name": "absent"}],
        "containers": [{"name": "web", "image": "nginx:1"}]
    })));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(
        node.events.take()[1],
        "Warning FailedToRetrieveImagePullSecret Unable to retrieve some image pull secrets (absent); \
         attempting to pull the image may not succeed."
    );
    assert_eq!(node.phase(), "Running");
}

#[tokio::test(start_paused = true)]
async fn missing_volumes_hold_the_containers_back() {
    let node = node();
    node.cri.add_image("nginx:1");
    *node.volumes.failures.lock().expect("no panic") = 2;
    node.deliver(&simple());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(node.cri.take_calls(), ["run_sandbox s1"]);
    let mounts = node.events.take().into_iter().filter(|e| e.starts_with("Warning FailedMount")).count();
    assert_eq!(mounts, 2);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(node.phase(), "Running");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_waits_for_its_volumes_ends_at_once() {
    let node = node();
    *node.volumes.attaching.lock().expect("no panic") = true;
    node.deliver(&simple());
    sleep(Duration::from_secs(1)).await;
    node.ask_to_end(&simple(), 30);
    sleep(Duration::from_secs(1)).await;
    assert!(*node.api.deleted.lock().expect("no panic"));
    assert!(!node.workers.knows("u1"));
}

#[tokio::test(start_paused = true)]
async fn probes_turn_readiness_and_restart_the_dead() {
    let node = node();
    node.cri.add_image("nginx:1");
    node.cri.exec_answers("ready", 1);
    node.deliver(&pod(json!({"containers": [{
        "name": "web", "image": "nginx:1",
        "readinessProbe": {"exec": {"command": ["ready"]}, "periodSeconds": 1},
        "livenessProbe": {"exec": {"command": ["live"]}, "periodSeconds": 1, "failureThreshold": 2}
    }]})));
    sleep(Duration::from_millis(1500)).await;
    assert!(node.events.take().contains(&"Warning Unhealthy Readiness probe failed: said".to_owned()));
    let ready = |node: &Node| {
        let pod = node.api.pod.lock().expect("no panic").clone().expect("reported");
        pod.status.and_then(|s| s.container_statuses).is_some_and(|c| c[0].ready)
    };
    assert!(!ready(&node));
    node.cri.exec_answers("ready", 0);
    sleep(Duration::from_millis(1500)).await;
    assert!(ready(&node));
    node.cri.exec_answers("live", 1);
    sleep(Duration::from_millis(2500)).await;
    let events = node.events.take();
    let killed = "Normal Killing Container web failed liveness probe, will be restarted".to_owned();
    assert!(events.contains(&killed), "{events:?}");
    let latest = node.workers.container("ns", "web", "web", false).expect("restarted");
    let previous = node.workers.container("ns", "web", "web", true).expect("kept");
    assert_eq!((latest.id.as_str(), previous.id.as_str()), ("c3", "c2"));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_adopts_what_runs_and_clears_what_is_gone() {
    let node = node();
    node.cri.add_image("nginx:1");
    node.deliver(&simple());
    sleep(Duration::from_secs(1)).await;
    node.shutdown.start();
    node.workers.drain().await;
    node.cri.take_calls();
    let reported = node.api.pod.lock().expect("no panic").clone().expect("reported");

    let again = |shutdown| {
        workers(
            &node.cri,
            &node.api,
            (&node.volumes, &node.devices),
            &node.configs,
            &node.events,
            TestClock::new(),
            shutdown,
        )
    };
    let second = again(Shutdown::new());
    second.deliver(PodNews::Current(Arc::new(reported.clone())));
    sleep(Duration::from_secs(60)).await;
    assert!(node.cri.take_calls().is_empty(), "nothing restarts");
    assert_eq!(second.container("ns", "web", "web", false).expect("adopted").id, "c2");
    second.tools.shutdown.start();
    second.drain().await;

    let third = again(Shutdown::new());
    third.deliver(PodNews::Gone(Arc::new(Pod { metadata: reported.metadata, ..Pod::default() })));
    sleep(Duration::from_secs(60)).await;
    let calls = node.cri.take_calls();
    assert_eq!(calls[0], "stop c2 within 1s");
    assert!(calls.contains(&"remove_sandbox s1".to_owned()));
    assert!(!*node.api.deleted.lock().expect("no panic"), "there is no object to delete");
    assert!(!third.knows("u1") && node.volumes.known_pods().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failed_status_write_is_tried_again_and_others_changes_are_mended() {
    let node = node();
    node.cri.add_image("nginx:1");
    node.deliver(&simple());
    sleep(Duration::from_secs(1)).await;
    let mut changed = node.api.pod.lock().expect("no panic").clone().expect("reported");
    changed.metadata.resource_version = Some("9".to_owned());
    if let Some(status) = &mut changed.status {
        status.phase = Some("Pending".to_owned());
    }
    *node.api.pod.lock().expect("no panic") = Some(changed.clone());
    node.deliver(&changed);
    sleep(Duration::from_secs(1)).await;
    assert_eq!((node.phase().as_str(), node.status_writes()), ("Running", 2));
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ends_is_restarted_when_the_runtime_tells() {
    let node = node();
    node.cri.add_image("nginx:1");
    node.deliver(&simple());
    sleep(Duration::from_secs(1)).await;
    node.cri.take_calls();
    node.cri.exit("web", 1);
    assert!(node.workers.runtime_changed("u1"));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(node.cri.take_calls(), ["create web c3 in s1", "start c3"]);
    node.cri.exit("web", 1);
    node.workers.runtime_changed("u1");
    sleep(Duration::from_secs(5)).await;
    assert!(node.cri.take_calls().is_empty(), "the second restart waits 10 s");
    sleep(Duration::from_secs(6)).await;
    assert_eq!(node.cri.take_calls(), ["create web c4 in s1", "start c4", "remove c2"]);
    assert!(!node.workers.runtime_changed("u2"));
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_fails_and_a_start_that_fails_say_so() {
    let node = node();
    node.cri.add_image("nginx:1");
    node.cri.fail("start_container", "Unknown", "exec: \"nope\": not found");
    node.deliver(&simple());
    sleep(Duration::from_secs(1)).await;
    let events = node.events.take();
    assert_eq!(events[2], "Warning Failed Error: exec: \"nope\": not found");
    let pod = node.api.pod.lock().expect("no panic").clone().expect("reported");
    let statuses = pod.status.and_then(|s| s.container_statuses).expect("reported");
    let waiting = statuses[0].state.as_ref().and_then(|s| s.waiting.clone()).expect("it waits");
    assert_eq!(waiting.reason.as_deref(), Some("RunContainerError"));
    assert_eq!(waiting.message.as_deref(), Some("exec: \"nope\": not found"));
    sleep(Duration::from_secs(10)).await;
    assert_eq!(node.phase(), "Running");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_fit_is_refused() {
    let node = node();
    node.cri.add_image("nginx:1");
    let big = json!({"containers": [{
        "name": "web", "image": "nginx:1", "resources": {"requests": {"cpu": "64"}}
    }]});
    node.deliver(&pod(big));
    sleep(Duration::from_secs(1)).await;
    let why = "Node didn't have enough resource: cpu, requested: 64000, used: 0, capacity: 4000";
    assert_eq!(node.events.take(), [format!("Warning OutOfcpu {why}")]);
    let status = node.api.pod.lock().expect("no panic").clone().and_then(|p| p.status).expect("a status");
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("OutOfcpu")));
    assert_eq!(status.message, Some(format!("Pod was rejected: {why}")));
    assert_eq!(status.container_statuses, None);
    assert!(node.cri.take_calls().is_empty());
}

/// Pod number `n`, which asks for one of the node's four processors.
fn numbered(n: usize) -> Pod {
    let one = json!({"requests": {"cpu": "1"}});
    let mut pod = pod(json!({"containers": [{"name": "web", "image": "nginx:1", "resources": one}]}));
    pod.metadata.uid = Some(format!("u{n}"));
    pod.metadata.name = Some(format!("web-{n}"));
    pod
}

#[tokio::test(start_paused = true)]
async fn a_full_node_whose_pods_are_deleted_by_force_takes_the_next_ones_on() {
    let clock = TestClock::new();
    let mut cri = FakeCri::new(clock);
    cri.stop_takes = Duration::from_secs(1);
    let node = node_with(cri, clock);
    node.cri.add_image("nginx:1");
    let workers = node.workers.clone();
    let mut filling = tokio::task::JoinSet::new();
    filling.spawn(async move { workers.fill_freed_room().await });
    (0..4).for_each(|n| node.deliver(&numbered(n)));
    sleep(Duration::from_secs(5)).await;
    node.cri.take_calls();
    // Gone from the API at once; the scheduler gives the room away before their processes have ended.
    (0..4).for_each(|n| node.workers.deliver(PodNews::Gone(Arc::new(numbered(n)))));
    (4..8).for_each(|n| node.deliver(&numbered(n)));
    sleep(Duration::from_millis(500)).await;
    assert!(!node.cri.take_calls().iter().any(|c| c.starts_with("run_sandbox")), "the room is not free yet");
    assert_eq!(node.workers.pods().iter().filter(|p| numbered_from(p, 4)).count(), 4, "they are there");
    sleep(Duration::from_secs(5)).await;
    let calls = node.cri.take_calls();
    assert_eq!(calls.iter().filter(|c| c.starts_with("start")).count(), 4, "{calls:?}");
    assert!(!node.events.take().iter().any(|e| e.contains("OutOf")), "nothing was refused");
    // A pod that waits may be deleted meanwhile.
    (4..8).for_each(|n| node.workers.deliver(PodNews::Gone(Arc::new(numbered(n)))));
    node.deliver(&numbered(8));
    node.workers.deliver(PodNews::Gone(Arc::new(numbered(8))));
    sleep(Duration::from_secs(5)).await;
    assert!(node.workers.pods().is_empty());
}

fn numbered_from(pod: &Pod, first: usize) -> bool {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    name.strip_prefix("web-").and_then(|n| n.parse::<usize>().ok()).is_some_and(|n| n >= first)
}

#[tokio::test(start_paused = true)]
async fn refused_and_ended_pods_hold_nothing_and_refusals_are_told_at_a_pace() {
    let node = node();
    node.cri.add_image("nginx:1");
    (0..104).for_each(|n| node.deliver(&numbered(n)));
    sleep(Duration::from_secs(1)).await;
    let events = node.events.take();
    let used = |line: &String| line.contains("used: 4000, capacity: 4000");
    assert_eq!(events.iter().filter(|e| e.contains("OutOfcpu")).count(), 100);
    assert_eq!(events.iter().filter(|e| used(e)).count(), 100, "the refused do not count");
    let refusals = || {
        let patches = node.api.patches.lock().expect("no panic");
        patches.iter().filter(|p| p["status"]["reason"] == "OutOfcpu").count()
    };
    assert!((48..=52).contains(&refusals()), "{} within a second", refusals());
    sleep(Duration::from_secs(3)).await;
    assert_eq!(refusals(), 100);
    // One of the four ends for the node's sake; another can have its place.
    let why = Rejection { reason: "Evicted".to_owned(), message: "too much".to_owned() };
    node.workers.evict("u0", why);
    sleep(Duration::from_secs(60)).await;
    node.cri.take_calls();
    node.deliver(&numbered(200));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(node.cri.take_calls().iter().filter(|c| c.starts_with("start")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn pods_that_want_the_same_image_share_the_pull() {
    let node = node();
    for uid in ["u1", "u2", "u3"] {
        let mut pod = simple();
        pod.metadata.uid = Some(uid.to_owned());
        node.deliver(&pod);
    }
    sleep(Duration::from_secs(5)).await;
    let calls = node.cri.take_calls();
    assert_eq!(calls.iter().filter(|c| c.starts_with("pull")).count(), 1);
    assert_eq!(calls.iter().filter(|c| c.starts_with("start")).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_does_not_wait_for_its_image() {
    let node = node();
    let pod = simple();
    node.deliver(&pod);
    sleep(Duration::from_millis(100)).await;
    node.ask_to_end(&pod, 30);
    sleep(Duration::from_millis(100)).await;
    assert!(*node.api.deleted.lock().expect("no panic") && !node.workers.knows("u1"));
}

#[tokio::test(start_paused = true)]
async fn an_evicted_pod_fails_with_the_nodes_reason() {
    let node = node();
    node.cri.add_image("nginx:1");
    node.deliver(&simple());
    sleep(Duration::from_secs(5)).await;
    assert_eq!(node.phase(), "Running");
    let why = |message: &str| Rejection { reason: "Evicted".to_owned(), message: message.to_owned() };
    node.workers.evict("u1", why("too much"));
    node.workers.evict("u1", why("again"));
    sleep(Duration::from_secs(60)).await;
    let status = node.api.pod.lock().expect("no panic").clone().and_then(|p| p.status).expect("a status");
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("Evicted")));
    assert_eq!(status.message.as_deref(), Some("too much"));
    let events = node.events.take();
    assert_eq!(events.iter().filter(|e| e.contains("Evicted")).count(), 1, "{events:?}");
    assert!(node.cri.take_calls().iter().any(|c| c.contains("stop")));
}

#[tokio::test(start_paused = true)]
async fn an_eviction_hurries_a_pod_that_is_ending() {
    let hard = |message: &str| Eviction {
        why: Rejection { reason: "Evicted".to_owned(), message: message.to_owned() },
        grace_s: Some(1),
        disruption: Some(message.to_owned()),
        signal: Some("memory.available"),
        is_for_other: false,
    };
    let soft = || Eviction { grace_s: Some(20), ..hard("soft") };
    for is_deleted in [true, false] {
        let clock = TestClock::new();
        let mut cri = FakeCri::new(clock);
        cri.stop_takes = Duration::from_secs(60);
        let node = node_with(cri, clock);
        node.cri.add_image("nginx:1");
        node.deliver(&simple());
        sleep(Duration::from_secs(1)).await;
        node.cri.take_calls();
        assert_eq!(node.workers.ending_within_s("u1"), None);
        if is_deleted {
            node.ask_to_end(&simple(), 20);
        } else {
            node.workers.evict("u1", soft());
        }
        sleep(Duration::from_secs(1)).await;
        assert_eq!(node.workers.ending_within_s("u1"), Some(20));
        node.workers.evict("u1", hard("hard"));
        node.workers.evict("u1", soft());
        assert_eq!(node.workers.ending_within_s("u1"), Some(1));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(node.cri.take_calls(), ["stop c2 within 20s", "stop c2 within 1s"], "{is_deleted}");
    }
}

#[tokio::test(start_paused = true)]
async fn sidecars_get_what_the_apps_left_of_the_grace() {
    let clock = TestClock::new();
    let mut cri = FakeCri::new(clock);
    cri.stop_takes = Duration::from_secs(7);
    let node = node_with(cri, clock);
    node.cri.add_image("nginx:1");
    let pod = pod(json!({
        "initContainers": [{"name": "proxy", "image": "nginx:1", "restartPolicy": "Always"}],
        "containers": [{"name": "web", "image": "nginx:1"}]
    }));
    node.deliver(&pod);
    sleep(Duration::from_secs(1)).await;
    node.cri.take_calls();
    node.ask_to_end(&pod, 10);
    sleep(Duration::from_secs(8)).await;
    assert_eq!(node.cri.take_calls(), ["stop c3 within 10s", "stop c2 within 3s"]);
}

/// A pod of one container with a request for processor time.
fn asking(uid: &str, cpu: &str) -> Pod {
    let mut pod = pod(json!({"containers": [
        {"name": "c", "image": "nginx:1", "resources": {"requests": {"cpu": cpu}}}
    ]}));
    pod.metadata.uid = Some(uid.to_owned());
    pod.metadata.name = Some(uid.to_owned());
    pod
}

impl Node {
    /// The conditions of a pod about resizes: type and reason.
    fn resizes(&self, uid: &str) -> Vec<(String, String)> {
        let pods = self.workers.pods();
        let pod = pods.iter().find(|pod| pod.metadata.uid.as_deref() == Some(uid)).expect("the pod is here");
        let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
        let about = conditions.filter(|c| c.type_.starts_with("PodResize"));
        about.map(|c| (c.type_.clone(), c.reason.clone().unwrap_or_default())).collect()
    }

    fn updates(&self) -> usize {
        self.cri.take_calls().iter().filter(|call| call.starts_with("update")).count()
    }
}

#[tokio::test(start_paused = true)]
async fn a_resize_is_granted_when_there_is_room() {
    let node = node();
    node.cri.add_image("nginx:1");
    let filling = node.workers.clone();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { filling.fill_freed_room().await });
    node.deliver(&asking("a", "1"));
    node.deliver(&asking("b", "2"));
    sleep(Duration::from_secs(5)).await;
    node.deliver(&asking("a", "5"));
    sleep(Duration::from_secs(1)).await;
    let reason = |reason: &str| vec![("PodResizePending".to_owned(), reason.to_owned())];
    assert_eq!(node.resizes("a"), reason("Infeasible"), "the node has 4");
    node.deliver(&asking("a", "3"));
    sleep(Duration::from_secs(1)).await;
    assert_eq!((node.resizes("a"), node.updates()), (reason("Deferred"), 0), "2 are taken");
    // A third pod finds the room that is not granted yet.
    node.deliver(&asking("c", "1"));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(node.workers.pods().len(), 3);
    assert_eq!(node.resizes("c"), []);
    // One gives up, one asks for less: what waits is granted.
    node.ask_to_end(&asking("c", "1"), 1);
    node.deliver(&asking("b", "1"));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(node.resizes("a"), [], "{:#?}", node.workers.lock().waiting_to_resize());
    assert_eq!(node.updates(), 2);
    let events = node.events.take();
    let count = |start: &str| events.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!(count("Warning ResizeInfeasible Pod resize Infeasible: {\"containers\":[{\"name\":\"c\""), 1);
    assert_eq!(count("Warning ResizeDeferred Pod resize Deferred: {"), 1, "{events:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_waits_for_room_can_be_ended() {
    let clock = TestClock::new();
    let mut cri = FakeCri::new(clock);
    cri.stop_takes = Duration::from_secs(3600);
    let node = node_with(cri, clock);
    node.cri.add_image("nginx:1");
    node.deliver(&asking("a", "3"));
    sleep(Duration::from_secs(5)).await;
    node.workers.deliver(PodNews::Gone(Arc::new(asking("a", "3"))));
    node.deliver(&asking("b", "2"));
    assert!(node.workers.knows("b"), "it waits for the room of the other");
    node.workers.deliver(PodNews::Gone(Arc::new(asking("b", "2"))));
    assert!(!node.workers.knows("b"));
    node.workers.retired().await;
}

#[tokio::test(start_paused = true)]
async fn a_mirror_of_another_name_is_not_believed() {
    let node = node();
    node.cri.add_image("nginx:1");
    let mut pod = simple();
    pod.status = None;
    node.deliver(&pod);
    sleep(Duration::from_secs(5)).await;
    let writes = node.status_writes();
    let mut mirror = simple();
    mirror.metadata.uid = Some("of-the-api".to_owned());
    mirror.metadata.annotations = Some([(MIRROR_ANNOTATION.to_owned(), "u1".to_owned())].into());
    mirror.metadata.resource_version = Some("900".to_owned());
    mirror.metadata.name = Some("other".to_owned());
    node.workers.mirrored(&Arc::new(mirror.clone()));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(node.status_writes(), writes);
    mirror.metadata.name = Some("web".to_owned());
    node.workers.mirrored(&Arc::new(mirror));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(node.status_writes(), writes + 1, "the one that shows the pod gets its status");
}

#[tokio::test(start_paused = true)]
async fn a_static_pod_is_not_evicted() {
    let node = node();
    node.cri.add_image("nginx:1");
    let mut pod = simple();
    pod.metadata.annotations = Some([(SOURCE_ANNOTATION.to_owned(), "file".to_owned())].into());
    node.deliver(&pod);
    sleep(Duration::from_secs(5)).await;
    node.cri.take_calls();
    node.events.take();
    node.workers.evict("u1", Rejection { reason: "Evicted".to_owned(), message: "too much".to_owned() });
    sleep(Duration::from_secs(60)).await;
    assert_eq!(node.events.take(), ["Warning EvictionSkipped A critical pod is not evicted: too much"]);
    assert!(node.cri.take_calls().is_empty());
}
