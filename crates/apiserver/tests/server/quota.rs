//! Quotas hold: whatever comes at once, is refused, given up or lost on the way.

use std::sync::Arc;

use apiserver::admission;
use base::ManualClock;
use futures::FutureExt;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use store::memory::{Part, WriteFault};

use crate::harness::{Harness, PODS, pod};

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const SERVICES: &str = "/api/v1/namespaces/default/services";

async fn serve() -> (Harness, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap()));
    let shared = clock.clone();
    let harness = Harness::made_of(move |deps| {
        deps.clock = shared;
        deps.reservers =
            admission::reservers(&deps.cache, &deps.clock, &deps.supervisor, &admission::Choice::default());
    })
    .await;
    (harness, clock)
}

async fn grant(harness: &Harness, name: &str, spec: Value) {
    let quota =
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": spec});
    harness.post(QUOTAS, &quota).await.ok();
}

/// A pod that asks for so much CPU.
fn asking(name: &str, cpu: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
    pod
}

async fn remove(harness: &Harness, name: &str) {
    harness.delete_with(&format!("{PODS}/{name}"), &json!({"gracePeriodSeconds": 0})).await.ok();
}

#[tokio::test]
async fn a_quota_of_one_pod_admits_one() {
    let (harness, _) = serve().await;
    harness.post(PODS, &pod("before")).await.ok();
    remove(&harness, "before").await;
    grant(&harness, "q", json!({"hard": {"pods": "1"}})).await;
    harness.post(PODS, &pod("a")).await.ok();
    let refused = harness.post(PODS, &pod("b")).await.refused(403);
    assert_eq!(
        refused,
        r#"pods "b" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"#
    );
    harness.post("/api/v1/namespaces/other/pods", &pod("b")).await.ok();
    remove(&harness, "a").await;
    harness.post(PODS, &pod("b")).await.ok();
    // A pod that has ended uses nothing any more.
    let ended = json!({"status": {"phase": "Succeeded"}});
    harness.merge(&format!("{PODS}/b/status"), &ended).await.ok();
    harness.post(PODS, &pod("c")).await.ok();
    harness.post(PODS, &pod("d")).await.refused(403);
}

#[tokio::test]
async fn creators_at_once_never_overshoot() {
    let (harness, _) = serve().await;
    grant(&harness, "q", json!({"hard": {"requests.cpu": "1500m", "pods": "100"}})).await;
    let pods: Vec<_> = (0..64).map(|i| asking(&format!("p{i}"), "100m")).collect();
    for round in 0..3 {
        let answers = join_all(pods.iter().map(|pod| harness.post(PODS, pod))).await;
        let made = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(made, 15, "round {round}");
        for answer in answers.into_iter().filter(|answer| answer.status != 201) {
            assert!(answer.refused(403).ends_with(
                "exceeded quota: q, requested: requests.cpu=100m, used: requests.cpu=1500m, limited: requests.cpu=1500m"
            ));
        }
        // Half of them go while others come.
        let listed = harness.get(PODS).await.ok();
        let names: Vec<_> = listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["metadata"]["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(names.len(), 15);
        let goes = join_all(names.iter().take(7).map(|name| remove(&harness, name)));
        let more: Vec<_> = (0..64).map(|i| asking(&format!("r{round}-{i}"), "100m")).collect();
        let comes = join_all(more.iter().map(|pod| harness.post(PODS, pod)));
        futures::future::join(goes, comes).await;
        let left = harness.get(PODS).await.ok()["items"].as_array().unwrap().len();
        assert!((8..=15).contains(&left), "{left}");
        harness.delete_with(PODS, &json!({"gracePeriodSeconds": 0})).await.ok();
        assert_eq!(harness.get(PODS).await.ok()["items"], json!([]));
    }
}

#[tokio::test]
async fn what_is_bounded_has_to_be_named() {
    let (harness, _) = serve().await;
    grant(&harness, "q", json!({"hard": {"requests.cpu": "1", "limits.memory": "1Gi"}})).await;
    assert_eq!(
        harness.post(PODS, &pod("a")).await.refused(403),
        r#"pods "a" is forbidden: failed quota: q: must specify limits.memory for: c; requests.cpu for: c"#
    );
    // What is no valid pod is told so first.
    let mut invalid = pod("a");
    invalid["spec"]["containers"][0]["name"] = "_".into();
    harness.post(PODS, &invalid).await.refused(422);
    grant(&harness, "scoped", json!({"hard": {"pods": "0"}, "scopes": ["BestEffort"]})).await;
    let mut full = pod("a");
    full["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
    harness.post(PODS, &full).await.ok();
}

#[tokio::test]
async fn an_update_is_charged_for_what_it_adds() {
    let (harness, _) = serve().await;
    let service = |ports: &[u16], kind: &str| {
        let ports: Vec<_> =
            ports.iter().map(|port| json!({"name": format!("p{port}"), "port": port})).collect();
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
            "spec": {"type": kind, "ports": ports, "selector": {"a": "b"}}})
    };
    grant(&harness, "q", json!({"hard": {"services.nodeports": "2", "count/configmaps": "1"}})).await;
    harness.post(SERVICES, &service(&[80, 81], "ClusterIP")).await.ok();
    let path = format!("{SERVICES}/s");
    let exposed = json!({"spec": {"type": "NodePort"}});
    harness.merge(&path, &exposed).await.ok();
    let ports = service(&[80, 81, 82], "NodePort")["spec"]["ports"].clone();
    assert_eq!(
        harness.merge(&path, &json!({"spec": {"ports": ports}})).await.refused(403),
        r#"services "s" is forbidden: exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=2, limited: services.nodeports=2"#
    );
    harness.merge(&path, &json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    let maps = "/api/v1/namespaces/default/configmaps";
    harness.post(&format!("{maps}?dryRun=All"), &crate::harness::config_map("dry")).await.ok();
    harness.post(maps, &crate::harness::config_map("a")).await.ok();
    harness.post(maps, &crate::harness::config_map("a")).await.refused(403);
    harness.merge(&format!("{maps}/a"), &json!({"data": {"b": "c"}})).await.ok();
}

#[tokio::test]
async fn a_change_of_the_quota_counts_at_once() {
    let (harness, _) = serve().await;
    grant(&harness, "q", json!({"hard": {"pods": "1"}})).await;
    harness.post(PODS, &pod("a")).await.ok();
    harness.post(PODS, &pod("b")).await.refused(403);
    harness.merge(&format!("{QUOTAS}/q"), &json!({"spec": {"hard": {"pods": "2"}}})).await.ok();
    harness.post(PODS, &pod("b")).await.ok();
    harness.post(PODS, &pod("c")).await.refused(403);
    harness.delete(&format!("{QUOTAS}/q")).await.ok();
    harness.post(PODS, &pod("c")).await.ok();
}

#[tokio::test]
async fn a_charge_in_doubt_stays_until_the_request_cannot_take_place_any_more() {
    let (harness, clock) = serve().await;
    grant(&harness, "q", json!({"hard": {"pods": "2"}})).await;
    let lost = || store::Error::Timeout("the answer was lost".into());
    // The write took place: it counts once.
    harness.store.faults().next_write(WriteFault::AnswerLost(lost()));
    harness.post(PODS, &pod("a")).await.refused(504);
    // It did not: who knows.
    harness.store.faults().next_write(WriteFault::Refused(lost()));
    harness.post(PODS, &pod("b")).await.refused(504);
    harness.post(PODS, &pod("c")).await.refused(403);
    clock.advance(SignedDuration::from_secs(61));
    harness.post(PODS, &pod("c")).await.ok();
    harness.post(PODS, &pod("d")).await.refused(403);
    // The commit of a request that is given up goes on, and what it was charged stays.
    remove(&harness, "c").await;
    harness.store.faults().hold(Part::Writes);
    let given_up = pod("e");
    let mut write = Box::pin(harness.post(PODS, &given_up));
    assert!((&mut write).now_or_never().is_none());
    tokio::task::yield_now().await;
    drop(write);
    harness.post(PODS, &pod("f")).await.refused(403);
    harness.store.faults().let_go(Part::Writes);
    while harness.get(&format!("{PODS}/e")).await.status != 200 {
        tokio::task::yield_now().await;
    }
    harness.post(PODS, &pod("f")).await.refused(403);
}
