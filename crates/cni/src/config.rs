//! The plugin's configuration: the `knarr-bridge` entry of a CNI configuration list.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The plugin's name in CNI configuration, and of the link it is called by.
pub const PLUGIN_TYPE: &str = "knarr-bridge";
/// The name by which runtimes ask for the plugin that sets loopback interfaces up.
pub const LOOPBACK_TYPE: &str = "loopback";

/// Configuration of one node's pod network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BridgeConfig {
    /// The bridge's name (at most 15 bytes); also the name of the nftables table.
    pub bridge: String,
    /// The pods of this node (`10.244.0.0/24`); its first address is the bridge's, and the pods' gateway.
    pub subnet: String,
    /// All pods; traffic to other addresses is masqueraded.
    pub cluster_cidr: String,
    /// Where handed-out addresses are recorded.
    pub ipam_dir: PathBuf,
    /// The prefix of the names of the host's ends of pods' interfaces (at most 6 bytes).
    pub veth_prefix: String,
    /// Addresses of Services that the node itself answers on (the API server's, the DNS').
    #[serde(default)]
    pub service_addresses: Vec<Ipv4Addr>,
    /// The largest packet that pods send, in bytes; the kernel's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Where the agent of network policies hears which pod gets which address; pods are attached without it where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_socket: Option<PathBuf>,
}

/// An IPv4 range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub network: Ipv4Addr,
    /// 8 to 30.
    pub prefix: u8,
}

impl Range {
    /// # Errors
    /// When the text is no IPv4 range with a prefix of 8 to 30.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = || Error::Config(format!("{text:?} is no IPv4 range such as 10.244.0.0/24"));
        let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
        let address: Ipv4Addr = address.parse().map_err(|_| bad())?;
        let prefix: u8 = prefix.parse().map_err(|_| bad())?;
        if !(8..=30).contains(&prefix) {
            return Err(bad());
        }
        let network = Ipv4Addr::from_bits(address.to_bits() & mask(prefix));
        Ok(Self { network, prefix })
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.network.to_bits()
    }

    /// Whether another range, not the one of all addresses, has an address of this one.
    pub fn meets(self, network: Ipv4Addr, prefix: u8) -> bool {
        prefix > 0 && (self.network.to_bits() ^ network.to_bits()) & mask(prefix.min(self.prefix)) == 0
    }

    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask(self.prefix))
    }

    /// The first address: the gateway.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() + 1)
    }

    /// The addresses pods may get: all but the network's, the gateway's and the broadcast one.
    pub fn pod_addresses(self) -> (Ipv4Addr, Ipv4Addr) {
        let last = self.network.to_bits() | !mask(self.prefix);
        (Ipv4Addr::from_bits(self.network.to_bits() + 2), Ipv4Addr::from_bits(last - 1))
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

const fn mask(prefix: u8) -> u32 {
    u32::MAX << (32 - prefix)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges() {
        let range = Range::parse("10.244.3.7/24").expect("a range");
        assert_eq!(range.network, Ipv4Addr::new(10, 244, 3, 0));
        assert_eq!(range.gateway(), Ipv4Addr::new(10, 244, 3, 1));
        assert_eq!(range.pod_addresses(), (Ipv4Addr::new(10, 244, 3, 2), Ipv4Addr::new(10, 244, 3, 254)));
        assert!(range.contains(Ipv4Addr::new(10, 244, 3, 255)));
        let meets = |address: [u8; 4], prefix| range.meets(address.into(), prefix);
        assert!(meets([10, 0, 0, 0], 8) && meets([10, 244, 3, 9], 32) && meets([10, 244, 3, 0], 24));
        assert!(!meets([0, 0, 0, 0], 0), "the default route leads elsewhere");
        assert!(!meets([10, 244, 4, 0], 24) && !meets([10, 244, 2, 255], 32));
        assert_eq!(range.to_string(), "10.244.3.0/24");
        for bad in ["", "10.0.0.0", "10.0.0.0/31", "x/24", "10.0.0.0/4"] {
            assert!(Range::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_range_or_refused(text in "[0-9]{1,3}(\\.[0-9]{1,3}){3}/[+0-9]{1,3}|[0-9./+ -]{0,24}|\\PC{0,20}") {
            if let Ok(range) = Range::parse(&text) {
                let (first, last) = range.pod_addresses();
                prop_assert!(range.network < range.gateway() && range.gateway() < first && first <= last);
                prop_assert!(range.contains(range.network) && range.contains(last));
                prop_assert_eq!(Range::parse(&format!("{}/{}", range.network, range.prefix)).ok(), Some(range));
            }
        }

        #[test]
        fn a_range_has_the_addresses_that_begin_as_it_does(network: u32, other: u32, prefix in 8u8..=30) {
            let range = Range::parse(&format!("{}/{prefix}", Ipv4Addr::from_bits(network))).expect("a range");
            let alike = (network ^ other).leading_zeros() >= u32::from(prefix);
            prop_assert_eq!(range.contains(Ipv4Addr::from_bits(other)), alike);
        }

        #[test]
        fn a_configuration_is_read_as_it_was_written_and_any_other_bytes_are_refused(
            bridge in "\\PC{0,20}",
            subnet in "[0-9./]{0,20}",
            addresses in prop::collection::vec(any::<Ipv4Addr>(), 0..3),
            flips in prop::collection::vec((0usize..400, any::<u8>()), 0..4),
        ) {
            let config = BridgeConfig {
                bridge,
                subnet,
                cluster_cidr: "10.244.0.0/16".to_owned(),
                ipam_dir: "/var/lib/ipam".into(),
                veth_prefix: "veth".to_owned(),
                service_addresses: addresses,
                mtu: Some(1450),
        policy_socket: None,
            };
            let mut text = serde_json::to_vec(&config).expect("written");
            prop_assert_eq!(serde_json::from_slice::<BridgeConfig>(&text).ok(), Some(config));
            for (at, byte) in flips {
                let at = at % text.len();
                text[at] = byte;
            }
            if let Ok(config) = serde_json::from_slice::<BridgeConfig>(&text) {
                let _ = Range::parse(&config.subnet);
            }
        }
    }
}
