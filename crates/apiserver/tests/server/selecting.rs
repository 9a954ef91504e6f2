//! Field selectors: which fields each kind takes, and what they mean.

use serde_json::{Value, json};

use crate::harness::{Harness, PODS, pod};

/// The names of what a selector selects.
async fn selected(harness: &Harness, path: &str, selector: &str) -> Vec<String> {
    let list = harness.get(&format!("{path}?fieldSelector={}", selector.replace('=', "%3D"))).await.ok();
    let names = list["items"].as_array().unwrap().iter();
    names.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn events_are_selected_by_who_reports_them_whichever_field_says_so() {
    let harness = Harness::start().await;
    let path = "/api/v1/namespaces/default/events";
    let event = |name: &str, more: Value| {
        let mut event = json!({
            "metadata": {"name": name}, "reason": "R", "type": "Normal",
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p", "fieldPath": "spec"},
        });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    harness.post(path, &event("old", json!({"source": {"component": "kubelet"}}))).await.ok();
    let new = json!({"reportingComponent": "kubelet", "reportingInstance": "n", "action": "A",
                     "eventTime": "2026-01-01T00:00:00.000000Z"});
    harness.post(path, &event("new", new)).await.ok();
    harness.post(path, &event("other", json!({"source": {"component": "scheduler"}}))).await.ok();
    assert_eq!(selected(&harness, path, "source=kubelet").await, ["new", "old"]);
    assert_eq!(selected(&harness, path, "source!=kubelet").await, ["other"]);
    assert_eq!(selected(&harness, path, "reportingComponent=kubelet").await, ["new"]);
    for same in
        ["involvedObject.kind=Pod", "involvedObject.name=p", "involvedObject.fieldPath=spec", "reason=R"]
    {
        assert_eq!(selected(&harness, path, same).await, ["new", "old", "other"], "{same}");
    }
    let again = "/apis/events.k8s.io/v1/namespaces/default/events";
    assert_eq!(selected(&harness, again, "reportingController=kubelet").await, ["new"]);
    assert_eq!(selected(&harness, again, "regarding.kind=Pod,type=Normal").await, ["new", "old", "other"]);
    harness.get(&format!("{path}?fieldSelector=message%3Dx")).await.refused(400);
}

#[tokio::test]
async fn pods_are_selected_by_every_field_that_upstream_takes() {
    let harness = Harness::start().await;
    let mut placed = pod("placed");
    placed["spec"]["nodeName"] = "n".into();
    placed["spec"]["hostNetwork"] = true.into();
    harness.post(PODS, &placed).await.ok();
    harness.post(PODS, &pod("free")).await.ok();
    for (selector, names) in [
        ("spec.nodeName=n", vec!["placed"]),
        ("spec.host=n", vec!["placed"]),
        ("spec.nodeName=", vec!["free"]),
        ("spec.host=", vec!["free"]),
        ("spec.hostNetwork=true", vec!["placed"]),
        ("spec.hostNetwork=false", vec!["free"]),
        ("spec.restartPolicy=Always", vec!["free", "placed"]),
        ("spec.schedulerName=default-scheduler", vec!["free", "placed"]),
        ("status.phase=Pending", vec!["free", "placed"]),
        ("status.phase!=Pending", vec![]),
        ("status.podIP=", vec!["free", "placed"]),
        ("status.podIPs=", vec!["free", "placed"]),
        ("status.nominatedNodeName=", vec!["free", "placed"]),
        ("metadata.name=free,metadata.namespace=default", vec!["free"]),
    ] {
        assert_eq!(selected(&harness, PODS, selector).await, names, "{selector}");
    }
    harness.get(&format!("{PODS}?fieldSelector=spec.priority%3D1")).await.refused(400);
}

#[tokio::test]
async fn kinds_without_fields_of_their_own_take_name_and_namespace() {
    let harness = Harness::start().await;
    let classes = "/apis/storage.k8s.io/v1/storageclasses";
    harness.post(classes, &json!({"metadata": {"name": "c"}, "provisioner": "example.com/disk"})).await.ok();
    assert_eq!(selected(&harness, classes, "metadata.name=c").await, ["c"]);
    assert_eq!(selected(&harness, classes, "metadata.namespace=").await, ["c"]);
    assert!(selected(&harness, classes, "metadata.namespace=x").await.is_empty());
    // Those with fields of their own take what they name.
    harness.get("/api/v1/nodes?fieldSelector=metadata.namespace%3Dx").await.refused(400);
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    let set = json!({"metadata": {"name": "s"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }});
    harness.post(sets, &set).await.ok();
    assert_eq!(selected(&harness, sets, "status.replicas=0").await, ["s"]);
}
