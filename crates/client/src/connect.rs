//! The two transports of a `kube::Client`.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{Request, Response};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tower::{BoxError, Service};

/// An API server behind HTTPS and the credentials to use there. All certificates and keys in PEM.
#[derive(Clone)]
pub struct Endpoint {
    /// `https://host:port`
    pub server: String,
    pub ca_pem: String,
    pub certificate_pem: String,
    pub key_pem: String,
}

impl Endpoint {
    /// Where the server listens, as `host:port`.
    ///
    /// # Errors
    /// When the address is no URL with a host.
    pub fn authority(&self) -> Result<String, ConnectError> {
        let invalid = || ConnectError::Address(self.server.clone());
        let uri: http::Uri = self.server.parse().map_err(|_| invalid())?;
        Ok(format!("{}:{}", uri.host().ok_or_else(invalid)?, uri.port_u16().unwrap_or(443)))
    }
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the server address {0:?} is no valid URL")]
    Address(String),
    #[error("the cluster's CA certificate cannot be read: {0}")]
    Ca(String),
    #[error("the kubeconfig file {0}: {1}")]
    File(String, String),
    #[error("cannot set up the client: {0}")]
    Client(#[from] Box<kube::Error>),
}

/// How long a peer may be silent while something is expected of it: a node whose connections are dead has time enough to
/// renew its lease by new ones.
pub const PEER_PATIENCE: Duration = Duration::from_secs(15);

/// Whom a client takes for the server.
#[derive(Clone, Copy)]
pub enum Trust<'a> {
    /// Whoever a CA of these vouches for, in PEM.
    Ca(&'a str),
    /// Whoever answers: nothing is sent that others must not know, and nothing is believed that is not proven otherwise.
    Anybody,
}

/// As whom a client introduces itself.
#[derive(Clone, Copy)]
pub enum Credentials<'a> {
    None,
    /// A bearer token.
    Token(&'a str),
    /// A certificate and its key, in PEM.
    Certificate {
        chain: &'a str,
        key: &'a str,
    },
}

/// A client over HTTPS with a client certificate. No connection is made yet.
///
/// # Errors
/// When the address or a certificate cannot be parsed.
pub fn https(endpoint: &Endpoint) -> Result<Client, ConnectError> {
    let credentials = Credentials::Certificate { chain: &endpoint.certificate_pem, key: &endpoint.key_pem };
    https_as(&endpoint.server, Trust::Ca(&endpoint.ca_pem), credentials)
}

/// A client over HTTPS. No connection is made yet.
///
/// A peer that is gone, or is no longer reached from the address that a connection was made from, is noticed within
/// [`PEER_PATIENCE`], also by a watch that only waits.
///
/// # Errors
/// As [`https`].
pub fn https_as(
    server: &str,
    trust: Trust<'_>,
    credentials: Credentials<'_>,
) -> Result<Client, ConnectError> {
    let uri = server.parse().map_err(|_| ConnectError::Address(server.to_owned()))?;
    let mut config = Config::new(uri);
    match trust {
        Trust::Ca(pem) => config.root_cert = Some(certificates(pem)?),
        Trust::Anybody => config.accept_invalid_certs = true,
    }
    match credentials {
        Credentials::None => {}
        Credentials::Token(token) => config.auth_info.token = Some(token.to_owned().into()),
        Credentials::Certificate { chain, key } => {
            config.auth_info.client_certificate_data = Some(BASE64_STANDARD.encode(chain));
            config.auth_info.client_key_data = Some(BASE64_STANDARD.encode(key).into());
        }
    }
    of_config(config)
}

/// A client with what a kubeconfig file says of its current context, or of `context`: certificates, tokens and the
/// programs that give credentials. No connection is made yet.
///
/// # Errors
/// When the file cannot be read, or what the file says does not lead to a server.
pub async fn of_kubeconfig(path: &Path, context: Option<&str>) -> Result<Client, ConnectError> {
    let failed = |error: KubeconfigError| ConnectError::File(path.display().to_string(), error.to_string());
    let file = Kubeconfig::read_from(path).map_err(failed)?;
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    of_config(Config::from_custom_kubeconfig(file, &options).await.map_err(failed)?)
}

fn of_config(config: Config) -> Result<Client, ConnectError> {
    let failed = |error: kube::Error| ConnectError::Client(Box::new(error));
    let connector = config.rustls_https_connector_with_connector(tcp()).map_err(failed)?;
    let service = tower::ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(failed)?)
        .map_err(BoxError::from)
        .service(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector));
    Ok(Client::new(service, config.default_namespace))
}

/// Connections that end when the peer is silent.
fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(PEER_PATIENCE));
    // Probes while nothing is on its way, and the same patience for what is.
    tcp.set_keepalive(Some(PEER_PATIENCE / 2));
    tcp.set_keepalive_interval(Some(PEER_PATIENCE / 6));
    tcp.set_keepalive_retries(Some(3));
    tcp.set_tcp_user_timeout(Some(PEER_PATIENCE));
    tcp
}

fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, ConnectError> {
    rustls::pki_types::pem::PemObject::pem_slice_iter(pem.as_bytes())
        .map(|der: Result<rustls::pki_types::CertificateDer<'_>, _>| der.map(|d| d.to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| ConnectError::Ca(e.to_string()))
}

/// A client that hands its requests to `service`: an API server in this process.
pub fn in_process<S, B>(service: S) -> Client
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Client::new(service, "default")
}
