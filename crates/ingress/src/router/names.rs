//! [`Names`]: values by host name, exact or with a wildcard for its first label.

use std::fmt;

use http::uri::Authority;

use super::shards::Shards;

/// The hosts that something is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    /// All of them.
    Any,
    Exact(Box<str>),
    /// What follows `*.`: the first label may be any one, and there must be one.
    Wildcard(Box<str>),
}

impl Pattern {
    /// Reads a host as Ingress and Gateway API write it: `a.example`, `*.example`, or nothing.
    pub fn parse(host: &str) -> Self {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match (host.as_str(), host.strip_prefix("*.")) {
            ("" | "*", _) => Self::Any,
            (_, Some(suffix)) => Self::Wildcard(suffix.into()),
            (_, None) => Self::Exact(host.into()),
        }
    }
}

impl Pattern {
    /// Whether all hosts of `other` are among these.
    pub fn has(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Wildcard(suffix), Self::Exact(host)) => {
                host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == &**suffix)
            }
            _ => self == other,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// The host of an authority, for [`super::Asked`]: in small letters, without port and without the root's dot.
pub fn host_of(authority: &Authority) -> String {
    let host = authority.host();
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Values by [`Pattern`], [`Pattern::Any`] apart. Readers never wait.
#[derive(Debug)]
pub struct Names<V> {
    exact: Shards<V>,
    wildcard: Shards<V>,
}

impl<V> Default for Names<V> {
    fn default() -> Self {
        Self { exact: Shards::default(), wildcard: Shards::default() }
    }
}

impl<V: Clone> Names<V> {
    /// The values of the host itself and of the wildcard it falls under.
    pub fn find(&self, host: &str) -> [Option<V>; 2] {
        let suffix = host.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, suffix)| suffix);
        [self.exact.get(host), suffix.and_then(|suffix| self.wildcard.get(suffix))]
    }

    /// One writer at a time: of two at once, one may be lost.
    pub fn replace(&self, pattern: &Pattern, value: Option<V>) {
        match pattern {
            Pattern::Any => {}
            Pattern::Exact(host) => self.exact.replace(host, value),
            Pattern::Wildcard(suffix) => self.wildcard.replace(suffix, value),
        }
    }
}
