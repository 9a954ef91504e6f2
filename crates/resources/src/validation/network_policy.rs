//! Network policies (upstream: `pkg/apis/networking/validation`, `pkg/registry/networking/networkpolicy`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use super::{check, read, selector};

const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
const TYPES: [&str; 2] = ["Ingress", "Egress"];
/// The lists of rules, and of each rule's peers.
const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

pub(crate) fn network_policy(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    selector::label_selector(&mut errors, &path.child("podSelector"), read::get(spec, "podSelector"));
    for (direction, peers) in DIRECTIONS {
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
    if read::list(spec, "policyTypes").len() > TYPES.len() {
        let value = read::raw(spec, "policyTypes").cloned().unwrap_or(Value::Null);
        errors.push(FieldError::invalid(&at, value, "may not specify more than two policyTypes"));
    } else {
        for (i, kind) in read::texts(spec, "policyTypes").enumerate() {
            if !TYPES.contains(&kind) {
                errors.push(FieldError::not_supported(&at.index(i), kind, &TYPES));
            }
        }
    }
    errors
}

fn policy_port(errors: &mut ErrorList, path: &Path<'_>, port: &Value) {
    let protocol = read::text(port, "protocol");
    check::if_given_one_of(errors, &path.child("protocol"), protocol, &PROTOCOLS);
    let number = read::get(port, "port");
    let end = read::int(port, "endPort");
    let refuse = |errors: &mut ErrorList, detail: &'static str| {
        errors.extend(end.map(|end| FieldError::invalid(&path.child("endPort"), end, detail)));
    };
    match number {
        None => refuse(errors, "may not be specified when `port` is not specified"),
        Some(Value::String(_)) => {
            refuse(errors, "may not be specified when `port` is non-numeric");
            check::port_or_name(errors, &path.child("port"), number);
        }
        Some(first) => {
            check::port_or_name(errors, &path.child("port"), number);
            let Some(end) = end else { return };
            if first.as_i64().is_some_and(|first| end < first) {
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
    match read::get(peer, "ipBlock") {
        None if others == 0 => errors.push(FieldError::required(path, "must specify a peer")),
        None => {}
        Some(found) => {
            block(errors, &path.child("ipBlock"), found);
            if others > 0 {
                errors.push(FieldError::forbidden(path, "may not specify both ipBlock and another peer"));
            }
        }
    }
}

fn block(errors: &mut ErrorList, path: &Path<'_>, block: &Value) {
    let (at, range) = (path.child("cidr"), read::text(block, "cidr"));
    if !check::required(errors, &at, range) {
        return;
    }
    check::cidr(errors, &at, range);
    let Some(whole) = Cidr::parse(range) else { return };
    let except = path.child("except");
    for (i, excepted) in read::texts(block, "except").enumerate() {
        let at = except.index(i);
        check::cidr(errors, &at, excepted);
        if Cidr::parse(excepted).is_some_and(|part| !whole.contains(part)) {
            errors.push(FieldError::invalid(&at, excepted, "must be a strict subset of `cidr`"));
        }
    }
}

/// Of ranges of addresses in a form that is not the usual one (upstream: `GetWarningsForCIDR`).
pub(crate) fn warnings(object: &Object) -> Vec<String> {
    let mut warnings = Vec::new();
    let spec = read::top(object, "spec");
    for (direction, peers) in DIRECTIONS {
        for (i, rule) in read::list(spec, direction).iter().enumerate() {
            for (j, peer) in read::list(rule, peers).iter().enumerate() {
                let Some(block) = read::get(peer, "ipBlock") else { continue };
                let path = format!("spec.{direction}[{i}].{peers}[{j}].ipBlock");
                range_warnings(&mut warnings, &format!("{path}.cidr"), read::text(block, "cidr"));
                for (k, excepted) in read::texts(block, "except").enumerate() {
                    range_warnings(&mut warnings, &format!("{path}.except[{k}]"), excepted);
                }
            }
        }
    }
    warnings
}

pub(super) fn range_warnings(warnings: &mut Vec<String>, path: &str, value: &str) {
    let Some(cidr) = Cidr::parse(value) else { return };
    let (network, count) = (cidr.network(), warnings.len());
    if cidr.address != network {
        let (whole, one) =
            (format!("{network}/{}", cidr.length), format!("{}/{}", cidr.address, cidr.bits()));
        warnings.push(format!(
            "{path}: CIDR value {value:?} is ambiguous in this context (should be {whole:?} or {one:?}?)"
        ));
    }
    let IpAddr::V6(inner) = network else { return };
    if let Some(inner) = inner.to_ipv4_mapped() {
        let usual = format!("{inner}/{}", cidr.length.saturating_sub(96));
        warnings.push(format!(
            "{path}: non-standard CIDR value {value:?} will be considered invalid in a future Kubernetes release: use {usual:?}"
        ));
    }
    let canonical = format!("{}/{}", cidr.address, cidr.length);
    if warnings.len() == count && canonical != value {
        warnings.push(format!(
            "{path}: IPv6 CIDR value {value:?} should be in RFC 5952 canonical format ({canonical:?})"
        ));
    }
}

/// A range as it is written: the address may be any of the range.
#[derive(Debug, Clone, Copy)]
struct Cidr {
    address: IpAddr,
    length: u8,
}

impl Cidr {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let cidr = Self { address: address.parse().ok()?, length: length.parse().ok()? };
        (cidr.length <= cidr.bits()).then_some(cidr)
    }

    /// The length of its addresses.
    fn bits(self) -> u8 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }

    /// The first of its addresses.
    fn network(self) -> IpAddr {
        self.first_of(self.address)
    }

    /// The first address of the range of this length that `address` is in.
    fn first_of(self, address: IpAddr) -> IpAddr {
        let length = u32::from(self.length);
        match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - length.min(32)).unwrap_or(0);
                Ipv4Addr::from_bits(address.to_bits() & mask).into()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - length.min(128)).unwrap_or(0);
                Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
        }
    }

    /// Whether it is larger than another one, and has all of that.
    fn contains(self, part: Self) -> bool {
        self.address.is_ipv4() == part.address.is_ipv4()
            && self.length < part.length
            && self.first_of(part.address) == self.network()
    }
}
