//! Errors of a node's pod network.

/// Why the network could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what}: {cause}")]
    Io { what: String, cause: std::io::Error },
    #[error("{what}: {cause}")]
    Netlink { what: String, cause: rtnetlink::Error },
    #[error("nftables: {0}")]
    Nft(std::io::Error),
    #[error(transparent)]
    Port(#[from] PortError),
    /// The kernel was built without something, or its module is not there.
    #[error("the kernel has no {what} ({option}; try: modprobe {module})")]
    Kernel { what: &'static str, option: &'static str, module: &'static str },
    #[error("the addresses {range} are in use on this machine: {by}")]
    Taken { range: String, by: String },
    #[error("no free address is left in {0}")]
    Exhausted(String),
    #[error("there is no interface {0:?}")]
    NoInterface(String),
    /// Nobody says that the pod's rules are in force.
    #[error("the node's agent of network policies ({socket}): {cause}")]
    Policies { socket: String, cause: std::io::Error },
    #[error("{0}")]
    Config(String),
}

/// Why a port cannot lead to a pod.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error("the protocol {0:?} is none of tcp, udp and sctp")]
    Protocol(String),
    #[error("the host IP {0:?} is no IPv4 address, and the pod network has no other")]
    Address(String),
    #[error("host port {port}/{protocol}: {source}")]
    Kernel { port: u16, protocol: String, source: std::io::Error },
    #[error("nftables: {0}")]
    Table(std::io::Error),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |cause| Self::Io { what, cause }
    }

    pub(crate) fn netlink(what: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Self {
        let what = what.into();
        move |cause| Self::Netlink { what, cause }
    }
}
