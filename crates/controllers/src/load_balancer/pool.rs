//! [`Pool`]: the addresses that Services of type LoadBalancer are given, each to one Service. Pure.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// A set of addresses of IPv4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// First and last addresses, ascending; no two ranges share an address.
    ranges: Vec<(u32, u32)>,
}

/// What is wrong with the text of a pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    #[error("the pool of load balancers' addresses is empty")]
    Empty,
    #[error(
        "{0:?} is no address, no CIDR and no range of IPv4: use for example 192.0.2.16/28 or 192.0.2.16-192.0.2.31"
    )]
    Text(String),
    #[error("the range {0} ends before it begins")]
    Backwards(String),
    #[error("the range {0} holds addresses that are no machine's: loopback, multicast or unspecified ones")]
    Special(String),
}

impl Pool {
    /// The pool of these CIDRs, ranges (`FIRST-LAST`) and single addresses; all addresses of each are in it.
    ///
    /// # Errors
    /// Names the text that is wrong.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, PoolError> {
        let mut ranges = Vec::new();
        for text in texts.iter().map(|text| text.as_ref().trim()).filter(|text| !text.is_empty()) {
            let (first, last) = range(text).ok_or_else(|| PoolError::Text(text.to_owned()))?;
            if last < first {
                return Err(PoolError::Backwards(text.to_owned()));
            }
            if SPECIAL.iter().any(|&(from, to)| first <= Ipv4Addr::from(to) && Ipv4Addr::from(from) <= last) {
                return Err(PoolError::Special(text.to_owned()));
            }
            ranges.push((first.to_bits(), last.to_bits()));
        }
        if ranges.is_empty() {
            return Err(PoolError::Empty);
        }
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Ok(Self { ranges: merged })
    }

    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&address.to_bits()))
    }

    /// Whether some address of the network is in the pool.
    pub fn overlaps(&self, network: Ipv4Net) -> bool {
        let (from, to) = (network.network().to_bits(), network.broadcast().to_bits());
        self.ranges.iter().any(|(first, last)| *first <= to && from <= *last)
    }

    /// All addresses, ascending.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.ranges.iter().flat_map(|(first, last)| (*first..=*last).map(Ipv4Addr::from_bits))
    }
}

/// 0.0.0.0/8, 127.0.0.0/8, and all from 224.0.0.0 on.
const SPECIAL: [([u8; 4], [u8; 4]); 3] = [
    ([0, 0, 0, 0], [0, 255, 255, 255]),
    ([127, 0, 0, 0], [127, 255, 255, 255]),
    ([224, 0, 0, 0], [255, 255, 255, 255]),
];

fn range(text: &str) -> Option<(Ipv4Addr, Ipv4Addr)> {
    if let Some((first, last)) = text.split_once('-') {
        return Some((first.trim().parse().ok()?, last.trim().parse().ok()?));
    }
    if let Ok(network) = text.parse::<Ipv4Net>() {
        return Some((network.network(), network.broadcast()));
    }
    text.parse().ok().map(|address| (address, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(texts: &[&str]) -> Pool {
        Pool::parse(texts).expect("a pool")
    }

    #[test]
    fn cidrs_ranges_and_addresses_are_read_and_joined() {
        let mixed = pool(&["192.0.2.8/30", " 192.0.2.12 - 192.0.2.13", "", "198.51.100.7", "192.0.2.9"]);
        let all: Vec<String> = mixed.addresses().map(|address| address.to_string()).collect();
        let first = ["192.0.2.8", "192.0.2.9", "192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.13"];
        assert_eq!(all, [&first[..], &["198.51.100.7"]].concat());
        assert!(
            mixed.contains(Ipv4Addr::new(192, 0, 2, 13)) && !mixed.contains(Ipv4Addr::new(192, 0, 2, 14))
        );
        let overlaps = |network: &str| mixed.overlaps(network.parse().expect("a network"));
        assert!(overlaps("192.0.2.0/24") && overlaps("192.0.2.13/32") && overlaps("0.0.0.0/0"));
        assert!(!overlaps("192.0.2.14/31") && !overlaps("10.0.0.0/8"));
    }

    #[test]
    fn what_is_no_pool_is_refused_by_name() {
        let refused = |texts: &[&str]| Pool::parse(texts).expect_err("refused");
        assert_eq!(refused(&[]), PoolError::Empty);
        assert_eq!(refused(&[" "]), PoolError::Empty);
        for text in ["x", "192.0.2.0/33", "192.0.2.1-", "fd00::/64", "192.0.2.1-192.0.2.2-192.0.2.3"] {
            assert_eq!(refused(&[text]), PoolError::Text(text.to_owned()));
        }
        assert_eq!(refused(&["192.0.2.2-192.0.2.1"]), PoolError::Backwards("192.0.2.2-192.0.2.1".to_owned()));
        for text in ["0.0.0.0/0", "127.0.0.1", "223.255.255.255-224.0.0.1", "255.255.255.255", "0.0.0.1"] {
            assert_eq!(refused(&[text]), PoolError::Special(text.to_owned()));
        }
    }
}
