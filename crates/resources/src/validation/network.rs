//! Ingresses and network policies, endpoints.

use std::net::IpAddr;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{check, read, selector};

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];

pub(crate) fn ingress(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    let default = read::get(spec, "defaultBackend");
    let rules = read::list(spec, "rules");
    if rules.is_empty() && default.is_none() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid(&path, Value::Null, detail));
    }
    if let Some(default) = default {
        backend(&mut errors, &path.child("defaultBackend"), default);
    }
    let rules_path = path.child("rules");
    for (i, rule) in rules.iter().enumerate() {
        let at = rules_path.index(i);
        host(&mut errors, &at.child("host"), read::text(rule, "host"));
        let Some(http) = read::get(rule, "http") else { continue };
        let at = at.child("http");
        let paths = at.child("paths");
        if read::list(http, "paths").is_empty() {
            errors.push(FieldError::required(&paths, ""));
        }
        for (j, found) in read::list(http, "paths").iter().enumerate() {
            http_path(&mut errors, &paths.index(j), found);
        }
    }
    let tls = path.child("tls");
    for (i, entry) in read::list(spec, "tls").iter().enumerate() {
        let at = tls.index(i);
        let hosts = at.child("hosts");
        for (j, name) in read::texts(entry, "hosts").enumerate() {
            let faults = host_faults(name);
            check::faults(&mut errors, &hosts.index(j), name, faults);
        }
    }
    let class = read::text(spec, "ingressClassName");
    if !class.is_empty() {
        let faults = names::dns1123_subdomain(class);
        check::faults(&mut errors, &path.child("ingressClassName"), class, faults);
    }
    errors
}

fn host(errors: &mut ErrorList, path: &Path<'_>, host: &str) {
    if host.is_empty() {
        return;
    }
    if host.parse::<IpAddr>().is_ok() {
        errors.push(FieldError::invalid(path, host, "must be a DNS name, not an IP address"));
    }
    check::faults(errors, path, host, host_faults(host));
}

fn host_faults(host: &str) -> names::Faults {
    if host.contains('*') { names::wildcard_dns1123_subdomain(host) } else { names::dns1123_subdomain(host) }
}

fn http_path(errors: &mut ErrorList, path: &Path<'_>, found: &Value) {
    let [url, kind] = ["path", "pathType"].map(|k| read::text(found, k));
    if kind.is_empty() {
        errors.push(FieldError::required(&path.child("pathType"), "pathType must be specified"));
    } else {
        check::if_given_one_of(errors, &path.child("pathType"), kind, &PATH_TYPES);
    }
    let strict = matches!(kind, "Exact" | "Prefix");
    if (strict || !url.is_empty()) && !url.starts_with('/') {
        errors.push(FieldError::invalid(&path.child("path"), url, "must be an absolute path"));
    }
    backend(errors, &path.child("backend"), read::of(found, "backend"));
}

fn backend(errors: &mut ErrorList, path: &Path<'_>, backend: &Value) {
    let service = match (read::get(backend, "service"), read::get(backend, "resource")) {
        (Some(_), Some(_)) => {
            errors.push(FieldError::invalid(path, "", "cannot set both resource and service backends"));
            return;
        }
        (None, None) => {
            errors.push(FieldError::invalid(path, "", "resource or service backend is required"));
            return;
        }
        (None, Some(resource)) => {
            let at = path.child("resource");
            for key in ["kind", "name"] {
                check::required(errors, &at.child(key), read::text(resource, key));
            }
            return;
        }
        (Some(service), None) => service,
    };
    let at = path.child("service");
    let name = read::text(service, "name");
    if check::required(errors, &at.child("name"), name) {
        check::faults(errors, &at.child("name"), name, names::dns1035_label(name));
    }
    let port = read::of(service, "port");
    let at = at.child("port");
    match (read::text(port, "name"), read::int(port, "number").unwrap_or(0)) {
        ("", 0) => errors.push(FieldError::required(path, "port name or number is required")),
        ("", number) => check::port(errors, &at.child("number"), number),
        (name, 0) => check::faults(errors, &at.child("name"), name, names::port_name(name)),
        _ => errors.push(FieldError::invalid(path, "", "cannot set both port name & port number")),
    }
}

pub(crate) fn network_policy(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    selector::label_selector(&mut errors, &path.child("podSelector"), read::get(spec, "podSelector"));
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        let at = path.child(direction);
        for (i, rule) in read::list(spec, direction).iter().enumerate() {
            let at = at.index(i);
            let ports = at.child("ports");
            for (j, port) in read::list(rule, "ports").iter().enumerate() {
                policy_port(&mut errors, &ports.index(j), port);
            }
            let peers_path = at.child(peers);
            for (j, found) in read::list(rule, peers).iter().enumerate() {
                peer(&mut errors, &peers_path.index(j), found);
            }
        }
    }
    let at = path.child("policyTypes");
    if read::list(spec, "policyTypes").len() > 2 {
        let value = read::raw(spec, "policyTypes").cloned().unwrap_or(Value::Null);
        errors.push(FieldError::invalid(&at, value, "may not specify more than two policyTypes"));
    } else {
        for (i, kind) in read::texts(spec, "policyTypes").enumerate() {
            if !matches!(kind, "Ingress" | "Egress") {
                errors.push(FieldError::not_supported(&at.index(i), kind, &["Egress", "Ingress"]));
            }
        }
    }
    errors
}

fn policy_port(errors: &mut ErrorList, path: &Path<'_>, port: &Value) {
    let protocol = read::text(port, "protocol");
    check::if_given_one_of(errors, &path.child("protocol"), protocol, &PROTOCOLS);
    let number = read::get(port, "port");
    if number.is_some() {
        check::port_or_name(errors, &path.child("port"), number);
    }
    let Some(end) = read::int(port, "endPort") else { return };
    match number.map(Value::as_i64) {
        None => {
            let detail = "may not be specified when `port` is not specified";
            errors.push(FieldError::invalid(&path.child("endPort"), end, detail));
        }
        Some(None) => {
            let detail = "may not be specified when `port` is non-numeric";
            errors.push(FieldError::invalid(&path.child("endPort"), end, detail));
        }
        Some(Some(start)) => {
            if end < start {
                let detail = "must be greater than or equal to `port`";
                errors.push(FieldError::invalid(&path.child("endPort"), end, detail));
            }
            check::port(errors, &path.child("endPort"), end);
        }
    }
}

fn peer(errors: &mut ErrorList, path: &Path<'_>, peer: &Value) {
    let mut others = 0;
    for key in ["podSelector", "namespaceSelector"] {
        if let Some(found) = read::get(peer, key) {
            others += 1;
            selector::label_selector(errors, &path.child(key), Some(found));
        }
    }
    let Some(block) = read::get(peer, "ipBlock") else {
        if others == 0 {
            errors.push(FieldError::required(path, "must specify a peer"));
        }
        return;
    };
    if others > 0 {
        errors.push(FieldError::forbidden(path, "may not specify both ipBlock and another peer"));
        return;
    }
    let at = path.child("ipBlock");
    let range = read::text(block, "cidr");
    if check::required(errors, &at.child("cidr"), range) {
        check::cidr(errors, &at.child("cidr"), range);
    }
    let except = at.child("except");
    for (i, excepted) in read::texts(block, "except").enumerate() {
        check::cidr(errors, &except.index(i), excepted);
    }
}

pub(crate) fn endpoint_slice(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let family = read::top_raw(object, "addressType").and_then(Value::as_str).unwrap_or("");
    check::one_of(&mut errors, &Path::root("addressType"), family, &["FQDN", "IPv4", "IPv6"]);
    let path = Path::root("endpoints");
    let list = read::top(object, "endpoints").as_array();
    for (i, endpoint) in list.into_iter().flatten().enumerate() {
        let at = path.index(i);
        let addresses = at.child("addresses");
        if read::list(endpoint, "addresses").is_empty() {
            errors.push(FieldError::required(&addresses, "must contain at least 1 address"));
        }
        for (j, address) in read::texts(endpoint, "addresses").enumerate() {
            match family {
                "IPv4" | "IPv6" => check::ip(&mut errors, &addresses.index(j), address),
                _ => {
                    let faults = names::dns1123_subdomain(address);
                    check::faults(&mut errors, &addresses.index(j), address, faults);
                }
            }
        }
    }
    errors
}

pub(crate) fn endpoints(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("subsets");
    let list = read::top(object, "subsets").as_array();
    for (i, subset) in list.into_iter().flatten().enumerate() {
        let at = path.index(i);
        let all = ["addresses", "notReadyAddresses"];
        if all.iter().all(|key| read::list(subset, key).is_empty()) {
            errors.push(FieldError::required(&at, "must specify `addresses` or `notReadyAddresses`"));
        }
        for key in all {
            let addresses = at.child(key);
            for (j, address) in read::list(subset, key).iter().enumerate() {
                check::ip(&mut errors, &addresses.index(j).child("ip"), read::text(address, "ip"));
            }
        }
        let ports = at.child("ports");
        let several = read::list(subset, "ports").len() > 1;
        for (j, port) in read::list(subset, "ports").iter().enumerate() {
            let at = ports.index(j);
            if several {
                check::required(&mut errors, &at.child("name"), read::text(port, "name"));
            }
            check::port(&mut errors, &at.child("port"), read::int(port, "port").unwrap_or(0));
            check::one_of(&mut errors, &at.child("protocol"), read::text(port, "protocol"), &PROTOCOLS);
        }
    }
    errors
}
