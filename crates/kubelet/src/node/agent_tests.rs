//! The agent's parts of which pure functions cannot tell, and its talk with a small API.

use std::convert::Infallible;
use std::sync::Mutex;

use base::ManualClock;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::client::Body;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::*;
use crate::events::TraceEvents;

#[test]
fn the_runtimes_conditions_become_reasons() {
    let condition = |kind: &str, status: bool| v1::RuntimeCondition {
        r#type: kind.to_owned(),
        status,
        reason: "NetworkPluginNotReady".to_owned(),
        message: "cni plugin not initialized".to_owned(),
    };
    let state = |network: bool| {
        let conditions = vec![condition("RuntimeReady", true), condition("NetworkReady", network)];
        let status = Some(v1::RuntimeStatus { conditions });
        Ok(tonic::Response::new(v1::StatusResponse { status, ..v1::StatusResponse::default() }))
    };
    assert!(runtime_problems(state(true)).is_empty());
    assert_eq!(
        runtime_problems(state(false)),
        [
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:cni plugin \
          not initialized"
        ]
    );
    assert_eq!(
        runtime_problems(Err(tonic::Status::unavailable("gone"))),
        ["container runtime is down: gone"]
    );
}

#[test]
fn heartbeats_alone_are_no_news() {
    let status = |second: i64, ready: &str| {
        let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second),
        );
        let condition = NodeCondition {
            type_: "Ready".into(),
            status: ready.into(),
            last_heartbeat_time: Some(time),
            ..NodeCondition::default()
        };
        NodeStatus { conditions: Some(vec![condition]), ..NodeStatus::default() }
    };
    assert!(same(&status(1, "True"), &status(2, "True")));
    assert!(!same(&status(1, "True"), &status(1, "False")));
}

#[test]
fn what_others_say_of_the_node_is_disputed() {
    let condition = |kind: &str, status: &str| NodeCondition {
        type_: kind.into(),
        status: status.into(),
        ..NodeCondition::default()
    };
    let ours = [condition("DiskPressure", "False"), condition("Ready", "True")];
    let disputed = |theirs: &[NodeCondition]| is_disputed(&ours, theirs.iter());
    assert!(!disputed(&ours) && !is_disputed(&[], ours.iter()), "nothing was written yet");
    assert!(!disputed(&[ours[0].clone(), condition("Theirs", "Unknown"), ours[1].clone()]));
    assert!(disputed(&[ours[0].clone(), condition("Ready", "Unknown")]), "the node was not heard of");
    assert!(disputed(&ours[..1]) && disputed(&[]));
}

type Feed = mpsc::UnboundedReceiver<Result<Frame<Bytes>, Infallible>>;

/// Records what is asked; has no lease at first and a watch that the test feeds.
struct Api {
    log: mpsc::UnboundedSender<String>,
    watch: Mutex<Option<Feed>>,
}

impl Api {
    async fn answer(&self, request: Request<Body>) -> Response<BoxBody<Bytes, Infallible>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path = parts.uri.path().to_owned();
        if parts.uri.query().is_some_and(|q| q.contains("watch=true")) {
            let feed = self.watch.lock().expect("whole").take();
            return match feed {
                Some(feed) => {
                    Response::new(BodyExt::boxed(StreamBody::new(UnboundedReceiverStream::new(feed))))
                }
                None => Response::new(BodyExt::boxed(StreamBody::new(futures::stream::pending()))),
            };
        }
        let ready =
            body.pointer("/status/conditions/3").map(|c| format!(" {} {}", c["status"], c["message"]));
        let ip = body.pointer("/status/addresses/0").filter(|first| first["type"] == "InternalIP");
        let ip = ip.map(|ip| format!(" {}", ip["address"]));
        let line = format!("{} {path}{}{}", parts.method, ready.unwrap_or_default(), ip.unwrap_or_default());

        drop(self.log.send(line));
        if parts.method == http::Method::PATCH && path.contains("/leases/") {
            let status = json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404,
                "message": "leases \"n1\" not found", "metadata": {}});
            let mut response = Response::new(BodyExt::boxed(Full::new(Bytes::from(status.to_string()))));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
        let kind = if path.contains("/leases") { "Lease" } else { "Node" };
        let object = json!({"apiVersion": "v1", "kind": kind,
            "metadata": {"name": "n1", "uid": "nu", "resourceVersion": "5"}, "spec": {}});
        Response::new(BodyExt::boxed(Full::new(Bytes::from(object.to_string()))))
    }
}

#[tokio::test]
async fn the_node_registers_reports_and_takes_its_range() {
    let (log, mut lines) = mpsc::unbounded_channel();
    let (feed, watch) = mpsc::unbounded_channel();
    let api = Arc::new(Api { log, watch: Mutex::new(Some(watch)) });
    let client = client::in_process(tower::service_fn(move |request: Request<Body>| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(api.answer(request).await) }
    }));
    // A runtime that is not there: the node says so instead of failing.
    let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
    let runtime = (cri::RuntimeServiceClient::new(channel.clone()), cri::ImageServiceClient::new(channel));
    let (addresses, ips) = watch::channel(Vec::new());
    let config = NodeConfig {
        pressure: tokio::sync::watch::channel(crate::pressure::State::default()).1,
        volumes_in_use: tokio::sync::watch::channel(std::collections::BTreeSet::new()).1,
        name: "n1".into(),
        labels: Default::default(),
        taints: Vec::new(),
        ips,
        port: 10250,
        root: "/".into(),
        max_pods: 110,
        volumes_known: Default::default(),
        own: Default::default(),
    };
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let (machine, events, node) = (Machine::default(), Arc::new(TraceEvents), base::Metrics::default());
    let operations = Metrics::registered(&node);
    let agent = Arc::new(NodeAgent::new(config, machine, client, runtime, operations, clock, events));
    let (shutdown, mut range) = (Shutdown::new(), agent.pod_cidr());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(agent.run(shutdown.clone()));
    let mut seen = Vec::new();
    while seen.len() < 4 {
        seen.push(lines.recv().await.expect("a request"));
    }
    assert_eq!(seen[0], "POST /api/v1/nodes");
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    assert!(
        seen.contains(&format!("PATCH {lease}/n1")) && seen.contains(&format!("POST {lease}")),
        "{seen:?}"
    );
    let status = seen.iter().find(|l| l.starts_with("PATCH /api/v1/nodes/n1/status")).expect("a status");
    assert!(status.contains("\"False\" \"container runtime is down: "), "{status}");
    let shown = node.render(base::metrics::Format::Prometheus).expect("text");
    for operation in ["version", "status", "list_images"] {
        let line = format!("kubelet_runtime_operations_errors_total{{operation_type=\"{operation}\"}} ");
        assert!(shown.contains(&line), "{line} is not in\n{shown}");
    }
    let changed = json!({"type": "MODIFIED", "object": {"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n1", "resourceVersion": "6"}, "spec": {"podCIDR": "10.244.0.0/24"}}});
    feed.send(Ok(Frame::data(Bytes::from(format!("{changed}\n"))))).expect("watched");
    let taken = range.wait_for(Option::is_some).await.expect("taken").clone();
    assert_eq!(taken.as_deref(), Some("10.244.0.0/24"));
    addresses.send_replace(vec!["203.0.113.7".parse().expect("an address")]);
    let is_told = |line: &String| {
        line.starts_with("PATCH /api/v1/nodes/n1/status") && line.ends_with(" \"203.0.113.7\"")
    };
    while !is_told(&lines.recv().await.expect("a request")) {}
    // The node was not heard of for a while: it says how it is, long before it would anyway.
    let lost = json!({"type": "MODIFIED", "object": {"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n1", "resourceVersion": "7"},
        "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}});
    feed.send(Ok(Frame::data(Bytes::from(format!("{lost}\n"))))).expect("watched");
    while !is_told(&lines.recv().await.expect("a request")) {}
    shutdown.start();
    tasks.join_next().await.expect("a task").expect("ended");
}
