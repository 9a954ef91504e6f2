//! Registries: where a name is asked for, with which credentials, and what their errors mean.
//!
//! Owns the connection to one registry for one pull (`oci-client` does the protocol). Never stores
//! anything.

use std::collections::BTreeMap;
use std::time::Duration;

use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol, SizedStream};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use super::digest::Digest;
use super::error::PullError;
use super::manifest::{ACCEPTED_MEDIA_TYPES, DOCUMENT_LIMIT_BYTES};
use super::name::{ImageName, Version};

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

/// One registry (or mirror) as seen by one pull.
#[derive(Clone)]
pub struct Endpoint {
    client: Client,
    reference: Reference,
    auth: RegistryAuth,
    stall_timeout: Duration,
}

impl Endpoint {
    /// Where to ask for `name`: mirrors without credentials first, then its own registry.
    pub fn all(name: &ImageName, credentials: &Credentials, options: &RegistryOptions) -> Vec<Self> {
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
    ) -> Self {
        let (domain, path) = (name.domain().to_owned(), name.path().to_owned());
        let mut reference = match name.version() {
            Version::Tag(tag) => Reference::with_tag(domain, path, tag.clone()),
            Version::Digest(digest) => Reference::with_digest(domain, path, digest.to_string()),
        };
        if let Some(mirror) = mirror {
            reference.set_mirror_registry(mirror.clone());
        }
        let host = reference.resolve_registry();
        let plain = options.insecure.iter().any(|insecure| insecure == host) || is_loopback(host);
        let roots = options.extra_roots_pem.iter();
        let config = ClientConfig {
            protocol: if plain { ClientProtocol::Http } else { ClientProtocol::Https },
            extra_root_certificates: roots
                .map(|pem| Certificate { encoding: CertificateEncoding::Pem, data: pem.clone() })
                .collect(),
            read_timeout: Some(options.stall_timeout),
            connect_timeout: Some(options.stall_timeout.min(Duration::from_secs(30))),
            user_agent: concat!("knarr/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let auth = match credentials {
            Credentials::Anonymous => RegistryAuth::Anonymous,
            Credentials::Basic { user, password } => RegistryAuth::Basic(user.clone(), password.clone()),
            Credentials::Bearer(token) => RegistryAuth::Bearer(token.clone()),
        };
        Self { client: Client::new(config), reference, auth, stall_timeout: options.stall_timeout }
    }

    /// The manifest or index the name stands for, at this moment.
    pub async fn resolve(&self) -> Result<Vec<u8>, PullError> {
        self.document(&self.reference).await
    }

    /// The manifest or index with this digest, checked.
    pub async fn manifest(&self, digest: &Digest) -> Result<Vec<u8>, PullError> {
        let bytes = self.document(&self.reference.clone_with_digest(digest.to_string())).await?;
        if Digest::of(&bytes) != *digest {
            let reason = format!("the registry sent {}", Digest::of(&bytes));
            return Err(PullError::Fetch { what: format!("manifest {digest}"), reason });
        }
        Ok(bytes)
    }

    async fn document(&self, reference: &Reference) -> Result<Vec<u8>, PullError> {
        let pull = self.client.pull_manifest_raw(reference, &self.auth, &ACCEPTED_MEDIA_TYPES);
        let (bytes, _) = pull.await.map_err(|e| self.resolve_error(reference, e))?;
        if bytes.len() as u64 > DOCUMENT_LIMIT_BYTES {
            let reason = format!("it exceeds {DOCUMENT_LIMIT_BYTES} bytes");
            return Err(PullError::Fetch { what: format!("manifest of {}", reference.whole()), reason });
        }
        Ok(bytes.to_vec())
    }

    /// Starts fetching a blob; the caller checks its digest.
    pub async fn blob(&self, digest: &Digest) -> Result<SizedStream, PullError> {
        let stream = self.client.pull_blob_stream(&self.reference, digest.to_string().as_str()).await;
        stream.map_err(|error| self.fetch_error(digest, &error, is_timeout(&error)))
    }

    /// What a broken blob stream means.
    pub fn stream_error(&self, digest: &Digest, error: &std::io::Error) -> PullError {
        let timed_out = sources(error).any(|e| e.to_string().contains("timed out"));
        self.fetch_error(digest, error, timed_out)
    }

    fn fetch_error(
        &self,
        digest: &Digest,
        error: &(dyn std::error::Error + 'static),
        timed_out: bool,
    ) -> PullError {
        let what = format!("blob {digest} from {}", self.reference.resolve_registry());
        match timed_out {
            true => PullError::Stalled { what, stall_s: self.stall_timeout.as_secs() },
            false => PullError::Fetch { what, reason: chain(error) },
        }
    }

    fn resolve_error(&self, reference: &Reference, error: OciDistributionError) -> PullError {
        use OciErrorCode::{Denied, ManifestUnknown, NameUnknown, NotFound, Unauthorized};
        let reference = reference.whole();
        let codes: Vec<&OciErrorCode> = match &error {
            OciDistributionError::RegistryError { envelope, .. } => {
                envelope.errors.iter().map(|e| &e.code).collect()
            }
            _ => Vec::new(),
        };
        match &error {
            OciDistributionError::ImageManifestNotFoundError(_)
            | OciDistributionError::ServerError { code: 404, .. } => PullError::NotFound { reference },
            _ if codes.iter().any(|c| matches!(c, ManifestUnknown | NameUnknown | NotFound)) => {
                PullError::NotFound { reference }
            }
            OciDistributionError::UnauthorizedError { .. } => {
                PullError::Denied { reference, reason: "authorization failed".to_owned() }
            }
            OciDistributionError::AuthenticationFailure(reason) => {
                PullError::Denied { reference, reason: reason.trim().to_owned() }
            }
            _ if codes.iter().any(|c| matches!(c, Unauthorized | Denied)) => {
                PullError::Denied { reference, reason: error.to_string() }
            }
            _ if is_timeout(&error) => PullError::Stalled {
                what: format!("manifest of {reference}"),
                stall_s: self.stall_timeout.as_secs(),
            },
            _ => PullError::Resolve { reference, reason: chain(&error) },
        }
    }
}

fn is_timeout(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::RequestError(e) => e.is_timeout() && !e.is_connect(),
        _ => false,
    }
}

fn sources<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |e| e.source())
}

/// An error with its causes: the innermost one says what happened.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    for source in sources(error).skip(1) {
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
