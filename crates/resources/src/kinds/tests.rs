//! That lines and kinds fit together, and what creation and updates do to objects of each kind.

use api::Object;
use api::schema::Shape;
use serde_json::{Value, json};

use super::assemble::assemble;
use super::*;
use crate::columns::basic;
use crate::logic::{Changes, MetadataOnly};
use crate::part::{PartHandler, ScalePaths};
use crate::qos::qos_class;
use crate::row::Immutable;
use crate::verb::Verb;
use crate::{builtin, schema_data};

fn object(value: Value) -> Object {
    Object::from_value(value).expect("an object")
}

fn row(group: &str, kind: &str) -> &'static Resource {
    builtin().rows().find(|row| row.group == group && row.kind == kind).expect("a built-in kind")
}

fn created(group: &str, kind: &str, value: Value) -> Value {
    let mut o = object(value);
    let logic = &row(group, kind).logic;
    logic.default(&mut o);
    logic.prepare_create(&mut o);
    o.into_value()
}

fn updated(group: &str, kind: &str, new: Value, old: &Value) -> Value {
    let mut o = object(new);
    row(group, kind).logic.prepare_update(&mut o, &object(old.clone()));
    o.into_value()
}

#[test]
fn nobody_is_born_with_a_status() {
    let pod = created("", "Pod", json!({"spec": {"containers": []}, "status": {"phase": "Running"}}));
    assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    let set = created("apps", "ReplicaSet", json!({"spec": {}, "status": {"replicas": 3}}));
    assert_eq!(set["status"], json!({"replicas": 0}));
    let claim = created("", "PersistentVolumeClaim", json!({"spec": {}}));
    assert_eq!(claim["status"], json!({"phase": "Pending"}));
    let namespace = created("", "Namespace", json!({"metadata": {"name": "n"}}));
    assert_eq!(namespace["spec"], json!({"finalizers": ["kubernetes"]}));
    assert_eq!(namespace["status"], json!({"phase": "Active"}));
    let node = created("", "Node", json!({"status": {"capacity": {"cpu": "2"}}}));
    assert_eq!(node["status"]["allocatable"], json!({"cpu": "2"}));
    let gated = created("", "Pod", json!({"spec": {"containers": [], "schedulingGates": [{"name": "g"}]}}));
    assert_eq!(gated["status"]["conditions"][0]["reason"], "SchedulingGated");
}

#[test]
fn updates_keep_the_status_and_status_updates_the_spec() {
    let old = json!({"metadata": {"name": "a", "ownerReferences": [{"uid": "u"}]}, "spec": {"nodeName": "n"},
        "status": {"phase": "Running", "qosClass": "Burstable", "observedGeneration": 3, "conditions": [{"type": "Ready", "observedGeneration": 2}]}});
    let new = updated("", "Pod", json!({"spec": {"x": 1}, "status": {"phase": "Failed"}}), &old);
    assert_eq!(new["status"], old["status"]);
    let mut status = object(json!({"metadata": {"name": "a", "labels": {"l": "1"}}, "extra": 1,
        "status": {"phase": "Failed", "conditions": [{"type": "Ready", "status": "False"}]}}));
    row("", "Pod").logic.prepare_status_update(&mut status, &object(old.clone()));
    assert_eq!(
        status.into_value(),
        json!({"metadata": {"name": "a", "labels": {"l": "1"}, "ownerReferences": [{"uid": "u"}]},
        "spec": {"nodeName": "n"},
        "status": {"phase": "Failed", "qosClass": "Burstable", "observedGeneration": 3,
            "conditions": [{"type": "Ready", "status": "False", "observedGeneration": 2}]}})
    );
}

#[test]
fn grace_is_for_pods_that_run() {
    let logic = &row("", "Pod").logic;
    let grace = |pod: &Object, asked| logic.grace_period_s(pod, asked).expect("pods have grace");
    let pod = |node: &str, phase: &str| {
        object(
            json!({"spec": {"nodeName": node, "terminationGracePeriodSeconds": 30}, "status": {"phase": phase}}),
        )
    };
    assert_eq!(grace(&pod("n", "Running"), None), 30);
    assert_eq!(grace(&pod("n", "Running"), Some(5)), 5);
    assert_eq!(grace(&pod("n", "Running"), Some(-4)), 1);
    assert_eq!(grace(&pod("", "Pending"), Some(5)), 0);
    assert_eq!(grace(&pod("n", "Succeeded"), None), 0);
}

#[test]
fn classes_of_service() {
    let class = |resources: Value| {
        qos_class(&object(json!({"spec": {"containers": [{"name": "a", "resources": resources}]}})))
    };
    assert_eq!(class(json!({})), "BestEffort");
    assert_eq!(class(json!({"requests": {"example.com/gpu": "1"}})), "BestEffort");
    assert_eq!(class(json!({"requests": {"cpu": "0"}})), "BestEffort");
    assert_eq!(class(json!({"requests": {"cpu": "1"}})), "Burstable");
    let limits = json!({"cpu": "1", "memory": "1Gi"});
    assert_eq!(class(json!({"limits": limits})), "Guaranteed");
    assert_eq!(class(json!({"limits": limits, "requests": {"cpu": "1000m", "memory": "1Gi"}})), "Guaranteed");
    assert_eq!(class(json!({"limits": limits, "requests": {"cpu": "1", "memory": "1Mi"}})), "Burstable");
}

#[test]
fn jobs_select_their_own_pods() {
    let job = created(
        "batch",
        "Job",
        json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {"containers": []}}}}),
    );
    assert_eq!(job["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}));
    assert_eq!(job["spec"]["template"]["metadata"]["labels"]["job-name"], "j");
    assert_eq!(job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]);
    assert!(row("batch", "Job").rules.orphan_by_default);
}

#[test]
fn services_keep_what_was_allocated_and_give_back_what_is_of_no_use() {
    let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
        "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30000}], "externalTrafficPolicy": "Cluster"}});
    let ports = json!([{"port": 80, "protocol": "TCP"}]);
    let same = updated("", "Service", json!({"spec": {"type": "NodePort", "ports": ports}}), &old);
    assert_eq!(same["spec"]["clusterIPs"], json!(["10.0.0.1"]));
    assert_eq!(same["spec"]["ports"][0]["nodePort"], 30000);
    let mut changed = old.clone();
    changed["spec"]["type"] = "ClusterIP".into();
    let inner = updated("", "Service", changed, &old);
    assert_eq!(inner["spec"]["ports"], ports);
    assert_eq!(
        (inner["spec"].get("externalTrafficPolicy"), &inner["spec"]["clusterIP"]),
        (None, &json!("10.0.0.1"))
    );
}

#[test]
fn annotations_of_deployments_and_templates_of_daemon_sets_count() {
    let old = json!({"metadata": {"generation": 4}, "spec": {}});
    let new = json!({"metadata": {"generation": 4, "annotations": {"a": "b"}}, "spec": {}});
    assert_eq!(updated("apps", "Deployment", new, &old)["metadata"]["generation"], 5);
    let set = created("apps", "DaemonSet", json!({"metadata": {"name": "d"}, "spec": {}}));
    let key = "deprecated.daemonset.template.generation";
    assert_eq!(set["metadata"]["annotations"][key], "1");
    let mut changed = set.clone();
    changed["spec"]["template"] = json!({"spec": {}});
    assert_eq!(updated("apps", "DaemonSet", changed, &set)["metadata"]["annotations"][key], "2");
}

#[test]
fn stateful_sets_have_no_number_of_unavailable_pods_unless_they_had_it() {
    let rolling =
        json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1, "maxUnavailable": 2}}}});
    let made = created("apps", "StatefulSet", rolling.clone());
    assert_eq!(made["spec"]["updateStrategy"]["rollingUpdate"], json!({"partition": 1}));
    let kept = updated("apps", "StatefulSet", rolling.clone(), &rolling);
    assert_eq!(kept["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"], 2);
    let new = updated("apps", "StatefulSet", rolling, &made);
    assert_eq!(new["spec"]["updateStrategy"]["rollingUpdate"], json!({"partition": 1}));
}

#[test]
fn a_held_namespace_shows_that_it_ends() {
    let logic = &row("", "Namespace").logic;
    let mut namespace = object(json!({"spec": {"finalizers": ["kubernetes"]}}));
    assert!(logic.is_held(&namespace));
    logic.mark_deleted(&mut namespace);
    assert_eq!(namespace.str_at(&["status", "phase"]), Some("Terminating"));
    assert!(!logic.is_held(&object(json!({"spec": {"finalizers": []}}))));
    assert!(!row("", "Pod").logic.is_held(&namespace));
}

/// What lines and kinds do not agree on, given what is said of config maps.
fn faults(line: &str, change: impl FnOnce(Kind) -> Kind) -> Vec<String> {
    let kind = Kind::new("v1", "configmaps", MetadataOnly(Changes::Any("a test")));
    assemble(line, vec![change(kind)]).err().unwrap_or_default()
}

const CONFIG_MAPS: &str = "/v1 configmaps ConfigMap namespaced get,list";

#[test]
fn what_is_misspelt_is_reported() {
    assert!(faults(CONFIG_MAPS, |kind| kind).is_empty());
    let other = faults("/v1 configmap ConfigMap namespaced get", |kind| kind);
    assert_eq!(other, ["configmap of v1 has no kind", "configmaps of v1 has no line"]);
    let unknown = faults("/v1 configmaps ConfigMop namespaced get", |kind| kind);
    assert_eq!(unknown, ["configmaps of v1 has no structure"]);
    let field = faults(CONFIG_MAPS, |kind| kind.selectable("spec.nodeName"));
    assert_eq!(field, ["configmaps of v1 has no field spec.nodeName to select by"]);
    let field = faults(CONFIG_MAPS, |kind| kind.immutable(Immutable::forbidden(&["dato"], "")));
    assert_eq!(field[0], "configmaps of v1 has no field dato to keep");
    let field = faults(CONFIG_MAPS, |kind| kind.immutable(Immutable::forbidden(&["data"], "")));
    assert_eq!(field, ["configmaps of v1 keeps fields that no change is judged by"]);
    let column = faults(CONFIG_MAPS, |kind| kind.columns(basic::PRIORITY_CLASS));
    assert_eq!(column[0], "configmaps of v1 has no field value to show");
    let part = faults(CONFIG_MAPS, |kind| kind.part("log", PartHandler::Log));
    assert_eq!(part, ["configmaps of v1 has no subresource log"]);
    let unanswered = format!("{CONFIG_MAPS} log:get:/v1/ConfigMap");
    assert_eq!(faults(&unanswered, |kind| kind), ["log of configmaps of v1 has no handler"]);
    let scale = format!("{CONFIG_MAPS} scale:get:autoscaling/v1/Scale");
    let misled = faults(&scale, |kind| kind.part("scale", PartHandler::Scale(ScalePaths::replicas())));
    assert_eq!(misled.len(), 3, "{misled:?}");
}

#[test]
fn every_kind_with_metadata_has_a_row() {
    let mut others: Vec<String> = schema_data::kinds()
        .filter(|(_, id)| {
            let metadata = schema_data::builtin_types().get(*id).field("metadata").map(|field| &field.shape);
            let Some(Shape::Struct(metadata)) = metadata else { return false };
            schema_data::builtin_types().get(*metadata).name.ends_with(".ObjectMeta")
        })
        .filter(|(gvk, _)| builtin().by_kind(&gvk.group, &gvk.version, &gvk.kind).is_none())
        .map(|(gvk, _)| gvk.kind.clone())
        .collect();
    others.sort();
    // What subresources carry.
    assert_eq!(others, ["Eviction", "Scale", "TokenRequest"]);
}

#[test]
fn only_questions_are_never_read_again() {
    for row in builtin().rows() {
        assert_eq!(row.verbs == [Verb::Create], row.question.is_some(), "{row:?}");
    }
}

#[test]
fn who_takes_any_change_says_why() {
    for row in builtin().rows() {
        if let Changes::Any(why) | Changes::NotYetJudged(why) = row.logic.changes() {
            assert!(why.split(' ').count() > 2, "{row:?} says only {why:?}");
        }
    }
}
