//! The texts of answers: the order of members. Clients' own tests compare them.

use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::json;

use crate::harness::{CONFIG_MAPS, Harness, config_map};

async fn text(harness: &Harness, path: &str, accept: &str) -> String {
    String::from_utf8(harness.get_as(path, accept).await.body.into()).unwrap()
}

#[tokio::test]
async fn objects_begin_with_kind_version_and_metadata() {
    let harness = Harness::start().await;
    let created = harness.post(CONFIG_MAPS, &config_map("a")).await;
    let object = created.json();
    let [uid, version, time] =
        ["uid", "resourceVersion", "creationTimestamp"].map(|key| object["metadata"][key].as_str().unwrap());
    let start = format!(
        r#"{{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"a","namespace":"default","uid":"{uid}","resourceVersion":"{version}","creationTimestamp":"{time}","managedFields":["#
    );
    let created = String::from_utf8(created.body.into()).unwrap();
    assert!(created.starts_with(&start) && created.ends_with(r#"]},"data":{"a":"1"}}"#), "{created}");
    let one = format!("{CONFIG_MAPS}/a");
    assert_eq!(text(&harness, &one, "application/json").await, created);
    let listed = text(&harness, CONFIG_MAPS, "application/json").await;
    // Items of built-in kinds have neither kind nor version.
    let item = created.replacen(r#""kind":"ConfigMap","apiVersion":"v1","#, "", 1);
    let expect = format!(
        "{{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\",\"metadata\":{{\"resourceVersion\":\"{version}\"}},\"items\":[{item}]}}\n"
    );
    assert_eq!(listed, expect);
    let listed = text(&harness, CONFIG_MAPS, "application/yaml").await;
    assert!(!listed.contains("kind: ConfigMap\n") && listed.contains("kind: ConfigMapList\n"), "{listed}");
    let request = Request::get(format!("{CONFIG_MAPS}?watch=true")).body(Full::default()).unwrap();
    let mut watch = harness.raw(request).await.into_body();
    let mut event = Vec::new();
    while !event.ends_with(b"\n") {
        event.extend_from_slice(watch.frame().await.unwrap().unwrap().data_ref().unwrap());
    }
    assert_eq!(String::from_utf8(event).unwrap(), format!("{{\"type\":\"ADDED\",\"object\":{created}}}\n"));
    // What is written again keeps its order.
    let merged = harness.merge(&one, &json!({"metadata": {"labels": {"l": "1"}}})).await;
    let merged = String::from_utf8(merged.body.into()).unwrap();
    assert!(
        merged.contains(&format!(r#""creationTimestamp":"{time}","labels":{{"l":"1"}},"managedFields""#)),
        "{merged}"
    );
}

/// As upstream's types declare their fields, which is neither by name nor by number.
#[tokio::test]
async fn what_a_kind_holds_has_the_order_of_upstreams_types() {
    let harness = Harness::start().await;
    let hpas = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let scaled = json!({"metadata": {"name": "h"}, "spec": {
        "targetCPUUtilizationPercentage": 50, "maxReplicas": 3, "minReplicas": 2,
        "scaleTargetRef": {"name": "d", "kind": "Deployment", "apiVersion": "apps/v1"}}});
    harness.post(hpas, &scaled).await.ok();
    let shown = text(&harness, &format!("{hpas}/h"), "application/json").await;
    assert!(
        shown.contains(
            r#""spec":{"scaleTargetRef":{"kind":"Deployment","name":"d","apiVersion":"apps/v1"},"minReplicas":2,"maxReplicas":3,"targetCPUUtilizationPercentage":50}"#
        ),
        "{shown}"
    );
    // Stored in another version than the one it was written in.
    let shown = text(&harness, &format!("{}/h", hpas.replace("v1", "v2")), "application/json").await;
    assert!(
        shown.contains(
            r#""minReplicas":2,"maxReplicas":3,"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":50}}}]"#
        ),
        "{shown}"
    );
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": {"b": "1", "a": "2"}}, "spec": {
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [{"volumeMounts": [{"mountPath": "/v", "name": "v"}], "name": "c", "image": "i",
            "env": [{"value": "1", "name": "E"}], "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}]}});
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "template": template, "selector": {"matchLabels": {"b": "1"}}, "replicas": 2}});
    harness.post(deployments, &deployment).await.ok();
    let shown = text(&harness, &format!("{deployments}/d"), "application/json").await;
    let spec = r#""spec":{"replicas":2,"selector":{"matchLabels":{"b":"1"}},"template":{"metadata":{"labels":{"a":"2","b":"1"}},"spec":{"volumes":[{"name":"v","emptyDir":{}}],"containers":[{"name":"c","image":"i","env":[{"name":"E","value":"1"}],"resources":{"limits":{"cpu":"2"},"requests":{"cpu":"1"}},"volumeMounts":[{"name":"v","mountPath":"/v"}],"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"Always"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler"}},"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":"25%","maxSurge":"25%"}},"revisionHistoryLimit":10,"progressDeadlineSeconds":600},"status":{}"#;
    assert!(shown.contains(spec), "{shown}");
}

#[tokio::test]
async fn other_views_and_failures_have_upstreams_order_too() {
    let harness = Harness::start().await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    assert_eq!(
        text(&harness, &format!("{CONFIG_MAPS}/b"), "application/json").await,
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"configmaps \\\"b\\\" not found\",\"reason\":\"NotFound\",\"details\":{\"name\":\"b\",\"kind\":\"configmaps\"},\"code\":404}\n"
    );
    let table = text(&harness, CONFIG_MAPS, "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    assert!(table.starts_with(r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"#), "{table}");
    assert!(
        table.contains(
            r#""columnDefinitions":[{"name":"Name","type":"string","format":"name","description":"#
        ),
        "{table}"
    );
    assert!(table.contains(r#""object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"a","#), "{table}");
    let deleted = harness.delete(&format!("{CONFIG_MAPS}/a")).await;
    let deleted = String::from_utf8(deleted.body.into()).unwrap();
    let start = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","details":{"name":"a","kind":"configmaps","uid":""#;
    assert!(deleted.starts_with(start) && deleted.ends_with("\n"), "{deleted}");
}

#[tokio::test]
async fn discovery_has_upstreams_order() {
    let harness = Harness::start().await;
    let versions = text(&harness, "/api", "application/json").await;
    assert!(
        versions.starts_with(r#"{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":["#),
        "{versions}"
    );
    let groups = text(&harness, "/apis", "application/json").await;
    assert!(groups.starts_with(r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"#), "{groups}");
    let apps = text(&harness, "/apis/apps", "application/json").await;
    assert_eq!(
        apps,
        "{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",\"name\":\"apps\",\"versions\":[{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}],\"preferredVersion\":{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}}\n"
    );
    let core = text(&harness, "/api/v1", "application/json").await;
    assert!(
        core.starts_with(r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"#),
        "{core}"
    );
    assert!(
        core.contains(r#"{"name":"configmaps","singularName":"configmap","namespaced":true,"kind":"ConfigMap","verbs":["create","delete""#),
        "{core}"
    );
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let aggregated = text(&harness, "/apis", aggregated).await;
    assert!(
        aggregated.starts_with(r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[{"metadata":{"name":"#),
        "{aggregated}"
    );
}

#[tokio::test]
async fn a_form_that_is_not_served_is_not_acceptable() {
    let harness = Harness::start().await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    for path in ["/api", "/apis", "/api/v1", "/apis/apps/v1"] {
        harness.get_as(path, table).await.refused(406);
        harness.get_as(path, &format!("{table},application/json")).await.ok();
    }
    let review = |accept: &str| {
        let body = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}).to_string();
        Request::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
            .header("accept", accept)
            .header("content-type", "application/json")
            .body(Full::new(body.into()))
            .unwrap()
    };
    harness.send(review(table)).await.refused(406);
    assert_eq!(harness.send(review("application/json")).await.ok()["status"]["allowed"], true);
    let partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    assert_eq!(harness.send(review(partial)).await.ok()["kind"], "PartialObjectMetadata");
}
