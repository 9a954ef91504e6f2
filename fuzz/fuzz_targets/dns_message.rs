//! DNS messages, and the cluster's answers to the questions in them.

#![no_main]

use std::sync::LazyLock;

use hickory_server::proto::op::Message;
use informer::Cache;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use libfuzzer_sys::fuzz_target;
use network::dns::{View, Zone};
use serde_json::json;

/// Services with an address, without one, and with another name.
static ZONE: LazyLock<Zone> = LazyLock::new(|| {
    let view = View { services: Cache::<Service>::new(), slices: Cache::<EndpointSlice>::new() };
    let specs = [
        (
            "web",
            json!({"clusterIP": "10.96.0.7", "ports": [{"name": "http", "protocol": "TCP", "port": 80}]}),
        ),
        ("db", json!({"clusterIP": "None", "ports": [{"name": "sql", "protocol": "TCP", "port": 5432}]})),
        ("away", json!({"type": "ExternalName", "externalName": "web.ns.svc.cluster.local"})),
    ];
    for (name, spec) in specs {
        let service = json!({
            "metadata": {"name": name, "namespace": "ns", "uid": name, "resourceVersion": "1"}, "spec": spec,
        });
        view.services.apply(serde_json::from_value(service).expect("a Service"));
    }
    let slice = json!({
        "metadata": {
            "name": "db", "namespace": "ns", "uid": "slice", "resourceVersion": "1",
            "labels": {"kubernetes.io/service-name": "db"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "sql", "protocol": "TCP", "port": 5432}],
        "endpoints": [{"addresses": ["10.244.0.9"], "hostname": "db-0", "conditions": {"ready": true}}],
    });
    view.slices.apply(serde_json::from_value(slice).expect("an EndpointSlice"));
    let ranges = ["10.96.0.0/12", "10.244.0.0/16"].map(|range| range.parse().expect("a range"));
    Zone::new("cluster.local", ranges.to_vec(), view).expect("a zone")
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::from_vec(bytes) else { return };
    for query in &message.queries {
        let _ = ZONE.answer(query.name(), query.query_type());
    }
});
