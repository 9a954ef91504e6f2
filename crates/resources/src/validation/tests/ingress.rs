//! Ingresses and their classes.

use super::*;

fn with_path(path: &Value) -> Value {
    json!({"spec": {"rules": [{"host": "a.b", "http": {"paths": [path]}}]}})
}

fn backend() -> Value {
    json!({"service": {"name": "s", "port": {"number": 80}}})
}

fn sound() -> Value {
    with_path(&json!({"path": "/", "pathType": "Prefix", "backend": backend()}))
}

#[test]
fn ingresses() {
    let (sound, backend) = (sound(), backend());
    let with_path = |path: Value| with_path(&path);
    assert_eq!(created("ingresses", &sound), [""; 0]);
    for (ingress, expect) in [
        (
            json!({"spec": {}}),
            "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified",
        ),
        (
            with_path(json!({"path": "/", "backend": backend})),
            "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
        ),
        (
            with_path(json!({"path": "a", "pathType": "Exact", "backend": backend})),
            "spec.rules[0].http.paths[0].path: Invalid value: \"a\": must be an absolute path",
        ),
        (
            with_path(json!({"path": "/", "pathType": "Exact", "backend": {}})),
            "spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is required",
        ),
        (
            with_path(json!({"path": "/", "pathType": "Exact", "backend": {"service": {"name": "s"}}})),
            "spec.rules[0].http.paths[0].backend: Required value: port name or number is required",
        ),
        (
            with(&sound, "/spec/rules/0/host", json!("10.0.0.1")),
            "spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address",
        ),
    ] {
        assert_eq!(created("ingresses", &ingress), [expect]);
    }
    let hosts = created("ingresses", &with(&sound, "/spec/tls", json!([{"hosts": ["*.a.b", "A"]}])));
    assert!(
        hosts.len() == 1 && hosts[0].starts_with("spec.tls[0].hosts[1]: Invalid value: \"A\""),
        "{hosts:?}"
    );
}

#[test]
fn paths_that_could_be_written_in_another_way_are_refused_where_text_is_compared() {
    let at = "spec.rules[0].http.paths[0].path: Invalid value: ";
    let said = |path: &str, kind: &str| {
        created("ingresses", &with_path(&json!({"path": path, "pathType": kind, "backend": backend()})))
    };
    for (path, wrong) in [
        ("/a//b", "must not contain '//'"),
        ("/a/./b", "must not contain '/./'"),
        ("/a/../b", "must not contain '/../'"),
        ("/a%2fb", "must not contain '%2f'"),
        ("/a%2Fb", "must not contain '%2F'"),
        ("/a/..", "cannot end with '/..'"),
        ("/a/.", "cannot end with '/.'"),
    ] {
        for kind in ["Exact", "Prefix"] {
            assert_eq!(said(path, kind), [format!("{at}{path:?}: {wrong}")]);
        }
        assert_eq!(said(path, "ImplementationSpecific"), [""; 0], "{path}");
    }
    assert_eq!(said("", "ImplementationSpecific"), [""; 0]);
    assert_eq!(said("x", "ImplementationSpecific"), [format!("{at}\"x\": must be an absolute path")]);
    assert_eq!(
        said("/", "Regex"),
        ["spec.rules[0].http.paths[0].pathType: Unsupported value: \"Regex\": supported values: \"Exact\", \
          \"ImplementationSpecific\", \"Prefix\""]
    );
}

#[test]
fn a_new_ingress_names_one_class_and_an_old_one_may_name_two() {
    let two = with(&sound(), "/metadata", json!({"annotations": {"kubernetes.io/ingress.class": "old"}}));
    let two = with(&two, "/spec/ingressClassName", json!("new"));
    assert_eq!(
        created("ingresses", &two),
        [
            "annotations.kubernetes.io/ingress.class: Invalid value: \"old\": must match `ingressClassName` when both \
          are specified"
        ]
    );
    assert_eq!(updated("ingresses", &two, &sound()), [""; 0]);
    assert_eq!(created("ingresses", &with(&two, "/spec/ingressClassName", json!("old"))), [""; 0]);
}

#[test]
fn what_was_stored_before_its_rule_stays_valid() {
    let odd = with(&sound(), "/spec/tls", json!([{"secretName": "A_b"}]));
    let said = created("ingresses", &odd);
    assert!(
        said.len() == 1 && said[0].starts_with("spec.tls[0].secretName: Invalid value: \"A_b\""),
        "{said:?}"
    );
    assert_eq!(updated("ingresses", &odd, &sound()), said);
    assert_eq!(updated("ingresses", &odd, &odd), [""; 0]);
    let wild = with(
        &with_path(&json!({"path": "x", "pathType": "Exact", "backend": backend()})),
        "/spec/rules/0/host",
        json!("*.b"),
    );
    assert_eq!(created("ingresses", &wild).len(), 1);
    assert_eq!(updated("ingresses", &wild, &wild), [""; 0]);
    assert_eq!(updated("ingresses", &wild, &sound()).len(), 1);
}

#[test]
fn addresses_of_load_balancers() {
    let status = |entry: Value| {
        with(&sound(), "/status", json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, entry]}}))
    };
    let said = |entry: Value| status_updated("ingresses", &status(entry), &sound());
    assert_eq!(said(json!({"hostname": "a.b"})), [""; 0]);
    assert_eq!(
        said(json!({"ip": "192.0.2"})),
        [
            "status.loadBalancer.ingress[1].ip: Invalid value: \"192.0.2\": must be a valid IP address, (e.g. 10.9.8.7 \
          or 2001:db8::ffff)"
        ]
    );
    assert_eq!(
        said(json!({"hostname": "192.0.2.1"})),
        [
            "status.loadBalancer.ingress[1].hostname: Invalid value: \"192.0.2.1\": must be a DNS name, not an IP address"
        ]
    );
}

#[test]
fn resource_backends() {
    let to = |resource: Value| json!({"spec": {"defaultBackend": {"resource": resource}}});
    let fine = json!({"apiGroup": "k8s.example.com", "kind": "StorageBucket", "name": "static-assets"});
    assert_eq!(created("ingresses", &to(fine.clone())), [""; 0]);
    assert_eq!(
        created("ingresses", &to(with(&fine, "/name", json!("a/b")))),
        ["spec.defaultBackend.resource.name: Invalid value: \"a/b\": may not contain '/'"]
    );
    assert_eq!(
        created("ingresses", &to(json!({"kind": "", "name": "x"}))),
        ["spec.defaultBackend.resource.kind: Required value"]
    );
}

#[test]
fn ingress_classes() {
    let class = |spec: Value| json!({"metadata": {"name": "c"}, "spec": spec});
    let sound = class(json!({"controller": "acme.io/foo/bar"}));
    assert_eq!(created("ingressclasses", &sound), [""; 0]);
    let parameters = |extra: Value| {
        let mut parameters = json!({"kind": "P", "name": "p"});
        extra.as_object().expect("an object").iter().for_each(|(k, v)| parameters[k] = v.clone());
        class(json!({"controller": "a.b/c", "parameters": parameters}))
    };
    assert_eq!(created("ingressclasses", &parameters(json!({}))), [""; 0], "the scope has a default");
    assert_eq!(
        created("ingressclasses", &parameters(json!({"scope": "Namespace", "namespace": "n"}))),
        [""; 0]
    );
    for (class, wrong) in [
        (class(json!({})), "spec.controller: Required value"),
        (
            class(json!({"controller": "foo"})),
            "spec.controller: Invalid value: \"foo\": must be a domain-prefixed path (such as \"acme.io/foo\")",
        ),
        (
            class(json!({"controller": "a.b/c d"})),
            "spec.controller: Invalid value: \"c d\": Invalid path (regex used for validation is \
             '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')",
        ),
        (
            class(json!({"controller": format!("a.b/{}", "c".repeat(250))})),
            "spec.controller: Too long: may not be more than 250 bytes",
        ),
        (
            parameters(json!({"namespace": "n"})),
            "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'",
        ),
        (
            parameters(json!({"scope": "Namespace"})),
            "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
        ),
        (
            parameters(json!({"scope": "World"})),
            "spec.parameters.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespace\"",
        ),
    ] {
        assert_eq!(created("ingressclasses", &class), [wrong]);
    }
    assert_eq!(
        updated("ingressclasses", &class(json!({"controller": "a.b/d"})), &sound),
        ["spec.controller: Invalid value: \"a.b/d\": field is immutable"]
    );
}
