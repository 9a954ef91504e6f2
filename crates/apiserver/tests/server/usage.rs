//! `metrics.k8s.io`: figures from the nodes' agents, taken when they are asked for.

use serde_json::{Value, json};

use crate::harness::{PODS, pod};
use crate::https::{agent_saying, start};

const METRICS: &str = "/apis/metrics.k8s.io/v1beta1";

/// What the agent says the `n`th time, a second apart: node and container each use half a core.
fn summary(n: usize, pods: &[&str]) -> Value {
    let at = format!("2026-01-01T00:00:{n:02}Z");
    let figures = |extra: Value| {
        let mut out = json!({"cpu": {"time": at, "usageCoreNanoSeconds": n * 500_000_000}, "memory": {"time": at, "workingSetBytes": 8 << 20}});
        out.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        out
    };
    let container = || figures(json!({"name": "c", "startTime": "2025-01-01T00:00:00Z"}));
    let pods = pods.iter().map(|pod| json!({"podRef": {"name": pod, "namespace": "default", "uid": "u"}, "containers": [container()]}));
    json!({"node": figures(json!({"nodeName": "n1"})), "pods": pods.collect::<Vec<_>>()})
}

#[tokio::test]
async fn figures_are_taken_when_they_are_asked_for() {
    let https = start().await;
    let answers = (0..2).map(|n| summary(n, &["a", "b"]).to_string()).collect();
    let (agent, serving) = agent_saying(&https.authority, answers).await;
    let harness = &https.harness;
    let node = json!({"metadata": {"name": "n1", "labels": {"disk": "ssd"}}});
    harness.post("/api/v1/nodes", &node).await.ok();
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": agent.port()}},
    }});
    harness.merge("/api/v1/nodes/n1/status", &status).await.ok();
    for (name, phase) in [("a", "Running"), ("b", "Running"), ("idle", "Pending")] {
        let mut pod = pod(name);
        pod["spec"]["nodeName"] = "n1".into();
        pod["metadata"]["labels"] = json!({"app": name});
        harness.post(PODS, &pod).await.ok();
        harness.merge(&format!("{PODS}/{name}/status"), &json!({"status": {"phase": phase}})).await.ok();
    }
    // Two who ask at once share the two samples that are needed.
    let path = format!("{METRICS}/nodes");
    let pods = format!("{METRICS}/namespaces/default/pods?labelSelector=app%3Da");
    let (requests, nodes, pods) = tokio::join!(serving, harness.get(&path), harness.get(&pods));
    assert!(requests.iter().all(|r| r.starts_with("GET /stats/summary HTTP/1.1\r\n")), "{requests:?}");
    let mut nodes = nodes.ok();
    assert_eq!(
        (&nodes["kind"], &nodes["apiVersion"]),
        (&json!("NodeMetricsList"), &json!("metrics.k8s.io/v1beta1"))
    );
    let node = &mut nodes["items"][0];
    assert!(node["metadata"]["creationTimestamp"].take().is_string());
    assert_eq!(
        *node,
        json!({"kind": "NodeMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {"name": "n1", "labels": {"disk": "ssd"}, "creationTimestamp": null},
            "timestamp": "2026-01-01T00:00:01Z", "window": "1s", "usage": {"cpu": "500m", "memory": "8Mi"}})
    );
    let pods = pods.ok();
    assert_eq!(pods["items"].as_array().unwrap().len(), 1, "{pods}");
    assert_eq!(
        pods["items"][0]["containers"],
        json!([{"name": "c", "usage": {"cpu": "500m", "memory": "8Mi"}}])
    );
    // The agent says no more: these are of what was said.
    let one = harness.get(&format!("{METRICS}/namespaces/default/pods/b")).await.ok();
    assert_eq!((&one["kind"], &one["window"]), (&json!("PodMetrics"), &json!("1s")));
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = harness.get_as(&format!("{METRICS}/pods"), table).await.ok();
    assert_eq!(table["rows"][1]["cells"], json!(["b", "500m", "8Mi", "1s"]));
    let refused = harness.get(&format!("{METRICS}/namespaces/default/pods/idle")).await.refused(404);
    assert_eq!(refused, r#"podmetrics.metrics.k8s.io "default/idle" not found"#);
    let refused = harness.get(&format!("{METRICS}/namespaces/default/pods/none")).await.refused(404);
    assert_eq!(refused, r#"pods "none" not found"#);
    harness.post(&format!("{METRICS}/nodes"), &json!({})).await.refused(405);
}

#[tokio::test]
async fn what_has_started_since_the_last_sample_is_waited_for() {
    let https = start().await;
    let pods = [&["a"][..], &["a"], &["a", "b"], &["a", "b"]];
    let answers = pods.iter().enumerate().map(|(n, pods)| summary(n, pods).to_string()).collect();
    let (agent, serving) = agent_saying(&https.authority, answers).await;
    let harness = &https.harness;
    harness.post("/api/v1/nodes", &json!({"metadata": {"name": "n1"}})).await.ok();
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": agent.port()}},
    }});
    harness.merge("/api/v1/nodes/n1/status", &status).await.ok();
    let run = async |name: &str| {
        let mut pod = pod(name);
        pod["spec"]["nodeName"] = "n1".into();
        harness.post(PODS, &pod).await.ok();
        let running = json!({"status": {"phase": "Running"}});
        harness.merge(&format!("{PODS}/{name}/status"), &running).await.ok();
    };
    let ask = async {
        run("a").await;
        harness.get(&format!("{METRICS}/namespaces/default/pods/a")).await.ok();
        run("b").await;
        let list = harness.get(&format!("{METRICS}/namespaces/default/pods")).await.ok();
        assert_eq!(list["items"].as_array().unwrap().len(), 2, "{list}");
    };
    tokio::join!(serving, ask);
}

#[tokio::test]
async fn an_agent_that_cannot_be_asked_is_left_out_and_named() {
    let https = start().await;
    https.harness.post("/api/v1/nodes", &json!({"metadata": {"name": "n1"}})).await.ok();
    let answer = https.harness.get(&format!("{METRICS}/nodes")).await;
    let warning = answer.headers["warning"].to_str().unwrap().to_owned();
    assert!(
        warning.contains("no figures of node") && warning.contains("has not told its address yet"),
        "{warning}"
    );
    assert_eq!(answer.ok()["items"], json!([]));
    let refused = https.harness.get(&format!("{METRICS}/nodes/n1")).await.refused(404);
    assert_eq!(refused, r#"nodemetrics.metrics.k8s.io "n1" not found"#);
}
