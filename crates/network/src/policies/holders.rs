//! [`Holders`]: which pod has an address now.
//!
//! Who was given an address on this machine has it, whatever other pods' status still says. Of pods that only say so, the
//! later has it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;

use informer::Key;

use super::pod::Seniority;

/// Pods and addresses.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// The pod that was given an address here, and the other way round.
    given: HashMap<Ipv4Addr, Key>,
    given_to: HashMap<Key, Ipv4Addr>,
    /// What pods say of themselves.
    said: HashMap<Key, (Ipv4Addr, Seniority)>,
    sayers: HashMap<Ipv4Addr, BTreeSet<Key>>,
    /// Addresses that were taken back here, and given to nobody since.
    released: HashSet<Ipv4Addr>,
}

impl Holders {
    /// Begins anew with what was given and taken back here.
    pub fn again(&mut self) -> Self {
        Self {
            given: std::mem::take(&mut self.given),
            given_to: std::mem::take(&mut self.given_to),
            released: std::mem::take(&mut self.released),
            ..Self::default()
        }
    }

    /// The pods that were given an address.
    pub fn favoured(&self) -> Vec<Key> {
        self.given_to.keys().cloned().collect()
    }

    /// A pod was given an address here. Returns the addresses of which the holder may be another now.
    pub fn give(&mut self, pod: &Key, address: Ipv4Addr) -> Vec<Ipv4Addr> {
        self.released.remove(&address);
        let mut touched = vec![address];
        touched.extend(self.candidate(pod));
        if let Some(before) = self.given.insert(address, pod.clone()) {
            self.given_to.remove(&before);
            // What that pod says of itself counts again.
            touched.extend(self.candidate(&before));
        }
        if let Some(former) = self.given_to.insert(pod.clone(), address)
            && former != address
        {
            self.given.remove(&former);
        }
        touched
    }

    /// An address was taken back here; its pod, as long as there is one, is ending.
    pub fn release(&mut self, address: Ipv4Addr) {
        self.released.insert(address);
    }

    pub fn is_released(&self, address: Ipv4Addr) -> bool {
        self.released.contains(&address)
    }

    /// A pod says of itself that it has an address, or that it has none. Returns as [`Self::give`].
    pub fn say(&mut self, pod: &Key, said: Option<(Ipv4Addr, Seniority)>) -> Vec<Ipv4Addr> {
        let mut touched: Vec<Ipv4Addr> = self.candidate(pod).into_iter().collect();
        if let Some((address, _)) = self.said.remove(pod)
            && let Some(sayers) = self.sayers.get_mut(&address)
        {
            sayers.remove(pod);
            if sayers.is_empty() {
                self.sayers.remove(&address);
            }
            touched.push(address);
        }
        if let Some((address, seniority)) = said {
            self.said.insert(pod.clone(), (address, seniority));
            self.sayers.entry(address).or_default().insert(pod.clone());
            touched.push(address);
        }
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    /// A pod is gone. Returns as [`Self::give`].
    pub fn forget(&mut self, pod: &Key) -> Vec<Ipv4Addr> {
        let mut touched = self.say(pod, None);
        if let Some(address) = self.given_to.remove(pod) {
            self.given.remove(&address);
            touched.push(address);
        }
        touched
    }

    /// The address that is a pod's if no other has it.
    fn candidate(&self, pod: &Key) -> Option<Ipv4Addr> {
        self.given_to.get(pod).copied().or_else(|| self.said.get(pod).map(|(address, _)| *address))
    }

    /// Who has an address.
    pub fn holder(&self, address: Ipv4Addr) -> Option<&Key> {
        if let Some(pod) = self.given.get(&address) {
            return Some(pod);
        }
        let sayers = self.sayers.get(&address)?.iter();
        let real = sayers.filter(|pod| self.candidate(pod) == Some(address));
        real.max_by_key(|pod| self.said.get(*pod).map(|(_, seniority)| *seniority))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn key(name: &str) -> Key {
        Key::new("ns", name)
    }

    fn at(stays: bool, second: i64) -> Seniority {
        Seniority { stays, created: jiff::Timestamp::from_second(second).ok() }
    }

    fn holder(holders: &Holders, address: Ipv4Addr) -> Option<&str> {
        holders.holder(address).map(|pod| &*pod.name)
    }

    #[test]
    fn a_later_pod_has_the_address_of_a_former_one() {
        let mut holders = Holders::default();
        holders.say(&key("old"), Some((A, at(true, 1))));
        holders.say(&key("new"), Some((A, at(true, 2))));
        assert_eq!(holder(&holders, A), Some("new"));
        holders.say(&key("new"), Some((A, at(false, 2))));
        assert_eq!(holder(&holders, A), Some("old"), "one that goes is not the later");
        assert_eq!(holders.forget(&key("old")), [A]);
        assert_eq!(holder(&holders, A), Some("new"));
        holders.forget(&key("new"));
        assert_eq!(holder(&holders, A), None);
    }

    #[test]
    fn what_was_given_here_counts_more_than_what_a_pod_says() {
        let mut holders = Holders::default();
        holders.say(&key("old"), Some((A, at(true, 5))));
        assert_eq!(holders.give(&key("new"), A), [A]);
        holders.say(&key("old"), Some((A, at(true, 6))));
        assert_eq!(holder(&holders, A), Some("new"));
        // The sandbox is made again, and the status lags behind.
        holders.say(&key("new"), Some((A, at(true, 7))));
        assert_eq!(holders.give(&key("new"), B), [B, A]);
        assert_eq!((holder(&holders, A), holder(&holders, B)), (Some("old"), Some("new")));
        holders.give(&key("other"), B);
        assert_eq!((holder(&holders, A), holder(&holders, B)), (Some("new"), Some("other")));
        holders.release(B);
        assert!(holders.is_released(B) && holder(&holders, B) == Some("other"));
        assert_eq!(holders.again().holder(B), Some(&key("other")));
    }
}
