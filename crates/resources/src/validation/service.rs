//! Services: types and what each may have, ports, addresses.

mod addresses;

use std::collections::HashSet;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::{Value, json};

use super::{check, read};
pub use addresses::service_address_errors;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
/// A balancer must not pass this port on: it is the node agent's.
const KUBELET_PORT: i64 = 10_250;
const MAX_AFFINITY_S: i64 = 86_400;

pub(crate) fn service(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    let kind = read::text(spec, "type");
    let headless = read::text(spec, "clusterIP") == "None";
    let ports = read::list(spec, "ports");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required(&path.child("ports"), ""));
    }
    if kind == "LoadBalancer" {
        let ports_path = path.child("ports");
        for (i, _) in
            ports.iter().enumerate().filter(|(_, port)| read::int(port, "port") == Some(KUBELET_PORT))
        {
            let detail = "may not expose port 10250 externally since it is used by kubelet";
            errors.push(FieldError::invalid(&ports_path.index(i), KUBELET_PORT, detail));
        }
    }
    if headless && matches!(kind, "LoadBalancer" | "NodePort") {
        let at = path.child("clusterIPs");
        let detail = format!("may not be set to 'None' for {kind} services");
        errors.push(FieldError::invalid(&at.index(0), "None", detail));
    }
    if kind == "ExternalName" {
        external_name(&mut errors, &path, spec);
    }
    check_ports(&mut errors, &path.child("ports"), spec, kind);
    check::labels(&mut errors, &path.child("selector"), read::pairs(spec, "selector"));
    affinity(&mut errors, &path, spec);
    errors.extend(service_address_errors(object));
    external_ips(&mut errors, &path, spec);
    check::one_of(&mut errors, &path.child("type"), kind, &TYPES);
    balancer(&mut errors, &path, spec, kind);
    traffic(&mut errors, &path, spec, kind);
    errors
}

fn external_name(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    for key in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let given = match read::get(spec, key) {
            Some(Value::Array(items)) => !items.is_empty(),
            other => other.is_some(),
        };
        if given {
            let detail = "may not be set for ExternalName services";
            errors.push(FieldError::forbidden(&path.child(key), detail));
        }
    }
    let name = read::text(spec, "externalName");
    let name = name.strip_suffix('.').unwrap_or(name);
    let at = path.child("externalName");
    if check::required(errors, &at, name) {
        check::faults(errors, &at, name, names::dns1123_subdomain(name));
    }
}

fn check_ports(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, kind: &str) {
    let ports = read::list(spec, "ports");
    let (mut names, mut numbers, mut node_ports) = (HashSet::new(), HashSet::new(), HashSet::new());
    for (i, port) in ports.iter().enumerate() {
        let at = path.index(i);
        let name = read::text(port, "name");
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(FieldError::required(&at.child("name"), ""));
            }
        } else {
            check::faults(errors, &at.child("name"), name, names::dns1123_label(name));
            if names.contains(&name) {
                errors.push(FieldError::duplicate(&at.child("name"), name));
            }
            names.insert(name);
        }
        let number = read::int(port, "port").unwrap_or(0);
        check::port(errors, &at.child("port"), number);
        let protocol = read::text(port, "protocol");
        check::one_of(errors, &at.child("protocol"), protocol, &PROTOCOLS);
        check::port_or_name(errors, &at.child("targetPort"), read::raw(port, "targetPort"));
        let app = read::text(port, "appProtocol");
        if !app.is_empty() {
            check::faults(errors, &at.child("appProtocol"), app, names::qualified_name(app));
        }
        let node_port = read::int(port, "nodePort").unwrap_or(0);
        if node_port != 0 {
            if kind == "ClusterIP" {
                let detail = "may not be used when `type` is 'ClusterIP'";
                errors.push(FieldError::forbidden(&at.child("nodePort"), detail));
            }
            if node_ports.contains(&(protocol, node_port)) {
                errors.push(FieldError::duplicate(&at.child("nodePort"), node_port));
            }
            node_ports.insert((protocol, node_port));
        }
        if numbers.contains(&(protocol, number)) {
            let key = json!({"Name": "", "Protocol": protocol, "AppProtocol": null, "Port": number, "TargetPort": 0, "NodePort": 0});
            errors.push(FieldError::duplicate(&at, key));
        }
        numbers.insert((protocol, number));
    }
}

fn affinity(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let affinity = read::text(spec, "sessionAffinity");
    check::one_of(errors, &path.child("sessionAffinity"), affinity, &["ClientIP", "None"]);
    if affinity == "ClientIP" {
        let timeout =
            read::at(spec, &["sessionAffinityConfig", "clientIP", "timeoutSeconds"]).and_then(Value::as_i64);
        if let Some(timeout) = timeout.filter(|t| !(1..=MAX_AFFINITY_S).contains(t)) {
            let at = path.child("sessionAffinityConfig");
            let at = at.child("clientIP");
            let detail = format!("must be greater than 0 and less than {MAX_AFFINITY_S}");
            errors.push(FieldError::invalid(&at.child("timeoutSeconds"), timeout, detail));
        }
    }
}

fn external_ips(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let external = path.child("externalIPs");
    for (i, address) in read::texts(spec, "externalIPs").enumerate() {
        check::ip(errors, &external.index(i), address);
    }
}

fn balancer(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, kind: &str) {
    let only = "may only be used when `type` is 'LoadBalancer'";
    let ranges = path.child("LoadBalancerSourceRanges");
    if kind != "LoadBalancer" {
        if !read::list(spec, "loadBalancerSourceRanges").is_empty() {
            errors.push(FieldError::forbidden(&ranges, only));
        }
        for key in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if read::get(spec, key).is_some() {
                errors.push(FieldError::forbidden(&path.child(key), only));
            }
        }
    }
    let class = read::get(spec, "loadBalancerClass").and_then(Value::as_str);
    if let Some(class) = class.filter(|_| kind == "LoadBalancer") {
        check::faults(errors, &path.child("loadBalancerClass"), class, names::qualified_name(class));
    }
    for (i, range) in read::texts(spec, "loadBalancerSourceRanges").enumerate() {
        check::cidr(errors, &ranges.index(i), range.trim());
    }
}

fn traffic(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, kind: &str) {
    let outside = matches!(kind, "LoadBalancer" | "NodePort")
        || (kind == "ClusterIP" && !read::list(spec, "externalIPs").is_empty());
    let external = read::text(spec, "externalTrafficPolicy");
    let at = path.child("externalTrafficPolicy");
    if outside {
        check::one_of(errors, &at, external, &["Cluster", "Local"]);
    } else if !external.is_empty() {
        let detail = "may only be set for externally-accessible services";
        errors.push(FieldError::invalid(&at, external, detail));
    }
    let health = read::int(spec, "healthCheckNodePort").unwrap_or(0);
    if health != 0 && !(kind == "LoadBalancer" && external == "Local") {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(FieldError::invalid(&path.child("healthCheckNodePort"), health, detail));
    }
    let internal = read::text(spec, "internalTrafficPolicy");
    let at = path.child("internalTrafficPolicy");
    check::if_given_one_of(errors, &at, internal, &["Cluster", "Local"]);
    let distribution = read::text(spec, "trafficDistribution");
    let known = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    check::if_given_one_of(errors, &path.child("trafficDistribution"), distribution, &known);
}

pub(crate) fn service_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let (after, before) = (read::top(new, "spec"), read::top(old, "spec"));
    addresses::changes(&mut errors, &path, after, before);
    let class = "loadBalancerClass";
    let balancer = |spec| read::text(spec, "type") == "LoadBalancer";
    if balancer(after) && balancer(before) && read::get(after, class) != read::get(before, class) {
        let value = read::raw(after, class).cloned().unwrap_or(Value::Null);
        errors.push(FieldError::invalid(&path.child(class), value, "may not change once set"));
    }
    let checked = |spec| {
        read::text(spec, "type") == "LoadBalancer" && read::text(spec, "externalTrafficPolicy") == "Local"
    };
    let health = "healthCheckNodePort";
    if checked(after) && checked(before) && read::int(after, health) != read::int(before, health) {
        errors.push(FieldError::forbidden(&path.child(health), check::IMMUTABLE));
    }
    errors.extend(service(new));
    errors
}
