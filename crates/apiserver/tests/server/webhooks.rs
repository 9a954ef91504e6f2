//! Admission webhooks: who is asked about what, what is told, and what becomes of the answers.

use std::sync::Arc;

use apiserver::webhook::Credentials;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::custom::{DEFINITIONS, establish};
use crate::harness::{Answer, CONFIG_MAPS, Harness, PODS, config_map, pod};
use crate::webhook_server::{
    Hook, MUTATING, Reply, VALIDATING, allow, asking_as, configure, deny, patch, responding, server, webhook,
};

fn add(path: &str, value: &str) -> Value {
    json!([{"op": "add", "path": path, "value": value}])
}

fn warnings(answer: &Answer) -> Vec<String> {
    answer.headers.get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_webhook_changes_what_is_made_and_is_told_all_of_it() {
    let hook = Hook::start(|_, review| Reply::Json(patch(review, &add("/data/b", "2")))).await;
    let harness = server(&hook).await;
    configure(&harness, MUTATING, "a", &[webhook("add.example.com", &hook.url("/add"), &Value::Null)]).await;
    let made = harness.post(&format!("{CONFIG_MAPS}?fieldManager=me"), &config_map("m")).await.ok();
    assert_eq!(made["data"], json!({"a": "1", "b": "2"}));
    let [(path, review)] = &hook.asked()[..] else { panic!("asked once") };
    assert_eq!(path, "/add?timeout=10s");
    assert_eq!(
        (&review["kind"], &review["apiVersion"]),
        (&json!("AdmissionReview"), &json!("admission.k8s.io/v1"))
    );
    let mut request = review["request"].clone();
    assert!(!request["uid"].take().as_str().unwrap().is_empty());
    assert_eq!(request["object"]["data"], json!({"a": "1"}));
    assert!(!request["object"]["metadata"]["uid"].as_str().unwrap().is_empty());
    request.as_object_mut().unwrap().remove("object");
    let kind = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
    let resource = json!({"group": "", "version": "v1", "resource": "configmaps"});
    assert_eq!(
        request,
        json!({"uid": null, "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
            "name": "m", "namespace": "default", "operation": "CREATE", "oldObject": null, "dryRun": false,
            "userInfo": {"username": "tester", "groups": ["system:authenticated"]},
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me"}})
    );
    // What comes next is told over the same connection.
    harness.post(CONFIG_MAPS, &config_map("n")).await.ok();
    assert_eq!((hook.asked().len(), hook.connections()), (1, 1));
}

/// A kubeconfig's user that is named for the webhook's host is whom it is called as; others are nobody.
#[tokio::test]
async fn a_webhook_is_called_as_whom_the_settings_name() {
    let hook = Hook::agreeing().await;
    let (chain, key) = hook.authority.issue("api", None);
    let encoded = |pem: &str| STANDARD.encode(pem);
    let config = json!({"apiVersion": "v1", "kind": "Config", "users": [
        {"name": format!("127.0.0.1:{}", hook.port), "user": {"token": "secret",
            "client-certificate-data": encoded(&chain), "client-key-data": encoded(&key)}},
        {"name": "elsewhere.example.com", "user": {"token": "other"}}]});
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hooks.kubeconfig");
    std::fs::write(&file, config.to_string()).unwrap();
    let credentials = Arc::new(Credentials::read(&file).unwrap());
    let port = hook.port;
    let harness = Harness::made_of(|deps| asking_as(deps, port, Some(credentials))).await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}});
    harness.post("/api/v1/namespaces", &namespace).await.ok();
    configure(&harness, MUTATING, "a", &[webhook("a.example.com", &hook.url("/a"), &Value::Null)]).await;
    configure(&harness, VALIDATING, "b", &[webhook("b.example.com", &hook.url("/b"), &Value::Null)]).await;
    harness.post(CONFIG_MAPS, &config_map("m")).await.ok();
    assert_eq!(hook.callers(), [("Bearer secret".to_owned(), true), (String::new(), false)]);
}

#[tokio::test]
async fn a_webhook_refuses_in_its_own_words() {
    let hook = Hook::start(|path, review| {
        Reply::Json(match path.split('?').next().unwrap() {
            "/mute" => responding(review, json!({"allowed": false})),
            "/warn" => responding(review, json!({"allowed": true, "warnings": ["mind the gap"]})),
            _ => deny(review, "the configmap contains unwanted key and value"),
        })
    })
    .await;
    let harness = server(&hook).await;
    let one = |path: &str| [webhook("deny.example.com", &hook.url(path), &Value::Null)];
    configure(&harness, VALIDATING, "a", &one("/deny")).await;
    let refusal = harness.post(CONFIG_MAPS, &config_map("m")).await;
    let status = refusal.json();
    assert_eq!((&status["code"], &status["reason"]), (&json!(403), &json!("Forbidden")));
    assert_eq!(
        status["message"],
        "admission webhook \"deny.example.com\" denied the request: the configmap contains unwanted key and value"
    );
    harness.delete(&format!("{VALIDATING}/a")).await.ok();
    configure(&harness, VALIDATING, "a", &one("/mute")).await;
    let refusal = harness.post(CONFIG_MAPS, &config_map("m")).await.refused(400);
    assert_eq!(refusal, "admission webhook \"deny.example.com\" denied the request without explanation");
    harness.delete(&format!("{VALIDATING}/a")).await.ok();
    configure(&harness, VALIDATING, "a", &one("/warn")).await;
    assert_eq!(warnings(&harness.post(CONFIG_MAPS, &config_map("m")).await), ["299 - \"mind the gap\""]);
}

#[tokio::test]
async fn configurations_count_from_the_answer_on() {
    let hook = Hook::start(|_, review| Reply::Json(deny(review, "no"))).await;
    let harness = server(&hook).await;
    configure(&harness, VALIDATING, "a", &[webhook("deny.example.com", &hook.url("/"), &Value::Null)]).await;
    harness.post(CONFIG_MAPS, &config_map("m")).await.refused(403);
    let operations = |operation: &str| json!([{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": [operation]}]);
    let change = |operation: &'static str| {
        let harness = &harness;
        async move {
            let path = format!("{VALIDATING}/a");
            harness.patch(&path, "application/json-patch+json", &operations(operation)).await.ok()
        }
    };
    change("UPDATE").await;
    harness.post(CONFIG_MAPS, &config_map("m")).await.ok();
    harness.merge(&format!("{CONFIG_MAPS}/m"), &json!({"data": {"a": "2"}})).await.refused(403);
    change("CREATE").await;
    harness.post(CONFIG_MAPS, &config_map("n")).await.refused(403);
    for name in ["b", "c"] {
        configure(&harness, VALIDATING, name, &[webhook("deny.example.com", &hook.url("/"), &Value::Null)])
            .await;
    }
    assert_eq!(
        harness.get(&format!("{VALIDATING}?labelSelector=of=test")).await.ok()["items"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    harness.delete(&format!("{VALIDATING}?labelSelector=of=test")).await.ok();
    harness.post(CONFIG_MAPS, &config_map("n")).await.ok();
}

/// What a request is told when a webhook cannot be asked.
async fn failing(hook: &Hook, client: Value, more: Value) -> String {
    let harness = server(hook).await;
    configure(&harness, VALIDATING, "a", &[webhook("w.example.com", &client, &more)]).await;
    let told = harness.post(CONFIG_MAPS, &config_map("m")).await.refused(500);
    let mut lenient = more;
    lenient["failurePolicy"] = "Ignore".into();
    harness.delete(&format!("{VALIDATING}/a")).await.ok();
    configure(&harness, VALIDATING, "a", &[webhook("w.example.com", &client, &lenient)]).await;
    harness.post(CONFIG_MAPS, &config_map("m")).await.ok();
    let prefix = "Internal error occurred: failed calling webhook \"w.example.com\": ";
    told.strip_prefix(prefix).unwrap_or_else(|| panic!("{told}")).to_owned()
}

#[tokio::test]
async fn a_webhook_that_cannot_be_asked_fails_the_request_or_not() {
    let hook = Hook::start(|path, review| match path.split('?').next().unwrap() {
        "/500" => Reply::Status(500, "oh no\n"),
        "/404" => Reply::Status(404, ""),
        "/slow" => Reply::Silence,
        "/other" => Reply::Json(json!({"kind": "AdmissionReview", "apiVersion": review["apiVersion"],
            "response": {"uid": "x", "allowed": true}})),
        "/odd" => Reply::Json(json!([])),
        _ => Reply::Json(allow(review)),
    })
    .await;
    let failing = |client, more| failing(&hook, client, more);
    assert_eq!(
        failing(hook.url("/500"), json!({})).await,
        "failed to call webhook: an error on the server (\"oh no\") has prevented the request from succeeding"
    );
    assert_eq!(
        failing(hook.url("/404"), json!({})).await,
        "failed to call webhook: the server could not find the requested resource"
    );
    let other = failing(hook.url("/other"), json!({})).await;
    assert!(other.starts_with("received invalid webhook response: expected response.uid="), "{other}");
    let odd = failing(hook.url("/odd"), json!({})).await;
    assert!(odd.starts_with("failed to call webhook: the answer is no AdmissionReview"), "{odd}");
    let post = |path: &str| format!("failed to call webhook: Post \"https://127.0.0.1:{}{path}\"", hook.port);
    assert_eq!(
        failing(hook.url("/slow"), json!({"timeoutSeconds": 1})).await,
        post("/slow?timeout=1s") + ": context deadline exceeded"
    );
    let stranger = serving::testing::Authority::new();
    let mut client = hook.url("/x");
    client["caBundle"] = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &stranger.pem).into();
    assert_eq!(
        failing(client, json!({})).await,
        post("/x?timeout=10s")
            + ": tls: failed to verify certificate: x509: certificate signed by unknown authority"
    );
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = json!({"url": format!("https://127.0.0.1:{port}/x"), "caBundle": hook.ca()});
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!(
        failing(nobody, json!({})).await,
        format!("failed to call webhook: Post \"https://127.0.0.1:{port}/x?timeout=10s\": {refused}")
    );
    let absent =
        json!({"service": {"namespace": "default", "name": "gone", "path": "/x"}, "caBundle": hook.ca()});
    assert_eq!(
        failing(absent, json!({})).await,
        "failed to call webhook: Post \"https://gone.default.svc:443/x?timeout=10s\": service \"gone\" not found"
    );
}

#[tokio::test]
async fn a_webhook_behind_a_service_is_known_by_the_services_name() {
    let hook = Hook::agreeing().await;
    let harness = server(&hook).await;
    let client =
        json!({"service": {"namespace": "default", "name": "hook", "path": "/a/b"}, "caBundle": hook.ca()});
    let older = json!({"admissionReviewVersions": ["v1beta1"]});
    configure(&harness, MUTATING, "a", &[webhook("w.example.com", &client, &older)]).await;
    harness.post(CONFIG_MAPS, &config_map("m")).await.ok();
    let [(path, review)] = &hook.asked()[..] else { panic!("asked once") };
    assert_eq!(
        (path.as_str(), &review["apiVersion"]),
        ("/a/b?timeout=10s", &json!("admission.k8s.io/v1beta1"))
    );
}

#[tokio::test]
async fn those_who_want_are_asked_again_after_a_change() {
    let hook = Hook::start(|path, review| {
        let data = &review["request"]["object"]["data"];
        Reply::Json(match path.split('?').next().unwrap() {
            // Sees the other's change only when it is asked again.
            "/first" if data["second"] == "1" => patch(review, &add("/data/again", "1")),
            "/second" => patch(review, &add("/data/second", "1")),
            _ => allow(review),
        })
    })
    .await;
    let harness = server(&hook).await;
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    configure(&harness, MUTATING, "b", &[webhook("b.example.com", &hook.url("/second"), &Value::Null)]).await;
    configure(&harness, MUTATING, "a", &[webhook("a.example.com", &hook.url("/first"), &again)]).await;
    let made = harness.post(CONFIG_MAPS, &config_map("m")).await.ok();
    assert_eq!(made["data"], json!({"a": "1", "second": "1", "again": "1"}));
    let paths: Vec<String> = hook.asked().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/first?timeout=10s", "/second?timeout=10s", "/first?timeout=10s"]);
}

#[tokio::test]
async fn selectors_and_conditions_say_who_is_asked() {
    let hook = Hook::agreeing().await;
    let harness = server(&hook).await;
    let labelled = |name: &str| {
        let mut map = config_map(name);
        map["metadata"]["labels"] = json!({"watched": "yes"});
        map
    };
    for (more, asked_of_plain, asked_of_labelled) in [
        (json!({"objectSelector": {"matchLabels": {"watched": "yes"}}}), 0, 1),
        (json!({"namespaceSelector": {"matchLabels": {"watched": "yes"}}}), 0, 0),
        (
            json!({"namespaceSelector": {"matchExpressions": [{"key": "watched", "operator": "DoesNotExist"}]}}),
            1,
            1,
        ),
        (
            json!({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"],
            "scope": "Cluster"}]}),
            0,
            0,
        ),
        (
            json!({"matchConditions": [{"name": "labelled", "expression": "has(object.metadata.labels)"}]}),
            0,
            1,
        ),
        (
            json!({"matchConditions": [{"name": "not-me", "expression": "request.userInfo.username != 'tester'"}]}),
            0,
            0,
        ),
        (
            json!({"matchConditions": [
            {"name": "new", "expression": "oldObject == null && request.namespace == 'default'"},
            {"name": "may", "expression": "authorizer.group('').resource('pods').namespace('x').check('get').allowed()"}]}),
            1,
            1,
        ),
        (
            json!({"matchConditions": [{"name": "service", "expression":
            "authorizer.serviceAccount('default', 'nobody').requestResource.check('create').errored()"}]}),
            0,
            0,
        ),
    ] {
        configure(&harness, VALIDATING, "a", &[webhook("w.example.com", &hook.url("/"), &more)]).await;
        for (map, expected) in [(config_map("m"), asked_of_plain), (labelled("n"), asked_of_labelled)] {
            harness.post(CONFIG_MAPS, &map).await.ok();
            assert_eq!(hook.asked().len(), expected, "{more}");
        }
        harness.delete(CONFIG_MAPS).await.ok();
        harness.delete(&format!("{VALIDATING}/a")).await.ok();
    }
    let odd = json!({"matchConditions": [{"name": "odd", "expression": "object.spec.nothing == 1"}]});
    configure(&harness, VALIDATING, "a", &[webhook("w.example.com", &hook.url("/"), &odd)]).await;
    assert_eq!(
        harness.post(CONFIG_MAPS, &config_map("m")).await.refused(403),
        "configmaps \"m\" is forbidden: expression 'object.spec.nothing == 1' resulted in error: no such key: spec"
    );
    assert!(hook.asked().is_empty());
}

#[tokio::test]
async fn every_operation_is_asked_about() {
    let hook = Hook::agreeing().await;
    let harness = server(&hook).await;
    let all = json!({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]});
    let told = |hook: &Hook| -> Vec<String> {
        let asked = hook.asked().into_iter().map(|(_, review)| {
            let request = &review["request"];
            let text = |key: &str| request[key].as_str().unwrap_or("").to_owned();
            let kind = request["kind"]["kind"].as_str().unwrap_or_default().to_owned();
            let objects =
                ["object", "oldObject"].map(|key| request[key]["kind"].as_str().unwrap_or("-").to_owned());
            format!(
                "{} {} {} {} {}",
                text("operation"),
                kind,
                text("subResource"),
                text("name"),
                objects.join(" ")
            )
        });
        asked.collect()
    };
    harness.post(PODS, &pod("p")).await.ok();
    configure(&harness, VALIDATING, "a", &[webhook("w.example.com", &hook.url("/"), &all)]).await;
    harness.merge(&format!("{PODS}/p"), &json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    harness.merge(&format!("{PODS}/p/status"), &json!({"status": {"phase": "Running"}})).await.ok();
    assert_eq!(told(&hook), ["UPDATE Pod  p Pod Pod", "UPDATE Pod status p Pod Pod"]);
    harness.post(&format!("{PODS}/p/attach?stdout=true"), &json!({})).await.refused(400);
    assert_eq!(told(&hook), ["CONNECT PodAttachOptions attach p PodAttachOptions -"]);
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n"}});
    harness.post(&format!("{PODS}/p/binding"), &binding).await.ok();
    assert_eq!(told(&hook), ["CREATE Binding binding p Binding -"]);
    harness.delete(&format!("{PODS}/p?gracePeriodSeconds=0")).await.ok();
    assert_eq!(told(&hook), ["DELETE Pod  p - Pod"]);
    harness.post(CONFIG_MAPS, &config_map("m")).await.ok();
    harness.post(CONFIG_MAPS, &config_map("n")).await.ok();
    hook.asked();
    harness.delete(CONFIG_MAPS).await.ok();
    let mut both = told(&hook);
    both.sort();
    assert_eq!(both, ["DELETE ConfigMap  m - ConfigMap", "DELETE ConfigMap  n - ConfigMap"]);
    // Whatever a webhook says, what says who is asked can be mended.
    harness.merge(&format!("{VALIDATING}/a"), &json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    harness.delete(&format!("{VALIDATING}/a")).await.ok();
    assert_eq!(told(&hook), [""; 0]);
}

#[tokio::test]
async fn a_dry_run_reaches_only_those_whom_it_does_no_harm() {
    let hook = Hook::agreeing().await;
    let harness = server(&hook).await;
    let one = [webhook("w.example.com", &hook.url("/"), &json!({"sideEffects": "NoneOnDryRun"}))];
    configure(&harness, VALIDATING, "a", &one).await;
    harness.post(&format!("{CONFIG_MAPS}?dryRun=All"), &config_map("m")).await.ok();
    let [(_, review)] = &hook.asked()[..] else { panic!("asked once") };
    assert_eq!(review["request"]["dryRun"], true);
    assert_eq!(review["request"]["options"]["dryRun"], json!(["All"]));
}

#[tokio::test]
async fn versions_of_a_kind_are_alike_unless_they_are_not_to_be() {
    let hook = Hook::start(|_, review| {
        let patch_of = add("/metadata/annotations", "x")[0].clone();
        let mut operation = patch_of;
        operation["value"] = json!({"seen": review["request"]["object"]["apiVersion"]});
        Reply::Json(patch(review, &json!([operation])))
    })
    .await;
    let harness = server(&hook).await;
    let rule = |more: Value| {
        let mut of = json!({"rules": [{"operations": ["CREATE"], "apiGroups": ["events.k8s.io"], "apiVersions": ["v1"],
            "resources": ["events"]}]});
        of["matchPolicy"] = more;
        of
    };
    let event = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "default"},
            "involvedObject": {"namespace": "default"}, "reason": "R", "message": "m", "type": "Normal"})
    };
    let events = "/api/v1/namespaces/default/events";
    configure(&harness, MUTATING, "a", &[webhook("w.example.com", &hook.url("/"), &rule("Exact".into()))])
        .await;
    harness.post(events, &event("e")).await.ok();
    assert!(hook.asked().is_empty());
    harness.delete(&format!("{MUTATING}/a")).await.ok();
    configure(
        &harness,
        MUTATING,
        "a",
        &[webhook("w.example.com", &hook.url("/"), &rule("Equivalent".into()))],
    )
    .await;
    let made = harness.post(events, &event("f")).await.ok();
    let [(_, review)] = &hook.asked()[..] else { panic!("asked once") };
    let request = &review["request"];
    assert_eq!(
        (&request["kind"]["group"], &request["requestKind"]["group"]),
        (&json!("events.k8s.io"), &json!(""))
    );
    assert_eq!((&request["object"]["note"], &made["message"]), (&json!("m"), &json!("m")));
    assert_eq!(made["apiVersion"], "v1");
    assert_eq!(made["metadata"]["annotations"], json!({"seen": "events.k8s.io/v1"}));
}

#[tokio::test]
async fn a_change_of_a_pod_gets_its_defaults_and_is_validated() {
    let hook = Hook::start(|_, review| {
        let container = json!({"name": "side", "image": "busybox"});
        let good = json!([{"op": "add", "path": "/spec/containers/-", "value": container}]);
        let bad = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": ""}]);
        let unknown = json!([{"op": "add", "path": "/spec/nothing", "value": 1},
            {"op": "test", "path": "/spec/containers/0/image", "value": "other"}]);
        Reply::Json(match review["request"]["name"].as_str().unwrap() {
            "good" => patch(review, &good),
            "bad" => patch(review, &bad),
            _ => patch(review, &unknown),
        })
    })
    .await;
    let harness = server(&hook).await;
    let pods = json!({"rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]});
    configure(&harness, MUTATING, "a", &[webhook("w.example.com", &hook.url("/"), &pods)]).await;
    let made = harness.post(PODS, &pod("good")).await.ok();
    let side = &made["spec"]["containers"][1];
    assert_eq!((&side["name"], &side["imagePullPolicy"]), (&json!("side"), &json!("Always")));
    let refused = harness.post(PODS, &pod("bad")).await.refused(422);
    assert!(refused.contains("spec.containers[0].image: Required value"), "{refused}");
    harness.post(PODS, &pod("odd")).await.refused(500);
}

#[tokio::test]
async fn calls_are_counted() {
    let hook = Hook::start(|_, review| Reply::Json(deny(review, "no"))).await;
    let harness = server(&hook).await;
    configure(&harness, VALIDATING, "a", &[webhook("deny.example.com", &hook.url("/"), &Value::Null)]).await;
    harness.post(CONFIG_MAPS, &config_map("m")).await.refused(403);
    let metrics = harness.get_as("/metrics", "text/plain").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    let labels = r#"name="deny.example.com",type="validating",operation="CREATE""#;
    for line in [
        format!(r#"apiserver_admission_webhook_request_total{{{labels},code="403",rejected="true"}} 1"#),
        format!(
            r#"apiserver_admission_webhook_rejection_count{{{labels},error_type="no_error",rejection_code="403"}} 1"#
        ),
        format!(
            r#"apiserver_admission_webhook_admission_duration_seconds_count{{{labels},rejected="true"}} 1"#
        ),
    ] {
        assert!(text.contains(&line), "{line} in {text}");
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused() {
    let harness = Harness::start().await;
    let configuration = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "a"}, "webhooks": [{"name": "short", "clientConfig": {}, "sideEffects": "Some",
        "admissionReviewVersions": ["v2"], "timeoutSeconds": 31,
        "matchConditions": [{"name": "x", "expression": "object.a =="}]}]});
    let refused = harness.post(VALIDATING, &configuration).await.refused(422);
    for part in [
        "webhooks[0].name: Invalid value: \"short\": should be a domain with at least three segments separated by dots",
        "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
        "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
        "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
        "webhooks[0].matchConditions[0].expression: Invalid value: \"object.a ==\": compilation failed: ERROR: <input>:1:12: Syntax error",
        "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1",
    ] {
        assert!(refused.contains(part), "{part}\n{refused}");
    }
}

/// Things in two versions, of which `v1` is stored.
fn things_definition() -> Value {
    let version = |name: &str, storage: bool| {
        let data =
            json!({"type": "object", "properties": {"a": {"type": "string"}, "added": {"type": "string"}}});
        json!({"name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"data": data}}}})
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "versions": [version("v1", true), version("v2", false)],
            "names": {"plural": "things", "kind": "Thing"}}})
}

#[tokio::test]
async fn custom_resources_are_asked_about_in_every_version() {
    let hook = Hook::start(|path, review| {
        let request = &review["request"];
        Reply::Json(match path.split('?').next().unwrap() {
            "/definitions" => deny(review, "no definitions here"),
            "/deny" => deny(review, "the custom resource contains unwanted data"),
            _ if request["operation"] == "CREATE" => {
                let add = |field: &str| json!({"op": "add", "path": format!("/data/{field}"), "value": "x"});
                patch(review, &json!([add("added"), add("unknown")]))
            }
            _ => allow(review),
        })
    })
    .await;
    let harness = server(&hook).await;
    let definition = things_definition();
    let definitions = json!({"rules": [{"operations": ["CREATE"], "apiGroups": ["apiextensions.k8s.io"],
        "apiVersions": ["*"], "resources": ["customresourcedefinitions"]}]});
    configure(
        &harness,
        VALIDATING,
        "a",
        &[webhook("d.example.com", &hook.url("/definitions"), &definitions)],
    )
    .await;
    harness.post(DEFINITIONS, &definition).await.refused(403);
    harness.delete(&format!("{VALIDATING}/a")).await.ok();
    harness.post(DEFINITIONS, &definition).await.ok();
    establish(&harness, "things.example.com").await;
    let things = |operation: &str| {
        json!({"rules": [{"operations": [operation], "apiGroups": ["example.com"], "apiVersions": ["v1"],
            "resources": ["things"]}]})
    };
    configure(&harness, MUTATING, "a", &[webhook("m.example.com", &hook.url("/"), &things("CREATE"))]).await;
    hook.asked();
    let thing = json!({"apiVersion": "example.com/v2", "kind": "Thing", "metadata": {"name": "t"}, "data": {"a": "1"}});
    let path = "/apis/example.com/v2/namespaces/default/things";
    let made = harness.post(path, &thing).await.ok();
    assert_eq!(
        (&made["apiVersion"], &made["data"]),
        (&json!("example.com/v2"), &json!({"a": "1", "added": "x"}))
    );
    let [(_, review)] = &hook.asked()[..] else { panic!("asked once") };
    let request = &review["request"];
    assert_eq!(request["object"]["apiVersion"], "example.com/v1");
    assert_eq!(
        (&request["resource"]["version"], &request["requestResource"]["version"]),
        (&json!("v1"), &json!("v2"))
    );
    for (name, operation) in [("u", "UPDATE"), ("d", "DELETE")] {
        configure(
            &harness,
            VALIDATING,
            name,
            &[webhook("v.example.com", &hook.url("/deny"), &things(operation))],
        )
        .await;
    }
    let one = format!("{path}/t");
    harness.merge(&one, &json!({"data": {"a": "2"}})).await.refused(403);
    assert_eq!(
        harness.delete(&one).await.refused(403),
        "admission webhook \"v.example.com\" denied the request: the custom resource contains unwanted data"
    );
    harness.delete(&format!("{VALIDATING}/d")).await.ok();
    harness.delete(&one).await.ok();
}
