//! The connections to etcd's members: made when they are first needed and again after they broke. One member is asked at
//! a time; whoever finds it wanting goes on to the next.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::config::{Config, ConfigError, Endpoint, TlsFiles};
use crate::failure::Failure;

/// How long making a connection may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// How long a call may take, whoever is asked. etcd itself gives up after 7 s, and says why.
pub(crate) const CALL_PATIENCE: Duration = Duration::from_secs(10);
/// As upstream's client: a connection on which nothing happens is asked for a sign of life.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_PATIENCE: Duration = Duration::from_secs(10);

/// Whether a call may be sent again when nobody knows whether it was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    Safe,
    Unsafe,
}

struct Member {
    url: Arc<str>,
    channel: Channel,
}

/// See the module's documentation.
pub(crate) struct Members {
    members: Vec<Member>,
    current: AtomicUsize,
}

impl Members {
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        if config.endpoints.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        let tls = Arc::new(config.tls.clone());
        let member =
            |endpoint: &Endpoint| Member { url: endpoint.url.clone(), channel: channel(endpoint, &tls) };
        Ok(Self { members: config.endpoints.iter().map(member).collect(), current: AtomicUsize::new(0) })
    }

    /// Calls a member, and on failure those after it, each once.
    pub async fn call<T, F>(&self, repeat: Repeat, call: impl Fn(Channel) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut tried = 1;
        let deadline = Instant::now() + CALL_PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // A member that hangs leaves the others time.
            let is_last = repeat == Repeat::Unsafe || tried >= self.members.len();
            let patience = if is_last { left } else { left / 2 };
            let current = self.current.load(Ordering::Relaxed) % self.members.len();
            let member = &self.members[current];
            let failure = match tokio::time::timeout(patience, call(member.channel.clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) => Failure::of(&status).at(&member.url),
                Err(_) => {
                    Failure::Open(format!("no answer within {} s", CALL_PATIENCE.as_secs())).at(&member.url)
                }
            };
            if failure.is_elsewhere_perhaps_not() {
                let next = (current + 1) % self.members.len();
                // Who came first has moved on already.
                let _ = self.current.compare_exchange(current, next, Ordering::Relaxed, Ordering::Relaxed);
            }
            let again = match &failure {
                Failure::Nothing(_) => true,
                Failure::Open(_) => repeat == Repeat::Safe,
                _ => false,
            };
            if !again || tried >= self.members.len() {
                return Err(failure);
            }
            tried += 1;
        }
    }
}

impl Failure {
    fn at(self, url: &str) -> Self {
        match self {
            Self::Nothing(text) => Self::Nothing(format!("etcd at {url}: {text}")),
            Self::Denied(text) => Self::Denied(format!("etcd at {url}: {text}")),
            Self::NoSpace(text) => Self::NoSpace(format!("etcd at {url}: {text}")),
            Self::Open(text) => Self::Open(format!("etcd at {url}: {text}")),
            other => other,
        }
    }
}

/// A request that a member without a leader refuses rather than lets wait.
pub(crate) fn with_leader<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
    request
}

/// A connection to one member alone, for what concerns that member.
pub fn connect_member(endpoint: &Endpoint, tls: &TlsFiles) -> Channel {
    channel(endpoint, &Arc::new(tls.clone()))
}

fn channel(endpoint: &Endpoint, tls: &Arc<TlsFiles>) -> Channel {
    let (endpoint, tls) = (endpoint.clone(), tls.clone());
    let connector = tower::service_fn(move |_| {
        let (endpoint, tls) = (endpoint.clone(), tls.clone());
        async move {
            match tokio::time::timeout(CONNECT_PATIENCE, connect(&endpoint, &tls)).await {
                Ok(connected) => connected.map(TokioIo::new),
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")),
            }
        }
    });
    // The address is never resolved: the connector above decides where the bytes go.
    tonic::transport::Endpoint::from_static("http://etcd")
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_PATIENCE)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector)
}

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

async fn connect(endpoint: &Endpoint, tls: &TlsFiles) -> io::Result<Box<dyn Bytes>> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    stream.set_nodelay(true)?;
    if !endpoint.encrypted {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(endpoint.host.clone()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(Arc::new(client_config(tls).await?));
    Ok(Box::new(connector.connect(name, stream).await?))
}

async fn client_config(files: &TlsFiles) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &files.ca {
        for certificate in CertificateDer::pem_slice_iter(&read(path).await?) {
            let certificate = certificate.map_err(|error| wrong(path, &error))?;
            roots.add(certificate).map_err(|error| wrong(path, &error))?;
        }
        if roots.is_empty() {
            return Err(wrong(path, &"it holds no certificate"));
        }
    } else {
        let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await?;
        roots.add_parsable_certificates(found.certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
    let mut config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_slice_iter(&read(certificate).await?)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| wrong(certificate, &error))?;
            let secret =
                PrivateKeyDer::from_pem_slice(&read(key).await?).map_err(|error| wrong(key, &error))?;
            builder.with_client_auth_cert(chain, secret).map_err(|error| wrong(certificate, &error))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

async fn read(path: &std::path::Path) -> io::Result<Vec<u8>> {
    tokio::fs::read(path).await.map_err(|error| wrong(path, &error))
}

fn wrong(path: &std::path::Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}
