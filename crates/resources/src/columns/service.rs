//! Services and the addresses behind them.

use std::collections::BTreeSet;

use api::Object;
use jiff::Timestamp;
use serde_json::Value;

use super::read::{age, field, items, join, labels, text};
use super::{AGE, Column, NAME, column, wide};

/// How many endpoints a row shows before it only counts them.
const SHOWN: usize = 3;

pub(crate) const SERVICE: &[Column] = &[
    NAME,
    column("Type", "string", "How the Service is exposed."),
    column("Cluster-IP", "string", "The IP address of the service."),
    column("External-IP", "string", "IP addresses for which nodes in the cluster also accept traffic."),
    column("Port(s)", "string", "The ports that are exposed by this service."),
    AGE,
    wide("Selector", "string", "Labels of the pods that traffic is routed to."),
];

pub(crate) fn service(o: &Object, now: Timestamp) -> Vec<Value> {
    let cluster_ip = items(o, &["spec", "clusterIPs"]).first().and_then(Value::as_str).unwrap_or("<none>");
    let ports: Vec<String> = items(o, &["spec", "ports"]).iter().map(port).collect();
    vec![
        o.name().into(),
        text(o, &["spec", "type"]).into(),
        cluster_ip.into(),
        external_ip(o).into(),
        join(ports.iter().map(String::as_str), "<none>").into(),
        age(o, now),
        labels(o.at(&["spec", "selector"])).into(),
    ]
}

fn port(port: &Value) -> String {
    let number = |key: &str| port.get(key).and_then(Value::as_i64).unwrap_or(0);
    match number("nodePort") {
        0 => format!("{}/{}", number("port"), field(port, "protocol")),
        node => format!("{}:{node}/{}", number("port"), field(port, "protocol")),
    }
}

fn external_ip(o: &Object) -> String {
    let own = items(o, &["spec", "externalIPs"]).iter().filter_map(Value::as_str);
    match text(o, &["spec", "type"]) {
        "ClusterIP" | "NodePort" => join(own, "<none>"),
        "LoadBalancer" => join(load_balancer(o).into_iter().chain(own), "<pending>"),
        "ExternalName" => text(o, &["spec", "externalName"]).into(),
        _ => "<unknown>".into(),
    }
}

/// The addresses of a load balancer, sorted.
fn load_balancer(o: &Object) -> BTreeSet<&str> {
    let addresses = items(o, &["status", "loadBalancer", "ingress"]).iter();
    addresses
        .map(|a| if field(a, "ip").is_empty() { field(a, "hostname") } else { field(a, "ip") })
        .filter(|a| !a.is_empty())
        .collect()
}

pub(crate) const IP_ADDRESS: &[Column] = &[
    NAME,
    column(
        "ParentRef",
        "string",
        "ParentRef references the resource that an IPAddress is attached to. An IPAddress must reference a parent object.",
    ),
    AGE,
];

pub(crate) fn ip_address(o: &Object, now: Timestamp) -> Vec<Value> {
    let part = |key: &str| text(o, &["spec", "parentRef", key]);
    let parent = if o.at(&["spec", "parentRef"]).is_some() {
        let resource = match part("group") {
            "" => part("resource").to_lowercase(),
            group => format!("{}.{group}", part("resource")).to_lowercase(),
        };
        let namespace = part("namespace");
        let within = if namespace.is_empty() { String::new() } else { format!("/{namespace}") };
        format!("{resource}{within}/{}", part("name"))
    } else {
        "<none>".to_owned()
    };
    vec![o.name().into(), parent.into(), age(o, now)]
}

pub(crate) const ENDPOINTS: &[Column] =
    &[NAME, column("Endpoints", "string", "The set of all endpoints."), AGE];

pub(crate) fn endpoints(o: &Object, now: Timestamp) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in items(o, &["subsets"]) {
        let list = |key: &str| subset.get(key).and_then(Value::as_array).into_iter().flatten();
        // Headless services may have no ports.
        if list("ports").next().is_none() {
            all.extend(list("addresses").map(|a| field(a, "ip").to_owned()));
        }
        for port in list("ports") {
            let port = port.get("port").and_then(Value::as_i64).unwrap_or(0);
            all.extend(list("addresses").map(|a| host_port(field(a, "ip"), port)));
        }
    }
    vec![o.name().into(), first_and_more(&all).into(), age(o, now)]
}

fn host_port(host: &str, port: i64) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn first_and_more(all: &[String]) -> String {
    let shown = join(all.iter().take(SHOWN).map(String::as_str), "<none>");
    if all.len() > SHOWN { format!("{shown} + {} more...", all.len() - SHOWN) } else { shown }
}

pub(crate) const ENDPOINT_SLICE: &[Column] = &[
    NAME,
    column("AddressType", "string", "The type of address carried by this EndpointSlice."),
    column("Ports", "string", "The network ports exposed by each endpoint in this slice."),
    column("Endpoints", "string", "The endpoints in this slice."),
    AGE,
];

pub(crate) fn endpoint_slice(o: &Object, now: Timestamp) -> Vec<Value> {
    let number = |p: &Value| match p.get("port").and_then(Value::as_i64) {
        Some(port) => port.to_string(),
        None if !field(p, "name").is_empty() => field(p, "name").to_owned(),
        None => "*".into(),
    };
    let ports: Vec<String> = items(o, &["ports"]).iter().map(number).collect();
    let ports = if ports.is_empty() { "<unset>".into() } else { first_and_more(&ports) };
    let addresses = items(o, &["endpoints"])
        .iter()
        .filter_map(|e| e.get("addresses").and_then(Value::as_array))
        .flatten()
        .filter_map(Value::as_str);
    let addresses: Vec<String> = addresses.map(str::to_owned).collect();
    let endpoints = if addresses.is_empty() { "<unset>".into() } else { first_and_more(&addresses) };
    vec![o.name().into(), text(o, &["addressType"]).into(), ports.into(), endpoints.into(), age(o, now)]
}

pub(crate) const INGRESS: &[Column] = &[
    NAME,
    column(
        "Class",
        "string",
        "The name of the IngressClass resource that should be used for additional configuration",
    ),
    column("Hosts", "string", "Hosts that incoming requests are matched against before the ingress rule"),
    column("Address", "string", "Address is a list containing ingress points for the load-balancer"),
    column("Ports", "string", "Ports of TLS configurations that open"),
    AGE,
];

pub(crate) fn ingress(o: &Object, now: Timestamp) -> Vec<Value> {
    let rules = items(o, &["spec", "rules"]);
    let hosts: Vec<&str> =
        rules.iter().map(|r| field(r, "host")).filter(|h| !h.is_empty()).take(SHOWN).collect();
    let more = if hosts.len() == SHOWN { rules.len().saturating_sub(SHOWN) } else { 0 };
    let hosts = join(hosts, "*");
    vec![
        o.name().into(),
        super::read::text_or(o, &["spec", "ingressClassName"], "<none>"),
        if more > 0 { format!("{hosts} + {more} more...").into() } else { hosts.into() },
        join(load_balancer(o), "").into(),
        if items(o, &["spec", "tls"]).is_empty() { "80" } else { "80, 443" }.into(),
        age(o, now),
    ]
}

pub(crate) const INGRESS_CLASS: &[Column] = &[
    NAME,
    column("Controller", "string", "Controller that is responsible for handling this class"),
    column("Parameters", "string", "A reference to a resource with additional parameters"),
    AGE,
];

pub(crate) fn ingress_class(o: &Object, now: Timestamp) -> Vec<Value> {
    let part = |key: &str| text(o, &["spec", "parameters", key]);
    let parameters = match (o.at(&["spec", "parameters"]), part("apiGroup")) {
        (None, _) => "<none>".into(),
        (Some(_), "") => format!("{}/{}", part("kind"), part("name")),
        (Some(_), group) => format!("{}.{group}/{}", part("kind"), part("name")),
    };
    vec![o.name().into(), text(o, &["spec", "controller"]).into(), parameters.into(), age(o, now)]
}

pub(crate) const API_SERVICE: &[Column] = &[
    NAME,
    column("Service", "string", "The reference to the service that hosts this API endpoint."),
    column("Available", "string", "Whether this service is available."),
    AGE,
];

pub(crate) fn api_service(o: &Object, now: Timestamp) -> Vec<Value> {
    let part = |key: &str| text(o, &["spec", "service", key]);
    let service = match o.at(&["spec", "service"]) {
        Some(Value::Object(_)) => format!("{}/{}", part("namespace"), part("name")),
        _ => "Local".into(),
    };
    let condition = items(o, &["status", "conditions"]).iter().find(|c| field(c, "type") == "Available");
    let available = match condition {
        Some(c) if field(c, "status") == "True" => "True".into(),
        Some(c) => format!("{} ({})", field(c, "status"), field(c, "reason")),
        None => "Unknown".into(),
    };
    vec![o.name().into(), service.into(), available.into(), age(o, now)]
}
