//! Mutations of a Deployment, after upstream's `policy/mutating/compilation_test.go` and `patch/*_test.go`.

use std::sync::Arc;

use expressions::{Foreign, Given};

use super::super::configured::PolicySpec;
use super::*;

#[derive(Debug)]
struct Nobody;

impl Foreign for Nobody {
    fn type_name(&self) -> &'static str {
        "kubernetes.authorization.Authorizer"
    }

    fn call(&self, _: &str, _: &[&str]) -> Option<Given> {
        None
    }
}

fn deployment(more: Value) -> Object {
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "a"}]}}}});
    api::patch::merge(&mut object, &more);
    Object::from_value(object).expect("an object")
}

/// What comes of mutations, one after another; their policy has the variable `ten`.
fn mutated(object: Object, mutations: &Value) -> Result<Value, String> {
    let spec = json!({"variables": [{"name": "ten", "expression": "10"},
        {"name": "list", "expression": "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"}], "mutations": mutations});
    let spec: PolicySpec = serde_json::from_value(spec).expect("a policy");
    let policy = Policy::<Mutations>::new(spec);
    let row = resources::builtin().find("apps", "v1", "deployments").expect("a row");
    let request = json!({"kind": {"group": "apps", "version": "v1", "kind": "Deployment"}});
    let mut object = object;
    for mutation in &policy.rules.all {
        let change = {
            let mut inputs = Inputs {
                object: Some(&object),
                old: None,
                request: &request,
                namespace: None,
                authorizer: Arc::new(Nobody),
                params: None,
                variables: None,
            };
            evaluate(&policy, mutation, &mut inputs)?
        };
        object = apply(change, row, &row.gvk(), &object).map_err(|fault| match fault {
            Fault::Policy(why) => why,
            Fault::Server(error) => format!("{}: {}", error.code(), error.message),
        })?;
    }
    Ok(object.into_value())
}

fn patch_of(operations: &str) -> Value {
    json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": format!("[{operations}]")}}])
}

fn apply_of(expression: &str) -> Value {
    json!([{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}])
}

/// The part of what comes of the mutations that stands at a pointer.
fn part(object: Object, mutations: &Value, pointer: &str) -> Result<Value, String> {
    mutated(object, mutations).map(|object| object.pointer(pointer).cloned().unwrap_or_default())
}

/// Operations, and what comes of the containers `abc`, the labels `{"x": "1", "y": "2"}` and 1 replica.
#[rustfmt::skip]
const PATCHES: [(&str, &str, &str, i64); 15] = [
    ("op: 'test', path: '/spec/replicas', value: 100}, JSONPatch{op: 'replace', path: '/spec/replicas', value: 3", "abc", r#"{"x": "1", "y": "2"}"#, 1),
    ("op: 'test', path: '/spec/replicas', value: 1}, JSONPatch{op: 'replace', path: '/spec/replicas', value: 3", "abc", r#"{"x": "1", "y": "2"}"#, 3),
    ("op: 'remove', path: '/spec/replicas'", "abc", r#"{"x": "1", "y": "2"}"#, 1),
    ("op: 'remove', path: '/metadata/labels/y'", "abc", r#"{"x": "1"}"#, 1),
    ("op: 'remove', path: '/spec/template/spec/containers/1'", "ac", r#"{"x": "1", "y": "2"}"#, 1),
    ("op: 'copy', from: '/metadata/labels/x', path: '/metadata/labels/y'", "abc", r#"{"x": "1", "y": "1"}"#, 1),
    ("op: 'move', from: '/spec/template/spec/containers/0', path: '/spec/template/spec/containers/-'", "bca", r#"{"x": "1", "y": "2"}"#, 1),
    ("op: 'move', from: '/metadata/labels/x', path: '/metadata/labels/y'", "abc", r#"{"y": "1"}"#, 1),
    ("op: 'add', path: '/metadata/labels', value: {'z': '3'}", "abc", r#"{"z": "3"}"#, 1),
    ("op: 'replace', path: '/metadata/labels/z', value: '3'", "abc", r#"{"x": "1", "y": "2", "z": "3"}"#, 1),
    ("op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('k8s.io/x~y'), value: 'v'", "abc", r#"{"x": "1", "y": "2", "k8s.io/x~y": "v"}"#, 1),
    ("op: 'add', path: '/spec/template/spec/containers/0', value: {'name': 'x'}", "xabc", r#"{"x": "1", "y": "2"}"#, 1),
    ("op: 'add', path: '/spec/template/spec/containers/-', value: Object.spec.template.spec.containers{name: 'x', ports: [Object.spec.template.spec.containers.ports{containerPort: 8080}]}", "abcx", r#"{"x": "1", "y": "2"}"#, 1),
    ("op: 'replace', path: '/spec/replicas', value: variables.ten + 1", "abc", r#"{"x": "1", "y": "2"}"#, 11),
    ("op: 'replace', path: '/spec/replicas', value: request.kind.kind == 'Deployment' ? 10 : 0", "abc", r#"{"x": "1", "y": "2"}"#, 10),
];

#[test]
fn json_patches_change_what_they_say() {
    let names = |object: &Value| {
        let containers = object.pointer("/spec/template/spec/containers").and_then(Value::as_array);
        let names = containers.into_iter().flatten().map(|c| c["name"].as_str().unwrap_or_default());
        names.collect::<Vec<_>>().join("")
    };
    let three = || {
        json!({"metadata": {"labels": {"x": "1", "y": "2"}},
            "spec": {"template": {"spec": {"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}}}})
    };
    for (operations, containers, labels, replicas) in PATCHES {
        let after = mutated(deployment(three()), &patch_of(&format!("JSONPatch{{{operations}}}")));
        let after = after.unwrap_or_else(|why| panic!("{operations}: {why}"));
        let found = (names(&after), after["metadata"]["labels"].clone(), after["spec"]["replicas"].clone());
        let labels: Value = serde_json::from_str(labels).expect("JSON");
        assert_eq!(found, (containers.to_owned(), labels, json!(replicas)), "{operations}");
    }
}

#[test]
fn configurations_are_merged_as_server_side_apply_does() {
    let volumes = |more: &str| {
        apply_of(&format!(
            "Object{{spec: Object.spec{{template: Object.spec.template{{spec: Object.spec.template.spec{{
                volumes: [Object.spec.template.spec.volumes{{name: 'y'{more}}}]}}}}}}}}"
        ))
    };
    let of = |volumes: Value| deployment(json!({"spec": {"template": {"spec": {"volumes": volumes}}}}));
    let at = "/spec/template/spec/volumes";
    let names = |found: Result<Value, String>| {
        let found = found.expect("merged");
        found.as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect::<Vec<_>>().join("")
    };
    assert_eq!(names(part(of(json!([{"name": "x"}])), &volumes(""), at)), "xy");
    let host = ", hostPath: Object.spec.template.spec.volumes.hostPath{path: '/a'}";
    let found = part(of(json!([{"name": "x"}, {"name": "y"}])), &volumes(host), at).expect("merged");
    assert_eq!((&found[1]["hostPath"]["path"], found.as_array().unwrap().len()), (&json!("/a"), 2));
    // As upstream, what is given twice under one key is one afterwards.
    let twice = json!([{"name": "y", "hostPath": {"path": "/1"}}, {"name": "x"}, {"name": "y", "hostPath": {"path": "/2"}}]);
    assert_eq!(names(part(of(twice), &volumes(host), at)), "yx");
    let both = json!([
        apply_of("Object{spec: Object.spec{replicas: object.spec.replicas + 100}}")[0],
        patch_of("JSONPatch{op: 'replace', path: '/spec/replicas', value: object.spec.replicas + 10}")[0]
    ]);
    assert_eq!(part(deployment(json!({})), &both, "/spec/replicas"), Ok(json!(111)));
    let labels = apply_of(
        "Object{metadata: Object.metadata{labels: {'a': 'b'}, ?annotations: object.metadata.?annotations}}",
    );
    assert_eq!(
        part(deployment(json!({"metadata": {"labels": {"x": "y"}}})), &labels, "/metadata/labels"),
        Ok(json!({"a": "b", "x": "y"}))
    );
    let image = apply_of("Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{
        containers: object.spec.template.spec.containers.map(c, Object.spec.template.spec.containers{name: c.name, image: 'i:1'})}}}}");
    let found = part(deployment(json!({})), &image, "/spec/template/spec/containers/0").expect("merged");
    // With the defaults of what was added.
    assert_eq!((&found["image"], &found["imagePullPolicy"]), (&json!("i:1"), &json!("IfNotPresent")));
}

#[test]
fn what_cannot_be_is_told_in_upstreams_words() {
    for (mutations, why) in [
        (
            apply_of("Object{spec: Object.specx{replicas: 1}}"),
            "type mismatch: unexpected type name \"Object.specx\", expected \"Object.spec\", which matches field name path from root Object type",
        ),
        (
            apply_of("Object{spec: Object.spec{replicasx: 1}}"),
            "error applying patch: failed to convert patch object to typed object: .spec.replicasx: field not declared in schema",
        ),
        (
            apply_of("Object{spec: Object.spec{replicas: '1'}}"),
            "error applying patch: failed to convert patch object to typed object: .spec.replicas: expected numeric (int or float), got string",
        ),
        (
            apply_of("Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {'l': 'v'}}}}"),
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.selector",
        ),
        (apply_of("\"I'm a teapot!\""), "must evaluate to Object but got string"),
        (apply_of("Object.spec.metadata{}"), "must evaluate to Object but got Object.spec.metadata"),
        (
            apply_of("Object{spec: object.nothing}"),
            "expression 'Object{spec: object.nothing}' resulted in error: no such key: nothing",
        ),
        (
            patch_of(
                "JSONPatch{op: 'replace', path: '/spec/template/spec/containers/-', value: {'name': 'x'}}",
            ),
            "JSON Patch: the server rejected our request",
        ),
        (
            patch_of(
                "JSONPatch{op: 'add', path: '/spec/template/spec/containers/-', value: Object.spec.template.spec.containers{ports: [Object.spec.template.spec.containers.ports{containerPortZ: 8080}]}}",
            ),
            "500: Internal error occurred: strict decoding error: unknown field \"spec.template.spec.containers[1].ports[0].containerPortZ\"",
        ),
        (
            patch_of("JSONPatch{op: 'add', path: '/spec', value: Object.spec{x: Object.spec.y{}}}"),
            "type mismatch: unexpected type name \"Object.spec.y\", expected \"Object.spec.x\"",
        ),
        (
            patch_of("JSONPatch{op: 'add', path: '/kind', value: 'Pod'}"),
            "500: Internal error occurred: the patch changes the object's kind",
        ),
        (
            patch_of(
                "JSONPatch{op: 'replace', path: '/spec/replicas', value: variables.list.all(a, variables.list.all(b, variables.list.all(c, variables.list.all(d, variables.list.all(e, variables.list.all(f, '0' == '0')))))) ? 1 : 0}",
            ),
            "operation cancelled: actual cost limit exceeded",
        ),
    ] {
        let found = mutated(deployment(json!({})), &mutations).unwrap_err();
        assert!(found.contains(why), "{mutations}: {found}");
    }
}

#[test]
fn faults_are_sorted_as_upstream_counts_them() {
    let sort = |why: &str| Fault::Policy(why.to_owned()).sort();
    assert_eq!(sort("compilation failed: ERROR"), "compile_error");
    assert_eq!(
        sort("expression 'x' resulted in error: operation cancelled: actual cost limit exceeded"),
        "out_of_budget"
    );
    assert_eq!(sort("type mismatch"), "invalid_error");
}
