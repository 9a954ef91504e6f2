//! Registries: where a name is asked for, over which connection, and what their answers mean.
//!
//! Owns the requests of one pull to one registry: start at [`Endpoint::get`]. What to authorize with
//! is found in `authorize`; what a registry says when it refuses, in `refusal`. Whatever a registry
//! sends is bounded. Never stores anything, never retries but to authorize.

mod authorize;
mod refusal;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, StatusCode};
use reqwest::{Certificate, Client, Response};

use super::error::PullError;
use super::manifest::{ACCEPTED_MEDIA_TYPES, DOCUMENT_LIMIT_BYTES};
use super::name::{ImageName, Version};
use crate::digest::Digest;
use authorize::{AuthorizeError, authorize};

/// How registries are reached.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Hosts (with port) spoken to in plain HTTP; loopback addresses always are.
    pub insecure: Vec<String>,
    /// For an image name's domain: hosts asked before it, in order.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Certificate authorities trusted besides the system's, each in PEM.
    pub extra_roots_pem: Vec<Vec<u8>>,
    /// How long a registry may send nothing before the pull fails.
    pub stall_timeout: Duration,
    /// Layers of one image fetched at a time.
    pub concurrent_layers: usize,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            mirrors: BTreeMap::new(),
            extra_roots_pem: Vec::new(),
            stall_timeout: Duration::from_secs(60),
            concurrent_layers: 3,
        }
    }
}

/// What a pull authenticates with. Never printed.
#[derive(Clone, Default)]
pub enum Credentials {
    #[default]
    Anonymous,
    Basic {
        user: String,
        password: String,
    },
    Bearer(String),
}

/// One registry (or mirror) as seen by one pull. Clones share the connection and its authorization.
#[derive(Clone)]
pub struct Endpoint {
    client: Client,
    name: ImageName,
    /// `http://HOST/v2/PATH`.
    base: String,
    host: String,
    /// Whether the host is a mirror of the name's own registry.
    is_mirror: bool,
    credentials: Arc<Credentials>,
    authorization: Arc<Mutex<Option<HeaderValue>>>,
    stall_timeout: Duration,
}

/// Why a registry's response is unusable, without the name of what was requested.
#[derive(Debug)]
enum RequestError {
    Transport(reqwest::Error),
    Authorize(AuthorizeError),
    /// A response with a status other than 200.
    Refused(refusal::Refusal),
}

impl Endpoint {
    /// Where to ask for `name`: mirrors without credentials first, then its own registry.
    ///
    /// Errors: an option that no connection can be made with.
    pub fn all(
        name: &ImageName,
        credentials: &Credentials,
        options: &RegistryOptions,
    ) -> Result<Vec<Self>, PullError> {
        let mirrors = options.mirrors.get(name.domain()).map(Vec::as_slice).unwrap_or_default();
        let mirrors =
            mirrors.iter().map(|mirror| Self::new(name, Some(mirror), &Credentials::Anonymous, options));
        mirrors.chain([Self::new(name, None, credentials, options)]).collect()
    }

    fn new(
        name: &ImageName,
        mirror: Option<&String>,
        credentials: &Credentials,
        options: &RegistryOptions,
    ) -> Result<Self, PullError> {
        let host = match (mirror, name.domain()) {
            (Some(mirror), _) => mirror.clone(),
            (None, "docker.io") => "registry-1.docker.io".to_owned(),
            (None, domain) => domain.to_owned(),
        };
        let plain = options.insecure.contains(&host) || is_loopback(&host);
        let scheme = if plain { "http" } else { "https" };
        let unusable = |e: reqwest::Error| PullError::Resolve {
            reference: name.to_string(),
            reason: format!("no connection can be set up: {}", chain(&e)),
        };
        let roots = options.extra_roots_pem.iter().map(|pem| Certificate::from_pem(pem));
        let client = roots
            .collect::<Result<Vec<_>, _>>()
            .and_then(|roots| {
                let builder = Client::builder()
                    .user_agent(concat!("knarr/", env!("CARGO_PKG_VERSION")))
                    .read_timeout(options.stall_timeout)
                    .connect_timeout(options.stall_timeout.min(Duration::from_secs(30)));
                roots.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate).build()
            })
            .map_err(unusable)?;
        Ok(Self {
            client,
            base: format!("{scheme}://{host}/v2/{}", name.path()),
            name: name.clone(),
            host,
            is_mirror: mirror.is_some(),
            credentials: Arc::new(credentials.clone()),
            authorization: Arc::default(),
            stall_timeout: options.stall_timeout,
        })
    }

    /// The host asked, with its port where it has one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The manifest or index that the name refers to, at this moment.
    pub async fn resolve(&self) -> Result<Vec<u8>, PullError> {
        match self.name.version() {
            Version::Tag(tag) => self.document(tag).await,
            Version::Digest(digest) => self.manifest(digest).await,
        }
    }

    /// The manifest or index with this digest, checked.
    pub async fn manifest(&self, digest: &Digest) -> Result<Vec<u8>, PullError> {
        let bytes = self.document(&digest.to_string()).await?;
        if Digest::of(&bytes) != *digest {
            let reason = format!("the registry sent {}", Digest::of(&bytes));
            return Err(PullError::Fetch { what: format!("manifest {digest}"), reason });
        }
        Ok(bytes)
    }

    async fn document(&self, version: &str) -> Result<Vec<u8>, PullError> {
        let response = self.get(&format!("manifests/{version}"), &ACCEPTED_MEDIA_TYPES.join(", ")).await;
        let response = response.map_err(|error| self.resolve_error(error))?;
        let limit = usize::try_from(DOCUMENT_LIMIT_BYTES).unwrap_or(usize::MAX);
        let read = read_bounded(response, limit).await;
        read.map_err(|error| self.resolve_error(RequestError::Transport(error)))?.ok_or_else(|| {
            let reason = format!("it exceeds {DOCUMENT_LIMIT_BYTES} bytes");
            PullError::Fetch { what: format!("manifest of {}", self.name), reason }
        })
    }

    /// Starts fetching a blob; the caller checks its digest.
    pub async fn blob(&self, digest: &Digest) -> Result<Download, PullError> {
        let what = format!("blob {digest} from {}", self.host);
        let stall_s = self.stall_timeout.as_secs();
        match self.get(&format!("blobs/{digest}"), "*/*").await {
            Ok(response) => Ok(Download { response, what, stall_s }),
            Err(RequestError::Transport(error)) => Err(fetch_error(&what, stall_s, &error)),
            Err(RequestError::Authorize(error)) => Err(PullError::Fetch { what, reason: error.to_string() }),
            Err(RequestError::Refused(refusal)) => {
                Err(PullError::Fetch { what, reason: refusal.to_string() })
            }
        }
    }

    /// Asks for `path` below the repository, authorizing where the registry wants that.
    async fn get(&self, path: &str, accept: &str) -> Result<Response, RequestError> {
        let mut url = format!("{}/{path}", self.base);
        if self.is_mirror {
            url = format!("{url}?ns={}", self.name.domain());
        }
        let first = self.send(&url, accept, self.authorization()).await?;
        if first.status() != StatusCode::UNAUTHORIZED {
            return accepted(&url, first).await;
        }
        let challenges = first.headers().get_all(http::header::WWW_AUTHENTICATE);
        let challenges: Vec<String> =
            challenges.iter().filter_map(|value| Some(value.to_str().ok()?.to_owned())).collect();
        let authorization =
            match authorize(&self.client, &self.credentials, self.name.path(), &challenges).await {
                Ok(authorization) => authorization,
                Err(AuthorizeError::Unknown) => return accepted(&url, first).await,
                Err(error) => return Err(RequestError::Authorize(error)),
            };
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(authorization.clone());
        accepted(&url, self.send(&url, accept, Some(authorization)).await?).await
    }

    fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn send(
        &self,
        url: &str,
        accept: &str,
        authorization: Option<HeaderValue>,
    ) -> Result<Response, RequestError> {
        let mut request = self.client.get(url).header(ACCEPT, accept);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.send().await.map_err(RequestError::Transport)
    }

    fn resolve_error(&self, error: RequestError) -> PullError {
        let reference = self.name.to_string();
        match error {
            RequestError::Refused(refusal) if refusal.status == StatusCode::NOT_FOUND => {
                PullError::NotFound { reference }
            }
            RequestError::Refused(refusal) if refusal.status == StatusCode::UNAUTHORIZED => {
                PullError::Denied { reference, reason: refusal.denial() }
            }
            RequestError::Refused(refusal) => PullError::Resolve { reference, reason: refusal.to_string() },
            RequestError::Authorize(error @ AuthorizeError::NoCredentials) => {
                PullError::Denied { reference, reason: error.to_string() }
            }
            RequestError::Authorize(error) => PullError::Resolve { reference, reason: error.to_string() },
            RequestError::Transport(error) if has_stalled(&error) => PullError::Stalled {
                what: format!("manifest of {reference}"),
                stall_s: self.stall_timeout.as_secs(),
            },
            RequestError::Transport(error) => {
                PullError::Resolve { reference, reason: format!("failed to do request: {}", chain(&error)) }
            }
        }
    }
}

/// A blob on its way.
pub struct Download {
    response: Response,
    what: String,
    stall_s: u64,
}

impl Download {
    /// The next bytes, or nothing at the end. Cancel safe.
    ///
    /// Errors: the registry broke off, or sent nothing for the stall limit.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, PullError> {
        self.response.chunk().await.map_err(|error| fetch_error(&self.what, self.stall_s, &error))
    }
}

async fn accepted(url: &str, response: Response) -> Result<Response, RequestError> {
    match response.status() {
        StatusCode::OK => Ok(response),
        _ => Err(RequestError::Refused(refusal::Refusal::read("GET", url, response).await)),
    }
}

/// A body of at most `limit_bytes`, or nothing where it is longer.
async fn read_bounded(mut response: Response, limit_bytes: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > limit_bytes {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

fn fetch_error(what: &str, stall_s: u64, error: &reqwest::Error) -> PullError {
    let what = what.to_owned();
    match has_stalled(error) {
        true => PullError::Stalled { what, stall_s },
        false => PullError::Fetch { what, reason: chain(error) },
    }
}

fn has_stalled(error: &reqwest::Error) -> bool {
    error.is_timeout() && !error.is_connect()
}

/// An error with its causes: the innermost cause is the actual failure.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    for source in std::iter::successors(error.source(), |e| e.source()) {
        let source = source.to_string();
        if !text.contains(&source) {
            text = format!("{text}: {source}");
        }
    }
    text
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|a| a.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_loopback_is_loopback() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:80", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.com", "10.0.0.1:5000", "docker.io", "127.0.0.1.example.com:80"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
