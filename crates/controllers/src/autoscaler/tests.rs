//! Autoscalers' decisions as upstream's controller takes them.

use std::fmt::Write;
use std::sync::Arc;

use api::Object;
use informer::{Action, Plan, Target};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::plan::{self, Observed, Pods};
use super::rate::{self, Bounds, Memory};
use super::replicas::Use;
use super::scale::Scale;
use super::values::Values;
use crate::golden;

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().expect("a time")
}

fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn autoscaler(spec: &Value) -> HorizontalPodAutoscaler {
    let meta = json!({"name": "h", "namespace": "ns", "uid": "h", "resourceVersion": "7"});
    let mut whole = json!({"minReplicas": 1, "maxReplicas": 10, "metrics": [cpu(50)],
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        whole[key] = value.clone();
    }
    serde_json::from_value(json!({"metadata": meta, "spec": whole})).expect("an autoscaler")
}

fn cpu(percent: i32) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}})
}

fn scale(replicas: i32) -> Scale {
    let object = json!({"kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": "web", "namespace": "ns", "resourceVersion": "3"},
        "spec": {"replicas": replicas}, "status": {"replicas": replicas, "selector": "app=web"}});
    let target = Target::new("apps", "v1", "deployments", "ns", "web").subresource("scale");
    Scale::of(target, Object::from_value(object).expect("an object"))
}

/// A pod that has been ready for a while, and requests 100m.
fn pod(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "ns", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]},
        "status": {"phase": "Running", "startTime": ago(900),
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ago(800)}]},
    })
}

/// What a pod uses in thousandths of a core.
fn figures(name: &str, millicores: i64) -> Value {
    json!({"metadata": {"name": name, "namespace": "ns"}, "timestamp": ago(1), "window": "15.1s",
        "containers": [{"name": "c", "usage": {"cpu": format!("{millicores}m"), "memory": "8Mi"}}]})
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("of the type")
}

struct Case {
    spec: Value,
    replicas: i32,
    pods: Vec<Value>,
    figures: Result<Vec<Value>, &'static str>,
    /// Of the metrics that are no resource, in their order.
    values: Values,
    memory: Memory,
}

impl Case {
    /// Pods that each use so much.
    fn using(millicores: &[i64]) -> Self {
        let names: Vec<String> = (0..millicores.len()).map(|n| format!("p{n}")).collect();
        let figures = names.iter().zip(millicores).map(|(name, used)| figures(name, *used));
        Self {
            spec: json!({}),
            replicas: i32::try_from(millicores.len()).expect("few"),
            pods: names.iter().map(|name| pod(name)).collect(),
            figures: Ok(figures.collect()),
            values: Values::new(),
            memory: Memory::default(),
        }
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.spec[key] = value;
        self
    }

    fn observed(&self) -> Observed {
        let figures = match &self.figures {
            Ok(all) => Ok(all.iter().map(read).collect()),
            Err(why) => Err((*why).to_owned()),
        };
        let pods: Vec<Arc<Pod>> = self.pods.iter().map(|pod| Arc::new(read(pod))).collect();
        Observed {
            autoscaler: Arc::new(autoscaler(&self.spec)),
            scale: Ok(scale(self.replicas)),
            pods: Pods {
                pods,
                rivals: vec!["ns/h".into()],
                figures: Some(figures),
                values: self.values.clone(),
            },
            memory: self.memory.clone(),
            failure: None,
            now: now(),
        }
    }
}

/// A plan as lines.
fn told(name: &str, plan: &Plan) -> String {
    let mut out = format!("# {name}\n");
    for action in &plan.actions {
        match action {
            Action::Event { reason, message, .. } => writeln!(out, "event {reason}: {message}"),
            Action::Told { action, words } => match &**action {
                Action::Update { target, object } => writeln!(
                    out,
                    "update {} to {} ({}: {})",
                    target.path(),
                    object.at(&["spec", "replicas"]).cloned().unwrap_or_default(),
                    words.done.0,
                    words.done.1
                ),
                other => writeln!(out, "{other:?}"),
            },
            Action::Update { object, .. } => {
                let status = object.at(&["status"]).cloned().unwrap_or_default();
                let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
                let text = |c: &Value, key: &str| c[key].as_str().unwrap_or_default().to_owned();
                for c in conditions {
                    let [type_, status, reason, message] =
                        ["type", "status", "reason", "message"].map(|key| text(&c, key));
                    writeln!(out, "  {type_}={status} {reason}: {message}").expect("a string");
                }
                writeln!(
                    out,
                    "  {} of {}, {}",
                    status["currentReplicas"], status["desiredReplicas"], status["currentMetrics"]
                )
            }
            other => writeln!(out, "{other:?}"),
        }
        .expect("a string");
    }
    out
}

fn memory(wishes: &[(i64, i32)], raised: &[(i64, i32)]) -> Memory {
    let at = |list: &[(i64, i32)]| list.iter().map(|(age, number)| (ago(*age), *number)).collect();
    Memory { wishes: at(wishes), raised: at(raised), lowered: Vec::new() }
}

fn cases() -> Vec<(&'static str, Observed)> {
    let mut cases = vec![
        ("within tolerance", Case::using(&[52, 54]).observed()),
        ("above target", Case::using(&[80, 90]).observed()),
        ("at most doubled, or four", Case::using(&[900]).observed()),
        ("more than may be", Case::using(&[90, 90]).with("maxReplicas", json!(3)).observed()),
        ("below target, kept up by what was wished", Case::using(&[10, 10]).observed()),
    ];
    let mut idle = Case::using(&[10, 10, 10]);
    idle.memory = memory(&[(301, 3)], &[]);
    cases.push(("below target, for long", idle.observed()));
    let behavior = json!({"scaleDown": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}});
    cases.push(("one less a minute", Case::using(&[1, 1, 1]).with("behavior", behavior).observed()));
    let behavior = json!({"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}});
    let mut raised = Case::using(&[90, 90, 90]).with("behavior", behavior);
    raised.memory = memory(&[(20, 3)], &[(20, 2)]);
    cases.push(("two more a minute were enough", raised.observed()));
    let tolerant = Case::using(&[70]).with("behavior", json!({"scaleUp": {"tolerance": "500m"}}));
    cases.push(("a tolerance of its own", tolerant.observed()));
    let disabled = Case::using(&[1, 1]).with(
        "behavior",
        json!({"scaleDown": {"selectPolicy": "Disabled", "stabilizationWindowSeconds": 0}}),
    );
    cases.push(("never fewer", disabled.observed()));
    let mut none = Case::using(&[]);
    none.figures = Err("unable to fetch metrics from resource metrics API: no");
    none.replicas = 0;
    cases.push(("no pods wanted", none.observed()));
    cases.push(("above the maximum", Case { replicas: 12, ..Case::using(&[1]) }.observed()));
    cases.push(("below the minimum", Case::using(&[1]).with("minReplicas", json!(2)).observed()));
    faults(&mut cases);
    others(&mut cases);
    pods_that_do_not_count(&mut cases);
    cases
}

fn faults(cases: &mut Vec<(&'static str, Observed)>) {
    let mut silent = Case::using(&[1]);
    silent.figures = Err("no metrics returned from resource metrics API");
    cases.push(("no figures", silent.observed()));
    let mut careless = Case::using(&[1]);
    careless.pods[0]["spec"]["containers"][0]["resources"] = json!({});
    cases.push(("no requests", careless.observed()));
    let pods = json!({"type": "Pods", "pods": {"metric": {"name": "hits"}, "target": {"type": "AverageValue", "averageValue": "1"}}});
    let external = json!({"type": "External", "external": {"metric": {"name": "queue", "selector": {"matchLabels": {"a": "b"}}}, "target": {"type": "Value", "value": "1"}}});
    let object = json!({"type": "Object", "object": {"metric": {"name": "hits"}, "describedObject": {"kind": "Service", "name": "s"}, "target": {"type": "Value", "value": "1"}}});
    let unserved = "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered";
    let lost = "unable to fetch metrics from external metrics API: the server could not find the requested resource (get queue.external.metrics.k8s.io)";
    for (metric, why) in [(&pods, unserved), (&external, lost), (&object, unserved)] {
        let mut case = Case::using(&[1]).with("metrics", json!([metric]));
        case.values = vec![Some(Err(why.to_owned()))];
        cases.push(("metrics that nobody serves", case.observed()));
    }
    let both = json!([pods, cpu(50)]);
    for (name, used) in [("one metric is enough to grow", &[90][..]), ("and not to shrink", &[1, 1])] {
        let mut case = Case::using(used).with("metrics", both.clone());
        case.values = vec![Some(Err(unserved.to_owned())), None];
        cases.push((name, case.observed()));
    }
    let memory = json!([{"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "4Mi"}}}]);
    cases.push(("an average value", Case::using(&[1]).with("metrics", memory).observed()));
    let of_container = |container: &str| {
        json!([{"type": "ContainerResource", "containerResource": {"name": "cpu", "container": container,
            "target": {"type": "Utilization", "averageUtilization": 20}}}])
    };
    cases.push(("of a container", Case::using(&[90]).with("metrics", of_container("c")).observed()));
    cases.push(("of none", Case::using(&[90]).with("metrics", of_container("d")).observed()));
    let mut gone = Case::using(&[1]).observed();
    gone.scale = Err("deployments.apps \"web\" not found".into());
    cases.push(("what is scaled is gone", gone));
    let mut two = Case::using(&[1]).observed();
    two.pods.rivals = vec!["ns/h".into(), "ns/other".into()];
    cases.push(("two autoscalers", two));
    let mut refused = Case::using(&[90]).observed();
    refused.failure = Some("no".into());
    cases.push(("the last write failed", refused));
}

/// Values, in thousandths, by what they are of.
fn values(all: &[(&str, i64)]) -> Option<Result<Vec<super::values::Value>, String>> {
    let value = |(object, milli): &(&str, i64)| super::values::Value {
        object: (*object).to_owned(),
        used: Use { milli: *milli, at: ago(1), window: SignedDuration::from_mins(1) },
    };
    Some(Ok(all.iter().map(value).collect()))
}

fn others(cases: &mut Vec<(&'static str, Observed)>) {
    let metric = |type_: &str, key: &str, target: Value, about: Value| {
        let mut source = json!({"metric": {"name": "hits"}, "target": target});
        if !about.is_null() {
            source["describedObject"] = about;
        }
        json!([{"type": type_, key: source}])
    };
    let average = |quantity: &str| json!({"type": "AverageValue", "averageValue": quantity});
    let whole = |quantity: &str| json!({"type": "Value", "value": quantity});
    let service = json!({"kind": "Service", "name": "s"});
    let mut add = |name, pods: usize, metrics: Value, answered| {
        let mut case = Case::using(&vec![1; pods]).with("metrics", metrics);
        case.values = vec![answered];
        case.memory = memory(&[(301, 3)], &[]);
        cases.push((name, case.observed()));
    };
    let of_pods = |target| metric("Pods", "pods", target, Value::Null);
    let external = |target| metric("External", "external", target, Value::Null);
    let object = |target| metric("Object", "object", target, service.clone());
    add(
        "a metric of pods above target",
        2,
        of_pods(average("10")),
        values(&[("p0", 20_000), ("p1", 14_500)]),
    );
    add("of pods within tolerance", 2, of_pods(average("10")), values(&[("p0", 10_500), ("p1", 10_000)]));
    add("of one pod alone, below target", 3, of_pods(average("10")), values(&[("p0", 2_000)]));
    add("of pods that are not these", 2, of_pods(average("10")), values(&[("q", 2_000)]));
    add("an object's value above target", 2, object(whole("100")), values(&[("s", 250_000)]));
    add("an object's value below target", 3, object(whole("100")), values(&[("s", 10_000)]));
    add("an object's value shared out", 2, object(average("100m")), values(&[("s", 350)]));
    add("a value elsewhere above target", 2, external(whole("30")), values(&[("", 40_000), ("", 20_000)]));
    add("a value elsewhere shared out", 3, external(average("30")), values(&[("", 31_000)]));
    add("a value elsewhere, shared out well", 2, external(average("30")), values(&[("", 61_000)]));
    add("no target for an object", 1, object(json!({"type": "Value"})), values(&[("s", 1)]));
    add("no target elsewhere", 1, external(json!({"type": "Value"})), values(&[("", 1)]));
    let silent = Some(Err("no metrics returned from external metrics API".to_owned()));
    add("nothing from elsewhere", 1, external(whole("30")), silent);
    let silent = Some(Err("no metrics returned from custom metrics API".to_owned()));
    add("nothing of an object", 1, object(average("30")), silent);
}

fn pods_that_do_not_count(cases: &mut Vec<(&'static str, Observed)>) {
    let mut missing = Case::using(&[90, 90, 90]);
    missing.figures = missing.figures.map(|all| all[..1].to_vec());
    cases.push(("missing figures count as none when growing", missing.observed()));
    let mut missing = Case::using(&[20, 20, 20]);
    missing.memory = memory(&[(301, 3)], &[]);
    missing.figures = missing.figures.map(|all| all[..2].to_vec());
    cases.push(("and as all that is requested when shrinking", missing.observed()));
    let mut starting = Case::using(&[90, 900]);
    starting.pods[1]["status"]["startTime"] = json!(ago(30));
    starting.pods[1]["status"]["conditions"][0]["lastTransitionTime"] = json!(ago(5));
    cases.push(("what starts counts as idle", starting.observed()));
    let mut going = Case::using(&[90, 900]);
    going.pods[1]["metadata"]["deletionTimestamp"] = json!(now());
    cases.push(("what goes does not count", going.observed()));
    let mut pending = Case::using(&[40, 1]);
    pending.pods[1]["status"]["phase"] = "Pending".into();
    cases.push(("what is pending does not count", pending.observed()));
}

#[test]
fn decisions_are_upstreams() {
    let text: String =
        cases().iter().map(|(name, observed)| told(name, &plan::plan(observed, now()))).collect();
    golden::check("autoscaler/decisions", &text);
}

#[test]
fn a_status_that_says_all_is_not_written_again() {
    let mut observed = Case::using(&[50]).observed();
    let written = plan::plan(&observed, now());
    let Some(Action::Update { object, .. }) = written.actions.last() else { panic!("{written:?}") };
    observed.autoscaler = Arc::new(read(&object.clone().into_value()));
    let later = now() + SignedDuration::from_secs(15);
    assert_eq!(plan::plan(&observed, later).actions, []);
}

proptest! {
    /// Whatever is wished and remembered, the number moves towards the wishes and between the bounds.
    #[test]
    fn the_number_stays_between_the_bounds(
        min in 1..20i32, more in 0..50i32, current in 1..80i32, wish in 0..200i32,
        wishes in proptest::collection::vec((0..700i64, 0..200i32), 0..8),
        changes in proptest::collection::vec((0..100i64, 1..50i32), 0..4),
        behaves: bool, window in 0..600i32, select in prop_oneof!["Max", "Min", "Disabled"], value in 1..150i32,
    ) {
        let max = min + more;
        let current = current.clamp(min, max);
        let rules = json!({"stabilizationWindowSeconds": window, "selectPolicy": select,
            "policies": [{"type": "Percent", "value": value, "periodSeconds": 30}, {"type": "Pods", "value": value, "periodSeconds": 60}]});
        let behavior = behaves.then(|| read(&json!({"scaleUp": rules, "scaleDown": rules})));
        let mut memory = memory(&wishes, &changes);
        memory.lowered = memory.raised.clone();
        let bounds = Bounds { min, max, current };
        let limited = rate::limit(behavior.as_ref(), &memory, bounds, wish, now());
        prop_assert!((min..=max).contains(&limited.replicas), "{limited:?}");
        if behaves && wish >= current {
            prop_assert!(limited.replicas <= wish.max(current), "{limited:?}");
        }
        if behaves && wish < current {
            prop_assert!(limited.replicas >= wish && limited.replicas <= max, "{limited:?}");
        }
        if behaves && select == "Disabled" && wishes.is_empty() {
            prop_assert_eq!(limited.replicas, current);
        }
        // What is remembered is bounded.
        memory.add(&[wish; 3000], wish, now());
        prop_assert!(memory.wishes.len() <= 1024);
    }
}
