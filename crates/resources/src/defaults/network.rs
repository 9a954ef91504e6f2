//! Services, endpoints, ingress classes and network policies.

use api::Object;
use serde_json::{Value, json};

use crate::fill::{self, Fields};

/// How long a client stays with an endpoint, in seconds.
const CLIENT_AFFINITY_S: i64 = 10_800;

/// All but addresses, node ports and IP families: those are allocated.
pub(crate) fn service(object: &mut Object) {
    let Some(spec) = fill::object(&mut object.0, "spec") else { return };
    fill::text(spec, "sessionAffinity", "None");
    match fill::str_of(spec, "sessionAffinity") {
        "None" => {
            spec.remove("sessionAffinityConfig");
        }
        "ClientIP" => {
            let config = fill::object(spec, "sessionAffinityConfig");
            if let Some(client) = config.and_then(|c| fill::object(c, "clientIP")) {
                fill::value(client, "timeoutSeconds", CLIENT_AFFINITY_S);
            }
        }
        _ => {}
    }
    fill::text(spec, "type", "ClusterIP");
    for port in fill::items(spec, "ports") {
        service_port(port);
    }
    let service_type = fill::str_of(spec, "type").to_owned();
    let external = matches!(service_type.as_str(), "NodePort" | "LoadBalancer");
    let external_ips = service_type == "ClusterIP" && !fill::is_empty(spec, "externalIPs");
    if external || external_ips {
        fill::text(spec, "externalTrafficPolicy", "Cluster");
    }
    if external || service_type == "ClusterIP" {
        fill::value(spec, "internalTrafficPolicy", "Cluster");
    }
    if service_type == "LoadBalancer" {
        fill::value(spec, "allocateLoadBalancerNodePorts", true);
        let balancer = fill::within(&mut object.0, "status").and_then(|s| fill::within(s, "loadBalancer"));
        if let Some(balancer) = balancer {
            for ingress in fill::items(balancer, "ingress") {
                if !fill::str_of(ingress, "ip").is_empty() {
                    fill::value(ingress, "ipMode", "VIP");
                }
            }
        }
    }
}

fn service_port(port: &mut Fields) {
    fill::text(port, "protocol", "TCP");
    let absent = match port.get("targetPort") {
        None | Some(Value::Null) => true,
        Some(Value::String(name)) => name.is_empty(),
        Some(number) => number.as_i64() == Some(0),
    };
    if absent && let Some(number) = port.get("port").cloned() {
        port.insert("targetPort".into(), number);
    }
}

pub(crate) fn endpoints(object: &mut Object) {
    for subset in fill::items(&mut object.0, "subsets") {
        for port in fill::items(subset, "ports") {
            fill::text(port, "protocol", "TCP");
        }
    }
}

pub(crate) fn endpoint_slice(object: &mut Object) {
    for port in fill::items(&mut object.0, "ports") {
        fill::value(port, "name", "");
        fill::value(port, "protocol", "TCP");
    }
}

pub(crate) fn ingress_class(object: &mut Object) {
    let parameters = fill::within(&mut object.0, "spec").and_then(|s| fill::within(s, "parameters"));
    if let Some(parameters) = parameters {
        fill::value(parameters, "scope", "Cluster");
    }
}

pub(crate) fn network_policy(object: &mut Object) {
    let Some(spec) = fill::object(&mut object.0, "spec") else { return };
    fill::value(spec, "podSelector", json!({}));
    for direction in ["ingress", "egress"] {
        for rule in fill::items(spec, direction) {
            for port in fill::items(rule, "ports") {
                fill::value(port, "protocol", "TCP");
            }
        }
    }
    if fill::is_empty(spec, "policyTypes") {
        let types =
            if fill::is_empty(spec, "egress") { json!(["Ingress"]) } else { json!(["Ingress", "Egress"]) };
        spec.insert("policyTypes".into(), types);
    }
}
