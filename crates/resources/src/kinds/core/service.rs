//! Services: an update that leaves out what was allocated keeps it; one that changes the type gives
//! back what the new type has no use for.

use api::field::ErrorList;
use api::{Object, names};
use serde_json::{Map, Value, json};

use crate::columns;
use crate::defaults;
use crate::fill;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::part::{PartHandler, Proxied};
use crate::status;
use crate::validation::service;
use crate::validation::warnings;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("v1", "services", Service)
        .short("svc")
        .category("all")
        .stored_at("services/specs")
        .created_by_put()
        .returns_deleted()
        .named(names::dns1035_label)
        .selectable("spec.clusterIP")
        .selectable("spec.type")
        .printed(columns::service::SERVICE, columns::service::service)
        .part("proxy", PartHandler::Proxy(Proxied::Service))
}

struct Service;

impl Logic for Service {
    fn default(&self, object: &mut Object) {
        defaults::service(object);
    }

    fn prepare_create(&self, object: &mut Object) {
        status::start(object, json!({"loadBalancer": {}}));
        if let Some(spec) = fill::within(&mut object.0, "spec") {
            add_plural(spec);
        }
    }

    fn prepare_update(&self, new: &mut Object, old: &Object) {
        prepare_update(new, old);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        service::service(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&service::service_update)
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        service::service_status(new, old)
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        warnings::service(object)
    }
}

fn prepare_update(new: &mut Object, old: &Object) {
    status::keep(new, old);
    let Some(before) = old.at(&["spec"]).and_then(Value::as_object) else { return };
    let Some(after) = fill::within(&mut new.0, "spec") else { return };
    keep_allocated(after, before);
    follow_singular(after, before);
    drop_unused(after, before);
    if !has_type(after, &["LoadBalancer"]) && has_type(before, &["LoadBalancer"]) {
        new.set_at(&["status", "loadBalancer"], Value::Object(Map::new()));
    }
}

fn has_type(spec: &Map<String, Value>, types: &[&str]) -> bool {
    types.contains(&fill::str_of(spec, "type"))
}

/// Whether a balancer asks the nodes which of them have endpoints.
fn needs_health_check(spec: &Map<String, Value>) -> bool {
    has_type(spec, &["LoadBalancer"]) && fill::str_of(spec, "externalTrafficPolicy") == "Local"
}

/// Whether traffic comes in at nodes or at addresses outside the cluster.
fn is_reached_from_outside(spec: &Map<String, Value>) -> bool {
    has_type(spec, &WITH_NODE_PORTS)
        || (has_type(spec, &["ClusterIP"]) && !fill::is_empty(spec, "externalIPs"))
}

const WITH_CLUSTER_IP: [&str; 3] = ["ClusterIP", "NodePort", "LoadBalancer"];
const WITH_NODE_PORTS: [&str; 2] = ["NodePort", "LoadBalancer"];

/// An author who knows of one address only writes the singular field.
fn add_plural(spec: &mut Map<String, Value>) {
    let single = fill::str_of(spec, "clusterIP").to_owned();
    if !single.is_empty() && fill::is_empty(spec, "clusterIPs") {
        spec.insert("clusterIPs".into(), json!([single]));
    }
}

/// The list of addresses follows the singular field where only that was changed. Upstream: `normalizeClusterIPs`.
fn follow_singular(after: &mut Map<String, Value>, before: &Map<String, Value>) {
    let (is, was) = (fill::str_of(after, "clusterIP"), fill::str_of(before, "clusterIP"));
    let list = |spec: &Map<String, Value>| match spec.get("clusterIPs") {
        Some(Value::Array(list)) => list.clone(),
        _ => Vec::new(),
    };
    let (new, old) = (list(after), list(before));
    if is == was {
        if new.is_empty() && !old.is_empty() {
            after.insert("clusterIPs".into(), old.into());
        }
    } else if new == old {
        let next = if is.is_empty() { None } else { Some(json!([is])) };
        match next {
            Some(next) => after.insert("clusterIPs".into(), next),
            None => after.remove("clusterIPs"),
        };
    }
}

fn keep_allocated(after: &mut Map<String, Value>, before: &Map<String, Value>) {
    if has_type(before, &WITH_CLUSTER_IP) && has_type(after, &WITH_CLUSTER_IP) {
        if fill::str_of(after, "clusterIP").is_empty()
            && let Some(address) = before.get("clusterIP")
        {
            after.insert("clusterIP".into(), address.clone());
        }
        let same_first = fill::str_of(after, "clusterIP") == fill::str_of(before, "clusterIP");
        if fill::is_empty(after, "clusterIPs")
            && same_first
            && let Some(addresses) = before.get("clusterIPs")
        {
            after.insert("clusterIPs".into(), addresses.clone());
        }
        for key in ["ipFamilies", "ipFamilyPolicy"] {
            if let Some(value) = before.get(key) {
                fill::value(after, key, value.clone());
            }
        }
    }
    if has_type(before, &WITH_NODE_PORTS) && has_type(after, &WITH_NODE_PORTS) {
        keep_node_ports(after, before);
    }
    let health = before.get("healthCheckNodePort").and_then(Value::as_i64).unwrap_or(0);
    if health != 0 && needs_health_check(before) && needs_health_check(after) {
        fill::number(after, "healthCheckNodePort", health);
    }
}

/// A port that names no node port keeps the one of its name, unless another port has that now.
fn keep_node_ports(after: &mut Map<String, Value>, before: &Map<String, Value>) {
    let number = |port: &Value| port.get("nodePort").and_then(Value::as_i64).unwrap_or(0);
    let name = |port: &Value| port.get("name").and_then(Value::as_str).unwrap_or("").to_owned();
    let mut used: Vec<i64> = ports(after).map(number).filter(|port| *port != 0).collect();
    // Of equal names the last one counts.
    let known: Vec<(String, i64)> = ports(before).map(|port| (name(port), number(port))).collect();
    for port in fill::items(after, "ports") {
        let own = fill::str_of(port, "name").to_owned();
        let kept = known.iter().rev().find(|(name, _)| *name == own).map_or(0, |(_, port)| *port);
        let absent = port.get("nodePort").and_then(Value::as_i64).unwrap_or(0) == 0;
        if absent && kept != 0 && !used.contains(&kept) {
            port.insert("nodePort".into(), kept.into());
            used.push(kept);
        }
    }
}

/// What the old type needed and the new one has no place for, where the author left it as it was.
fn drop_unused(after: &mut Map<String, Value>, before: &Map<String, Value>) {
    let unchanged = |after: &Map<String, Value>, key: &str| after.get(key) == before.get(key);
    if has_type(before, &WITH_CLUSTER_IP) && !has_type(after, &WITH_CLUSTER_IP) {
        if unchanged(after, "clusterIP") && unchanged(after, "clusterIPs") {
            after.remove("clusterIP");
            after.remove("clusterIPs");
        }
        for key in ["ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            if unchanged(after, key) {
                after.remove(key);
            }
        }
    }
    if has_type(before, &WITH_NODE_PORTS) && !has_type(after, &WITH_NODE_PORTS) {
        let numbers = |spec: &Map<String, Value>| -> Vec<i64> {
            let number = |port: &Value| port.get("nodePort").and_then(Value::as_i64);
            ports(spec).filter_map(number).filter(|port| *port != 0).collect()
        };
        let known = numbers(before);
        if numbers(after).iter().all(|port| known.contains(port)) {
            for port in fill::items(after, "ports") {
                port.remove("nodePort");
            }
        }
    }
    if is_reached_from_outside(before)
        && !is_reached_from_outside(after)
        && unchanged(after, "externalTrafficPolicy")
    {
        after.remove("externalTrafficPolicy");
    }
    if needs_health_check(before) && !needs_health_check(after) && unchanged(after, "healthCheckNodePort") {
        after.remove("healthCheckNodePort");
    }
    if has_type(before, &["LoadBalancer"]) && !has_type(after, &["LoadBalancer"]) {
        for key in ["loadBalancerClass", "allocateLoadBalancerNodePorts"] {
            if unchanged(after, key) {
                after.remove(key);
            }
        }
    }
}

fn ports(spec: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    spec.get("ports").and_then(Value::as_array).into_iter().flatten()
}
