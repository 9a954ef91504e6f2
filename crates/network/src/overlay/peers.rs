//! [`Peers`]: which node of another machine has which part of the pods' range, and by which address it is reached. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use serde::Deserialize;

/// What is read of every node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Raw")]
pub struct NodeView {
    /// Its first address of IPv4 by which the cluster reaches it.
    pub address: Option<Ipv4Addr>,
    /// Its parts of the pods' range.
    pub ranges: Vec<Ipv4Net>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Raw {
    spec: Option<RawSpec>,
    status: Option<RawStatus>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawSpec {
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawStatus {
    addresses: Option<Vec<RawAddress>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawAddress {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

impl From<Raw> for NodeView {
    fn from(raw: Raw) -> Self {
        let spec = raw.spec.unwrap_or_default();
        let addresses = raw.status.unwrap_or_default().addresses.unwrap_or_default();
        let mut internal = pods::node::internal_ips(addresses.iter().map(|one| (&*one.kind, &*one.address)));
        let texts = pods::node::ranges(spec.pod_cidrs, spec.pod_cidr);
        let ranges = texts.iter().filter_map(|text| text.parse::<Ipv4Net>().ok());
        Self {
            address: internal.find_map(|address| match address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            }),
            ranges: ranges.map(|range| range.trunc()).collect(),
        }
    }
}

/// This machine, and the range that all peers have parts of.
#[derive(Debug, Clone, Default)]
pub struct Here {
    pub pods: Ipv4Net,
    /// The node that this is.
    pub node: String,
    /// The parts of the range that are this machine's.
    pub ranges: Vec<Ipv4Net>,
    /// This machine's addresses.
    pub addresses: Vec<Ipv4Addr>,
}

/// The parts of the pods' range, each with the nodes that say they have it.
#[derive(Debug, Default)]
pub struct Peers {
    owners: BTreeMap<Ipv4Net, BTreeMap<String, Ipv4Addr>>,
    of: HashMap<String, Vec<Ipv4Net>>,
}

impl Peers {
    /// Takes what a node is now, if it is a peer, and returns the parts that may be reached in another way than before.
    pub fn set(&mut self, name: &str, node: Option<&NodeView>, here: &Here) -> BTreeSet<Ipv4Net> {
        let peer = node.and_then(|node| peer(name, node, here));
        let former = self.of.remove(name).unwrap_or_default();
        for range in &former {
            if let Some(owners) = self.owners.get_mut(range) {
                owners.remove(name);
                if owners.is_empty() {
                    self.owners.remove(range);
                }
            }
        }
        let mut touched: BTreeSet<Ipv4Net> = former.into_iter().collect();
        if let Some((address, ranges)) = peer {
            for range in &ranges {
                self.owners.entry(*range).or_default().insert(name.to_owned(), address);
            }
            touched.extend(&ranges);
            self.of.insert(name.to_owned(), ranges);
        }
        touched
    }

    /// The address of the node that has a part: of several that say so, the first by name.
    pub fn owner(&self, range: Ipv4Net) -> Option<Ipv4Addr> {
        self.owners.get(&range)?.values().next().copied()
    }

    /// All parts.
    pub fn ranges(&self) -> impl Iterator<Item = Ipv4Net> {
        self.owners.keys().copied()
    }
}

/// A node's address and parts, if it is on another machine. What a node has no right to is left out: ranges that are not
/// the pods', or this machine's.
fn peer(name: &str, node: &NodeView, here: &Here) -> Option<(Ipv4Addr, Vec<Ipv4Net>)> {
    if here.node == name {
        return None;
    }
    let is_machine = |address: &Ipv4Addr| {
        let is_group = address.is_multicast() || address.is_broadcast();
        !(address.is_unspecified() || address.is_loopback() || is_group || here.pods.contains(address))
    };
    let address = node.address.filter(is_machine).filter(|address| !here.addresses.contains(address))?;
    let overlaps = |range: &Ipv4Net| here.ranges.iter().any(|own| own.contains(range) || range.contains(own));
    let is_part = |range: &Ipv4Net| here.pods.contains(range) && range.prefix_len() > here.pods.prefix_len();
    let ranges = node.ranges.iter().copied().filter(|range| is_part(range) && !overlaps(range)).collect();
    Some((address, ranges))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().expect("a range")
    }

    fn here() -> Here {
        Here {
            pods: net("10.244.0.0/16"),
            node: "here".into(),
            ranges: vec![net("10.244.0.0/24")],
            addresses: vec![[192, 0, 2, 1].into()],
        }
    }

    fn node(address: &str, ranges: &[&str]) -> NodeView {
        NodeView { address: address.parse().ok(), ranges: ranges.iter().map(|range| net(range)).collect() }
    }

    #[test]
    fn a_node_is_read_from_its_object() {
        let read = |json: &str| serde_json::from_str::<NodeView>(json).expect("readable");
        let whole = r#"{"spec":{"podCIDR":"10.244.3.0/24","podCIDRs":["10.244.3.0/24","fd00::/64"]},
            "status":{"addresses":[{"type":"Hostname","address":"192.0.2.7"},{"type":"InternalIP","address":"fd00::1"},
            {"type":"InternalIP","address":"192.0.2.3"}]}}"#;
        assert_eq!(read(whole), node("192.0.2.3", &["10.244.3.0/24"]));
        assert_eq!(read(r#"{"spec":{"podCIDR":"10.244.3.7/24"}}"#), node("", &["10.244.3.0/24"]));
        assert_eq!(read(r#"{"spec":null,"status":{"addresses":null}}"#), NodeView::default());
    }

    #[test]
    fn peers_come_change_and_go() {
        let (mut peers, here) = (Peers::default(), here());
        let one = net("10.244.1.0/24");
        let ranges = |names: &[&str]| names.iter().map(|name| net(name)).collect::<BTreeSet<_>>();
        let touched = peers.set("b", Some(&node("192.0.2.3", &["10.244.1.0/24"])), &here);
        assert_eq!((touched, peers.owner(one)), (ranges(&["10.244.1.0/24"]), Some([192, 0, 2, 3].into())));
        // Another address, and another part.
        let touched = peers.set("b", Some(&node("192.0.2.4", &["10.244.2.0/24"])), &here);
        assert_eq!(touched, ranges(&["10.244.1.0/24", "10.244.2.0/24"]));
        assert_eq!((peers.owner(one), peers.ranges().count()), (None, 1));
        assert_eq!(peers.set("b", None, &here), ranges(&["10.244.2.0/24"]));
        assert_eq!(peers.ranges().count(), 0);
    }

    #[test]
    fn of_two_that_say_they_have_a_part_the_first_has_it() {
        let (mut peers, here) = (Peers::default(), here());
        let one = net("10.244.1.0/24");
        peers.set("b", Some(&node("192.0.2.3", &["10.244.1.0/24"])), &here);
        peers.set("a", Some(&node("192.0.2.2", &["10.244.1.0/24"])), &here);
        assert_eq!(peers.owner(one), Some([192, 0, 2, 2].into()));
        assert_eq!(peers.set("a", None, &here).len(), 1);
        assert_eq!(peers.owner(one), Some([192, 0, 2, 3].into()));
    }

    #[test]
    fn nobody_takes_what_is_not_a_peers() {
        let (mut peers, here) = (Peers::default(), here());
        for (name, node) in [
            ("here", node("192.0.2.3", &["10.244.1.0/24"])),
            ("a-node-of-this-machine", node("192.0.2.1", &["10.244.1.0/24"])),
            ("without-address", node("", &["10.244.1.0/24"])),
            ("loopback", node("127.0.0.1", &["10.244.1.0/24"])),
            ("a-pod", node("10.244.7.7", &["10.244.1.0/24"])),
            ("greedy", node("192.0.2.3", &["0.0.0.0/0", "10.244.0.0/16", "10.0.0.0/8", "192.0.2.0/24"])),
            ("thief", node("192.0.2.3", &["10.244.0.0/24", "10.244.0.0/23", "10.244.0.128/25"])),
        ] {
            assert_eq!(peers.set(name, Some(&node), &here), BTreeSet::new(), "{name}");
        }
    }
}
