//! The driver is a real one behind sockets; the API is a function.

use std::convert::Infallible;
use std::path::Path;

use csi::registration_v1::PluginInfo;
use csi::testing::devices::DeviceDriver;
use http_body_util::Full;
use k8s_openapi::api::resource::v1::ResourceClaim;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::*;
use crate::pod_dirs::PodDirs;
use crate::seams::Devices;

const DRIVER: &str = "d.example.com";

struct Node {
    dir: tempfile::TempDir,
    driver: DeviceDriver,
    manager: Manager,
    _serving: JoinSet<()>,
}

/// An API that has one claim, `shared`.
fn api(claim: &Value) -> Client {
    let text = claim.to_string();
    client::in_process(tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let is_it = request.uri().path().ends_with("/namespaces/ns/resourceclaims/shared");
        let missing = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
            "reason": "NotFound", "message": "resourceclaims.resource.k8s.io \"other\" not found"});
        let (code, body) = if is_it { (200, text.clone()) } else { (404, missing.to_string()) };
        let response = http::Response::builder().status(code).body(Full::from(body)).expect("a response");
        async move { Ok::<_, Infallible>(response) }
    }))
}

fn claim(reserved: &[&str]) -> Value {
    let consumers: Vec<Value> =
        reserved.iter().map(|uid| json!({"resource": "pods", "name": uid, "uid": uid})).collect();
    let results = json!([{"request": "r", "driver": DRIVER, "pool": "pool", "device": "d0"}]);
    let claim = json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": {"name": "shared", "namespace": "ns", "uid": "claim-1"}, "spec": {},
        "status": {"reservedFor": consumers, "allocation": {"devices": {"results": results}}}});
    serde_json::from_value::<ResourceClaim>(claim.clone()).expect("a claim");
    claim
}

fn manager(dir: &Path, drivers: Drivers, claim: &Value) -> Manager {
    let deps = Deps {
        client: api(claim),
        drivers,
        figures: Figures::default(),
        checkpoint: dir.join("dra_manager_state"),
    };
    Manager::new(deps).expect("a manager")
}

fn registered(dir: &Path, socket: &Path) -> Drivers {
    let drivers = Drivers::new(PodDirs::new(dir));
    let info = PluginInfo {
        r#type: "DRAPlugin".into(),
        name: DRIVER.into(),
        endpoint: socket.display().to_string(),
        supported_versions: vec!["v1.DRAPlugin".into()],
    };
    drivers.register(&info, 1).expect("registered");
    drivers
}

async fn node(claim: &Value) -> Node {
    let dir = tempfile::tempdir().expect("a folder");
    let socket = dir.path().join("dra.sock");
    let driver = DeviceDriver::new(DRIVER, socket.clone(), &["v.com/c=d0"]);
    let mut serving = JoinSet::new();
    let (serve, registration) = (driver.clone(), dir.path().join("reg.sock"));
    serving.spawn(async move { serve.serve(registration).await.expect("served") });
    while !socket.exists() {
        tokio::task::yield_now().await;
    }
    let manager = manager(dir.path(), registered(dir.path(), &socket), claim);
    Node { dir, driver, manager, _serving: serving }
}

fn pod(uid: &str, claim: &str) -> Pod {
    let container = json!({"name": "c", "resources": {"claims": [{"name": "dev"}]}});
    let pod = json!({"metadata": {"name": uid, "namespace": "ns", "uid": uid}, "spec": {
        "containers": [container, {"name": "plain"}], "resourceClaims": [{"name": "dev", "resourceClaimName": claim}]}});
    serde_json::from_value(pod).expect("a pod")
}

fn devices(manager: &Manager, pod: &Pod, index: usize) -> Result<Vec<String>, String> {
    manager.names(pod, &pod.spec.as_ref().expect("a spec").containers[index])
}

#[tokio::test]
async fn a_claim_is_prepared_once_and_unprepared_with_its_last_pod() {
    let node = node(&claim(&["p1", "p2"])).await;
    let (first, second) = (pod("p1", "shared"), pod("p2", "shared"));
    node.manager.prepare(&first).await.expect("prepared");
    node.manager.prepare(&second).await.expect("prepared");
    node.manager.prepare(&second).await.expect("prepared again");
    assert_eq!(node.driver.calls(), ["prepare shared"]);
    assert_eq!(devices(&node.manager, &first, 0), Ok(vec!["v.com/c=d0".to_owned()]));
    assert_eq!(devices(&node.manager, &first, 1), Ok(Vec::new()), "a container that asks for none");
    node.manager.unprepare("p1").await.expect("unprepared");
    assert!(node.driver.calls().is_empty(), "the other pod uses it");
    node.driver.refuse("busy");
    let refused = node.manager.unprepare("p2").await.expect_err("refused");
    assert_eq!(
        refused,
        "unprepare dynamic resources: NodeUnprepareResources failed for ResourceClaim shared: busy"
    );
    node.driver.refuse("");
    node.manager.unprepare("p2").await.expect("unprepared");
    node.manager.unprepare("p2").await.expect("nothing is left");
    assert_eq!(node.driver.calls(), ["unprepare shared", "unprepare shared"]);
    let gone = devices(&node.manager, &second, 0).expect_err("no claim");
    assert_eq!(gone, "internal error: unable to get claim info for ResourceClaim shared in namespace ns");
}

#[tokio::test]
async fn the_next_agent_knows_what_was_prepared_or_may_be() {
    let claim = claim(&["p1"]);
    let node = node(&claim).await;
    node.driver.refuse("no");
    let refused = node.manager.prepare(&pod("p1", "shared")).await.expect_err("refused");
    assert_eq!(
        refused,
        "prepare dynamic resources: NodePrepareResources failed for ResourceClaim shared: no"
    );
    node.driver.refuse("");
    node.driver.calls();
    let drivers = node.manager.deps.drivers.clone();
    let next = manager(node.dir.path(), drivers, &claim);
    assert_eq!(next.known_pods(), ["p1".to_owned()].into());
    next.prepare(&pod("p1", "shared")).await.expect("prepared");
    let last = manager(node.dir.path(), next.deps.drivers.clone(), &claim);
    assert_eq!(devices(&last, &pod("p1", "shared"), 0), Ok(vec!["v.com/c=d0".to_owned()]));
    last.unprepare("p1").await.expect("unprepared");
    assert_eq!(node.driver.calls(), ["prepare shared", "unprepare shared"]);
    assert!(last.known_pods().is_empty());
}

#[tokio::test]
async fn claims_that_a_pod_may_not_use_reach_no_driver() {
    let refusal = async |claim: Value, pod: Pod| {
        let node = node(&claim).await;
        let refused = node.manager.prepare(&pod).await.expect_err("refused");
        assert!(node.driver.calls().is_empty() && node.manager.known_pods().is_empty());
        refused
    };
    let mut unallocated = claim(&["p1"]);
    unallocated["status"]["allocation"] = Value::Null;
    let mut elsewhere = claim(&["p1"]);
    elsewhere["status"]["allocation"]["devices"]["results"][0]["driver"] = "away.example.com".into();
    for (claim, name, why) in [
        (claim(&["p2"]), "shared", "pod p1 (p1) is not allowed to use ResourceClaim shared (claim-1)"),
        (unallocated, "shared", "ResourceClaim shared: not allocated"),
        (elsewhere, "shared", "DRA driver away.example.com is not registered"),
        (
            claim(&["p1"]),
            "other",
            "fetch ResourceClaim other: resourceclaims.resource.k8s.io \"other\" not found",
        ),
    ] {
        assert_eq!(refusal(claim, pod("p1", name)).await, format!("prepare dynamic resources: {why}"));
    }
}
