//! [`Claims`]: which Ingress has a host be served with which certificate. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use informer::Key;
use jiff::Timestamp;

use crate::router::Pattern;

/// The order in which Ingresses have a right to a host.
type Seniority = (Option<Timestamp>, Key);

/// Certificates (`C`) by host and by the Ingress that names both.
pub(crate) struct Claims<C> {
    by_ingress: HashMap<Key, (Option<Timestamp>, BTreeSet<Pattern>)>,
    by_host: HashMap<Pattern, BTreeMap<Seniority, C>>,
}

impl<C> Default for Claims<C> {
    fn default() -> Self {
        Self { by_ingress: HashMap::new(), by_host: HashMap::new() }
    }
}

impl<C: Clone> Claims<C> {
    /// Has an Ingress claim these hosts and no others; of two certificates for a host the first counts. Returns the
    /// hosts that may have another certificate now.
    pub fn replace(
        &mut self,
        ingress: &Key,
        created: Option<Timestamp>,
        claims: Vec<(Pattern, C)>,
    ) -> BTreeSet<Pattern> {
        let mut concerned = BTreeSet::new();
        if let Some((created, hosts)) = self.by_ingress.remove(ingress) {
            let seniority = (created, ingress.clone());
            for host in hosts {
                if let Some(claims) = self.by_host.get_mut(&host) {
                    claims.remove(&seniority);
                    if claims.is_empty() {
                        self.by_host.remove(&host);
                    }
                }
                concerned.insert(host);
            }
        }
        let seniority = (created, ingress.clone());
        let mut hosts = BTreeSet::new();
        for (host, certificate) in claims {
            let claims = self.by_host.entry(host.clone()).or_default();
            claims.entry(seniority.clone()).or_insert(certificate);
            hosts.insert(host);
        }
        concerned.extend(hosts.iter().cloned());
        if !hosts.is_empty() {
            self.by_ingress.insert(ingress.clone(), (created, hosts));
        }
        concerned
    }

    /// The certificate of a host: the oldest Ingress'.
    pub fn winner(&self, host: &Pattern) -> Option<C> {
        self.by_host.get(host)?.values().next().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_ingress_has_the_host_and_leaves_it_to_the_next() {
        let mut claims = Claims::default();
        let host = Pattern::parse("a");
        let at = |second| Timestamp::from_second(second).ok();
        let (old, young) = (Key::new("n", "old"), Key::new("n", "young"));
        assert_eq!(claims.winner(&host), None);
        claims.replace(&young, at(2), vec![(host.clone(), "young"), (host.clone(), "second")]);
        assert_eq!(claims.winner(&host), Some("young"));
        claims.replace(&old, at(1), vec![(host.clone(), "old")]);
        assert_eq!(claims.winner(&host), Some("old"));
        // Made anew, under the same name.
        assert_eq!(claims.replace(&old, at(3), vec![(host.clone(), "old")]), BTreeSet::from([host.clone()]));
        assert_eq!(claims.winner(&host), Some("young"));
        claims.replace(&young, at(2), Vec::new());
        claims.replace(&old, at(3), vec![(Pattern::parse("b"), "old")]);
        assert_eq!(claims.winner(&host), None);
        assert!(claims.by_host.len() == 1 && claims.by_ingress.len() == 1);
    }
}
