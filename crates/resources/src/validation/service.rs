//! Services: types and what each may have, ports, addresses.

mod addresses;

use std::collections::HashSet;
use std::net::IpAddr;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::{Value, json};

use super::{check, network, read};
pub use addresses::service_address_errors;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const OF_BALANCERS: &str = "may only be used when `type` is 'LoadBalancer'";
const MAX_AFFINITY_S: i64 = 86_400;

pub(crate) fn service(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    topology(&mut errors, read::top(object, "metadata"));
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    let kind = read::text(spec, "type");
    let headless = read::text(spec, "clusterIP") == "None";
    let ports = read::list(spec, "ports");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required(&path.child("ports"), ""));
    }
    if headless && matches!(kind, "LoadBalancer" | "NodePort") {
        let at = path.child("clusterIPs");
        let detail = format!("may not be set to 'None' for {kind} services");
        errors.push(FieldError::invalid(&at.index(0), "None", detail));
    }
    if kind == "ExternalName" {
        external_name(&mut errors, &path, spec);
    }
    check_ports(&mut errors, &path.child("ports"), spec);
    check::labels(&mut errors, &path.child("selector"), read::pairs(spec, "selector"));
    affinity(&mut errors, &path, spec);
    errors.extend(service_address_errors(object));
    external_ips(&mut errors, &path, spec);
    check::one_of(&mut errors, &path.child("type"), kind, &TYPES);
    distinct_ports(&mut errors, &path.child("ports"), spec, kind);
    source_ranges(&mut errors, &path, read::top(object, "metadata"), spec, kind);
    balancer(&mut errors, &path, spec, kind);
    traffic(&mut errors, &path, spec, kind);
    errors
}

/// The two names of one annotation say the same.
fn topology(errors: &mut ErrorList, metadata: &Value) {
    const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    const MODE: &str = "service.kubernetes.io/topology-mode";
    if let (Some(hints), Some(mode)) = (annotation(metadata, HINTS), annotation(metadata, MODE))
        && hints != mode
    {
        let path = Path::root("metadata");
        let detail = format!("must match annotations[{HINTS}] when both are specified");
        errors.push(FieldError::invalid(&path.child("annotations").key(MODE), mode, detail));
    }
}

fn annotation<'v>(metadata: &'v Value, key: &str) -> Option<&'v str> {
    read::pairs(metadata, "annotations").find(|(name, _)| *name == key).map(|(_, value)| value)
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

fn check_ports(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let ports = read::list(spec, "ports");
    let mut names = HashSet::new();
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
        check::port(errors, &at.child("port"), read::int(port, "port").unwrap_or(0));
        check::one_of(errors, &at.child("protocol"), read::text(port, "protocol"), &PROTOCOLS);
        check::port_or_name(errors, &at.child("targetPort"), read::raw(port, "targetPort"));
        if let Some(app) = read::get(port, "appProtocol").and_then(Value::as_str) {
            check::faults(errors, &at.child("appProtocol"), app, names::qualified_name(app));
        }
    }
}

/// No two ports have the same number of the same protocol, on nodes or behind the address of the Service.
fn distinct_ports(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, kind: &str) {
    let ports = read::list(spec, "ports");
    let of_node = |port| read::int(port, "nodePort").filter(|number| *number != 0);
    if kind == "ClusterIP" {
        for (i, _) in ports.iter().enumerate().filter(|(_, port)| of_node(port).is_some()) {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(&path.index(i).child("nodePort"), detail));
        }
    }
    let mut seen = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let Some(number) = of_node(port) else { continue };
        if !seen.insert((read::text(port, "protocol"), number)) {
            errors.push(FieldError::duplicate(&path.index(i).child("nodePort"), number));
        }
    }
    let mut seen = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let (protocol, number) = (read::text(port, "protocol"), read::int(port, "port").unwrap_or(0));
        if !seen.insert((protocol, number)) {
            let key = json!({"Name": "", "Protocol": protocol, "AppProtocol": null, "Port": number, "TargetPort": 0, "NodePort": 0});
            errors.push(FieldError::duplicate(&path.index(i), key));
        }
    }
}

fn affinity(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let affinity = read::text(spec, "sessionAffinity");
    check::one_of(errors, &path.child("sessionAffinity"), affinity, &["ClientIP", "None"]);
    let path = path.child("sessionAffinityConfig");
    let config = read::get(spec, "sessionAffinityConfig");
    if affinity == "None" && config.is_some() {
        errors.push(FieldError::forbidden(&path, "must not be set when session affinity is None"));
    }
    if affinity == "ClientIP" {
        let at = path.child("clientIP");
        let client = config.map(|config| read::get(config, "clientIP"));
        let timeout = client.map(|client| client.map(|client| read::int(client, "timeoutSeconds")));
        let missing = "when session affinity type is ClientIP";
        match timeout {
            None => errors.push(FieldError::required(&path, missing)),
            Some(None) => errors.push(FieldError::required(&at, missing)),
            Some(Some(None)) => errors.push(FieldError::required(&at.child("timeoutSeconds"), missing)),
            Some(Some(Some(timeout))) if !(1..=MAX_AFFINITY_S).contains(&timeout) => {
                let detail = format!("must be greater than 0 and less than {MAX_AFFINITY_S}");
                errors.push(FieldError::invalid(&at.child("timeoutSeconds"), timeout, detail));
            }
            Some(Some(Some(_))) => {}
        }
    }
}

fn external_ips(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let external = path.child("externalIPs");
    for (i, address) in read::texts(spec, "externalIPs").enumerate() {
        let at = external.index(i);
        let before = errors.len();
        check::ip(errors, &at, address);
        if errors.len() == before {
            network::special(errors, &at, address);
        }
    }
}

/// Who may reach a balancer, by the field or by the annotation that was there before the field.
fn source_ranges(errors: &mut ErrorList, path: &Path<'_>, metadata: &Value, spec: &Value, kind: &str) {
    const ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
    if !read::list(spec, "loadBalancerSourceRanges").is_empty() {
        let at = path.child("LoadBalancerSourceRanges");
        if kind != "LoadBalancer" {
            errors.push(FieldError::forbidden(&at, OF_BALANCERS));
        }
        for (i, range) in read::texts(spec, "loadBalancerSourceRanges").enumerate() {
            check::cidr(errors, &at.index(i), range.trim());
        }
    } else if let Some(ranges) = annotation(metadata, ANNOTATION) {
        let at = Path::root("metadata");
        let at = at.child("annotations");
        let at = at.key(ANNOTATION);
        if kind != "LoadBalancer" {
            errors.push(FieldError::forbidden(&at, OF_BALANCERS));
        }
        for range in ranges.split(',').filter(|_| !ranges.trim().is_empty()) {
            check::cidr(errors, &at, range.trim());
        }
    }
}

fn balancer(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, kind: &str) {
    if kind != "LoadBalancer" {
        for key in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if read::get(spec, key).is_some() {
                errors.push(FieldError::forbidden(&path.child(key), OF_BALANCERS));
            }
        }
        return;
    }
    if let Some(class) = read::get(spec, "loadBalancerClass").and_then(Value::as_str) {
        check::faults(errors, &path.child("loadBalancerClass"), class, names::qualified_name(class));
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
    let at = path.child("healthCheckNodePort");
    // One that needs a port and has none is given a port before anybody sees the Service.
    if health != 0 && kind == "LoadBalancer" && external == "Local" {
        check::port(errors, &at, health);
    } else if health != 0 {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(FieldError::invalid(&at, health, detail));
    }
    let internal = read::text(spec, "internalTrafficPolicy");
    let at = path.child("internalTrafficPolicy");
    check::if_given_one_of(errors, &at, internal, &["Cluster", "Local"]);
    let known = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    if let Some(distribution) = read::get(spec, "trafficDistribution").and_then(Value::as_str)
        && !known.contains(&distribution)
    {
        errors.push(FieldError::not_supported(&path.child("trafficDistribution"), distribution, &known));
    }
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

/// What a balancer was found to be reached at.
pub(crate) fn service_status(new: &Object, _old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let kind = read::text(read::top(new, "spec"), "type");
    let status = Path::root("status");
    let path = status.child("loadBalancer");
    let path = path.child("ingress");
    let reached = read::list(read::of(read::top(new, "status"), "loadBalancer"), "ingress");
    if kind != "LoadBalancer" && !reached.is_empty() {
        errors.push(FieldError::forbidden(&path, "may only be used when `spec.type` is 'LoadBalancer'"));
        return errors;
    }
    for (i, point) in reached.iter().enumerate() {
        balancer_point(&mut errors, &path.index(i), point);
    }
    errors
}

fn balancer_point(errors: &mut ErrorList, path: &Path<'_>, point: &Value) {
    const MODES: [&str; 2] = ["Proxy", "VIP"];
    let address = read::text(point, "ip");
    if !address.is_empty() {
        check::ip(errors, &path.child("ip"), address);
    }
    let at = path.child("ipMode");
    match read::get(point, "ipMode").and_then(Value::as_str) {
        None if !address.is_empty() => {
            errors.push(FieldError::required(&at, "must be specified when `ip` is set"));
        }
        None => {}
        Some(_) if address.is_empty() => {
            errors.push(FieldError::forbidden(&at, "may not be specified when `ip` is not set"));
        }
        Some(mode) if !MODES.contains(&mode) => errors.push(FieldError::not_supported(&at, mode, &MODES)),
        Some(_) => {}
    }
    let host = read::text(point, "hostname");
    if !host.is_empty() {
        let at = path.child("hostname");
        check::faults(errors, &at, host, names::dns1123_subdomain(host));
        if host.parse::<IpAddr>().is_ok() {
            errors.push(FieldError::invalid(&at, host, "must be a DNS name, not an IP address"));
        }
    }
}
