//! Evictions, and the budgets that may refuse them.

use serde_json::{Value, json};

use crate::harness::{Answer, Harness, PODS, pod};

const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

/// A running pod with the label `app: x`; ready or not.
async fn run(harness: &Harness, name: &str, ready: bool) {
    let mut body = pod(name);
    body["metadata"]["labels"] = json!({"app": "x"});
    // Evictions mark it, and nobody ends it.
    body["metadata"]["finalizers"] = json!(["example.com/stay"]);
    harness.post(PODS, &body).await.ok();
    let ready = if ready { "True" } else { "False" };
    let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]});
    harness.merge(&format!("{PODS}/{name}/status"), &json!({"status": status})).await.ok();
}

/// A budget for `app: x` whose status allows so many disruptions.
async fn budget(harness: &Harness, name: &str, allowed: i64, more: Value) {
    let mut spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    harness.post(BUDGETS, &json!({"metadata": {"name": name}, "spec": spec})).await.ok();
    let status = json!({
        "observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 1 + allowed, "desiredHealthy": 1,
        "expectedPods": 9,
    });
    harness.merge(&format!("{BUDGETS}/{name}/status"), &json!({"status": status})).await.ok();
}

async fn evict(harness: &Harness, name: &str, query: &str) -> Answer {
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    harness.post(&format!("{PODS}/{name}/eviction{query}"), &eviction).await
}

async fn going(harness: &Harness, name: &str) -> Option<String> {
    let pod = harness.get(&format!("{PODS}/{name}")).await.ok();
    let told = pod["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == "DisruptionTarget");
    assert_eq!(told.is_some(), !pod["metadata"]["deletionTimestamp"].is_null(), "{pod}");
    told.map(|condition| format!("{}: {}", condition["reason"], condition["message"]))
}

#[tokio::test]
async fn a_budget_gives_as_many_as_its_status_allows() {
    let harness = Harness::start().await;
    for name in ["a", "b", "c"] {
        run(&harness, name, true).await;
    }
    budget(&harness, "x", 1, json!({})).await;
    assert_eq!(evict(&harness, "a", "?dryRun=All").await.status, 201);
    assert_eq!(going(&harness, "a").await, None);
    assert_eq!(evict(&harness, "a", "").await.status, 201);
    let why = r#""EvictionByEvictionAPI": "Eviction API: evicting""#;
    assert_eq!(going(&harness, "a").await.as_deref(), Some(why));

    let status = harness.get(&format!("{BUDGETS}/x")).await.ok()["status"].clone();
    assert_eq!(status["disruptionsAllowed"], 0);
    assert!(status["disruptedPods"]["a"].is_string(), "{status}");
    assert_eq!(status["conditions"][0]["reason"], "InsufficientPods");

    let refused = evict(&harness, "b", "").await;
    assert_eq!(refused.status, 429);
    let refused = refused.json();
    assert_eq!(refused["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(refused["reason"], "TooManyRequests");
    let cause = json!({"reason": "DisruptionBudget", "message": "The disruption budget x needs 1 healthy pods and has 2 currently"});
    assert_eq!(refused["details"]["causes"], json!([cause]));
    assert_eq!(going(&harness, "b").await, None);
    // What goes already, and what has ended, asks nobody.
    assert_eq!(evict(&harness, "a", "").await.status, 201);
    harness.merge(&format!("{PODS}/c/status"), &json!({"status": {"phase": "Failed"}})).await.ok();
    assert_eq!(evict(&harness, "c", "").await.status, 201);
}

#[tokio::test]
async fn of_many_at_once_as_many_pass_as_are_allowed() {
    let harness = Harness::start().await;
    let names: Vec<String> = (0..12).map(|n| format!("p{n}")).collect();
    for name in &names {
        run(&harness, name, true).await;
    }
    budget(&harness, "x", 5, json!({})).await;
    let all = futures::future::join_all(names.iter().map(|name| evict(&harness, name, ""))).await;
    let passed = all.iter().filter(|answer| answer.status == 201).count();
    let refused = all.iter().filter(|answer| answer.status == 429).count();
    assert_eq!((passed, refused), (5, 7));
}

#[tokio::test]
async fn what_is_not_ready_goes_as_the_budget_says() {
    let harness = Harness::start().await;
    for (name, ready) in [("a", false), ("b", false), ("c", true)] {
        run(&harness, name, ready).await;
    }
    // Enough are healthy without it: the budget's number is not touched.
    budget(&harness, "x", 0, json!({})).await;
    assert_eq!(evict(&harness, "a", "").await.status, 201);
    assert_eq!(evict(&harness, "c", "").await.status, 429);
    // Too few are healthy.
    let few = json!({"status": {"currentHealthy": 0}});
    harness.merge(&format!("{BUDGETS}/x/status"), &few).await.ok();
    assert_eq!(evict(&harness, "b", "").await.status, 429);
    harness
        .merge(&format!("{BUDGETS}/x"), &json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}))
        .await
        .ok();
    assert_eq!(evict(&harness, "b", "").await.status, 201);
}

#[tokio::test]
async fn a_budget_that_is_not_counted_yet_or_one_too_many_refuses() {
    let harness = Harness::start().await;
    run(&harness, "a", true).await;
    budget(&harness, "x", 1, json!({})).await;
    // Its specification has changed since it was counted.
    harness.merge(&format!("{BUDGETS}/x"), &json!({"spec": {"minAvailable": 2}})).await.ok();
    let refused = evict(&harness, "a", "").await;
    assert_eq!(refused.status, 429);
    let refused = refused.json();
    assert_eq!(refused["details"]["retryAfterSeconds"], 10);
    let still = "The disruption budget x is still being processed by the server.";
    assert_eq!(refused["details"]["causes"][0]["message"], still);
    budget(&harness, "y", 1, json!({"selector": {}})).await;
    let refused = evict(&harness, "a", "").await.refused(500);
    assert_eq!(
        refused,
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    );
}

#[tokio::test]
async fn an_eviction_may_be_bound_to_one_state_of_the_pod() {
    let harness = Harness::start().await;
    run(&harness, "a", true).await;
    let bound = |version: &str| {
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"},
               "deleteOptions": {"preconditions": {"resourceVersion": version}}})
    };
    let path = format!("{PODS}/a/eviction");
    harness.post(&path, &bound("1")).await.refused(409);
    assert_eq!(going(&harness, "a").await, None);
    let version = harness.get(&format!("{PODS}/a")).await.ok()["metadata"]["resourceVersion"].clone();
    assert_eq!(harness.post(&path, &bound(version.as_str().unwrap())).await.status, 201);
    assert!(going(&harness, "a").await.is_some());
}
