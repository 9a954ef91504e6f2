//! [`Ranges`]: the ranges that cluster addresses are taken from, as the ServiceCIDR objects say; and which addresses
//! of a range are tried in which order.
//!
//! The lower part of a range is for addresses that users ask for: an address that nobody chose comes from the upper
//! part as long as there is one (KEP-3070).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;

use crate::cache::lookup::{Lookup, decode};

/// The ServiceCIDR that every cluster has, whose families are the cluster's.
const DEFAULT: &str = "kubernetes";
/// The bounds of the lower part's size, which is a sixteenth of the range's.
const LOWER_MIN: u128 = 16;
const LOWER_MAX: u128 = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        match name {
            "IPv4" => Some(Self::V4),
            "IPv6" => Some(Self::V6),
            _ => None,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    pub const fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The address with this number, which the caller keeps within the family.
    fn address(self, number: u128) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            Self::V6 => Ipv6Addr::from(number).into(),
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// One range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub family: Family,
    /// The network's own address, which nobody gets.
    base: u128,
    length: u8,
    /// How many addresses there are to be had, from the one after `base`.
    hosts: u128,
}

impl Range {
    pub fn parse(cidr: &str) -> Option<Self> {
        let (address, length) = cidr.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let family = Family::of(address);
        let length: u8 = length.parse().ok().filter(|length| *length <= family.bits())?;
        let size = 1_u128.checked_shl((family.bits() - length).into()).unwrap_or(0);
        // Of IPv4, the broadcast address is nobody's either.
        let unused = if family == Family::V4 { 2 } else { 1 };
        let base = number(address) & !size.wrapping_sub(1);
        Some(Self { family, base, length, hosts: size.wrapping_sub(1).saturating_sub(unused - 1) })
    }

    /// The network's own address.
    pub fn network(&self) -> IpAddr {
        self.family.address(self.base)
    }

    /// Whether a Service may have the address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let within = number(address).checked_sub(self.base).is_some_and(|at| at > 0 && at <= self.hosts);
        Family::of(address) == self.family && within
    }

    /// How many addresses the lower part has.
    fn lower(&self) -> u128 {
        let size = self.hosts.saturating_add(if self.family == Family::V4 { 2 } else { 1 });
        if size <= LOWER_MIN { 0 } else { (size / 16).clamp(LOWER_MIN, LOWER_MAX) }
    }

    /// All addresses, each once: those of the upper part first, in both parts beginning anywhere. `below` returns
    /// a number below the one given.
    pub fn candidates<F: Fn(u64) -> u64>(&self, below: F) -> impl Iterator<Item = IpAddr> + use<F> {
        let (first, lower, family) = (self.base + 1, self.lower(), self.family);
        let ring = move |from: u128, count: u128| {
            let start = match u64::try_from(count).unwrap_or(u64::MAX) {
                0 => 0,
                count => u128::from(below(count)),
            };
            (0..count).map(move |step| family.address(from + (start + step) % count))
        };
        ring(first + lower, self.hosts.saturating_sub(lower)).chain(ring(first, lower))
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network(), self.length)
    }
}

/// The cluster's ranges.
#[derive(Debug, Clone, Default)]
pub(super) struct Ranges {
    /// Those that addresses may be taken from now.
    pub ready: Vec<Range>,
    /// The families that Services of this cluster can have, the default first.
    pub families: Vec<Family>,
}

#[derive(Deserialize)]
struct ServiceCidr {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    deletion_timestamp: Option<String>,
}

#[derive(Default, Deserialize)]
struct Spec {
    #[serde(default)]
    cidrs: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

impl ServiceCidr {
    /// As upstream: one that nobody has judged yet counts as ready.
    fn is_ready(&self) -> bool {
        let ready = self.status.conditions.iter().find(|condition| condition.r#type == "Ready");
        self.metadata.deletion_timestamp.is_none() && ready.is_none_or(|ready| ready.status == "True")
    }
}

impl Ranges {
    pub fn read(lookup: &Lookup) -> Self {
        let Some(cache) = lookup.resource("networking.k8s.io", "servicecidrs") else {
            return Self::default();
        };
        let mut objects: Vec<ServiceCidr> =
            cache.snapshot(None).entries.iter().filter_map(|entry| decode(entry)).collect();
        objects.sort_by_key(|object| object.metadata.name != DEFAULT);
        let ranges = |object: &ServiceCidr| {
            object.spec.cidrs.iter().filter_map(|cidr| Range::parse(cidr)).collect::<Vec<_>>()
        };
        let ready = objects.iter().filter(|object| object.is_ready()).flat_map(ranges).collect();
        let families = objects.first().map(ranges).unwrap_or_default();
        Self { ready, families: families.iter().map(|range| range.family).collect() }
    }

    pub fn has(&self, family: Family) -> bool {
        self.families.contains(&family)
    }

    pub fn of(&self, family: Family) -> impl Iterator<Item = &Range> {
        self.ready.iter().filter(move |range| range.family == family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(cidr: &str) -> Range {
        Range::parse(cidr).expect("a range")
    }

    fn all(cidr: &str, start: u64) -> Vec<String> {
        range(cidr).candidates(|count| start % count).map(|address| address.to_string()).collect()
    }

    #[test]
    fn the_lower_part_comes_last() {
        // Upstream: 10.96.0.0/16 keeps 256 addresses for those who choose.
        let addresses = all("10.96.0.0/16", 0);
        assert_eq!((addresses.len(), &*addresses[0]), (65534, "10.96.1.1"));
        assert_eq!((&*addresses[65277], &*addresses[65278]), ("10.96.255.254", "10.96.0.1"));
        assert_eq!(&*addresses[65533], "10.96.1.0");
        let addresses = all("10.96.0.0/24", 236);
        assert_eq!(
            (&*addresses[0], &*addresses[1], &*addresses[2]),
            ("10.96.0.253", "10.96.0.254", "10.96.0.17")
        );
    }

    #[test]
    fn small_ranges_have_one_part() {
        assert_eq!(all("10.0.0.0/30", 1), ["10.0.0.2", "10.0.0.1"]);
        assert_eq!(all("10.0.0.0/31", 0), <[&str; 0]>::default());
        assert_eq!(all("10.0.0.0/32", 0), <[&str; 0]>::default());
        assert_eq!(all("fd00::/127", 0), ["fd00::1"]);
        assert_eq!(all("10.0.0.0/28", 0).len(), 14);
    }

    #[test]
    fn large_ranges_are_counted_right() {
        let of = |cidr: &str, below: fn(u64) -> u64| {
            range(cidr).candidates(below).next().map(|address| address.to_string())
        };
        assert_eq!(of("fd00::/64", |_| 0).as_deref(), Some("fd00::101"));
        assert_eq!(of("fd00::/64", |count| count - 1).as_deref(), Some("fd00::ffff:ffff:ffff:ffff"));
        assert_eq!(of("0.0.0.0/0", |_| 0).as_deref(), Some("0.0.1.1"));
    }

    #[test]
    fn neither_network_nor_broadcast_belong_to_it() {
        let range = range("10.96.0.7/16");
        assert_eq!(range.to_string(), "10.96.0.0/16");
        let has = |address: &str| range.contains(address.parse().expect("an address"));
        assert!(has("10.96.0.1") && has("10.96.255.254"));
        assert!(!has("10.96.0.0") && !has("10.96.255.255") && !has("10.97.0.1") && !has("10.95.1.1"));
        assert!(!has("::a60:1"));
        assert!(Range::parse("10.96.0.0").is_none() && Range::parse("10.96.0.0/33").is_none());
        assert!(self::range("fd00::/112").contains("fd00::ffff".parse().expect("an address")));
    }
}
