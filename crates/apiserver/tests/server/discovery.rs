//! What clients learn about the server before they use it.

use base::metrics::{Format, strict};
use serde_json::{Value, json};
use store::memory::WriteFault;

use crate::harness::{COMMIT, CONFIG_MAPS, Harness, config_map};
use crate::watching::Watch;

fn resource<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|r| r[key] == name).unwrap_or_else(|| panic!("no {name}"))
}

#[tokio::test]
async fn legacy_documents_list_groups_versions_and_resources() {
    let harness = Harness::start().await;
    assert_eq!(harness.get("/api").await.ok()["versions"], json!(["v1"]));
    let groups = harness.get("/apis").await.ok();
    let apps = resource(&groups["groups"], "name", "apps");
    assert_eq!(apps["preferredVersion"], json!({"groupVersion": "apps/v1", "version": "v1"}));
    assert_eq!(harness.get("/apis/apps").await.ok()["kind"], "APIGroup");
    let core = harness.get("/api/v1").await.ok();
    let pods = resource(&core["resources"], "name", "pods");
    assert_eq!(pods["shortNames"], json!(["po"]));
    assert_eq!(pods["namespaced"], true);
    assert_eq!(pods["storageVersionHash"], "xPOwRZ+Yhw8=");
    assert_eq!(resource(&core["resources"], "name", "pods/exec")["storageVersionHash"], Value::Null);
    assert_eq!(resource(&core["resources"], "name", "componentstatuses")["storageVersionHash"], Value::Null);
    assert_eq!(resource(&core["resources"], "name", "pods/exec")["kind"], "PodExecOptions");
    let deployments = harness.get("/apis/apps/v1").await.ok();
    let scale = resource(&deployments["resources"], "name", "deployments/scale");
    assert_eq!((&scale["group"], &scale["kind"]), (&json!("autoscaling"), &json!("Scale")));
    harness.get("/apis/none").await.refused(404);
    harness.get("/api/v1/nonsense").await.refused(404);
}

#[tokio::test]
async fn aggregated_documents_come_when_asked_for_and_are_cached_by_tag() {
    let harness = Harness::start().await;
    for version in ["v2", "v2beta1"] {
        let kind = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        let answer = harness.get_as("/apis", &format!("{kind},application/json")).await;
        assert_eq!(answer.headers["content-type"], kind.as_str());
        let tag = answer.headers["etag"].clone();
        let document = answer.ok();
        let apps = document["items"].as_array().unwrap().iter().find(|g| g["metadata"]["name"] == "apps");
        let resources = &apps.unwrap()["versions"][0]["resources"];
        assert_eq!(resource(resources, "resource", "deployments")["responseKind"]["kind"], "Deployment");
        let request = http::Request::get("/apis")
            .header("accept", kind)
            .header("if-none-match", tag)
            .body(http_body_util::Full::default())
            .unwrap();
        assert_eq!(harness.send(request).await.status, 304);
    }
}

#[tokio::test]
async fn health_version_and_metrics_answer() {
    let harness = Harness::start().await;
    assert_eq!(harness.get("/healthz").await.body, "ok");
    let healthy =
        "[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]etcd-readiness ok\n[+]informer-sync ok\nreadyz check passed\n";
    assert_eq!(harness.get("/readyz?verbose").await.body, healthy);
    assert_eq!(harness.get("/livez/etcd").await.body, "ok");
    let version = harness.get("/version").await.ok();
    assert_eq!((&version["major"], &version["minor"]), (&json!("1"), &json!("36")));
    assert_eq!(version["gitCommit"], COMMIT);
    harness.get("/api/v1/pods").await.ok();
    let metrics = harness.get("/metrics").await;
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(
        text.contains("apiserver_request_total{verb=\"LIST\",group=\"\",version=\"v1\",resource=\"pods\""),
        "{text}"
    );
    assert_eq!(metrics.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    strict::read(&text, Format::Prometheus).unwrap_or_else(|why| panic!("{why}"));
    let open = harness.get_as("/metrics", "application/openmetrics-text; version=1.0.0").await;
    assert_eq!(open.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let open = String::from_utf8_lossy(&open.body).into_owned();
    strict::read(&open, Format::OpenMetrics).unwrap_or_else(|why| panic!("{why}"));
    assert!(harness.get("/").await.ok()["paths"].as_array().unwrap().len() > 10);
    harness.get("/nothing").await.refused(404);
}

#[tokio::test]
async fn the_parts_of_the_control_plane_are_listed() {
    let harness = Harness::start().await;
    let path = "/api/v1/componentstatuses";
    let list = harness.get(path).await.ok();
    assert_eq!(list["kind"], "ComponentStatusList");
    let names: Vec<&str> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["controller-manager", "etcd-0", "scheduler"]);
    let one = harness.get(&format!("{path}/etcd-0")).await;
    assert!(one.headers["warning"].to_str().unwrap().contains("v1 ComponentStatus is deprecated in v1.19+"));
    assert_eq!(one.ok()["conditions"], json!([{"type": "Healthy", "status": "True", "message": "ok"}]));
    harness.get(&format!("{path}/none")).await.refused(404);
    let table = harness.get_as(path, "application/json;as=Table;v=v1;g=meta.k8s.io").await.ok();
    assert_eq!(table["rows"][2]["cells"], json!(["scheduler", "Healthy", "ok", ""]));
    let selected = harness.get(&format!("{path}?fieldSelector=metadata.name%3Dscheduler")).await.ok();
    assert_eq!(selected["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_stores_figures_are_shown_under_upstreams_names() {
    let harness = Harness::start().await;
    for name in ["a", "b"] {
        harness.post(CONFIG_MAPS, &config_map(name)).await.ok();
    }
    harness.post(CONFIG_MAPS, &config_map("a")).await.refused(409);
    harness.store.faults().next_write(WriteFault::Refused(store::Error::Unavailable("no leader".into())));
    harness.delete(&format!("{CONFIG_MAPS}/a")).await.refused(500);
    let text = String::from_utf8_lossy(&harness.get("/metrics").await.body).into_owned();
    for line in [
        r#"etcd_requests_total{operation="create",group="",resource="configmaps"} 3"#,
        // What the watch cache was loaded with, and at which revision.
        r#"etcd_requests_total{operation="get",group="",resource=""} 1"#,
        r#"etcd_requests_total{operation="list",group="",resource="configmaps"} 1"#,
        r#"etcd_request_duration_seconds_count{operation="list",group="apps",resource="deployments"} 1"#,
        r#"etcd_request_duration_seconds_count{operation="create",group="",resource="configmaps"} 3"#,
        r#"etcd_request_errors_total{operation="delete",group="",resource="configmaps"} 1"#,
        r#"apiserver_resource_objects{group="",resource="configmaps"} 2"#,
        r#"apiserver_resource_objects{group="apps",resource="deployments"} 0"#,
        r#"apiserver_storage_objects{resource="deployments.apps"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.contains(r#"apiserver_storage_size_bytes{storage_cluster_id="etcd-0"} "#));
    assert!(!text.contains(r#"etcd_request_errors_total{operation="create""#), "a conflict is an answer");
}

#[tokio::test]
async fn openapi_documents_are_served_compressed_or_plain() {
    use std::io::Read;
    let harness = Harness::start().await;
    let index = harness.get("/openapi/v3").await.ok();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let document = harness.get(url).await;
    assert_eq!(document.headers["cache-control"], "public, immutable");
    assert!(document.headers["expires"].to_str().unwrap().ends_with(" GMT"));
    let old = harness.get("/openapi/v3/apis/apps/v1?hash=0123").await;
    assert_eq!((old.status, old.headers["location"].to_str().unwrap()), (301, url));
    let v3 = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";
    for (path, accept, code) in [
        (url, v3, 406),
        (url, "application/xml", 406),
        (url, "application/json;q=0", 406),
        ("/openapi/v2", "application/xml", 406),
        (url, &format!("{v3}, application/json"), 200),
        (url, "text/html, */*;q=0.8", 200),
    ] {
        assert_eq!(harness.get_as(path, accept).await.status, code, "{path} {accept}");
    }
    assert!(document.ok()["components"]["schemas"].get("io.k8s.api.apps.v1.Deployment").is_some());
    harness.get("/openapi/v3/apis/none/v1").await.refused(404);
    let request = |accept: &str| {
        let request = http::Request::get("/openapi/v2").header("accept", accept);
        request.header("accept-encoding", "gzip").body(http_body_util::Full::default()).unwrap()
    };
    let kubectl = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let packed = harness.send(request(kubectl)).await;
    assert_eq!(packed.headers["content-type"], resources::openapi::V2_PROTOBUF);
    let json = harness.send(request("application/json")).await;
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&json.body[..]).read_to_end(&mut unpacked).unwrap();
    let document: Value = serde_json::from_slice(&unpacked).unwrap();
    assert_eq!(document["swagger"], "2.0");
}

/// What people's rules, alerts and dashboards for the API server ask by (kube-prometheus).
#[tokio::test]
async fn metrics_have_the_families_and_labels_that_rules_ask_by() {
    let harness = Harness::start().await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    harness.post(&format!("{CONFIG_MAPS}?dryRun=All"), &config_map("b")).await.ok();
    let config = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}";
    harness.apply(&format!("{CONFIG_MAPS}/c?fieldManager=m"), config).await.ok();
    harness.get("/api/v1/endpoints").await.ok();
    harness.get("/livez").await;
    let list = harness.get(CONFIG_MAPS).await.ok();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let url = format!("{CONFIG_MAPS}?watch=true&resourceVersion={version}");
    let watch = Watch::open(&harness, &url, "application/json").await;
    let text = String::from_utf8(harness.get("/metrics").await.body.to_vec()).unwrap();
    let families = strict::read(&text, Format::Prometheus).unwrap_or_else(|why| panic!("{why}"));
    for (name, kind) in [
        ("apiserver_request_total", "counter"),
        ("apiserver_request_duration_seconds", "histogram"),
        ("apiserver_request_sli_duration_seconds", "histogram"),
        ("apiserver_response_sizes", "histogram"),
        ("apiserver_longrunning_requests", "gauge"),
        ("apiserver_current_inflight_requests", "gauge"),
        ("apiserver_requested_deprecated_apis", "gauge"),
        ("kubernetes_build_info", "gauge"),
        ("kubernetes_healthcheck", "gauge"),
        ("kubernetes_healthchecks_total", "counter"),
    ] {
        assert_eq!(families.get(name).map(String::as_str), Some(kind), "{name}");
    }
    let kind = "group=\"\",version=\"v1\",resource=\"configmaps\",subresource=\"\"";
    let of =
        |verb: &str, scope: &str| format!("verb=\"{verb}\",{kind},scope=\"{scope}\",component=\"apiserver\"");
    let (made, applied) = (of("POST", "resource"), of("APPLY", "resource"));
    let (listed, watched) = (of("LIST", "namespace"), of("WATCH", "namespace"));
    let mut lines = vec![
        format!("apiserver_request_total{{{made},dry_run=\"\",code=\"201\"}} 1"),
        format!("apiserver_request_total{{{made},dry_run=\"All\",code=\"201\"}} 1"),
        format!("apiserver_request_total{{{applied},dry_run=\"\",code=\"201\"}} 1"),
        format!("apiserver_response_sizes_count{{{listed}}} 1"),
        format!("apiserver_longrunning_requests{{{watched}}} 1"),
        "apiserver_requested_deprecated_apis{group=\"\",version=\"v1\",resource=\"endpoints\",subresource=\"\",removed_release=\"\"} 1".to_owned(),
        "kubernetes_healthcheck{name=\"ping\",type=\"livez\"} 1".to_owned(),
        "kubernetes_healthchecks_total{name=\"ping\",type=\"livez\",status=\"success\"} 1".to_owned(),
    ];
    for family in ["apiserver_request_sli_duration_seconds", "apiserver_request_duration_seconds"] {
        for bound in ["1.0", "5.0", "30.0"] {
            lines.push(format!("{family}_bucket{{le=\"{bound}\",{listed},dry_run=\"\"}} 1"));
        }
    }
    for line in lines {
        assert!(text.lines().any(|held| held == line), "{line}\n{text}");
    }
    assert!(text.contains(&format!("git_commit=\"{COMMIT}\"")), "{text}");
    let slis = String::from_utf8(harness.get("/metrics/slis").await.body.to_vec()).unwrap();
    let alone = strict::read(&slis, Format::Prometheus).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(alone.keys().collect::<Vec<_>>(), ["kubernetes_healthcheck", "kubernetes_healthchecks_total"]);
    assert!(slis.contains("kubernetes_healthcheck{name=\"ping\",type=\"livez\"} 1"), "{slis}");
    drop(watch);
    let text = String::from_utf8(harness.get("/metrics").await.body.to_vec()).unwrap();
    let over = format!("apiserver_longrunning_requests{{{watched}}} 0");
    assert!(text.lines().any(|held| held == over), "{over}\n{text}");
}
