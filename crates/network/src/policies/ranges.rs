//! Ranges of numbers: of addresses and of ports. A list of ranges is in order, and no two of them touch.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::protocol::Protocol;

/// From a number to a number, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Range {
    pub first: u32,
    pub last: u32,
}

impl Range {
    pub fn addresses(self) -> (Ipv4Addr, Ipv4Addr) {
        (Ipv4Addr::from_bits(self.first), Ipv4Addr::from_bits(self.last))
    }
}

impl From<Ipv4Net> for Range {
    fn from(net: Ipv4Net) -> Self {
        Self { first: net.network().to_bits(), last: net.broadcast().to_bits() }
    }
}

/// Ports of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PortRange {
    pub protocol: Protocol,
    pub first: u16,
    pub last: u16,
}

/// The ranges that hold what any of these holds.
pub(super) fn united(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.retain(|range| range.first <= range.last);
    ranges.sort_unstable();
    let mut result: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match result.last_mut() {
            Some(before) if range.first <= before.last.saturating_add(1) => {
                before.last = before.last.max(range.last);
            }
            _ => result.push(range),
        }
    }
    result
}

/// What of a range none of the others holds.
pub(super) fn without(whole: Range, excepted: Vec<Range>) -> Vec<Range> {
    let mut rest = Vec::new();
    let mut first = Some(whole.first);
    for hole in united(excepted) {
        let Some(begin) = first else { break };
        if hole.first > whole.last {
            break;
        }
        if hole.first > begin {
            rest.push(Range { first: begin, last: hole.first - 1 });
        }
        // Nothing follows the last of all numbers.
        first = hole.last.checked_add(1).map(|next| next.max(begin));
    }
    rest.extend(first.filter(|first| *first <= whole.last).map(|first| Range { first, last: whole.last }));
    rest
}

/// The ranges that hold what any of these holds, by protocol.
pub(super) fn united_ports(ports: impl IntoIterator<Item = PortRange>) -> Vec<PortRange> {
    let all: Vec<PortRange> = ports.into_iter().collect();
    let mut result = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        let of = all.iter().filter(|port| port.protocol == protocol);
        let ranges = of.map(|port| Range { first: port.first.into(), last: port.last.into() });
        let port = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        result.extend(united(ranges.collect()).into_iter().map(|range| PortRange {
            protocol,
            first: port(range.first),
            last: port(range.last),
        }));
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(first: u32, last: u32) -> Range {
        Range { first, last }
    }

    fn holds(ranges: &[Range], number: u32) -> bool {
        ranges.iter().any(|range| (range.first..=range.last).contains(&number))
    }

    /// Numbers near both ends, where arithmetic may break, and in between.
    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![0u32..12, (u32::MAX - 12)..=u32::MAX, any::<u32>()]
    }

    fn any_range() -> impl Strategy<Value = Range> {
        (number(), number()).prop_map(|(a, b)| range(a.min(b), a.max(b)))
    }

    #[test]
    fn the_ends_of_all_numbers_can_be_excepted() {
        let all = range(0, u32::MAX);
        assert_eq!(without(all, vec![all]), []);
        assert_eq!(without(all, vec![range(0, 0), range(u32::MAX, u32::MAX)]), [range(1, u32::MAX - 1)]);
        assert_eq!(without(all, vec![]), [all]);
        assert_eq!(without(range(5, 9), vec![range(0, 4), range(10, 20)]), [range(5, 9)]);
        assert_eq!(without(range(5, 9), vec![range(6, 7), range(0, 5)]), [range(8, 9)]);
    }

    #[test]
    fn ports_of_protocols_stay_apart() {
        let port = |protocol, first, last| PortRange { protocol, first, last };
        let united = united_ports([
            port(Protocol::Udp, 81, 90),
            port(Protocol::Tcp, 80, 80),
            port(Protocol::Tcp, 81, 90),
            port(Protocol::Tcp, 0, u16::MAX - 1),
            port(Protocol::Tcp, u16::MAX, u16::MAX),
        ]);
        assert_eq!(united, [port(Protocol::Tcp, 0, u16::MAX), port(Protocol::Udp, 81, 90)]);
    }

    proptest! {
        #[test]
        fn a_number_is_held_that_any_range_holds(ranges in prop::collection::vec(any_range(), 0..6), probes in prop::collection::vec(number(), 20)) {
            let united = united(ranges.clone());
            for probe in probes.into_iter().chain(ranges.iter().flat_map(|r| [r.first, r.last])) {
                prop_assert_eq!(holds(&united, probe), holds(&ranges, probe));
            }
            prop_assert!(united.windows(2).all(|pair| pair[1].first > pair[0].last.saturating_add(1)));
        }

        #[test]
        fn a_number_is_left_that_is_in_the_whole_and_not_excepted(
            whole in any_range(),
            excepted in prop::collection::vec(any_range(), 0..6),
            probes in prop::collection::vec(number(), 20),
        ) {
            let rest = without(whole, excepted.clone());
            let edges = excepted.iter().chain([&whole]).flat_map(|r| {
                [r.first, r.last, r.first.saturating_sub(1), r.last.saturating_add(1)]
            });
            for probe in probes.into_iter().chain(edges) {
                let expected = holds(&[whole], probe) && !holds(&excepted, probe);
                prop_assert_eq!(holds(&rest, probe), expected, "{}", probe);
            }
            prop_assert!(rest.windows(2).all(|pair| pair[1].first > pair[0].last.saturating_add(1)));
        }
    }
}
