//! Validating admission policies: what their expressions see, what refuses, warns and is noted, with what parameters.

use std::sync::Arc;

use apiserver::admission::{Asking, ValidatingPolicies};
use apiserver::cache::lookup::Lookup;
use apiserver::webhook::{Caller, Services};
use serde_json::{Value, json};

use crate::harness::{CONFIG_MAPS, Harness, config_map};

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";

async fn server() -> Harness {
    let harness = Harness::made_of(|deps| {
        let asking = Asking::new(
            Lookup::new(deps.cache.clone()),
            Arc::clone(&deps.resources),
            Arc::clone(&deps.converter),
            Arc::clone(&deps.authorizer),
            Caller::new(Arc::new(Services::new(deps.cache.clone())), &deps.supervisor),
        );
        deps.admission = vec![Arc::new(ValidatingPolicies::new(asking))];
    })
    .await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": {"env": "test"}}});
    harness.post("/api/v1/namespaces", &namespace).await.ok();
    harness
}

/// A policy `p` about config maps; `spec` holds what more it says.
fn policy(spec: &Value) -> Value {
    let mut policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"}, "spec": {"matchConstraints": {"resourceRules": [{"operations": ["CREATE", "UPDATE"],
        "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]}}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        policy["spec"][key] = value.clone();
    }
    policy
}

fn binding(name: &str, spec: &Value) -> Value {
    let mut binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        binding["spec"][key] = value.clone();
    }
    binding
}

/// A server where the policy is bound.
async fn bound(spec: &Value, more: &Value) -> Harness {
    let harness = server().await;
    harness.post(POLICIES, &policy(spec)).await.ok();
    harness.post(BINDINGS, &binding("b", more)).await.ok();
    harness
}

/// What a config map `m` is refused with; nothing where it is made.
async fn refusal(harness: &Harness) -> Option<(u64, String, String)> {
    let answer = harness.post(CONFIG_MAPS, &config_map("m")).await;
    let said = answer.json();
    if answer.status == 201 {
        harness.delete(&format!("{CONFIG_MAPS}/m")).await.ok();
        return None;
    }
    let text = |key: &str| said[key].as_str().unwrap_or("").to_owned();
    let prefix =
        "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: ";
    let message = text("message");
    let message = message.strip_prefix(prefix).unwrap_or_else(|| panic!("{message}"));
    Some((said["code"].as_u64().unwrap(), text("reason"), message.to_owned()))
}

fn told(code: u64, reason: &str, message: &str) -> Option<(u64, String, String)> {
    Some((code, reason.to_owned(), message.to_owned()))
}

#[tokio::test]
async fn a_policy_refuses_what_its_expressions_do_not_hold_of() {
    for (validation, expected) in [
        (json!({"expression": "object.data.a == '1'"}), None),
        (
            json!({"expression": "object.data.a == '2'"}),
            told(422, "Invalid", "failed expression: object.data.a == '2'"),
        ),
        (
            json!({"expression": "object.data.size() > 3", "message": "too little", "reason": "Forbidden"}),
            told(403, "Forbidden", "too little"),
        ),
        (
            json!({"expression": "false", "message": "never said", "messageExpression": "'a is ' + object.data.a"}),
            told(422, "Invalid", "a is 1"),
        ),
        (
            json!({"expression": "false", "message": "said", "messageExpression": "object.data.nothing"}),
            told(422, "Invalid", "said"),
        ),
        (
            json!({"expression": "object.spec.x == 1"}),
            told(422, "Invalid", "expression 'object.spec.x == 1' resulted in error: no such key: spec"),
        ),
        (
            json!({"expression": "oldObject == null && request.operation == 'CREATE' && request.namespace == 'default'"}),
            None,
        ),
        (json!({"expression": "namespaceObject.metadata.labels.env == 'test'"}), None),
        (json!({"expression": "authorizer.group('').resource('pods').check('create').allowed()"}), None),
    ] {
        let harness = bound(&json!({"validations": [validation]}), &Value::Null).await;
        assert_eq!(refusal(&harness).await, expected, "{validation}");
    }
}

#[tokio::test]
async fn a_policy_is_in_force_where_it_is_bound_and_as_long() {
    let harness = server().await;
    harness.post(POLICIES, &policy(&json!({"validations": [{"expression": "false"}]}))).await.ok();
    assert_eq!(refusal(&harness).await, None);
    let elsewhere = json!({"matchResources": {"namespaceSelector": {"matchLabels": {"env": "prod"}}}});
    harness.post(BINDINGS, &binding("b", &elsewhere)).await.ok();
    assert_eq!(refusal(&harness).await, None);
    harness.delete(&format!("{BINDINGS}/b")).await.ok();
    let others = json!({"matchResources": {"resourceRules": [{"operations": ["CREATE"], "apiGroups": [""],
        "apiVersions": ["v1"], "resources": ["configmaps"], "resourceNames": ["other"]}]}});
    harness.post(BINDINGS, &binding("b", &others)).await.ok();
    assert_eq!(refusal(&harness).await, None);
    harness.delete(&format!("{BINDINGS}/b")).await.ok();
    harness.post(BINDINGS, &binding("b", &Value::Null)).await.ok();
    assert!(refusal(&harness).await.is_some());
    let change = json!({"spec": {"validations": [{"expression": "true"}]}});
    harness.merge(&format!("{POLICIES}/p"), &change).await.ok();
    assert_eq!(refusal(&harness).await, None);
}

#[tokio::test]
async fn conditions_variables_and_exclusions() {
    let excluded = json!({"excludeResourceRules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"],
        "resources": ["configmaps"]}], "resourceRules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"],
        "resources": ["*"]}]});
    for (spec, expected) in [
        (json!({"matchConstraints": excluded, "validations": [{"expression": "false"}]}), None),
        (
            json!({"matchConditions": [{"name": "x", "expression": "request.userInfo.username == 'somebody'"}],
                "validations": [{"expression": "false"}]}),
            None,
        ),
        (
            json!({"variables": [{"name": "data", "expression": "object.data"},
                    {"name": "a", "expression": "variables.data.a"},
                    {"name": "unused", "expression": "object.nothing"}],
                "validations": [{"expression": "variables.a == '2'", "messageExpression": "'a: ' + variables.a"}]}),
            told(422, "Invalid", "a: 1"),
        ),
        (
            json!({"variables": [{"name": "lost", "expression": "object.nothing"}],
                "validations": [{"expression": "variables.lost == 1"}]}),
            told(
                422,
                "Invalid",
                "expression 'variables.lost == 1' resulted in error: composited variable \"lost\" fails to evaluate: \
                 expression 'object.nothing' resulted in error: no such key: nothing",
            ),
        ),
        (json!({"failurePolicy": "Ignore", "validations": [{"expression": "object.nothing == 1"}]}), None),
    ] {
        let harness = bound(&spec, &Value::Null).await;
        assert_eq!(refusal(&harness).await, expected, "{spec}");
    }
}

#[tokio::test]
async fn parameters_come_from_the_binding() {
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "not-params", "expression": "!object.metadata.name.startsWith('limits')"}],
        "validations": [{"expression": "object.data.size() <= int(params.data.max)",
            "messageExpression": "'at most ' + params.data.max"}]});
    let limits = |name: &str, max: &str| {
        let mut map = config_map(name);
        map["metadata"]["labels"] = json!({"limits": "yes"});
        map["data"] = json!({"max": max});
        map
    };
    let by_name = json!({"paramRef": {"name": "limits", "parameterNotFoundAction": "Deny"}});
    let harness = bound(&spec, &by_name).await;
    let missing =
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    assert_eq!(refusal(&harness).await, told(422, "Invalid", missing));
    harness.delete(&format!("{BINDINGS}/b")).await.ok();
    harness.post(CONFIG_MAPS, &limits("limits", "1")).await.ok();
    harness.post(BINDINGS, &binding("b", &by_name)).await.ok();
    assert_eq!(refusal(&harness).await, None);
    harness.merge(&format!("{CONFIG_MAPS}/limits"), &json!({"data": {"max": "0"}})).await.ok();
    assert_eq!(refusal(&harness).await, told(422, "Invalid", "at most 0"));
    harness.delete(&format!("{BINDINGS}/b")).await.ok();
    let all = json!({"paramRef": {"selector": {"matchLabels": {"limits": "yes"}}, "parameterNotFoundAction": "Allow"}});
    harness.post(BINDINGS, &binding("b", &all)).await.ok();
    assert_eq!(refusal(&harness).await, told(422, "Invalid", "at most 0"));
    harness.delete(&format!("{CONFIG_MAPS}/limits")).await.ok();
    assert_eq!(refusal(&harness).await, None);
}

#[tokio::test]
async fn a_kind_of_parameters_that_is_not_served_refuses() {
    let spec = json!({"paramKind": {"apiVersion": "example.com/v1", "kind": "Limit"}, "validations": [{"expression": "true"}]});
    let by_name = json!({"paramRef": {"name": "x", "parameterNotFoundAction": "Allow"}});
    let harness = bound(&spec, &by_name).await;
    let refused = harness.post(CONFIG_MAPS, &config_map("m")).await.refused(422);
    assert!(
        refused.ends_with(
            "ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource \
             referenced by paramKind: 'example.com/v1, Kind=Limit'"
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn a_binding_may_warn_instead() {
    let spec = json!({"validations": [{"expression": "object.data.a == '2'", "message": "a should be 2"}]});
    let harness = bound(&spec, &json!({"validationActions": ["Warn", "Audit"]})).await;
    let made = harness.post(CONFIG_MAPS, &config_map("m")).await;
    assert_eq!(made.status, 201);
    let warning = made.headers.get("warning").unwrap().to_str().unwrap();
    assert_eq!(
        warning,
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': a should be 2\""
    );
}

#[tokio::test]
async fn a_policy_that_cannot_work_is_refused() {
    let harness = server().await;
    let bad = policy(&json!({"failurePolicy": "Maybe", "paramKind": {"apiVersion": "v1", "kind": "A_b"},
        "variables": [{"name": "in", "expression": "1"}],
        "validations": [{"expression": "object.a ==", "reason": "Because"}, {"expression": "'text'"}],
        "auditAnnotations": [{"key": "k", "valueExpression": "1"}]}));
    let refused = harness.post(POLICIES, &bad).await.refused(422);
    for part in [
        "spec.failurePolicy: Unsupported value: \"Maybe\"",
        "spec.paramKind.kind: Invalid value: \"A_b\": may have mixed case",
        "spec.variables[0].name: Invalid value: \"in\": name is not a valid CEL identifier",
        "spec.validations[0].expression: Invalid value: \"object.a ==\": compilation failed",
        "spec.validations[0].reason: Unsupported value: \"Because\"",
        "spec.validations[1].expression: Invalid value: \"'text'\": must evaluate to bool but got string",
        "spec.auditAnnotations[0].valueExpression: Invalid value: \"1\": must evaluate to one of [string null]",
    ] {
        assert!(refused.contains(part), "{part}\n{refused}");
    }
    let bad = binding("b", &json!({"validationActions": ["Deny", "Warn"], "paramRef": {}}));
    let refused = harness.post(BINDINGS, &bad).await.refused(422);
    assert!(refused.contains("must not contain both Deny and Warn"), "{refused}");
    assert!(
        refused.contains("spec.paramRef: Required value: one of name or selector must be specified"),
        "{refused}"
    );
}
