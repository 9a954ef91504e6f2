//! What is read of a node by who leads to its pods.

use std::net::IpAddr;

/// The node's parts of the pod network: of `spec.podCIDRs` and `spec.podCIDR`, which is the first of these.
pub fn ranges(pod_cidrs: Option<Vec<String>>, pod_cidr: Option<String>) -> Vec<String> {
    let mut ranges = pod_cidrs.unwrap_or_default();
    ranges.extend(pod_cidr.filter(|range| !ranges.contains(range)));
    ranges
}

/// The addresses by which the cluster reaches the node, of the types and texts of `status.addresses`.
pub fn internal_ips<'a>(addresses: impl Iterator<Item = (&'a str, &'a str)>) -> impl Iterator<Item = IpAddr> {
    addresses.filter(|(kind, _)| *kind == "InternalIP").filter_map(|(_, text)| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_addresses_are_read() {
        let text = |text: &str| text.to_owned();
        assert_eq!(ranges(Some(vec![text("a"), text("b")]), Some(text("a"))), ["a", "b"]);
        assert_eq!(ranges(None, Some(text("a"))), ["a"]);
        assert!(ranges(None, None).is_empty());
        let all = [
            ("Hostname", "192.0.2.7"),
            ("InternalIP", "192.0.2.3"),
            ("InternalIP", "fd00::1"),
            ("InternalIP", "x"),
        ];
        let found: Vec<IpAddr> = internal_ips(all.into_iter()).collect();
        assert_eq!(found, ["192.0.2.3", "fd00::1"].map(|ip| ip.parse::<IpAddr>().expect("an address")));
    }
}
