//! [`Way`]: how a new connection to a front is treated. Fronts that are treated alike share a way, and a way is one
//! chain of the table: an endpoint that comes or goes moves its Service's fronts to another way, mostly one that exists.

/// Which of a pool's two lists an endpoint is chosen from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum List {
    /// Endpoints on any node.
    Cluster,
    /// Endpoints on this node.
    Local,
}

/// How a rule finds the front of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// By the packet's destination.
    Address,
    /// By its destination port alone.
    NodePort,
}

/// Whom connections are sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Treatment {
    /// Nobody: the sender is told.
    Reject,
    /// Nobody on this node: the sender is not told, since another node may be asked.
    Drop,
    /// Endpoints, for clients inside: those outside are masqueraded, since their way back leads elsewhere.
    Internal { list: List, count: u32 },
    /// Endpoints on any node, for clients outside: all are masqueraded.
    External { count: u32 },
    /// For clients outside, endpoints on this node, which see the client's address; for pods and the node itself,
    /// endpoints on any node.
    ExternalLocal { cluster: u32, local: u32 },
}

/// How a new connection is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Way {
    pub treatment: Treatment,
    pub place: Place,
    /// For how long a client is sent to the same endpoint; 0: not at all.
    pub sticky_s: u32,
    /// Whether only clients of some ranges are let in.
    pub is_guarded: bool,
}

/// More endpoints than this are not used.
pub const COUNT_LIMIT: usize = 100_000;

impl Way {
    /// The way of connections that nobody takes.
    pub const fn nowhere(treatment: Treatment) -> Self {
        Self { treatment, place: Place::Address, sticky_s: 0, is_guarded: false }
    }
}

/// The name of the way's chain.
impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.treatment {
            Treatment::Reject => return f.write_str("reject"),
            Treatment::Drop => return f.write_str("drop"),
            Treatment::Internal { list: List::Cluster, count } => write!(f, "internal-{count}")?,
            Treatment::Internal { list: List::Local, count } => write!(f, "internal-local-{count}")?,
            Treatment::External { count } => write!(f, "external-{count}")?,
            Treatment::ExternalLocal { cluster, local } => write!(f, "external-local-{local}-of-{cluster}")?,
        }
        match self.place {
            Place::Address => {}
            Place::NodePort => f.write_str("-node-port")?,
        }
        if self.sticky_s > 0 {
            write!(f, "-sticky-{}", self.sticky_s)?;
        }
        if self.is_guarded {
            f.write_str("-guarded")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ways_have_names_of_their_own() {
        let treatments = [
            Treatment::Internal { list: List::Cluster, count: 7 },
            Treatment::Internal { list: List::Local, count: 7 },
            Treatment::External { count: 7 },
            Treatment::ExternalLocal { cluster: 7, local: 0 },
            Treatment::ExternalLocal { cluster: 3, local: 7 },
        ];
        let nowhere = [Treatment::Reject, Treatment::Drop].map(Way::nowhere);
        let mut seen: HashSet<String> = nowhere.iter().map(ToString::to_string).collect();
        for treatment in treatments {
            for place in [Place::Address, Place::NodePort] {
                for (sticky_s, is_guarded) in [(0, false), (0, true), (86_400, false), (10_800, true)] {
                    let way = Way { treatment, place, sticky_s, is_guarded };
                    assert!(seen.insert(way.to_string()), "{way}");
                }
            }
        }
        assert!(seen.contains("external-local-7-of-3-node-port-sticky-10800-guarded"));
        assert!(seen.contains("internal-7"));
    }
}
