//! Which endpoints of a Service's port are used: by readiness, by node, and by the hints of their slices.
//!
//! Pure. The rules are upstream's (`pkg/proxy/topology.go`).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::address::Endpoint;

/// An endpoint as its slice describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub endpoint: Endpoint,
    pub is_ready: bool,
    /// It is about to end, and still answers.
    pub is_leaving: bool,
    /// On this node.
    pub is_here: bool,
    /// Its slice names no node, so that it may be a pod of this one.
    pub is_anywhere: bool,
    /// Nodes and zones that it is meant for; empty where its slice does not say.
    pub nodes: Vec<String>,
    pub zones: Vec<String>,
}

/// Where the proxy is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Here {
    /// The node that this is.
    pub node: String,
    /// Its zone, if it has one.
    pub zone: Option<String>,
}

/// Which lists a port of a Service has a use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uses {
    pub cluster: bool,
    pub local: bool,
}

/// The endpoints that are used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    pub cluster: BTreeSet<Endpoint>,
    pub local: BTreeSet<Endpoint>,
    /// Whether any endpoint of the cluster takes connections.
    pub any: bool,
    /// The addresses of used endpoints that are, or may be, pods of this machine.
    pub here: BTreeSet<Ipv4Addr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Preference {
    None,
    SameNode,
    SameZone,
}

/// Chooses among `candidates`.
pub fn choose(candidates: &[Candidate], uses: Uses, here: &Here) -> Chosen {
    let mut chosen = Chosen::default();
    if uses.cluster {
        let preference = preference(candidates, here);
        let suits = |candidate: &&Candidate| match preference {
            Preference::None => true,
            Preference::SameNode => is_meant(&candidate.nodes, std::slice::from_ref(&here.node)),
            Preference::SameZone => is_meant(&candidate.zones, here.zone.as_slice()),
        };
        chosen.cluster = endpoints(candidates.iter().filter(|one| one.is_ready).filter(suits));
        if chosen.cluster.is_empty() {
            chosen.cluster = endpoints(candidates.iter().filter(|one| one.is_leaving));
        }
        chosen.any = !chosen.cluster.is_empty();
    }
    if uses.local {
        chosen.any |= candidates.iter().any(|one| one.is_ready || one.is_leaving);
        let local = || candidates.iter().filter(|one| one.is_here);
        chosen.local = endpoints(local().filter(|one| one.is_ready));
        if chosen.local.is_empty() {
            chosen.local = endpoints(local().filter(|one| one.is_leaving));
        }
    }
    let used = |one: &&Candidate| {
        (one.is_here || one.is_anywhere)
            && (chosen.cluster.contains(&one.endpoint) || chosen.local.contains(&one.endpoint))
    };
    chosen.here = candidates.iter().filter(used).map(|one| one.endpoint.address).collect();
    chosen
}

fn endpoints<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> BTreeSet<Endpoint> {
    candidates.map(|one| one.endpoint).collect()
}

fn is_meant(meant: &[String], here: &[String]) -> bool {
    meant.iter().any(|name| here.contains(name))
}

/// Hints count only where all ready endpoints have them, and one is for here: else a client could be left with none.
fn preference(candidates: &[Candidate], here: &Here) -> Preference {
    let ready = || candidates.iter().filter(|one| one.is_ready);
    if ready().next().is_none() {
        return Preference::None;
    }
    let holds = |hints: fn(&Candidate) -> &[String], here: &[String]| {
        ready().all(|one| !hints(one).is_empty()) && ready().any(|one| is_meant(hints(one), here))
    };
    if holds(|one| &one.nodes, std::slice::from_ref(&here.node)) {
        return Preference::SameNode;
    }
    match holds(|one| &one.zones, here.zone.as_slice()) {
        true => Preference::SameZone,
        false => Preference::None,
    }
}
