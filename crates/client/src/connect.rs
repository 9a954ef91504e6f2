//! The two transports of a `kube::Client`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{Request, Response};
use kube::client::Body;
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
    #[error("cannot set up the client: {0}")]
    Client(#[from] Box<kube::Error>),
}

/// A client over HTTPS with a client certificate. No connection is made yet.
///
/// # Errors
/// When the address or a certificate cannot be parsed.
pub fn https(endpoint: &Endpoint) -> Result<Client, ConnectError> {
    let uri = endpoint.server.parse().map_err(|_| ConnectError::Address(endpoint.server.clone()))?;
    let mut config = Config::new(uri);
    let ca = rustls::pki_types::pem::PemObject::pem_slice_iter(endpoint.ca_pem.as_bytes())
        .map(|der: Result<rustls::pki_types::CertificateDer<'_>, _>| der.map(|d| d.to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| ConnectError::Ca(e.to_string()))?;
    config.root_cert = Some(ca);
    config.auth_info.client_certificate_data = Some(BASE64_STANDARD.encode(&endpoint.certificate_pem));
    config.auth_info.client_key_data = Some(BASE64_STANDARD.encode(&endpoint.key_pem).into());
    Client::try_from(config).map_err(|e| ConnectError::Client(Box::new(e)))
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
