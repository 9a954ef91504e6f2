//! Ingresses, Services and slices in JSON, and what becomes of them.

use http::{HeaderMap, Method};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::backend::{Port, ServiceBackend};
use super::endpoints::{Lack, Offer, offer};
use super::problems::problems;
use super::*;
use crate::router::{Asked, Router};

fn source(name: &str, second: i64, annotations: &Value, spec: &Value) -> Source {
    let view = json!({"metadata": {"annotations": annotations}, "spec": spec});
    let view = serde_json::from_value(view).expect("an Ingress");
    let created = Some(Timestamp::from_second(second).expect("a time"));
    Source { key: Key::new("ns", name), created, view: Arc::new(view) }
}

fn plain(name: &str, second: i64, spec: &Value) -> Source {
    source(name, second, &json!({}), spec)
}

fn to(service: &str, port: &Value) -> Value {
    json!({"service": {"name": service, "port": port}})
}

fn rule(host: &str, paths: &[(&str, &str, &str)]) -> Value {
    let paths: Vec<Value> = paths
        .iter()
        .map(|(path, kind, service)| {
            json!({"path": path, "pathType": kind, "backend": to(service, &json!({"number": 80}))})
        })
        .collect();
    json!({"host": host, "http": {"paths": paths}})
}

/// The Service to which a request goes.
fn goes(sources: &mut [Source], host: &str, path: &str) -> Option<String> {
    by_age(sources);
    let router = Router::default();
    for pattern in sources.iter().flat_map(|source| source.view.hosts()) {
        router.replace(&pattern, site(&pattern, sources));
    }
    router.replace_default(default(sources).map(Split::whole));
    let asked = Asked { host, path, method: &Method::GET, headers: &HeaderMap::new(), roll: 0 };
    router.find(&asked).map(|backend| match backend {
        Backend::Service(backend) => backend.service.name.to_string(),
        Backend::Resource(of) => of.to_string(),
    })
}

#[test]
fn several_ingresses_of_a_host_are_one_and_the_oldest_wins() {
    let mut all = [
        plain(
            "young",
            9,
            &json!({"rules": [rule("a.x", &[("/", "Prefix", "young"), ("/y", "Prefix", "y")])]}),
        ),
        plain("old", 1, &json!({"rules": [rule("A.x", &[("/", "ImplementationSpecific", "old")])]})),
        plain("twin", 1, &json!({"rules": [rule("a.x", &[("/y", "Exact", "twin")])]})),
    ];
    assert_eq!(goes(&mut all, "a.x", "/q").as_deref(), Some("old"));
    assert_eq!(goes(&mut all, "a.x", "/y/z").as_deref(), Some("y"));
    assert_eq!(goes(&mut all, "a.x", "/y").as_deref(), Some("twin"));
    assert_eq!(goes(&mut all, "b.x", "/"), None);
}

#[test]
fn the_default_backend_of_an_ingress_without_rules_is_everybodys() {
    let default = |name: &str| to(name, &json!({"name": "http"}));
    let mut all = [
        plain(
            "host",
            1,
            &json!({"defaultBackend": default("of-host"), "rules": [rule("a", &[("/x", "Prefix", "x")])]}),
        ),
        plain("younger", 5, &json!({"defaultBackend": default("younger")})),
        plain("older", 4, &json!({"defaultBackend": default("older")})),
    ];
    assert_eq!(goes(&mut all, "a", "/x").as_deref(), Some("x"));
    assert_eq!(goes(&mut all, "a", "/y").as_deref(), Some("of-host"));
    assert_eq!(goes(&mut all, "b", "/x").as_deref(), Some("older"));
    assert_eq!(goes(&mut all[..1], "b", "/x").as_deref(), Some("of-host"), "no rule takes the request");
}

#[test]
fn a_rule_without_paths_leads_to_the_default() {
    let mut all =
        [plain("a", 1, &json!({"defaultBackend": to("d", &json!({"number": 1})), "rules": [{"host": "a"}]}))];
    assert_eq!(goes(&mut all, "a", "/x").as_deref(), Some("d"));
}

#[test]
fn the_class_is_named_by_the_field_or_else_by_the_annotation() {
    let legacy = json!({CLASS_ANNOTATION: "old"});
    let class =
        |annotations: &Value, spec: &Value| source("a", 1, annotations, spec).view.class().map(str::to_owned);
    assert_eq!(class(&legacy, &json!({"ingressClassName": "new"})).as_deref(), Some("new"));
    assert_eq!(class(&legacy, &json!({})).as_deref(), Some("old"));
    assert_eq!(class(&json!(null), &json!({})), None);
}

fn service(spec: &Value) -> Service {
    serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": spec})).expect("a Service")
}

fn slice(family: &str, endpoints: &Value) -> EndpointSlice {
    let slice = json!({"addressType": family, "endpoints": endpoints, "ports": [
        {"name": "web", "port": 8080, "protocol": "TCP"}, {"name": "web", "port": 8081, "protocol": "UDP"},
        {"name": "", "port": 9090}, {"name": "rpc"},
    ]});
    serde_json::from_value(slice).expect("a slice")
}

fn offered(port: Port, service: Option<&Service>, slices: &[EndpointSlice]) -> Offer {
    offer(
        &ServiceBackend { service: Key::new("ns", "s"), port, wire: None, manner: manner::Manner::default() },
        service,
        slices.iter(),
    )
}

fn addresses(offer: &Offer) -> Vec<String> {
    offer.endpoints.iter().map(ToString::to_string).collect()
}

#[test]
fn ports_are_found_by_number_and_name_over_tcp() {
    let s = service(&json!({"ports": [
        {"name": "dns", "port": 80, "protocol": "UDP"}, {"name": "web", "port": 80, "appProtocol": "grpc"},
        {"port": 81, "protocol": "TCP"}, {"name": "rpc", "port": 82},
    ]}));
    let slices = [
        slice("IPv4", &json!([{"addresses": ["10.0.0.1"]}])),
        slice("IPv6", &json!([{"addresses": ["::1"]}])),
    ];
    let by_number = offered(Port::Number(80), Some(&s), &slices);
    assert_eq!(addresses(&by_number), ["10.0.0.1:8080"]);
    assert_eq!(by_number.wire, Wire { tls: false, h2: true });
    assert_eq!(by_number, offered(Port::Name("web".into()), Some(&s), &slices));
    assert_eq!(addresses(&offered(Port::Number(81), Some(&s), &slices)), ["10.0.0.1:9090"]);
    let lack = |port, service| offered(port, service, &slices).lack;
    assert_eq!(lack(Port::Number(83), Some(&s)), Some(Lack::Port));
    assert_eq!(lack(Port::Name("dns".into()), Some(&s)), Some(Lack::Port));
    assert_eq!(lack(Port::Number(82), Some(&s)), Some(Lack::Ready), "the slice has no number for the port");
    assert_eq!(lack(Port::Number(80), None), Some(Lack::Service));
    let external =
        service(&json!({"type": "ExternalName", "externalName": "example.org", "ports": [{"port": 80}]}));
    assert_eq!(lack(Port::Number(80), Some(&external)), Some(Lack::External));
    let six = service(&json!({"ipFamilies": ["IPv6", "IPv4"], "ports": [{"port": 81}]}));
    assert_eq!(addresses(&offered(Port::Number(81), Some(&six), &slices)), ["[::1]:9090"]);
}

#[test]
fn endpoints_that_end_are_used_only_where_none_is_ready() {
    let s = service(&json!({"ports": [{"port": 80}]}));
    let endpoint = |address: &str, ready: bool, serving: bool, terminating: bool| json!({"addresses": [address], "conditions": {"ready": ready, "serving": serving, "terminating": terminating}});
    let leaving = endpoint("10.0.0.1", false, true, true);
    let gone = endpoint("10.0.0.2", false, false, true);
    let starting = endpoint("10.0.0.3", false, false, false);
    let ready = endpoint("10.0.0.4", true, true, false);
    let of = |endpoints: Value| addresses(&offered(Port::Number(80), Some(&s), &[slice("IPv4", &endpoints)]));
    assert_eq!(of(json!([leaving, gone, starting, ready])), ["10.0.0.4:9090"]);
    assert_eq!(of(json!([leaving, gone, starting])), ["10.0.0.1:9090"]);
    assert_eq!(of(json!([gone, starting])), Vec::<String>::new());
}

#[test]
fn what_is_asked_for_and_not_given_is_named() {
    let spec = json!({
        "rules": [rule("a", &[("/a", "Prefix", "s"), ("/b", "Prefix", "missing"), ("/c", "Prefix", "ext")]),
            {"http": {"paths": [{"path": "/d", "pathType": "Prefix",
                "backend": {"resource": {"kind": "StorageBucket", "name": "icons"}}}]}}],
        "defaultBackend": to("s", &json!({"name": "nope"})),
        "tls": [{"secretName": "good"}, {"secretName": "bad"}, {"hosts": ["a"]}],
    });
    let annotations = json!({"nginx.ingress.kubernetes.io/use-regex": "true", "other": "x",
        PROTOCOL_ANNOTATION: "smtp", CLASS_ANNOTATION: "knarr"});
    let ingress = source("i", 1, &annotations, &spec);
    let services = |key: &Key| match &*key.name {
        "s" => Some(Arc::new(service(&json!({"ports": [{"port": 80}]})))),
        "ext" => Some(Arc::new(service(&json!({"type": "ExternalName", "ports": [{"port": 80}]})))),
        _ => None,
    };
    let secrets = |key: &Key| if &*key.name == "good" { Ok(()) } else { Err("no key".to_owned()) };
    let found = problems("ns", &ingress.view, services, secrets);
    let found: Vec<_> = found.iter().map(|one| format!("{}: {}", one.reason, one.message)).collect();
    assert_eq!(
        found,
        [
            "BackendNotFound: Backend \"ns/missing:80\": the Service does not exist",
            "BackendNotFound: Backend \"ns/s:nope\": the Service has no such TCP port",
            "BadCertificate: Secret \"ns/bad\" cannot be used for TLS: no key; the fallback certificate is shown",
            "UnsupportedAnnotation: These annotations are not supported and change nothing: \
             ingress.knarr.dev/backend-protocol, nginx.ingress.kubernetes.io/use-regex",
            "UnsupportedBackend: Backend \"StorageBucket icons\": backends that are no Service are not served",
            "UnsupportedBackend: Backend \"ns/ext:80\": Services of type ExternalName are not served",
        ]
    );
    let fine = plain("i", 1, &json!({"rules": [rule("a", &[("/a", "Prefix", "s")])]}));
    assert_eq!(problems("ns", &fine.view, services, secrets), BTreeSet::new());
}

#[test]
fn backends_are_spoken_to_as_the_ingress_or_else_the_service_says() {
    let wire = |tls, h2| Wire { tls, h2 };
    for (word, wanted) in [
        (None, wire(false, false)),
        (Some("http"), wire(false, false)),
        (Some("https"), wire(true, false)),
        (Some("kubernetes.io/h2c"), wire(false, true)),
        (Some("kubernetes.io/ws"), wire(false, false)),
        (Some("kubernetes.io/wss"), wire(true, false)),
        (Some("mysql"), wire(false, false)),
    ] {
        assert_eq!(Wire::of_app_protocol(word), wanted, "{word:?}");
    }
    let spec = json!({"defaultBackend": to("s", &json!({"number": 80}))});
    let grpc = source("i", 1, &json!({PROTOCOL_ANNOTATION: "GRPC"}), &spec);
    let Some(Backend::Service(backend)) = grpc.view.backends("ns").next() else { panic!("a Service") };
    assert_eq!(backend.wire, Some(wire(false, true)));
    assert_eq!(Wire::of_annotation("grpcs"), Some(wire(true, true)));
    assert_eq!(Wire::of_annotation("ajp"), None);
}
