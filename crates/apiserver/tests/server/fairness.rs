//! Priority and fairness as clients meet it: who is refused and who is not, headers, figures, what can be looked at.

use std::sync::Arc;

use apiserver::identity::authz::{Authorizer, Decision};
use apiserver::request::{Attributes, User};
use apiserver::{Eventual, InProcess, Limits};
use bytes::Bytes;
use futures::FutureExt;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::Service;

use crate::gate::Gate;
use crate::harness::{CONFIG_MAPS, Harness};

const SCHEMAS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";
const DUMPS: &str = "/debug/api_priority_and_fairness";

/// Has the users `slow` and `greedy` wait, while they hold their seats.
struct Holds {
    gate: Gate,
}

impl Authorizer for Holds {
    fn authorize<'a>(&'a self, attributes: &'a Attributes) -> Eventual<'a, Decision> {
        match attributes.user.name.as_str() {
            "slow" | "greedy" => self.gate.hold(Decision::Allow),
            _ => Decision::Allow.into(),
        }
    }
}

/// A server of so many seats.
async fn server(seats: usize, gate: &Gate) -> Harness {
    let limits = Limits { in_flight_reading: seats, in_flight_mutating: 0, ..Limits::default() };
    let gate = gate.clone();
    Harness::limited_made_of(limits, move |deps| deps.authorizer = Arc::new(Holds { gate })).await
}

fn client(harness: &Harness, name: &str, group: &str) -> InProcess {
    let groups = vec![group.to_owned(), "system:authenticated".to_owned()];
    harness.server.in_process(User { name: name.to_owned(), groups, ..User::default() })
}

async fn get(client: &InProcess, path: &str) -> http::Response<apiserver::Body> {
    let request = Request::get(path).body(Full::<Bytes>::default()).unwrap();
    let Ok(response) = client.clone().call(request).await;
    response
}

async fn text(response: http::Response<apiserver::Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn header<'a>(response: &'a http::Response<apiserver::Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("-", |value| value.to_str().unwrap())
}

fn rule(subject: &str) -> Value {
    json!({"subjects": [{"kind": "User", "user": {"name": subject}}],
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"],
            "clusterScope": true}]})
}

fn schema(name: &str, level: &str, subjects: &[&str]) -> Value {
    let rules: Vec<Value> = subjects.iter().map(|subject| rule(subject)).collect();
    json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": name},
        "spec": {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": 100,
            "distinguisherMethod": {"type": "ByUser"}, "rules": rules}})
}

fn level(name: &str, shares: u32) -> Value {
    json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
        "metadata": {"name": name},
        "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": shares, "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Queue", "queuing": {"queues": 64, "handSize": 1, "queueLengthLimit": 100}}}}})
}

/// Asks until the client's requests are taken for this level.
async fn until_of_level(client: &InProcess, uid: &str) {
    while header(&get(client, CONFIG_MAPS).await, "x-kubernetes-pf-prioritylevel-uid") != uid {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_full_level_refuses_while_administrators_and_streams_of_events_pass() {
    let gate = Gate::default();
    let harness = server(2, &gate).await;
    let (slow, other) = (client(&harness, "slow", "g"), client(&harness, "other", "g"));
    let mut first = Box::pin(get(&slow, CONFIG_MAPS));
    let mut second = Box::pin(get(&slow, CONFIG_MAPS));
    gate.reached_by(&mut first).await;
    gate.reached_by(&mut second).await;
    let refused = get(&other, CONFIG_MAPS).await;
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, "1"));
    assert!(refused.headers().contains_key("x-kubernetes-pf-flowschema-uid"));
    let status: Value = serde_json::from_str(&text(refused).await).unwrap();
    assert_eq!(status["message"], "Too many requests, please try again later.");
    assert_eq!(status["reason"], "TooManyRequests");
    let admin = client(&harness, "admin", "system:masters");
    assert_eq!(get(&admin, CONFIG_MAPS).await.status(), 200);
    let levels = text(get(&admin, &format!("{DUMPS}/dump_priority_levels")).await).await;
    assert!(
        levels.contains("catch-all,         0,            false,  false,       0,               2"),
        "{levels}"
    );
    assert!(
        levels.contains("exempt,            0,            false,  false,       0,               1"),
        "{levels}"
    );
    let metrics = text(get(&admin, "/metrics").await).await;
    let rejected = r#"apiserver_flowcontrol_rejected_requests_total{flow_schema="catch-all",priority_level="catch-all",reason="concurrency-limit"} 1"#;
    assert!(metrics.contains(rejected), "{metrics}");
    assert!(metrics.contains(r#"apiserver_flowcontrol_nominal_limit_seats{priority_level="catch-all"} 2"#));
    gate.open();
    gate.open();
    assert_eq!(
        (first.await.status(), second.await.status()),
        (200.try_into().unwrap(), 200.try_into().unwrap())
    );
    let watch = get(&other, &format!("{CONFIG_MAPS}?watch=true")).await;
    assert_eq!(watch.status(), 200);
    let metrics = text(get(&admin, "/metrics").await).await;
    let none = r#"apiserver_flowcontrol_current_executing_seats{flow_schema="catch-all",priority_level="catch-all"} 0"#;
    assert!(metrics.contains(none), "an open watch holds no seat: {metrics}");
}

#[tokio::test]
async fn a_greedy_user_does_not_starve_another() {
    let gate = Gate::default();
    let harness = server(4, &gate).await;
    // The catch-all level has five shares.
    let made = harness.post(LEVELS, &level("few", 5)).await.ok();
    harness.post(SCHEMAS, &schema("few", "few", &["greedy", "modest"])).await.ok();
    let (greedy, modest) = (client(&harness, "greedy", "g"), client(&harness, "modest", "g"));
    until_of_level(&modest, made["metadata"]["uid"].as_str().unwrap()).await;
    let mut greed: Vec<_> = (0..50).map(|_| Box::pin(get(&greedy, CONFIG_MAPS))).collect();
    for request in &mut greed {
        assert!(request.as_mut().now_or_never().is_none());
    }
    let mut modest = Box::pin(get(&modest, CONFIG_MAPS));
    let mut ended = 0;
    let answer = loop {
        if let Some(answer) = modest.as_mut().now_or_never() {
            break answer;
        }
        assert!(ended < 10, "the modest one waits for most of the greedy");
        gate.open();
        ended += 1;
        let (_, _, rest) = futures::future::select_all(greed).await;
        greed = rest;
        for request in &mut greed {
            assert!(request.as_mut().now_or_never().is_none());
        }
    };
    assert_eq!(answer.status(), 200);
    let admin = client(&harness, "admin", "system:masters");
    let waiting = text(get(&admin, &format!("{DUMPS}/dump_requests?includeRequestDetails=1")).await).await;
    assert!(
        waiting.lines().next().is_some_and(|line| line.starts_with("PriorityLevelName, FlowSchemaName, ")),
        "{waiting}"
    );
    assert!(
        waiting.lines().nth(1).is_some_and(|line| line.contains("greedy,") && line.contains(CONFIG_MAPS)),
        "{waiting}"
    );
    let queues = text(get(&admin, &format!("{DUMPS}/dump_queues")).await).await;
    assert_eq!(queues.lines().filter(|line| line.starts_with("few,")).count(), 64);
    assert_eq!(get(&admin, &format!("{DUMPS}/else")).await.status(), 404);
}

#[tokio::test]
async fn a_schema_takes_effect_when_it_changes() {
    let harness = Harness::start().await;
    let one = harness.post(LEVELS, &level("one", 5)).await.ok();
    let two = harness.post(LEVELS, &level("two", 5)).await.ok();
    let uid = |object: &Value| object["metadata"]["uid"].as_str().unwrap().to_owned();
    let made = harness.post(SCHEMAS, &schema("s", "one", &["u"])).await.ok();
    let user = client(&harness, "u", "g");
    until_of_level(&user, &uid(&one)).await;
    let answer = get(&user, CONFIG_MAPS).await;
    assert_eq!(header(&answer, "x-kubernetes-pf-flowschema-uid"), uid(&made));
    let other = json!({"spec": {"priorityLevelConfiguration": {"name": "two"}}});
    harness.merge(&format!("{SCHEMAS}/s"), &other).await.ok();
    until_of_level(&user, &uid(&two)).await;
    harness.delete(&format!("{SCHEMAS}/s")).await.ok();
    until_of_level(&user, "").await;
}

#[tokio::test]
async fn what_is_wrong_with_schemas_and_levels_is_said_in_upstreams_words() {
    let harness = Harness::start().await;
    let mut bad = schema("bad", "", &["u"]);
    bad["spec"]["matchingPrecedence"] = 10_001.into();
    bad["spec"]["distinguisherMethod"]["type"] = "ByColour".into();
    bad["spec"]["rules"] = json!([{"subjects": [{"kind": "User", "group": {"name": "g"}}],
        "resourceRules": [{"verbs": ["*", "get"], "apiGroups": ["a", "*"], "resources": [], "namespaces": ["A"]}],
        "nonResourceRules": [{"verbs": ["jump"], "nonResourceURLs": ["x"]}]}, {"subjects": []}]);
    let told = harness.post(SCHEMAS, &bad).await.refused(422);
    for part in [
        "spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000",
        r#"spec.distinguisherMethod.type: Unsupported value: {"type":"ByColour"}: supported values: "ByNamespace", "ByUser""#,
        "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
        "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
        "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
        r#"spec.rules[0].resourceRules[0].verbs: Invalid value: ["*","get"]: if '*' is present, must not specify other verbs"#,
        "spec.rules[0].resourceRules[0].resources: Required value: resource rules must supply at least one resource",
        "each member of this list must be '*' or a DNS-1123 label; ",
        r#"spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "x": must start with slash"#,
        "spec.rules[1].subjects: Required value: subjects must contain at least one value",
        "spec.rules[1]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let mut bad = level("bad", 1);
    bad["spec"]["limited"]["lendablePercent"] = 101.into();
    bad["spec"]["limited"]["borrowingLimitPercent"] = (-1).into();
    bad["spec"]["limited"]["limitResponse"]["queuing"] =
        json!({"queues": 64, "handSize": 20, "queueLengthLimit": -1});
    let told = harness.post(LEVELS, &bad).await.refused(422);
    for part in [
        "spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: -1: must be positive",
        "spec.limited.limitResponse.queuing.handSize: Invalid value: 20: required entropy bits of deckSize 64 and handSize 20 should not be greater than 60",
        "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
        "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = harness.post(LEVELS, &level("exempt", 1)).await.refused(422);
    assert!(told.contains("type must be 'Exempt' if and only if name is 'exempt'"), "{told}");
    assert!(
        told.contains("spec of 'exempt' except the 'spec.exempt' field must equal the fixed value"),
        "{told}"
    );
    let told = harness.post(SCHEMAS, &schema("catch-all", "catch-all", &["u"])).await.refused(422);
    assert!(told.contains("spec of 'catch-all' must equal the fixed value"), "{told}");
    for object in resources::flowcontrol::mandatory().iter().chain(resources::flowcontrol::suggested()) {
        let path = if object.kind() == "FlowSchema" { SCHEMAS } else { LEVELS };
        harness.post(path, &Value::Object(object.0.clone())).await.ok();
    }
}
