//! Where etcd is and how it is reached, as a user writes it down.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

/// Turns a stored value into what the API server reads, such as protobuf into JSON: key and value to value, or why the
/// value cannot be read.
pub type Translate = Arc<dyn Fn(&str, Bytes) -> Result<Bytes, String> + Send + Sync>;

/// How etcd is reached. [`Config::new`] has the usual rest.
#[derive(Clone)]
pub struct Config {
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    pub tls: TlsFiles,
    /// Keys below the first are kept in etcd below the second (`/registry`, `/registry`). Other keys stay as they are.
    pub prefix: (String, String),
    /// What values pass through on their way out of etcd; `None`: as they are.
    pub translate: Option<Translate>,
    /// `None`: by the version of etcd.
    pub progress: Option<Progress>,
}

/// How a watch learns that it has seen everything up to a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// By asking etcd. Before 3.4.31 and 3.5.13 an answer may overtake changes that belong before it
    /// (etcd-io/etcd#15220, #17563); upstream does not ask those versions either.
    Asked,
    /// By writing a key of no meaning into the range that is watched: the key's change comes in its order. Only when
    /// nothing else is written there for a moment.
    Marked,
}

impl Progress {
    /// What an etcd of this version can do.
    pub(crate) fn of_version(version: &str) -> Self {
        let mut parts = version.split(['.', '-', '+']).map(|part| part.parse::<u32>().unwrap_or(0));
        let version = [(); 3].map(|()| parts.next().unwrap_or(0));
        let fixed = match version {
            [3, 4, patch] => patch >= 31,
            [3, 5, patch] => patch >= 13,
            newer => newer >= [3, 6, 0],
        };
        if fixed { Self::Asked } else { Self::Marked }
    }
}

impl Config {
    pub fn new(endpoints: Vec<Endpoint>) -> Self {
        Self {
            endpoints,
            tls: TlsFiles::default(),
            prefix: (String::new(), String::new()),
            translate: None,
            progress: None,
        }
    }
}

/// Files of PEM, read at each connection, so that they may be replaced at any time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who signs etcd's certificates; `None`: whom the machine trusts.
    pub ca: Option<PathBuf>,
    /// The client's certificate, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// One member's address for clients, as `https://etcd-1:2379`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) url: Arc<str>,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) encrypted: bool,
}

/// Why an address is none.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{text:?} is no address of etcd: {why} (expected https://HOST:PORT or http://HOST:PORT)")]
    Address { text: String, why: &'static str },
    #[error("no address of etcd is given")]
    NoAddress,
}

impl Endpoint {
    /// # Errors
    /// When the text is no URL of `http` or `https` with a port and without a path.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let wrong = |why| ConfigError::Address { text: text.to_owned(), why };
        let uri: http::Uri = text.parse().map_err(|_| wrong("this is no URL"))?;
        let encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("the scheme is neither http nor https")),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("a path follows the port"));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("the host is missing"))?;
        let port = uri.port_u16().ok_or_else(|| wrong("the port is missing"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { url: text.trim_end_matches('/').into(), host, port, encrypted })
    }

    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_urls_with_a_port() {
        let endpoint = Endpoint::parse("https://etcd-1.example:2379/").unwrap();
        assert_eq!(
            (endpoint.host.as_str(), endpoint.port, endpoint.encrypted),
            ("etcd-1.example", 2379, true)
        );
        assert_eq!(Endpoint::parse("http://[::1]:2379").unwrap().host, "::1");
        for wrong in ["", "etcd:2379", "ftp://a:1", "https://a", "https://a:1/x", "unix:///a", "https://:1"] {
            assert!(Endpoint::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn progress_is_asked_for_where_the_answer_can_be_trusted() {
        let marked = ["3.4.23", "3.4.30", "3.5.12", "3.5.0-rc.1", "3.3.1", "", "x"];
        assert!(marked.iter().all(|version| Progress::of_version(version) == Progress::Marked));
        let asked = ["3.4.31", "3.4.100", "3.5.13", "3.6.0", "3.7.3", "4.0.0"];
        assert!(asked.iter().all(|version| Progress::of_version(version) == Progress::Asked));
    }
}
