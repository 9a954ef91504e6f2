//! The flow schemas and priority levels that every cluster has, as upstream has them
//! (`k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap`): the mandatory ones, without which no request could be classed,
//! and the suggested ones, which an administrator may change.

use std::sync::LazyLock;

use api::Object;
use serde_json::{Value, json};

/// The API group of flow schemas and priority levels.
pub const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// Whether the specification of a suggested object is kept as it is here.
pub const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
/// The level, and the schema, of requests that are never limited.
pub const EXEMPT: &str = "exempt";
/// The level, and the schema, of requests that no other schema matches.
pub const CATCH_ALL: &str = "catch-all";

const SCHEMA: &str = "FlowSchema";
const LEVEL: &str = "PriorityLevelConfiguration";

static MANDATORY: LazyLock<Vec<Object>> = LazyLock::new(|| {
    vec![
        level(
            EXEMPT,
            json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}),
        ),
        level(
            CATCH_ALL,
            json!({"type": "Limited", "limited": {
                "nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"},
            }}),
        ),
        everything(EXEMPT, EXEMPT, 1, None, vec![group("system:masters")]),
        everything(CATCH_ALL, CATCH_ALL, 10_000, BY_USER, everybody()),
    ]
});

static SUGGESTED: LazyLock<Vec<Object>> = LazyLock::new(|| {
    let mut objects = suggested_levels();
    objects.extend(suggested_schemas());
    objects.extend(suggested_users());
    objects
});

/// The objects that always are as they are here; what administrators may change of the exempt level is in `spec.exempt`.
pub fn mandatory() -> &'static [Object] {
    &MANDATORY
}

/// The objects that a new cluster has and its administrator may change.
pub fn suggested() -> &'static [Object] {
    &SUGGESTED
}

/// The mandatory object of a kind and name.
pub fn mandatory_object(kind: &str, name: &str) -> Option<&'static Object> {
    MANDATORY.iter().find(|object| object.kind() == kind && object.name() == name)
}

fn suggested_levels() -> Vec<Object> {
    let queuing = |name: &str, shares: u32, lendable: u32, queues: u32, hand: u32| {
        level(
            name,
            json!({"type": "Limited", "limited": {
                "nominalConcurrencyShares": shares, "lendablePercent": lendable,
                "limitResponse": {"type": "Queue", "queuing": {
                    "queues": queues, "handSize": hand, "queueLengthLimit": 50,
                }},
            }}),
        )
    };
    vec![
        queuing("system", 30, 33, 64, 6),
        queuing("node-high", 40, 25, 64, 6),
        queuing("leader-election", 10, 0, 16, 4),
        queuing("workload-high", 40, 50, 128, 6),
        queuing("workload-low", 100, 90, 128, 6),
        queuing("global-default", 20, 50, 128, 6),
    ]
}

const BY_USER: Option<&str> = Some("ByUser");
const BY_NAMESPACE: Option<&str> = Some("ByNamespace");

fn suggested_schemas() -> Vec<Object> {
    let elections = ["get", "create", "update"];
    let leases = || resources(&elections, "coordination.k8s.io", &["leases"], false);
    let core = |plurals: &[&str]| resources(&elections, "", plurals, false);
    let kube_system = || account("*");
    let nodes = || group("system:nodes");
    vec![
        schema(
            "system-node-high",
            "node-high",
            400,
            BY_USER,
            &json!({"subjects": [nodes()], "resourceRules": [
                resources(&["*"], "", &["nodes", "nodes/status"], true),
                resources(&["*"], "coordination.k8s.io", &["leases"], false),
            ]}),
        ),
        schema(
            "probes",
            EXEMPT,
            2,
            None,
            &json!({"subjects": everybody(), "nonResourceRules": [
                {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]},
            ]}),
        ),
        schema(
            "system-leader-election",
            "leader-election",
            100,
            BY_USER,
            &json!({
                "subjects": [user("system:kube-controller-manager"), user("system:kube-scheduler"), kube_system()],
                "resourceRules": [leases()],
            }),
        ),
        schema(
            "endpoint-controller",
            "workload-high",
            150,
            BY_USER,
            &json!({
                "subjects": [
                    user("system:kube-controller-manager"), account("endpoint-controller"),
                    account("endpointslicemirroring-controller"),
                ],
                "resourceRules": [core(&["endpoints"])],
            }),
        ),
        schema(
            "workload-leader-election",
            "leader-election",
            200,
            BY_USER,
            &json!({
                "subjects": [kube_system()],
                "resourceRules": [core(&["endpoints", "configmaps"]), leases()],
            }),
        ),
    ]
}

/// The schemas that match all that somebody asks for.
fn suggested_users() -> Vec<Object> {
    vec![
        everything("system-nodes", "system", 500, BY_USER, vec![group("system:nodes")]),
        everything(
            "kube-controller-manager",
            "workload-high",
            800,
            BY_NAMESPACE,
            vec![user("system:kube-controller-manager")],
        ),
        everything("kube-scheduler", "workload-high", 800, BY_NAMESPACE, vec![user("system:kube-scheduler")]),
        everything("kube-system-service-accounts", "workload-high", 900, BY_NAMESPACE, vec![account("*")]),
        everything("service-accounts", "workload-low", 9000, BY_USER, vec![group("system:serviceaccounts")]),
        everything("global-default", "global-default", 9900, BY_USER, everybody()),
    ]
}

fn everybody() -> Vec<Value> {
    vec![group("system:unauthenticated"), group("system:authenticated")]
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

fn account(name: &str) -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"name": name, "namespace": "kube-system"}})
}

fn resources(verbs: &[&str], group: &str, plurals: &[&str], in_cluster: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": plurals, "namespaces": ["*"]});
    if in_cluster {
        rule["clusterScope"] = true.into();
    }
    rule
}

/// A schema that matches all that the subjects ask for.
fn everything(name: &str, level: &str, precedence: u32, by: Option<&str>, subjects: Vec<Value>) -> Object {
    let rule = json!({
        "subjects": subjects,
        "resourceRules": [resources(&["*"], "*", &["*"], true)],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    });
    schema(name, level, precedence, by, &rule)
}

fn schema(name: &str, level: &str, precedence: u32, by: Option<&str>, rule: &Value) -> Object {
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": [rule],
    });
    if let Some(by) = by {
        spec["distinguisherMethod"] = json!({"type": by});
    }
    object(SCHEMA, name, spec)
}

fn level(name: &str, spec: Value) -> Object {
    object(LEVEL, name, spec)
}

fn object(kind: &str, name: &str, spec: Value) -> Object {
    let object = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": kind,
        "metadata": {"name": name, "annotations": {AUTOUPDATE: "true"}},
        "spec": spec,
    });
    Object::from_value(object).expect("a map is an object")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_cluster_has_is_valid_and_nothing_is_added_to_it() {
        for object in mandatory().iter().chain(suggested()) {
            let row = crate::builtin().by_kind(GROUP, "v1", object.kind()).expect("the kind is served");
            let mut filled = object.clone();
            row.logic.default(&mut filled);
            assert_eq!(filled, *object);
            assert_eq!(row.logic.validate(object), [], "{}", object.name());
        }
        assert_eq!((mandatory().len(), suggested().len()), (4, 17));
    }
}
