//! Mutating admission policies: what they change, in which order with one another and with webhooks, and what a client is
//! told of what goes wrong.

use std::sync::Arc;

use apiserver::admission::{Asking, MutatingPolicies, MutatingWebhooks};
use apiserver::cache::lookup::Lookup;
use apiserver::webhook::{Caller, Services};
use serde_json::{Value, json};

use crate::custom::{DEFINITIONS, establish};
use crate::harness::{CONFIG_MAPS, Harness, config_map};
use crate::webhook_server::{Hook, MUTATING, Reply, allow, configure, patch, webhook};

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

async fn server() -> Harness {
    let harness = Harness::made_of(|deps| {
        let asking = Asking::new(
            Lookup::new(deps.cache.clone()),
            Arc::clone(&deps.resources),
            Arc::clone(&deps.converter),
            Arc::clone(&deps.authorizer),
            Caller::new(Arc::new(Services::new(deps.cache.clone())), &deps.supervisor),
        );
        deps.admission =
            vec![Arc::new(MutatingPolicies::new(asking.clone())), Arc::new(MutatingWebhooks::new(asking))];
    })
    .await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": {"env": "test"}}});
    harness.post("/api/v1/namespaces", &namespace).await.ok();
    harness
}

fn rule(group: &str, resources: &[&str]) -> Value {
    json!({"operations": ["*"], "apiGroups": [group], "apiVersions": ["*"], "resources": resources})
}

/// A policy about config maps; `spec` holds what more it says.
fn policy(name: &str, spec: &Value) -> Value {
    let mut policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name}, "spec": {"reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": [rule("", &["configmaps"])]}}});
    api::patch::merge(&mut policy["spec"], spec);
    policy
}

fn binding(policy: &str, spec: &Value) -> Value {
    let mut binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": policy}, "spec": {"policyName": policy}});
    api::patch::merge(&mut binding["spec"], spec);
    binding
}

fn applying(expression: &str) -> Value {
    json!({"mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}]})
}

fn patching(expression: &str) -> Value {
    json!({"mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}]})
}

/// Appends a letter to what was written to the config map so far.
fn writing(letter: &str, more: &Value) -> Value {
    let mut spec = applying(&format!("Object{{data: {{'log': object.data.?log.orValue('') + '{letter}'}}}}"));
    api::patch::merge(&mut spec, more);
    spec
}

async fn bind(harness: &Harness, name: &str, spec: &Value, more: &Value) {
    harness.post(POLICIES, &policy(name, spec)).await.ok();
    harness.post(BINDINGS, &binding(name, more)).await.ok();
}

/// A server where the policy `p` is bound.
async fn bound(spec: &Value) -> Harness {
    let harness = server().await;
    bind(&harness, "p", spec, &json!({})).await;
    harness
}

/// The data of the config map `m` that is made now.
async fn data(harness: &Harness) -> Value {
    let made = harness.post(CONFIG_MAPS, &config_map("m")).await.ok();
    harness.delete(&format!("{CONFIG_MAPS}/m")).await.ok();
    made["data"].clone()
}

/// What making the config map is refused with.
async fn refusal(harness: &Harness) -> (u64, String, String) {
    let said = harness.post(CONFIG_MAPS, &config_map("m")).await.json();
    let text = |key: &str| said[key].as_str().unwrap_or("").to_owned();
    assert_eq!(said["details"]["causes"][0]["message"].as_str().unwrap_or(""), text("message"), "{said}");
    (said["code"].as_u64().unwrap(), text("reason"), text("message"))
}

fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 2,
        "selector": {"matchLabels": {"app": "d"}}, "template": {"metadata": {"labels": {"app": "d"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

#[tokio::test]
async fn policies_change_what_is_made_and_what_is_updated() {
    let harness =
        bound(&applying("Object{metadata: Object.metadata{annotations: {'by': request.operation}}}")).await;
    let made = harness.post(CONFIG_MAPS, &config_map("m")).await.ok();
    assert_eq!(made["metadata"]["annotations"], json!({"by": "CREATE"}));
    assert_eq!(made["data"], json!({"a": "1"}));
    let change = json!({"data": {"b": "2"}});
    let changed = harness.merge(&format!("{CONFIG_MAPS}/m"), &change).await.ok();
    assert_eq!(changed["metadata"]["annotations"], json!({"by": "UPDATE"}));
    let dry = harness.post(&format!("{CONFIG_MAPS}?dryRun=All"), &config_map("n")).await.ok();
    assert_eq!(dry["metadata"]["annotations"], json!({"by": "CREATE"}));
    harness.delete(&format!("{CONFIG_MAPS}/m")).await.ok();
    harness.delete(&format!("{BINDINGS}/p")).await.ok();
    assert!(harness.post(CONFIG_MAPS, &config_map("m")).await.ok()["metadata"].get("annotations").is_none());
}

#[tokio::test]
async fn kinds_get_the_defaults_of_what_is_added() {
    let spec = json!({"matchConstraints": {"resourceRules": [rule("apps", &["deployments"])]}, "mutations": [
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
            "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{
                initContainers: [Object.spec.template.spec.initContainers{name: 'first', image: 'i:1'}]}}}}"}},
        {"patchType": "JSONPatch", "jsonPatch": {"expression": "object.spec.replicas > 1 ?
            [JSONPatch{op: 'replace', path: '/spec/replicas', value: 1}] : []"}}]});
    let harness = bound(&spec).await;
    let made = harness.post(DEPLOYMENTS, &deployment()).await.ok();
    let pod = &made["spec"]["template"]["spec"];
    assert_eq!((&made["spec"]["replicas"], &pod["containers"][0]["image"]), (&json!(1), &json!("i")));
    assert_eq!(pod["initContainers"][0]["imagePullPolicy"], "IfNotPresent");
    // A subresource is another resource.
    let scaled =
        harness.merge(&format!("{DEPLOYMENTS}/d/scale"), &json!({"spec": {"replicas": 4}})).await.ok();
    assert_eq!(scaled["spec"]["replicas"], 4);
    let change = json!({"spec": {"matchConstraints": {"resourceRules": [rule("apps", &["deployments/scale"])]},
        "mutations": applying("Object{spec: Object.spec{replicas: object.spec.replicas - 1}}")["mutations"]}});
    harness.merge(&format!("{POLICIES}/p"), &change).await.ok();
    let scaled =
        harness.merge(&format!("{DEPLOYMENTS}/d/scale"), &json!({"spec": {"replicas": 6}})).await.ok();
    assert_eq!(scaled["spec"]["replicas"], 5);
}

#[tokio::test]
async fn what_goes_wrong_fails_requests_unless_it_is_to_be_ignored() {
    for (spec, code, reason, message) in [
        (
            applying("Object{data: {'b': object.nothing}}"),
            403,
            "Invalid",
            "policy 'p' with binding 'p' denied request: expression 'Object{data: {'b': object.nothing}}' resulted in error: no such key: nothing",
        ),
        (
            applying("Object{datum: {}}"),
            403,
            "Invalid",
            "policy 'p' with binding 'p' denied request: error applying patch: failed to convert patch object to typed object: .datum: field not declared in schema",
        ),
        (
            json!({"paramKind": {"apiVersion": "a.b/v1", "kind": "Nothing"}, "mutations": applying("Object{}")["mutations"]}),
            403,
            "Forbidden",
            "policy \"p\" denied request: failed to configure policy: failed to find resource referenced by paramKind: 'a.b/v1, Kind=Nothing'",
        ),
        (
            json!({"matchConditions": [{"name": "c", "expression": "object.nothing == 1"}], "mutations": applying("Object{}")["mutations"]}),
            403,
            "Invalid",
            "policy 'p' with binding 'p' denied request: expression 'object.nothing == 1' resulted in error: no such key: nothing",
        ),
    ] {
        let harness = bound(&spec).await;
        assert_eq!(refusal(&harness).await, (code, reason.to_owned(), message.to_owned()));
        harness.merge(&format!("{POLICIES}/p"), &json!({"spec": {"failurePolicy": "Ignore"}})).await.ok();
        assert_eq!(data(&harness).await, json!({"a": "1"}), "{spec}");
    }
    // What is no kind's field is the server's to refuse.
    let strict = patching("[JSONPatch{op: 'add', path: '/datum', value: {'a': 'b'}}]");
    let harness = bound(&json!({"failurePolicy": "Ignore", "mutations": strict["mutations"]})).await;
    let said = harness.post(CONFIG_MAPS, &config_map("m")).await.json();
    assert_eq!(
        (&said["code"], &said["message"]),
        (&json!(500), &json!("Internal error occurred: strict decoding error: unknown field \"datum\""))
    );
}

#[tokio::test]
async fn conditions_selectors_and_parameters_say_what_is_changed() {
    let harness = server().await;
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "variables": [{"name": "old", "expression": "object.data.a"}, {"name": "both", "expression": "variables.old + params.data.more"}],
        "matchConditions": [{"name": "c", "expression": "object.metadata.name == 'm' && params.data.more != ''"}],
        "mutations": applying("Object{data: {params.metadata.name: variables.both}}")["mutations"]});
    let more = json!({"paramRef": {"selector": {"matchLabels": {"p": "yes"}}, "parameterNotFoundAction": "Deny"},
        "matchResources": {"namespaceSelector": {"matchLabels": {"env": "test"}}}});
    bind(&harness, "p", &spec, &more).await;
    let found = refusal(&harness).await;
    assert_eq!(found, (403, "Forbidden".to_owned(), "policy 'p' with binding 'p' denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction".to_owned()));
    harness
        .merge(&format!("{BINDINGS}/p"), &json!({"spec": {"paramRef": {"parameterNotFoundAction": "Allow"}}}))
        .await
        .ok();
    assert_eq!(data(&harness).await, json!({"a": "1"}));
    for (name, more) in [("one", "x"), ("two", "y")] {
        let params = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"p": "yes"}}, "data": {"more": more}});
        harness.post(CONFIG_MAPS, &params).await.ok();
    }
    assert_eq!(data(&harness).await, json!({"a": "1", "one": "1x", "two": "1y"}));
    harness.merge("/api/v1/namespaces/default", &json!({"metadata": {"labels": {"env": "prod"}}})).await.ok();
    assert_eq!(data(&harness).await, json!({"a": "1"}));
}

#[tokio::test]
async fn who_wants_it_sees_what_others_change_later() {
    let harness = server().await;
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    bind(&harness, "p1", &writing("1", &again), &json!({})).await;
    bind(&harness, "p2", &writing("2", &again), &json!({})).await;
    bind(&harness, "p3", &writing("3", &json!({})), &json!({})).await;
    assert_eq!(data(&harness).await["log"], "12312");
    harness.delete(&format!("{BINDINGS}/p1")).await.ok();
    harness.delete(&format!("{BINDINGS}/p2")).await.ok();
    assert_eq!(data(&harness).await["log"], "3");
    // Policies come before webhooks, and see what these change in the second round.
    let hook = Hook::start(|_, review| {
        let log = review["request"]["object"]["data"]["log"].as_str().unwrap_or_default();
        let operations = json!([{"op": "add", "path": "/data/log", "value": format!("{log}w")}]);
        Reply::Json(if log.contains('w') { allow(review) } else { patch(review, &operations) })
    })
    .await;
    configure(
        &harness,
        MUTATING,
        "a",
        &[webhook("a.example.com", &hook.url("/a"), &json!({"reinvocationPolicy": "IfNeeded"}))],
    )
    .await;
    assert_eq!((data(&harness).await["log"].clone(), hook.asked().len()), (json!("3w"), 1));
    harness.merge(&format!("{POLICIES}/p3"), &json!({"spec": again})).await.ok();
    assert_eq!((data(&harness).await["log"].clone(), hook.asked().len()), (json!("3w3"), 2));
}

#[tokio::test]
async fn custom_resources_are_changed_and_versions_that_are_alike_matched() {
    let harness = server().await;
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {"type": "object",
            "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"},
                "tier": {"type": "string", "default": "low"},
                "parts": {"type": "array", "items": {"type": "string"}}}}}}}})
    };
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"}, "versions": [version("v1", true), version("v2", false)]}});
    harness.post(DEFINITIONS, &definition).await.ok();
    establish(&harness, "widgets.example.com").await;
    let rule = json!({"operations": ["CREATE"], "apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["widgets"]});
    let spec = json!({"matchConstraints": {"resourceRules": [rule]},
        "mutations": applying("Object{spec: Object.spec{size: object.spec.size + 1}, metadata: Object.metadata{labels: {'as': request.kind.version}}}")["mutations"]});
    bind(&harness, "p", &spec, &json!({})).await;
    for (version, name) in [("v1", "a"), ("v2", "b")] {
        let widget = json!({"apiVersion": format!("example.com/{version}"), "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 1}});
        let path = format!("/apis/example.com/{version}/namespaces/default/widgets");
        let made = harness.post(&path, &widget).await.ok();
        assert_eq!(made["spec"], json!({"size": 2, "tier": "low"}));
        assert_eq!(
            (&made["apiVersion"], &made["metadata"]["labels"]["as"]),
            (&json!(format!("example.com/{version}")), &json!("v1"))
        );
    }
    harness
        .merge(&format!("{POLICIES}/p"), &json!({"spec": {"matchConstraints": {"matchPolicy": "Exact"}}}))
        .await
        .ok();
    let widget = json!({"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": "c"}, "spec": {"size": 1}});
    let made = harness.post("/apis/example.com/v2/namespaces/default/widgets", &widget).await.ok();
    assert_eq!(made["spec"]["size"], 1);
    let atomic = applying("Object{spec: Object.spec{parts: ['a']}}");
    harness.merge(&format!("{POLICIES}/p"), &json!({"spec": atomic})).await.ok();
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "d"}, "spec": {"size": 1}});
    let said = harness.post("/apis/example.com/v1/namespaces/default/widgets", &widget).await.json();
    assert_eq!(
        said["message"],
        "policy 'p' with binding 'p' denied request: error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.parts"
    );
}

#[tokio::test]
async fn policies_and_their_bindings_are_left_alone() {
    let harness = server().await;
    let all = json!({"matchConstraints": {"resourceRules": [rule("*", &["*"])]},
        "mutations": applying("Object{metadata: Object.metadata{labels: {'touched': 'yes'}}}")["mutations"]});
    bind(&harness, "p", &all, &json!({})).await;
    let other = harness.post(POLICIES, &policy("q", &applying("Object{}"))).await.ok();
    assert!(other["metadata"].get("labels").is_none());
    let made = harness.post(CONFIG_MAPS, &config_map("m")).await.ok();
    assert_eq!(made["metadata"]["labels"], json!({"touched": "yes"}));
    // A deletion sends nothing to change, even if all operations are named.
    harness.delete(&format!("{CONFIG_MAPS}/m")).await.ok();
}

#[tokio::test]
async fn faulty_policies_are_refused_with_their_places() {
    let harness = server().await;
    let rule =
        json!({"operations": ["DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
    let spec = json!({"failurePolicy": "Never", "reinvocationPolicy": "Often", "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "c", "expression": "Object{} == Object{}"}],
        "variables": [{"name": "v", "expression": "Object{}"}],
        "mutations": [
            {"patchType": "Merge"},
            {"patchType": "JSONPatch", "jsonPatch": {"expression": "JSONPatch{}"}, "applyConfiguration": {"expression": "Object{}"}},
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "object"}},
            {"patchType": "ApplyConfiguration"},
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Invalid{}"}}]});
    let said = harness.post(POLICIES, &policy("p", &spec)).await.json();
    let message = said["message"].as_str().unwrap();
    for fault in [
        "spec.failurePolicy: Unsupported value: \"Never\": supported values: \"Fail\", \"Ignore\"",
        "spec.matchConstraints.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\"",
        "spec.matchConditions[0].expression: Invalid value: \"Object{} == Object{}\": compilation failed: ERROR: <input>:1:7: undeclared reference to 'Object'",
        "spec.variables[0].expression: Invalid value: \"Object{}\": compilation failed:",
        "spec.mutations[0].patchType: Unsupported value: \"Merge\": supported values: \"ApplyConfiguration\", \"JSONPatch\"",
        "spec.mutations[1].jsonPatch.expression: Invalid value: \"JSONPatch{}\": must evaluate to list(JSONPatch) but got JSONPatch",
        "spec.mutations[1].applyConfiguration: Invalid value: \"{applyConfiguration}\": must not be specified when patchType is JSONPatch",
        "spec.mutations[2].applyConfiguration.expression: Invalid value: \"object\": must evaluate to Object but got dyn",
        "spec.mutations[3].applyConfiguration: Required value: must be specified when patchType is ApplyConfiguration",
        "spec.mutations[4].applyConfiguration.expression: Invalid value: \"Invalid{}\": compilation failed:",
        "spec.reinvocationPolicy: Unsupported value: \"Often\": supported values: \"IfNeeded\", \"Never\"",
    ] {
        assert!(message.contains(fault), "{fault} is not in {message}");
    }
    let mut nothing = policy("p", &json!({}));
    nothing["spec"] = json!({});
    let said = harness.post(POLICIES, &nothing).await.json();
    let message = said["message"].as_str().unwrap();
    for fault in [
        "spec.matchConstraints: Required value",
        "spec.mutations: Required value: mutations must contain at least one item",
        "spec.reinvocationPolicy: Required value",
    ] {
        assert!(message.contains(fault), "{fault} is not in {message}");
    }
    let said = harness.post(BINDINGS, &binding("p", &json!({"policyName": "", "paramRef": {"name": "x"},
        "matchResources": {"resourceRules": [{"operations": ["DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}}))).await.json();
    let message = said["message"].as_str().unwrap();
    for fault in [
        "spec.policyName: Required value",
        "spec.paramRef.parameterNotFoundAction: Required value",
        "spec.matchResources.resourceRules.operations: Unsupported value: \"DELETE\"",
    ] {
        assert!(message.contains(fault), "{fault} is not in {message}");
    }
}
