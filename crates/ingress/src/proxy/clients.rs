//! [`Clients`]: how many connections each client has, and all together, on all ports.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::Limits;

/// Connections by client address. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Clients(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Place {
    clients: Clients,
    client: IpAddr,
}

impl Clients {
    /// A place, unless the client has as many as it may have, or all together have.
    pub fn enter(&self, address: IpAddr, limits: &Limits) -> Option<Place> {
        let client = group(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.by_client.get(&client).copied().unwrap_or(0);
        if count >= limits.connections_of_client || counts.all >= limits.connections {
            return None;
        }
        counts.by_client.insert(client, count + 1);
        counts.all += 1;
        Some(Place { clients: self.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.clients.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(count) = counts.by_client.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.by_client.remove(&self.client);
            }
        }
    }
}

/// One client has a whole /64 of IPv6.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            std::net::Ipv6Addr::from_bits(network).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_as_many_places_as_it_may_and_one_more_when_one_is_free() {
        let clients = Clients::default();
        let at = |text: &str| text.parse::<IpAddr>().expect("an address");
        let limits = Limits { connections_of_client: 2, connections: 6, ..Limits::default() };
        let enter = |text: &str| clients.enter(at(text), &limits);
        let (first, second) = (enter("192.0.2.1"), enter("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        drop(first);
        assert!(enter("192.0.2.1").is_some());
        let _kept = (enter("2001:db8::1"), enter("2001:db8::ffff:2"));
        assert!(enter("2001:db8::3").is_none(), "they share a /64");
        let other = enter("2001:db8:0:1::3");
        assert!(other.is_some());
        let all = (enter("192.0.2.7"), enter("192.0.2.8"));
        assert!(all.0.is_some() && all.1.is_some());
        assert!(enter("192.0.2.9").is_none(), "there are as many as there may be");
        drop(second);
        assert!(enter("192.0.2.9").is_some());
    }
}
