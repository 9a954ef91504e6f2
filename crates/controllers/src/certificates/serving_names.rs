//! Whether the names and addresses that a node wants to be known by are its own. Pure.
//!
//! Upstream leaves the decision to people, since a node says itself which addresses it has. Here a request is approved
//! when no name or address in it could make the node pass for somebody else: the only DNS name is the node's, which the
//! certificate it asks with says too; each address is in the Node's status, and neither another node's, nor the API
//! server's, nor a Service's.

use std::net::IpAddr;

use ipnet::IpNet;

use super::request::Request;

/// What is known of the addresses of a cluster.
pub(super) struct Addresses<'a> {
    /// The node's own, as its status says.
    pub own: Vec<IpAddr>,
    /// Whether another node says that it has the address.
    pub is_anothers: &'a dyn Fn(IpAddr) -> bool,
    /// Of the API servers.
    pub servers: Vec<IpAddr>,
    /// The ranges of Services.
    pub services: Vec<IpNet>,
}

/// Why the request of the node is left to people; `None` when its names are its own.
pub(super) fn refusal(node: &str, request: &Request, known: &Addresses<'_>) -> Option<String> {
    if let Some(other) = request.dns_names.iter().find(|name| *name != node) {
        return Some(format!("the DNS name {other} is not the node's"));
    }
    if !request.dns_names.is_empty() && is_reserved(node) {
        return Some(format!("the node is called {node}, as others are"));
    }
    request.addresses.iter().find_map(|address| {
        let why = if !known.own.contains(address) {
            "is not in the node's status"
        } else if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
            "is not of one machine alone"
        } else if (known.is_anothers)(*address) {
            "is another node's too"
        } else if known.servers.contains(address) {
            "is the API server's"
        } else if known.services.iter().any(|range| range.contains(address)) {
            "is a Service's"
        } else {
            return None;
        };
        Some(format!("the address {address} {why}"))
    })
}

/// Names that mean something else than a node: the API server's own, and those of Services.
fn is_reserved(name: &str) -> bool {
    let is_in = |domain: &str| name == domain || name.ends_with(&format!(".{domain}"));
    matches!(name, "localhost" | "kubernetes" | "kubernetes.default")
        || is_in("svc")
        || is_in("cluster.local")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn decide(node: &str, names: &[&str], addresses: &[&str]) -> Option<String> {
        let request = Request {
            dns_names: names.iter().map(|name| (*name).to_owned()).collect(),
            addresses: addresses.iter().map(|text| ip(text)).collect(),
            ..Request::default()
        };
        let known = Addresses {
            own: ["192.0.2.7", "192.0.2.8", "192.0.2.1", "10.96.0.1", "127.0.0.1", "2001:db8::7"]
                .map(ip)
                .to_vec(),
            is_anothers: &|address| address == ip("192.0.2.8"),
            servers: vec![ip("192.0.2.1")],
            services: vec!["10.96.0.0/16".parse().expect("a range")],
        };
        refusal(node, &request, &known)
    }

    #[test]
    fn a_node_is_known_by_its_own_names() {
        assert_eq!(decide("n1", &["n1"], &["192.0.2.7", "2001:db8::7"]), None);
        assert_eq!(decide("n1", &[], &["192.0.2.7"]), None);
    }

    #[test]
    fn and_by_nobody_elses() {
        let why = |names: &[&str], addresses: &[&str]| decide("n1", names, addresses).expect("refused");
        assert_eq!(why(&["n1", "n2"], &[]), "the DNS name n2 is not the node's");
        assert_eq!(why(&["n1"], &["192.0.2.9"]), "the address 192.0.2.9 is not in the node's status");
        assert_eq!(why(&["n1"], &["192.0.2.7", "192.0.2.8"]), "the address 192.0.2.8 is another node's too");
        assert_eq!(why(&["n1"], &["192.0.2.1"]), "the address 192.0.2.1 is the API server's");
        assert_eq!(why(&["n1"], &["10.96.0.1"]), "the address 10.96.0.1 is a Service's");
        assert_eq!(why(&["n1"], &["127.0.0.1"]), "the address 127.0.0.1 is not of one machine alone");
        for name in
            ["localhost", "kubernetes", "kubernetes.default.svc", "a.b.svc.cluster.local", "cluster.local"]
        {
            let why = decide(name, &[name], &["192.0.2.7"]).expect(name);
            assert_eq!(why, format!("the node is called {name}, as others are"));
        }
        assert_eq!(decide("svc-1", &["svc-1"], &[]), None);
    }
}
