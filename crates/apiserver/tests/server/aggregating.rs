//! Groups and versions that other servers serve: what is forwarded to them, and what their clients are told.

use apiserver::aggregator::AllKinds;
use http::{Method, Request};
use http_body_util::Full;
use resources::ResourceSource;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::extension_server::{FLUNDERS, Front, GROUP, REGISTRATIONS, register, server, tell};
use crate::harness::Harness;
use crate::https;
use crate::watching::Watch;

#[tokio::test]
async fn a_request_is_forwarded_with_its_user() {
    let front = Front::new().await;
    let (harness, aggregator) = server(&front).await;
    register(&harness, &aggregator, &front.extension.registration("v1alpha1", &Value::Null), true).await;
    let request = Request::post(format!("{FLUNDERS}?dryRun=All&fieldManager=a%20b"))
        .header("content-type", "application/json")
        .header("x-remote-user", "admin")
        .header("x-remote-group", "system:masters")
        .header("x-remote-extra-a", "b")
        .header("x-remote-uid", "0")
        .header("impersonate-user", "jane")
        .header("authorization", "Bearer secret")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("x-kept", "1")
        .body(Full::from("{\"kind\":\"Flunder\"}"))
        .unwrap();
    let made = harness.send(request).await.ok();
    assert_eq!(made, json!({"kind": "Flunder", "method": "POST", "bytes": 18}));
    let asked = front.extension.asked();
    let mut asked = asked.iter().filter(|seen| seen.path.starts_with(FLUNDERS));
    let (Some(seen), None) = (asked.next(), asked.next()) else { panic!("asked once") };
    assert_eq!(seen.path, format!("{FLUNDERS}?dryRun=All&fieldManager=a%20b"));
    assert!(seen.by_proxy, "the front proxy has shown who it is");
    let values = |name: &str| {
        seen.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(values("x-remote-user"), ["jane"]);
    assert_eq!(values("x-remote-group"), ["system:authenticated"]);
    assert_eq!(values("x-kept"), ["1"]);
    for name in
        ["x-remote-uid", "x-remote-extra-a", "authorization", "impersonate-user", "connection", "x-hop"]
    {
        assert_eq!(values(name), [""; 0], "{name}");
    }
    // What comes next comes over the same connection, whatever its method.
    let before = front.extension.connections();
    for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE] {
        let request = Request::builder().method(&method).uri(format!("{FLUNDERS}/a"));
        let answer = harness.send(request.body(Full::default()).unwrap()).await.ok();
        assert_eq!(answer["method"], method.as_str());
    }
    assert_eq!(front.extension.connections(), before);
    // What it answers is what the client gets, but for where else to go.
    assert_eq!(harness.get(&format!("{FLUNDERS}/secret")).await.refused(403), "not for you");
    let moved = harness.get(&format!("{FLUNDERS}/moved")).await;
    assert_eq!(moved.status, 502);
    assert_eq!(moved.body, "the backend attempted to redirect this request, which is not permitted\n");
    let list = harness.get("/apis/wardle.example.com/v1alpha1").await.ok();
    assert_eq!(list["resources"][0]["name"], "flunders");
}

#[tokio::test]
async fn authorization_comes_first() {
    let front = Front::new().await;
    let (harness, aggregator) = server(&front).await;
    register(&harness, &aggregator, &front.extension.registration("v1alpha1", &Value::Null), true).await;
    let request = Request::get(FLUNDERS).header("impersonate-user", "nobody").body(Full::default()).unwrap();
    assert!(harness.send(request).await.refused(403).contains("cannot list resource \"flunders\""));
    assert!(front.extension.asked().iter().all(|seen| seen.path != FLUNDERS));
}

#[tokio::test]
async fn a_watch_comes_as_things_happen() {
    let front = Front::new().await;
    let (harness, aggregator) = server(&front).await;
    register(&harness, &aggregator, &front.extension.registration("v1alpha1", &Value::Null), true).await;
    let mut watch = Watch::open(&harness, &format!("{FLUNDERS}?watch=true"), "application/json").await;
    for name in ["a", "b"] {
        let event = json!({"type": "ADDED", "object": {"metadata": {"name": name}}});
        front.extension.tell(&event);
        assert_eq!(watch.next().await, Some(event));
    }
    front.extension.end_watches();
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn a_large_body_and_an_upgrade_pass() {
    let front = Front::new().await;
    let https = https::start_made_of(|deps| deps.aggregator = Some(front.aggregator(deps))).await;
    front_of(&https.harness, &front).await;
    let request = format!(
        "POST {FLUNDERS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer token-jane\r\n\
         content-length: 5000000\r\n\r\n{}",
        "x".repeat(5_000_000)
    );
    let answer = https.exchange(&request, "never").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"bytes\":5000000"), "{answer}");
    let mut stream = https.connect().await;
    let request = format!(
        "POST {FLUNDERS}/a/exec HTTP/1.1\r\nhost: x\r\nauthorization: Bearer token-jane\r\n\
         connection: Upgrade\r\nupgrade: SPDY/3.1\r\ncontent-length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = https::read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    stream.write_all(b"ping").await.unwrap();
    assert_eq!(https::read_until(&mut stream, "ping").await, "ping");
    let exec = front.extension.asked().into_iter().find(|seen| seen.path.ends_with("/exec")).unwrap();
    assert_eq!(exec.headers["x-remote-user"], "jane");
    assert_eq!(exec.headers["upgrade"], "SPDY/3.1");
}

/// Registers the extension with a server whose aggregator is out of reach: until it answers.
async fn front_of(harness: &Harness, front: &Front) {
    harness.post(REGISTRATIONS, &front.extension.registration("v1alpha1", &Value::Null)).await.ok();
    let status = json!({"status": {"conditions": [{"type": "Available", "status": "True"}]}});
    harness.merge(&format!("{REGISTRATIONS}/v1alpha1.{GROUP}/status"), &status).await.ok();
    while harness.get(FLUNDERS).await.status != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_service_that_is_unavailable() {
    let front = Front::new().await;
    let (harness, aggregator) = server(&front).await;
    let name = format!("v1alpha1.{GROUP}");
    register(&harness, &aggregator, &front.extension.registration("v1alpha1", &Value::Null), false).await;
    let answer = harness.get(FLUNDERS).await;
    assert_eq!((answer.status, &answer.body[..]), (503, &b"service unavailable\n"[..]));
    tell(&harness, &aggregator, &name, true).await;
    assert_eq!(harness.get(FLUNDERS).await.status, 200);
    let path = format!("{REGISTRATIONS}/{name}");
    let change = async |spec: Value| {
        harness.merge(&path, &json!({"spec": spec})).await.ok();
        aggregator.settled().await;
        harness.get(FLUNDERS).await
    };
    // Its Service is gone.
    let answer = change(json!({"service": {"name": "other"}})).await;
    assert_eq!((answer.status, &answer.body[..]), (503, &b"service unavailable\n"[..]));
    // It shows a certificate that nobody vouches for, which one may want.
    let answer = change(json!({"service": {"name": "api"}, "caBundle": null})).await;
    let words = "error trying to reach service: tls: failed to verify certificate: x509: certificate signed by unknown authority\n";
    assert_eq!((answer.status, std::str::from_utf8(&answer.body).unwrap()), (503, words));
    assert_eq!(change(json!({"insecureSkipTLSVerify": true})).await.status, 200);
    // What is to be trusted is nothing.
    let answer = change(json!({"insecureSkipTLSVerify": false, "caBundle": "YQ=="})).await;
    assert_eq!(answer.status, 500);
    assert!(answer.body.starts_with(b"unable to load root certificates"), "{:?}", answer.body);
    harness.delete(&path).await.ok();
    aggregator.settled().await;
    harness.get(FLUNDERS).await.refused(404);
}

#[tokio::test]
async fn another_server_takes_over_what_is_served_here() {
    let front = Front::new().await;
    let (harness, aggregator) = server(&front).await;
    let nodes = "/apis/metrics.k8s.io/v1beta1/nodes";
    assert_eq!(harness.get(nodes).await.ok()["kind"], "NodeMetricsList");
    let group = json!({"group": "metrics.k8s.io", "groupPriorityMinimum": 100, "versionPriority": 100});
    let mut registration = front.extension.registration("v1beta1", &group);
    registration["metadata"]["name"] = "v1beta1.metrics.k8s.io".into();
    register(&harness, &aggregator, &registration, true).await;
    assert_eq!(harness.get(nodes).await.ok()["kind"], "Flunder");
    harness.delete(&format!("{REGISTRATIONS}/v1beta1.metrics.k8s.io")).await.ok();
    aggregator.settled().await;
    assert_eq!(harness.get(nodes).await.ok()["kind"], "NodeMetricsList");
    // What says who serves what is never another's.
    let group = json!({"group": "apiregistration.k8s.io"});
    let mut registration = front.extension.registration("v1", &group);
    registration["metadata"]["name"] = "v1.apiregistration.k8s.io".into();
    register(&harness, &aggregator, &registration, true).await;
    assert_eq!(harness.get(REGISTRATIONS).await.ok()["kind"], "APIServiceList");
}

#[tokio::test]
async fn a_server_is_asked_whether_it_serves() {
    let front = Front::new().await;
    let (_harness, aggregator) = server(&front).await;
    let gv = |version: &str| api::GroupVersion::new(GROUP, version);
    assert_eq!(aggregator.check(("default", "api", 443), &gv("v1alpha1")).await, Ok(()));
    let [seen] = &front.extension.asked()[..] else { panic!("asked once") };
    assert_eq!(seen.headers["x-remote-user"], "system:kube-aggregator");
    assert_eq!(seen.headers["x-remote-group"], "system:masters");
    assert!(seen.by_proxy);
    let none = aggregator.check(("default", "other", 443), &gv("v1alpha1")).await;
    assert_eq!(none, Err("service \"other\" not found".to_owned()));
    let url = format!("https://127.0.0.1:{}/apis/{GROUP}/secret", front.extension.port);
    let refused = aggregator.check(("default", "api", 443), &gv("secret")).await;
    assert_eq!(refused, Err(format!("failing or missing response from {url}: bad status from {url}: 403")));
    assert_eq!(front.extension.asked().len(), 5, "it is asked again before it counts as unavailable");
}

#[tokio::test]
async fn what_this_server_serves_is_available_from_the_start() {
    let harness = Harness::start().await;
    let local = json!({"metadata": {"name": "v1.apps"}, "spec": {"group": "apps", "version": "v1",
        "groupPriorityMinimum": 17800, "versionPriority": 15}, "status": {"conditions": []}});
    let made = harness.post(REGISTRATIONS, &local).await.ok();
    let condition = &made["status"]["conditions"][0];
    assert_eq!(condition["lastTransitionTime"], made["metadata"]["creationTimestamp"]);
    assert_eq!(
        (&condition["type"], &condition["status"], &condition["reason"], &condition["message"]),
        (
            &json!("Available"),
            &json!("True"),
            &json!("Local"),
            &json!("Local APIServices are always available")
        )
    );
    let table = "application/json;as=Table;g=meta.k8s.io;v=v1";
    let table = harness.get_as(REGISTRATIONS, table).await.ok();
    assert_eq!(
        table["rows"][0]["cells"].as_array().unwrap()[..3],
        [json!("v1.apps"), json!("Local"), json!("True")]
    );
    let wrong = json!({"metadata": {"name": "v1.x"}, "spec": {"group": "a", "version": "v1",
        "groupPriorityMinimum": 1, "versionPriority": 1}});
    assert_eq!(
        harness.post(REGISTRATIONS, &wrong).await.refused(422),
        "APIService.apiregistration.k8s.io \"v1.x\" is invalid: metadata.name: Invalid value: \"v1.x\": \
         must be `spec.version+\".\"+spec.group`: \"v1.a\""
    );
}

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// What discovery says of a group and version, once it says so.
async fn discovered(harness: &Harness, version: &str, until: impl Fn(&Value) -> bool) -> Value {
    loop {
        let list = harness.get_as("/apis", AGGREGATED).await.ok();
        let group = list["items"].as_array().unwrap().iter().find(|group| group["metadata"]["name"] == GROUP);
        let versions = group.and_then(|group| group["versions"].as_array()).into_iter().flatten();
        if let Some(found) = versions.clone().find(|found| found["version"] == version && until(found)) {
            return found.clone();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn discovery_shows_what_other_servers_serve() {
    let front = Front::new().await;
    let (harness, aggregator) = server(&front).await;
    register(&harness, &aggregator, &front.extension.registration("v1alpha1", &Value::Null), true).await;
    let higher = json!({"versionPriority": 300});
    register(&harness, &aggregator, &front.extension.registration("v1beta1", &higher), true).await;
    for version in ["v1alpha1", "v1beta1"] {
        let found = discovered(&harness, version, |found| found["freshness"] == "Current").await;
        assert_eq!(found["freshness"], "Current");
        let flunders = &found["resources"][0];
        assert_eq!((&flunders["resource"], &flunders["scope"]), (&json!("flunders"), &json!("Namespaced")));
        assert_eq!(flunders["shortNames"], json!(["fl"]));
        assert_eq!(flunders["subresources"][0]["subresource"], "status");
    }
    let groups = harness.get("/apis").await.ok();
    let groups = groups["groups"].as_array().unwrap();
    let place = |name: &str| groups.iter().position(|group| group["name"] == name).unwrap();
    assert!(place("resource.k8s.io") < place(GROUP) && place(GROUP) < place("metrics.k8s.io"));
    let version = |version: &str| json!({"groupVersion": format!("{GROUP}/{version}"), "version": version});
    let versions = json!([version("v1beta1"), version("v1alpha1")]);
    assert_eq!(groups[place(GROUP)]["versions"], versions);
    let group = harness.get(&format!("/apis/{GROUP}")).await.ok();
    assert_eq!((&group["versions"], &group["preferredVersion"]), (&versions, &version("v1beta1")));
    let paths = harness.get("/").await.ok();
    assert!(paths["paths"].as_array().unwrap().contains(&json!(format!("/apis/{GROUP}/v1alpha1"))));
    // What it said before counts as old once it is away; and it is none of its kinds when its registration goes.
    tell(&harness, &aggregator, &format!("v1alpha1.{GROUP}"), false).await;
    let stale = discovered(&harness, "v1alpha1", |found| found["freshness"] == "Stale").await;
    assert_eq!(stale["resources"][0]["resource"], "flunders");
    assert_eq!(discovered(&harness, "v1beta1", |_| true).await["freshness"], "Current");
    for name in ["v1alpha1", "v1beta1"] {
        harness.delete(&format!("{REGISTRATIONS}/{name}.{GROUP}")).await.ok();
    }
    aggregator.settled().await;
    harness.get(&format!("/apis/{GROUP}")).await.refused(404);
    let list = harness.get_as("/apis", AGGREGATED).await.ok();
    assert!(list["items"].as_array().unwrap().iter().all(|group| group["metadata"]["name"] != GROUP));
}

#[tokio::test]
async fn a_server_with_older_documents_is_discovered_too() {
    let front = Front::new().await;
    front.extension.speaks_old();
    let (harness, aggregator) = server(&front).await;
    register(&harness, &aggregator, &front.extension.registration("v1alpha1", &Value::Null), true).await;
    let found = discovered(&harness, "v1alpha1", |found| found["freshness"] == "Current").await;
    assert_eq!(found["freshness"], "Current");
    let kind = json!({"group": GROUP, "version": "v1alpha1", "kind": "Flunder"});
    assert_eq!(found["resources"][0]["responseKind"], kind);
    assert_eq!(found["resources"][0]["subresources"][0]["verbs"], json!(["get"]));
}

#[tokio::test]
async fn documents_describe_what_other_servers_serve() {
    let front = Front::new().await;
    let (harness, aggregator) = server(&front).await;
    let before = harness.get("/openapi/v3").await.ok()["paths"].clone();
    register(&harness, &aggregator, &front.extension.registration("v1alpha1", &Value::Null), true).await;
    discovered(&harness, "v1alpha1", |found| found["freshness"] == "Current").await;
    let mut after = harness.get("/openapi/v3").await.ok()["paths"].clone();
    let path = format!("apis/{GROUP}/v1alpha1");
    let url = after.as_object_mut().unwrap().remove(&path).unwrap()["serverRelativeURL"].clone();
    assert_eq!(url, format!("/openapi/v3/{path}?hash=ABC"));
    assert_eq!(after, before);
    let document = harness.get(url.as_str().unwrap()).await.ok();
    assert!(document["components"]["schemas"].get("Flunder").is_some(), "{document}");
    let all = harness.get("/openapi/v2").await.ok();
    let flunders = &all["paths"]["/apis/wardle.example.com/v1alpha1/flunders"];
    assert!(flunders["get"].is_object() && all["paths"].get("/apis/other.example.com/v1/others").is_none());
    let meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let flunder = &all["definitions"]["com.example.wardle.Flunder"]["properties"]["metadata"];
    assert_eq!(flunder["$ref"], format!("#/definitions/{meta}_v2"));
    assert_eq!(all["definitions"][format!("{meta}_v2")]["description"], "another one");
    assert_ne!(all["definitions"][meta]["description"], "another one");
    assert!(all["definitions"].get("com.example.wardle.Unused").is_none());
}

#[tokio::test]
async fn who_looks_after_all_kinds_sees_those_of_other_servers() {
    let front = Front::new().await;
    let (harness, aggregator) = server(&front).await;
    let kinds = AllKinds::new(harness.server.kinds(), aggregator.clone(), harness.supervisor.clone());
    let (told, mut changes) = tokio::sync::mpsc::unbounded_channel();
    kinds.on_change(Box::new(move || {
        let _nobody_listens_at_the_end = told.send(());
    }));
    assert!(kinds.table().find(GROUP, "v1alpha1", "flunders").is_none() && kinds.undiscovered().is_empty());
    register(&harness, &aggregator, &front.extension.registration("v1alpha1", &Value::Null), false).await;
    assert_eq!(kinds.undiscovered(), [api::GroupVersion::new(GROUP, "v1alpha1")]);
    tell(&harness, &aggregator, &format!("v1alpha1.{GROUP}"), true).await;
    while kinds.table().find(GROUP, "v1alpha1", "flunders").is_none() {
        changes.recv().await.expect("the kinds change");
    }
    assert!(kinds.undiscovered().is_empty());
    let table = kinds.table();
    let flunders = table.by_kind(GROUP, "v1alpha1", "Flunder").expect("a row");
    assert!(flunders.elsewhere && flunders.namespaced() && flunders.supports(resources::Verb::Watch));
    assert!(!flunders.supports(resources::Verb::Patch));
    assert!(table.find("", "v1", "pods").is_some());
    harness.delete(&format!("{REGISTRATIONS}/v1alpha1.{GROUP}")).await.ok();
    aggregator.settled().await;
    assert!(kinds.table().find(GROUP, "v1alpha1", "flunders").is_none() && kinds.undiscovered().is_empty());
}
