//! What is written down about requests: levels and stages of a policy, bodies, refusals, and where events go.

use std::sync::Arc;
use std::time::Duration;

use apiserver::Config;
use apiserver::audit::{Audit, Batches, FileSettings, Policy, Rotation, Settings, WebhookSettings};
use base::{Shutdown, Supervisor, SystemClock};
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use serving::testing::Authority;

use crate::harness::{CONFIG_MAPS, Harness, PODS, config_map, pod};
use crate::https;
use crate::webhook_server::{Hook, Reply};

const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitManagedFields: true
rules:
- {level: None, resources: [{group: "", resources: [events]}]}
- {level: Metadata, resources: [{group: "", resources: [secrets]}], omitStages: [RequestReceived]}
- {level: Request, verbs: [create, patch], resources: [{group: "", resources: [configmaps]}], omitStages: [RequestReceived]}
- {level: RequestResponse, resources: [{group: ""}], omitStages: [RequestReceived]}
- {level: Metadata}
"#;

/// A server that writes down what it is asked.
struct Audited {
    harness: Harness,
    /// Runs what writes.
    writing: Supervisor,
    dir: tempfile::TempDir,
}

impl Audited {
    async fn start(policy: Option<&str>, webhook: Option<WebhookSettings>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let writing = Supervisor::new(Shutdown::new());
        let file = FileSettings { path: dir.path().join("audit.log"), rotation: Rotation::default() };
        let policy = policy.map(|policy| Policy::parse(policy).unwrap());
        let settings = Settings { policy, file: Some(file), webhook };
        let audit = Audit::open(settings, Arc::new(SystemClock), &writing).await.unwrap();
        let harness = Harness::configured(Config { audit: Some(audit), ..Config::default() }).await;
        Self { harness, writing, dir }
    }

    /// Everything that was written until the server has stopped.
    async fn events(self) -> Vec<Value> {
        self.writing.shutdown().start();
        self.writing.drain(Duration::from_secs(10)).await;
        let text = std::fs::read_to_string(self.dir.path().join("audit.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn of<'a>(events: &'a [Value], verb: &str, resource: &str) -> Vec<&'a Value> {
    let wanted = |event: &&Value| event["verb"] == verb && event["objectRef"]["resource"] == resource;
    events.iter().filter(wanted).collect()
}

#[tokio::test]
async fn the_policy_says_how_much_is_written() {
    let audited = Audited::start(Some(POLICY), None).await;
    let harness = &audited.harness;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    harness.merge(&format!("{CONFIG_MAPS}/a"), &json!({"data": {"b": "2"}})).await.ok();
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}});
    harness.post("/api/v1/namespaces/default/secrets", &secret).await.ok();
    harness.post(PODS, &pod("p")).await.ok();
    harness.get_as(&format!("{PODS}/p"), "application/vnd.kubernetes.protobuf").await;
    harness.get(&format!("{PODS}/none")).await.refused(404);
    harness.get("/api/v1/namespaces/default/events").await.ok();
    let events = audited.events().await;
    assert_eq!(of(&events, "list", "events"), Vec::<&Value>::new());

    let [made] = of(&events, "create", "configmaps")[..] else { panic!("{events:?}") };
    assert_eq!(made["level"], "Request");
    assert_eq!(made["stage"], "ResponseComplete");
    assert_eq!(made["user"], json!({"username": "tester", "groups": ["system:authenticated"]}));
    assert_eq!(made["userAgent"], "tester/1");
    assert_eq!(made["requestObject"]["data"], json!({"a": "1"}));
    assert_eq!(made["objectRef"]["name"], "a", "the path does not say it");
    assert_eq!(made["responseStatus"], json!({"metadata": {}, "code": 201}));
    assert_eq!(made["responseObject"], Value::Null);
    assert_eq!(made["annotations"]["authorization.k8s.io/decision"], "allow");
    let [changed] = of(&events, "patch", "configmaps")[..] else { panic!("{events:?}") };
    assert_eq!(changed["requestObject"], json!({"data": {"b": "2"}}));

    let [secret] = of(&events, "create", "secrets")[..] else { panic!("{events:?}") };
    assert_eq!((&secret["level"], &secret["requestObject"]), (&json!("Metadata"), &Value::Null));
    assert!(!secret.to_string().contains("stringData"));

    let [made] = of(&events, "create", "pods")[..] else { panic!("{events:?}") };
    assert_eq!(made["responseObject"]["metadata"]["name"], "p");
    assert_eq!(made["responseObject"]["metadata"]["managedFields"], Value::Null);
    let [read, missed] = of(&events, "get", "pods")[..] else { panic!("{events:?}") };
    assert_eq!(read["responseObject"]["spec"]["containers"][0]["image"], "busybox", "out of protobuf");
    assert_eq!(missed["responseStatus"]["reason"], "NotFound");
    assert_eq!(missed["responseStatus"]["kind"], Value::Null);
    assert_eq!(missed["responseObject"]["kind"], "Status");
}

#[tokio::test]
async fn what_goes_on_for_long_is_written_when_it_begins_and_ends() {
    let audited = Audited::start(Some(POLICY), None).await;
    let watch = Request::get(format!("{PODS}?watch=true")).body(Full::default()).unwrap();
    let mut answer = audited.harness.raw(watch).await;
    audited.harness.post(PODS, &pod("p")).await.ok();
    answer.body_mut().frame().await.unwrap().unwrap();
    drop(answer);
    let events = audited.events().await;
    let stages: Vec<_> = of(&events, "watch", "pods").iter().map(|event| &event["stage"]).collect();
    assert_eq!(stages, ["ResponseStarted", "ResponseComplete"]);
    let created = events.iter().position(|event| event["verb"] == "create").unwrap();
    let ended = events.iter().rposition(|event| event["verb"] == "watch").unwrap();
    assert!(created < ended, "the watch went on meanwhile");
}

#[tokio::test]
async fn a_request_is_known_by_its_id_from_its_coming_to_its_answer() {
    let audited =
        Audited::start(Some("{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}"), None)
            .await;
    let asked = Request::get("/version").header("audit-id", "mine").body(Full::default()).unwrap();
    let answer = audited.harness.send(asked).await;
    assert_eq!(answer.headers["audit-id"], "mine");
    let answer = audited.harness.get("/version").await;
    let id = answer.headers["audit-id"].to_str().unwrap().to_owned();
    let events = audited.events().await;
    let told: Vec<_> =
        events.iter().map(|event| (event["auditID"].as_str().unwrap(), &event["stage"])).collect();
    let (came, done) = (json!("RequestReceived"), json!("ResponseComplete"));
    assert_eq!(told, [("mine", &came), ("mine", &done), (id.as_str(), &came), (id.as_str(), &done)]);
    assert_eq!(events[0]["requestURI"], "/version");
    assert_eq!(events[0]["responseStatus"], Value::Null);
}

#[tokio::test]
async fn refusals_say_who_was_refused_and_what_was_tried() {
    let audited = Audited::start(None, None).await;
    let https = https::serve(audited.harness, Authority::new()).await;
    let ask = |token: &str| {
        format!(
            "GET {PODS} HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 192.0.2.7, 192.0.2.8\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        )
    };
    let denied = https.exchange(&ask("token-nobody"), "Forbidden").await;
    assert!(denied.contains("audit-id: "), "{denied}");
    https.exchange(&ask("wrong"), "Unauthorized").await;
    let events = Audited { harness: https.harness, ..audited }.events().await;
    let [forbidden, unknown] = &events[..] else { panic!("{events:?}") };
    assert_eq!(forbidden["user"]["username"], "nobody");
    assert_eq!(forbidden["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!(forbidden["responseStatus"]["code"], 403);
    assert_eq!(forbidden["sourceIPs"], json!(["192.0.2.7", "192.0.2.8", "127.0.0.1"]));
    assert_eq!(unknown["user"], json!({}));
    assert_eq!(unknown["stage"], "ResponseStarted");
    assert_eq!(
        unknown["responseStatus"],
        json!({"metadata": {}, "status": "Failure", "code": 401, "message": "Authentication failed, attempted: bearer"})
    );
}

#[tokio::test]
async fn a_webhook_gets_events_together_and_again_when_it_failed() {
    let failures = std::sync::atomic::AtomicUsize::new(1);
    let hook = Hook::start(move |_, _| {
        let fail = failures.fetch_update(
            std::sync::atomic::Ordering::Relaxed,
            std::sync::atomic::Ordering::Relaxed,
            |left| left.checked_sub(1),
        );
        if fail.is_ok() { Reply::Status(503, "later") } else { Reply::Json(json!({})) }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let batches = Batches {
        max_events: 2,
        max_wait: Duration::from_secs(3600),
        initial_backoff: Duration::from_millis(1),
        ..Batches::default()
    };
    let webhook = WebhookSettings { kubeconfig: hook.kubeconfig(dir.path(), "/audit"), batches };
    let audited = Audited::start(Some(POLICY), Some(webhook)).await;
    for name in ["a", "b", "c"] {
        audited.harness.post(CONFIG_MAPS, &config_map(name)).await.ok();
    }
    let mut asked = Vec::new();
    while asked.len() < 2 {
        asked.extend(hook.asked());
        tokio::task::yield_now().await;
    }
    let (path, first) = &asked[0];
    assert_eq!(path, "/audit");
    assert_eq!((&first["kind"], &first["apiVersion"]), (&json!("EventList"), &json!("audit.k8s.io/v1")));
    assert_eq!(first, &asked[1].1, "sent again");
    let names = |list: &Value| -> Vec<Value> {
        list["items"].as_array().unwrap().iter().map(|event| event["objectRef"]["name"].clone()).collect()
    };
    assert_eq!(names(first), ["a", "b"]);
    // The batch that is not full goes out at the stop.
    audited.events().await;
    let asked = hook.asked();
    assert_eq!(names(&asked[0].1), ["c"]);
}

#[tokio::test]
async fn a_request_whose_client_is_gone_is_written_down_all_the_same() {
    let audited = Audited::start(None, None).await;
    let request = Request::post(CONFIG_MAPS)
        .header("content-type", "application/json")
        .body(Full::new(config_map("a").to_string().into()))
        .unwrap();
    let mut going = Box::pin(audited.harness.raw(request));
    // Until it waits for the first time, which is in the store or the cache.
    let first = std::future::poll_fn(|cx| std::task::Poll::Ready(going.as_mut().poll(cx))).await;
    assert!(first.is_pending());
    drop(going);
    let events = audited.events().await;
    let [gone] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&gone["verb"], &gone["stage"]), (&json!("create"), &json!("ResponseComplete")));
    assert_eq!(gone["responseStatus"]["message"], "Connection closed early");
}
