//! What etcd's and gRPC's errors say about a call.
//!
//! gRPC carries a code and a text, and only the text tells etcd's errors apart
//! (etcd-io/etcd: `api/v3rpc/rpctypes/error.go`), as etcd's own client does it.

use std::error::Error as StdError;

use store::{Error, Revision};
use tonic::{Code, ConnectError, Status};

/// Why a call was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    Compacted,
    Future,
    LeaseNotFound,
    TooLarge,
    NoSpace(String),
    /// Nothing was done; another member may be able to.
    Nothing(String),
    /// Nothing was done, and no other member will.
    Denied(String),
    /// No answer, or one that says nothing about a write.
    Open(String),
}

impl Failure {
    pub fn of(status: &Status) -> Self {
        let text = status.message();
        let said = || describe(status);
        match (status.code(), text) {
            (_, "etcdserver: mvcc: required revision has been compacted") => Self::Compacted,
            (_, "etcdserver: mvcc: required revision is a future revision") => Self::Future,
            (_, "etcdserver: requested lease not found") => Self::LeaseNotFound,
            (_, "etcdserver: request is too large") => Self::TooLarge,
            (Code::ResourceExhausted, text) if text.contains("received message larger than max") => {
                Self::TooLarge
            }
            (_, "etcdserver: mvcc: database space exceeded") => Self::NoSpace(said()),
            (_, "etcdserver: no leader" | "etcdserver: too many requests" | "etcdserver: not leader") => {
                Self::Nothing(said())
            }
            (Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented, _) => Self::Denied(said()),
            (Code::InvalidArgument, text) if text.starts_with("etcdserver: ") => Self::Denied(said()),
            _ if never_sent(status) => Self::Nothing(said()),
            _ => Self::Open(said()),
        }
    }

    /// Whether another member may do better.
    pub fn is_elsewhere_perhaps_not(&self) -> bool {
        matches!(self, Self::Nothing(_) | Self::Open(_))
    }

    /// The store's error, of a call that named no revision.
    pub fn into_error(self) -> Error {
        match self {
            Self::NoSpace(text) => Error::DiskFull(text.into()),
            Self::Nothing(text) | Self::Denied(text) => Error::Unavailable(text.into()),
            Self::Open(text) => Error::Timeout(text.into()),
            Self::LeaseNotFound => Error::Unavailable("etcd: the lease is gone".into()),
            other @ (Self::Compacted | Self::Future | Self::TooLarge) => {
                Error::Io(format!("etcd: {other:?}").into())
            }
        }
    }

    /// The store's error, of a call that named a revision.
    pub fn about(self, asked: Revision, oldest: Revision, current: Revision) -> Error {
        match self {
            Self::Compacted => Error::Compacted { asked, oldest },
            Self::Future => Error::Future { asked, current },
            other => other.into_error(),
        }
    }
}

/// The status with the causes below it: why a connection could not be made stands there.
pub(crate) fn describe(status: &Status) -> String {
    let mut text = if status.message().is_empty() {
        format!("{:?}", status.code())
    } else {
        status.message().to_owned()
    };
    let mut cause = status.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Whether there was no connection that the request could have gone over.
fn never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_surely_did_nothing_is_said_to_have_done_nothing() {
        let open = [
            "etcdserver: request timed out",
            "etcdserver: request timed out, possibly due to previous leader failure",
            "etcdserver: server stopped",
            "etcdserver: leader changed",
            "transport is closing",
        ];
        for text in open {
            assert_eq!(Failure::of(&Status::unavailable(text)), Failure::Open(text.into()));
        }
        assert!(matches!(Failure::of(&Status::unavailable("etcdserver: no leader")), Failure::Nothing(_)));
        assert!(matches!(
            Failure::of(&Status::permission_denied("etcdserver: permission denied")),
            Failure::Denied(_)
        ));
        let late = Failure::of(&Status::unknown("h2 protocol error")).into_error();
        assert!(late.leaves_outcome_open());
    }
}
