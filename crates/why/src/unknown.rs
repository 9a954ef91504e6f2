//! [`UnknownSubject`]: why there is no account.

use std::fmt;

/// Why there is no account.
#[derive(Debug)]
pub enum UnknownSubject {
    NoSuchKind(String),
    Api(kube::Error),
}

impl From<kube::Error> for UnknownSubject {
    fn from(error: kube::Error) -> Self {
        Self::Api(error)
    }
}

impl fmt::Display for UnknownSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchKind(word) => write!(f, "the server doesn't have a resource type {word:?}"),
            Self::Api(error) => f.write_str(&client::message(error)),
        }
    }
}

impl std::error::Error for UnknownSubject {}
