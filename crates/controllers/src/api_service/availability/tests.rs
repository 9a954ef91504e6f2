use serde_json::{Value, json};

use super::*;
use crate::golden;

fn of<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object of its kind")
}

fn registration(service: Value, conditions: Value) -> Arc<APIService> {
    Arc::new(of(json!({"metadata": {"name": "v1.example.com"}, "status": {"conditions": conditions},
        "spec": {"group": "example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
            "service": service}})))
}

fn remote() -> Value {
    json!({"namespace": "ns", "name": "api", "port": 8443})
}

fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).expect("a time")
}

/// What a round says and when it looks again.
fn told(observed: &Observed, second: i64) -> String {
    let plan = ApiServiceAvailabilityController::reconcile(observed, at(second));
    let again = plan.again_after.map_or(String::new(), |after| format!(", again after {after:?}"));
    let told = match &plan.actions[..] {
        [] => "nothing".to_owned(),
        [informer::Action::Update { target, object }] => {
            assert_eq!(target.subresource, "status");
            object.at(&["status", "conditions"]).map(Value::to_string).unwrap_or_default()
        }
        other => panic!("unexpected {other:?}"),
    };
    format!("{told}{again}")
}

#[test]
fn what_is_missing_is_named_as_upstream_names_it() {
    let key = Key::new("ns", "api");
    let service = |type_: &str, port: u16| -> Service {
        of(json!({"spec": {"type": type_, "ports": [{"name": "https", "port": port}]}}))
    };
    let slice = |ready: bool, name: &str| -> Arc<EndpointSlice> {
        Arc::new(of(json!({"addressType": "IPv4", "ports": [{"name": name, "port": 443}],
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}]})))
    };
    let good = service("ClusterIP", 8443);
    let cases = [
        ("no Service", None, vec![]),
        ("another port", Some(&service("ClusterIP", 443)), vec![]),
        ("no slice", Some(&good), vec![]),
        ("no ready endpoint", Some(&good), vec![slice(false, "https")]),
        ("another port name", Some(&good), vec![slice(true, "http")]),
        ("a ready endpoint", Some(&good), vec![slice(false, "https"), slice(true, "https")]),
        ("a name elsewhere", Some(&service("ExternalName", 1)), vec![]),
    ];
    let lines = cases.map(|(what, service, slices)| {
        let words = missing(&key, 8443, service, &slices);
        let words = words.map_or("-".to_owned(), |words| format!("{}: {}", words.reason, words.message));
        format!("{what}\n  {words}\n")
    });
    golden::check("api_service/missing", &lines.concat());
}

#[test]
fn a_condition_tells_what_was_seen_and_since_when() {
    let mut log = String::new();
    let mut conditions = json!([{"type": "Other", "status": "True"}]);
    let steps = [
        ("its Service is not there", Seen::Missing(Words::new("ServiceNotFound", "gone".into())), 100),
        ("it does not answer", Seen::Asked(Err("no answer".into())), 101),
        ("still not", Seen::Asked(Err("no answer".into())), 110),
        ("for long", Seen::Asked(Err("no answer".into())), 1000),
        ("it answers", Seen::Asked(Ok(())), 1001),
        ("it answers again", Seen::Asked(Ok(())), 1031),
        ("it is this server's now", Seen::Local, 1100),
    ];
    for (what, seen, second) in steps {
        let service = if seen == Seen::Local { Value::Null } else { remote() };
        let observed = Observed { api_service: registration(service, conditions.clone()), seen };
        log.push_str(&format!("{what}\n  {}\n", told(&observed, second)));
        let plan = ApiServiceAvailabilityController::reconcile(&observed, at(second));
        if let Some(informer::Action::Update { object, .. }) = plan.actions.first() {
            conditions = object.at(&["status", "conditions"]).cloned().expect("conditions");
        }
    }
    golden::check("api_service/availability", &log);
}
