//! Plugins that wait: requests wait with them, others do not, and limits hold.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use api::{Error, Object};
use apiserver::admission::{Admission, Operation, Review};
use apiserver::conversion::{ByRow, Converter};
use apiserver::identity::authn::{Authenticator, Credentials};
use apiserver::identity::authz::{Authorizer, Decision};
use apiserver::request::{Attributes, User};
use apiserver::{Eventual, Limits};
use futures::FutureExt;
use resources::Resource;
use serde_json::{Value, json};

use crate::gate::Gate;
use crate::harness::{CONFIG_MAPS, Harness, PODS, TokensByName, config_map, pod};
use crate::https;

const A: &str = "/api/v1/namespaces/default/configmaps/a";

/// Has config maps wait: once to be changed, once to be checked.
struct Webhook {
    gate: Gate,
}

impl Webhook {
    fn concerned(review: &Review<'_>) -> bool {
        &*review.resource.plural == "configmaps"
    }
}

impl Admission for Webhook {
    fn name(&self) -> &'static str {
        "Webhook"
    }

    fn admit<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a mut Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        if !Self::concerned(review) {
            return Ok(()).into();
        }
        Eventual::later(async move {
            self.gate.pass().await;
            if let Some(object) = object {
                object.set_at(&["data", "seen"], "yes".into());
            }
            Ok(())
        })
    }

    fn validate<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        if !Self::concerned(review) {
            return Ok(()).into();
        }
        let refused = object.is_some_and(|object| object.str_at(&["data", "a"]) == Some("bad"));
        let forbidden = || Error::forbidden(&review.resource.group_resource(), "a", "no");
        self.gate.hold(if refused { Err(forbidden()) } else { Ok(()) })
    }
}

#[tokio::test]
async fn a_write_waits_for_admission_and_others_do_not_wait_for_it() {
    let gate = Gate::default();
    let harness = Harness::with(vec![Arc::new(Webhook { gate: gate.clone() })], None).await;
    let map = config_map("a");
    let mut write = Box::pin(harness.post(CONFIG_MAPS, &map));
    for step in ["changed", "checked"] {
        gate.reached_by(&mut write).await;
        harness.get(A).await.refused(404);
        harness.post(PODS, &pod(step)).await.ok();
        gate.open();
    }
    assert_eq!(write.await.ok()["data"], json!({"a": "1", "seen": "yes"}));

    let bad = json!({"data": {"a": "bad"}});
    let mut write = Box::pin(harness.merge(A, &bad));
    assert!(write.as_mut().now_or_never().is_none());
    gate.open();
    gate.open();
    assert!(write.await.refused(403).ends_with("no"));

    let mut delete = Box::pin(harness.delete(A));
    assert!(delete.as_mut().now_or_never().is_none());
    gate.open();
    gate.open();
    delete.await.ok();
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waits_too_long_or_is_given_up_is_not_written() {
    let gate = Gate::default();
    let harness = Harness::with(vec![Arc::new(Webhook { gate })], None).await;
    let map = config_map("a");
    let begun = tokio::time::Instant::now();
    let refused = harness.post(CONFIG_MAPS, &map).await.refused(504);
    assert_eq!(begun.elapsed(), Limits::default().request_timeout);
    assert!(refused.starts_with("Timeout"), "{refused}");
    let mut given_up = Box::pin(harness.post(CONFIG_MAPS, &map));
    assert!(given_up.as_mut().now_or_never().is_none());
    drop(given_up);
    harness.get(A).await.refused(404);
    let metrics = String::from_utf8(harness.get("/metrics").await.body.to_vec()).unwrap();
    let none = r#"apiserver_current_inflight_requests{request_kind="mutating"} 0"#;
    assert!(metrics.contains(none), "a request that is given up leaves its place");
}

/// Has the user `tester` wait.
struct SlowRoles {
    gate: Gate,
}

impl Authorizer for SlowRoles {
    fn authorize<'a>(&'a self, attributes: &'a Attributes) -> Eventual<'a, Decision> {
        match attributes.verb.as_str() {
            "create" => self.gate.hold(Decision::Allow),
            "delete" => self.gate.hold(Decision::Deny("too late".to_owned())),
            _ => Decision::Allow.into(),
        }
    }
}

#[tokio::test]
async fn a_request_waits_for_authorization() {
    let gate = Gate::default();
    let harness = Harness::made_of(|deps| deps.authorizer = Arc::new(SlowRoles { gate: gate.clone() })).await;
    let map = config_map("a");
    let mut write = Box::pin(harness.post(CONFIG_MAPS, &map));
    assert!(write.as_mut().now_or_never().is_none());
    harness.get(A).await.refused(404);
    gate.open();
    write.await.ok();
    let mut delete = Box::pin(harness.delete(A));
    assert!(delete.as_mut().now_or_never().is_none());
    gate.open();
    assert!(delete.await.refused(403).ends_with("too late"));
    harness.get(A).await.ok();
    // A review asks the same authorizer, and waits as long.
    let review =
        json!({"spec": {"user": "jane", "resourceAttributes": {"verb": "delete", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let mut asked = Box::pin(harness.post(path, &review));
    assert!(asked.as_mut().now_or_never().is_none());
    gate.open();
    assert!(asked.as_mut().now_or_never().is_none(), "once for the request and once for the question");
    gate.open();
    let status = asked.await.ok()["status"].clone();
    assert_eq!(status, json!({"allowed": false, "denied": true, "reason": "too late"}));
}

/// Has those wait who come with a token.
struct Issuer {
    gate: Gate,
}

impl Authenticator for Issuer {
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials<'_>,
    ) -> Eventual<'a, Result<Option<Arc<User>>, Error>> {
        if credentials.bearer_token.is_none() {
            return TokensByName.authenticate(credentials);
        }
        Eventual::later(async move {
            self.gate.pass().await;
            TokensByName.authenticate(credentials).await
        })
    }
}

#[tokio::test]
async fn a_request_waits_for_authentication_and_connections_do_not() {
    let gate = Gate::default();
    let https =
        https::start_made_of(|deps| deps.authenticator = Arc::new(Issuer { gate: gate.clone() })).await;
    let get = |token: &str| {
        format!(
            "GET /version HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
        )
    };
    let known = get("token-jane");
    let mut asked = Box::pin(https.exchange(&known, "major"));
    gate.reached_by(&mut asked).await;
    let anonymous = "GET /version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(https.exchange(anonymous, "}").await.starts_with("HTTP/1.1 401"));
    gate.open();
    assert!(asked.await.starts_with("HTTP/1.1 200"));
    gate.open();
    assert!(https.exchange(&get("junk"), "}").await.starts_with("HTTP/1.1 401"));
}

/// Converts autoscalers after a wait, and counts how often it is asked.
#[derive(Clone, Default)]
struct Conversion {
    gate: Gate,
    asked: Arc<AtomicUsize>,
}

impl Converter for Conversion {
    fn concerns(&self, row: &Resource) -> bool {
        ByRow.concerns(row)
    }

    fn to_stored<'a>(&'a self, row: &'a Resource, object: &'a mut Object) -> Eventual<'a, Result<(), Error>> {
        if !self.concerns(row) {
            return Ok(()).into();
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        Eventual::later(async move {
            self.gate.pass().await;
            ByRow.to_stored(row, object).await
        })
    }

    fn to_served<'a>(
        &'a self,
        row: &'a Resource,
        objects: &'a mut [Object],
    ) -> Eventual<'a, Result<(), Error>> {
        if !self.concerns(row) {
            return Ok(()).into();
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        Eventual::later(async move {
            if objects.iter().any(|object| object.name() == "odd") {
                return Err(Error::internal("conversion failed"));
            }
            self.gate.pass().await;
            ByRow.to_served(row, objects).await
        })
    }
}

const OLD: &str = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
const NEW: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";

fn autoscaler(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50,
                 "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}},
    })
}

#[tokio::test]
async fn objects_of_another_version_wait_for_conversion() {
    let conversion = Conversion::default();
    let harness = Harness::made_of(|deps| deps.converter = Arc::new(conversion.clone())).await;
    let gate = &conversion.gate;
    for name in ["a", "b"] {
        let scaler = autoscaler(name);
        let mut write = Box::pin(harness.post(OLD, &scaler));
        for _ in ["to the stored version", "and back for the answer"] {
            gate.reached_by(&mut write).await;
            gate.open();
        }
        assert_eq!(write.await.ok()["spec"]["targetCPUUtilizationPercentage"], 50);
    }
    let stored = harness.get(&format!("{NEW}/a")).await.ok();
    assert_eq!(stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50);

    conversion.asked.store(0, Ordering::Relaxed);
    let mut list = Box::pin(harness.get(OLD));
    assert!(list.as_mut().now_or_never().is_none());
    gate.open();
    let list = list.await.ok();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert_eq!(list["items"][1]["spec"]["targetCPUUtilizationPercentage"], 50);
    assert_eq!(conversion.asked.load(Ordering::Relaxed), 1, "once for the whole list");

    let mut odd = autoscaler("odd");
    odd["apiVersion"] = "autoscaling/v2".into();
    odd["spec"].as_object_mut().unwrap().remove("targetCPUUtilizationPercentage");
    harness.post(NEW, &odd).await.ok();
    assert!(harness.get(&format!("{OLD}/odd")).await.refused(500).contains("conversion failed"));
}

/// Notes every connection and refuses those to the container `secret`.
#[derive(Clone, Default)]
struct Doorman {
    seen: Arc<Mutex<Vec<String>>>,
    gate: Gate,
}

impl Admission for Doorman {
    fn name(&self) -> &'static str {
        "Doorman"
    }

    fn validate<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        if review.operation != Operation::Connect {
            return Ok(()).into();
        }
        let a = review.attributes;
        let options = object.map(|object| Value::Object(object.0.clone())).unwrap_or_default();
        let place = format!("{}/{}/{}", a.resource, a.name, a.subresource);
        self.seen.lock().unwrap().push(format!("{} {place} {options}", a.verb));
        let secret = options["container"] == "secret";
        let forbidden = || Error::forbidden(&review.resource.group_resource(), &a.name, "this is secret");
        self.gate.hold(if secret { Err(forbidden()) } else { Ok(()) })
    }
}

#[tokio::test]
async fn connections_are_admitted_as_such() {
    let doorman = Doorman::default();
    let harness = Harness::with(vec![Arc::new(doorman.clone())], None).await;
    harness.post(PODS, &pod("p")).await.ok();
    let seen = || std::mem::take(&mut *doorman.seen.lock().unwrap());
    doorman.gate.open();
    let exec = format!("{PODS}/p/exec?container=secret&command=ls&stdout=true");
    assert!(harness.post(&exec, &json!({})).await.refused(403).ends_with("secret"));
    let options =
        r#"{"apiVersion":"v1","command":["ls"],"container":"secret","kind":"PodExecOptions","stdout":true}"#;
    assert_eq!(seen(), [format!("create pods/p/exec {options}")]);

    for (path, said) in [
        ("p/attach?stdin=true", r#"{"apiVersion":"v1","kind":"PodAttachOptions","stdin":true}"#),
        ("p/portforward?ports=80", r#"{"apiVersion":"v1","kind":"PodPortForwardOptions","ports":[80]}"#),
    ] {
        doorman.gate.open();
        let refused = harness.post(&format!("{PODS}/{path}"), &json!({})).await.refused(400);
        assert_eq!(refused, "pod p does not have a host assigned", "what comes after admission");
        let place = path.split('?').next().unwrap();
        assert_eq!(seen(), [format!("create pods/{place} {said}")]);
    }
    doorman.gate.open();
    harness.get("/api/v1/namespaces/default/services/http:s:80/proxy/a/b?c=d").await.refused(404);
    let options = r#"{"apiVersion":"v1","kind":"ServiceProxyOptions","path":"a/b"}"#;
    assert_eq!(seen(), [format!("get services/http:s:80/proxy {options}")]);
    let dry = harness.post(&format!("{PODS}/p/exec?dryRun=All&command=ls"), &json!({})).await.refused(400);
    assert_eq!(dry, "dryRun is not supported");
    // Logs are read, not connected to.
    harness.get(&format!("{PODS}/p/log")).await;
    assert_eq!(seen(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_connection_waits_no_longer_for_admission_than_other_requests_do() {
    let harness = Harness::with(vec![Arc::new(Doorman::default())], None).await;
    harness.post(PODS, &pod("p")).await.ok();
    let begun = tokio::time::Instant::now();
    let path = format!("{PODS}/p/exec?command=ls");
    harness.post(&path, &json!({})).await.refused(504);
    assert_eq!(begun.elapsed(), Limits::default().request_timeout);
}
