//! [`NodePorts`]: on which of the machine's addresses node ports are reached. As upstream's `--nodeport-addresses`
//! (`pkg/proxy/util/nodeport_addresses.go`), but that all addresses are the default. Pure.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

/// The word for the node's own address.
const PRIMARY: &str = "primary";

/// On which addresses of the machine node ports are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NodePorts {
    /// All, those of the loopback included.
    #[default]
    All,
    /// The node's own.
    Primary,
    /// Those within these ranges.
    Within(Vec<Ipv4Net>),
}

/// What is wrong with the text of a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodePortsError {
    #[error("node port addresses: {0:?} is no CIDR such as 192.0.2.0/24, and not \"primary\"")]
    Text(String),
    #[error("node port addresses: \"primary\" stands alone or not at all")]
    PrimaryAmongOthers,
}

impl NodePorts {
    /// What CIDRs or the word `primary` say; nothing says all. CIDRs of IPv6 leave those of IPv4 as they are.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, NodePortsError> {
        let texts: Vec<&str> = texts.iter().map(|text| text.as_ref().trim()).collect();
        if texts == [PRIMARY] {
            return Ok(Self::Primary);
        }
        if texts.contains(&PRIMARY) {
            return Err(NodePortsError::PrimaryAmongOthers);
        }
        let mut ranges = Vec::new();
        for text in texts {
            match text.parse::<IpNet>() {
                Ok(IpNet::V4(range)) => ranges.push(range.trunc()),
                Ok(IpNet::V6(_)) => {}
                Err(_) => return Err(NodePortsError::Text(text.to_owned())),
            }
        }
        let is_all = ranges.is_empty() || ranges.iter().any(|range| range.prefix_len() == 0);
        Ok(if is_all { Self::All } else { Self::Within(Ipv4Net::aggregate(&ranges)) })
    }

    /// The ranges of node ports, where these are the machine's addresses, the node's own first.
    pub(super) fn ranges(&self, machine: &[Ipv4Addr]) -> Vec<Ipv4Net> {
        match self {
            Self::All => vec![Ipv4Net::default()],
            Self::Primary => machine.first().copied().map(Ipv4Net::from).into_iter().collect(),
            Self::Within(ranges) => ranges.clone(),
        }
    }

    /// The addresses that a server for node ports listens on.
    pub(super) fn listening(&self, machine: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
        match self {
            Self::All => vec![Ipv4Addr::UNSPECIFIED],
            Self::Primary => machine.first().copied().into_iter().collect(),
            Self::Within(ranges) => {
                let all = machine.iter().copied().chain([Ipv4Addr::LOCALHOST]);
                all.filter(|address| ranges.iter().any(|range| range.contains(address))).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().expect("a range")
    }

    #[test]
    fn cidrs_and_the_word_primary_are_read() {
        let read = |texts: &[&str]| NodePorts::parse(texts);
        assert_eq!(read(&[]), Ok(NodePorts::All));
        assert_eq!(read(&["primary"]), Ok(NodePorts::Primary));
        let within = NodePorts::Within(vec![net("127.0.0.0/8"), net("192.0.2.0/24")]);
        assert_eq!(read(&["192.0.2.7/24", " 127.0.0.0/8", "fd00::/64"]), Ok(within));
        assert_eq!(read(&["192.0.2.0/24", "0.0.0.0/0"]), Ok(NodePorts::All));
        assert_eq!(read(&["fd00::/64"]), Ok(NodePorts::All), "nothing is said of IPv4");
        assert_eq!(read(&["primary", "192.0.2.0/24"]), Err(NodePortsError::PrimaryAmongOthers));
        assert_eq!(read(&["192.0.2.1"]), Err(NodePortsError::Text("192.0.2.1".into())));
    }

    #[test]
    fn servers_listen_where_node_ports_are() {
        let machine = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 1)];
        let [all, primary] = [NodePorts::All, NodePorts::Primary];
        assert_eq!(all.listening(&machine), [Ipv4Addr::UNSPECIFIED]);
        assert_eq!(
            (primary.listening(&machine), primary.ranges(&machine)),
            (vec![machine[0]], vec![net("192.0.2.1/32")])
        );
        assert!(primary.ranges(&[]).is_empty() && primary.listening(&[]).is_empty());
        let within = NodePorts::Within(vec![net("127.0.0.0/8"), net("198.51.100.0/24")]);
        assert_eq!(within.listening(&machine), [machine[1], Ipv4Addr::LOCALHOST]);
        assert_eq!(within.ranges(&machine).len(), 2);
    }
}
