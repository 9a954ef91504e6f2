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
    #[error("{what}: {cause}")]
    Io { what: String, cause: std::io::Error },
    #[error("{what}: {cause}")]
    Netlink { what: String, cause: rtnetlink::Error },
    #[error("nftables: {0}")]
    Nft(std::io::Error),
    /// The kernel was built without something, or its module is not there.
    #[error("the kernel has no {what} ({option}; try: modprobe {module})")]
    Kernel { what: &'static str, option: &'static str, module: &'static str },
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
        move |cause| Self::Io { what, cause }
    }

    fn netlink(what: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Self {
        let what = what.into();
        move |cause| Self::Netlink { what, cause }
    }
}
