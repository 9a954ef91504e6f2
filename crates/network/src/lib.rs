//! The node's network: a bridge with a veth pair to each pod, addresses from the node's pod range, and
//! masquerading of what leaves the cluster, served to runtimes as a CNI plugin; and cluster DNS.
//!
//! Start with [`cni::main`] (how a runtime calls), [`bridge`] (what is done) and [`dns`]. Every interface, table
//! and file carries its cluster's own name, so that several clusters share a machine, and
//! [`remove_cluster`] finds all of it again.
//!
//! Never here: writing to the API; changes to a host's own interfaces, tables or sysctls.

pub mod bridge;
pub mod cni;
pub mod config;
pub mod dns;
mod ipam;
mod link;
mod nft;

pub use bridge::{Attachment, attach, detach, prepare_node, remove_cluster};
pub use config::BridgeConfig;

/// Why the network could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("{what}: {source}")]
    Netlink { what: String, source: rtnetlink::Error },
    #[error("nftables: {0}")]
    Nft(std::io::Error),
    #[error("no free address is left in {0}")]
    Exhausted(String),
    #[error("there is no interface {0:?}")]
    NoInterface(String),
    #[error("{0}")]
    Config(String),
}

impl Error {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    fn netlink(what: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Self {
        let what = what.into();
        move |source| Self::Netlink { what, source }
    }
}
