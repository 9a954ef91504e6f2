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
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |cause| Self::Io { what, cause }
    }

    pub(crate) fn netlink(what: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Self {
        let what = what.into();
        move |cause| Self::Netlink { what, cause }
    }
}
