//! Endpoints and their slices. Facts: upstream's `pkg/apis/discovery/validation` and `pkg/apis/core/validation`.

use std::collections::HashSet;
use std::net::IpAddr;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{check, read};

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
/// The most entries of a map that is no longer used.
const MAX_TOPOLOGY: usize = 16;
/// The most zones, or nodes, that an endpoint is meant for.
const MAX_HINTS: usize = 8;

pub(crate) fn endpoint_slice(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let family = read::top_raw(object, "addressType").and_then(Value::as_str).unwrap_or("");
    check::one_of(&mut errors, &Path::root("addressType"), family, &["FQDN", "IPv4", "IPv6"]);
    let path = Path::root("endpoints");
    let list = read::top(object, "endpoints").as_array().map_or(&[][..], Vec::as_slice);
    if list.len() > MAX_ENDPOINTS {
        errors.push(FieldError::too_many(&path, list.len(), MAX_ENDPOINTS));
    } else {
        for (i, endpoint) in list.iter().enumerate() {
            slice_endpoint(&mut errors, &path.index(i), endpoint, family);
        }
    }
    let path = Path::root("ports");
    let ports = read::top(object, "ports").as_array().map_or(&[][..], Vec::as_slice);
    slice_ports(&mut errors, &path, ports);
    errors
}

fn slice_endpoint(errors: &mut ErrorList, path: &Path<'_>, endpoint: &Value, family: &str) {
    let addresses = path.child("addresses");
    let count = read::list(endpoint, "addresses").len();
    if count == 0 {
        errors.push(FieldError::required(&addresses, "must contain at least 1 address"));
    } else if count > MAX_ADDRESSES {
        errors.push(FieldError::too_many(&addresses, count, MAX_ADDRESSES));
    }
    for (i, address) in read::texts(endpoint, "addresses").enumerate() {
        slice_address(errors, &addresses.index(i), address, family);
    }
    node_name(errors, path, endpoint);
    let topology = path.child("deprecatedTopology");
    let count = read::entries(endpoint, "deprecatedTopology").count();
    if count > MAX_TOPOLOGY {
        errors.push(FieldError::too_many(&topology, count, MAX_TOPOLOGY));
    }
    check::labels(errors, &topology, read::pairs(endpoint, "deprecatedTopology"));
    if read::get(endpoint, "hostname").is_some() {
        let name = read::text(endpoint, "hostname");
        check::faults(errors, &path.child("hostname"), name, names::dns1123_label(name));
    }
    hints(errors, &path.child("hints"), read::of(endpoint, "hints"));
}

fn slice_address(errors: &mut ErrorList, path: &Path<'_>, address: &str, family: &str) {
    match (family, address.parse::<IpAddr>()) {
        ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => special(errors, path, address),
        ("IPv4" | "IPv6", _) => {
            let detail = format!("must be a valid {family} address");
            errors.push(FieldError::invalid(path, address, detail));
        }
        ("FQDN", _) => domain(errors, path, address),
        _ => {}
    }
}

/// A fully qualified domain name.
fn domain(errors: &mut ErrorList, path: &Path<'_>, name: &str) {
    if !check::required(errors, path, name) {
        return;
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let faults = names::dns1123_subdomain(name);
    if !faults.is_empty() {
        errors.push(FieldError::invalid(path, name, faults.join(",")));
    } else if !name.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(path, name, detail));
    } else if let Some(label) = name.split('.').find(|label| !names::is_dns1123_label(label)) {
        errors.push(FieldError::invalid(path, label, names::dns1123_label(label).join(",")));
    }
}

/// What is no address of an endpoint, though it is one of something.
pub(super) fn special(errors: &mut ErrorList, path: &Path<'_>, address: &str) {
    let Ok(ip) = address.parse::<IpAddr>() else { return };
    // An IPv4 address in IPv6's form is the IPv4 address.
    let ip = ip.to_canonical();
    let unspecified = format!("may not be unspecified ({address})");
    let (local, multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] & 0xff0f == 0xff02),
    };
    let wrong = [
        (ip.is_unspecified(), unspecified.as_str()),
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ];
    for (_, detail) in wrong.iter().filter(|(is_so, _)| *is_so) {
        errors.push(FieldError::invalid(path, address, *detail));
    }
}

fn hints(errors: &mut ErrorList, path: &Path<'_>, hints: &Value) {
    for key in ["forZones", "forNodes"] {
        let grammar = if key == "forZones" { names::label_value } else { names::dns1123_subdomain };
        let at = path.child(key);
        let list = read::list(hints, key);
        if list.len() > MAX_HINTS {
            errors.push(FieldError::too_many(&at, list.len(), MAX_HINTS));
            return;
        }
        let mut seen = HashSet::new();
        for (i, hint) in list.iter().enumerate() {
            let at = at.index(i);
            let (at, name) = (at.child("name"), read::text(hint, "name"));
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(&at, name));
            }
            check::faults(errors, &at, name, grammar(name));
        }
    }
}

fn slice_ports(errors: &mut ErrorList, path: &Path<'_>, ports: &[Value]) {
    if ports.len() > MAX_PORTS {
        errors.push(FieldError::too_many(path, ports.len(), MAX_PORTS));
        return;
    }
    let mut seen = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let at = path.index(i);
        let name = read::text(port, "name");
        if !name.is_empty() {
            check::faults(errors, &at.child("name"), name, names::dns1123_label(name));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        let protocol = read::text(port, "protocol");
        check::one_of(errors, &at.child("protocol"), protocol, &PROTOCOLS);
        app_protocol(errors, &at, port);
    }
}

fn app_protocol(errors: &mut ErrorList, path: &Path<'_>, port: &Value) {
    if read::get(port, "appProtocol").is_some() {
        let protocol = read::text(port, "appProtocol");
        check::faults(errors, &path.child("appProtocol"), protocol, names::qualified_name(protocol));
    }
}

fn node_name(errors: &mut ErrorList, path: &Path<'_>, endpoint: &Value) {
    if read::get(endpoint, "nodeName").is_some() {
        let name = read::text(endpoint, "nodeName");
        check::faults(errors, &path.child("nodeName"), name, names::dns1123_subdomain(name));
    }
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
                endpoint_address(&mut errors, &addresses.index(j), address);
            }
        }
        let ports = at.child("ports");
        let several = read::list(subset, "ports").len() > 1;
        for (j, port) in read::list(subset, "ports").iter().enumerate() {
            let at = ports.index(j);
            let name = read::text(port, "name");
            if !name.is_empty() {
                check::faults(&mut errors, &at.child("name"), name, names::dns1123_label(name));
            } else if several {
                check::required(&mut errors, &at.child("name"), name);
            }
            check::port(&mut errors, &at.child("port"), read::int(port, "port").unwrap_or(0));
            check::one_of(&mut errors, &at.child("protocol"), read::text(port, "protocol"), &PROTOCOLS);
            app_protocol(&mut errors, &at, port);
        }
    }
    errors
}

fn endpoint_address(errors: &mut ErrorList, path: &Path<'_>, address: &Value) {
    let ip = read::text(address, "ip");
    check::ip(errors, &path.child("ip"), ip);
    let hostname = read::text(address, "hostname");
    if !hostname.is_empty() {
        check::faults(errors, &path.child("hostname"), hostname, names::dns1123_label(hostname));
    }
    node_name(errors, path, address);
    special(errors, &path.child("ip"), ip);
}
