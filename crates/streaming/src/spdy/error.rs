//! [`FrameError`]: how a connection fails.

/// A violation of the protocol by the peer; the connection cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("malformed SPDY {0}")]
    Malformed(&'static str),
    #[error("SPDY version {0} is not supported")]
    Version(u16),
    #[error("SPDY frame or header block is too large")]
    TooLarge,
    #[error("SPDY header compression failed")]
    Compression,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
