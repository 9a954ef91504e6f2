//! Why the cache cannot serve a request.

use store::Revision;

#[derive(Debug, Clone, thiserror::Error)]
pub enum CacheError {
    /// The events after `asked` are not kept any more: 410, reason `Expired`. Also how a watch ends whose
    /// reader is too slow.
    #[error("too old resource version: {asked} ({oldest})")]
    Expired { asked: Revision, oldest: Revision },
    /// 504 with upstream's reason `Timeout` and cause `ResourceVersionTooLarge`.
    #[error("Too large resource version: {asked}, current: {current}")]
    Future { asked: Revision, current: Revision },
    /// The resource is served no more, or the server stops.
    #[error("the watch cache of this resource has ended")]
    Closed,
    /// 400.
    #[error("continue key is not valid: {0}")]
    BadContinue(&'static str),
    #[error(transparent)]
    Store(store::Error),
}

impl From<store::Error> for CacheError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Compacted { asked, oldest } => Self::Expired { asked, oldest },
            store::Error::Future { asked, current } => Self::Future { asked, current },
            store::Error::Closed => Self::Closed,
            other => Self::Store(other),
        }
    }
}
