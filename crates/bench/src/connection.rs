//! HTTP/1.1 over TLS to the API server, as little of it as measuring needs.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub const JSON: &str = "application/json";
pub const MERGE_PATCH: &str = "application/merge-patch+json";
pub const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";

/// Where to connect to, and as whom.
#[derive(Clone)]
pub struct Target {
    host: String,
    authority: String,
    tls: TlsConnector,
}

/// One request, as it is sent.
pub struct Request {
    pub method: Method,
    pub path: String,
    pub content_type: &'static str,
    pub body: Bytes,
}

impl Request {
    /// Without a body.
    pub fn plain(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), content_type: JSON, body: Bytes::new() }
    }

    pub fn json(method: Method, path: impl Into<String>, body: &Value) -> Self {
        Self { method, path: path.into(), content_type: JSON, body: body.to_string().into() }
    }

    /// `content_type` says which kind of patch `body` is.
    pub fn patch(path: impl Into<String>, content_type: &'static str, body: &Value) -> Self {
        Self { method: Method::PATCH, path: path.into(), content_type, body: body.to_string().into() }
    }
}

impl Target {
    /// The first cluster and user of a kubeconfig.
    pub fn of(kubeconfig: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(kubeconfig)
            .with_context(|| format!("reading {}", kubeconfig.display()))?;
        let config: Value = serde_saphyr::from_str(&text).map_err(|error| anyhow::anyhow!("{error}"))?;
        let (cluster, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
        let server = cluster["server"].as_str().context("the kubeconfig names no server")?;
        let authority = server.strip_prefix("https://").context("the server is not behind HTTPS")?.to_owned();
        let pem = |value: &Value| -> Result<Vec<u8>> {
            Ok(BASE64_STANDARD
                .decode(value.as_str().context("the kubeconfig lacks a certificate or key")?)?)
        };
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem(&cluster["certificate-authority-data"])?)?)?;
        let certificate = CertificateDer::from_pem_slice(&pem(&user["client-certificate-data"])?)?;
        let key = PrivateKeyDer::from_pem_slice(&pem(&user["client-key-data"])?)?;
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)?;
        let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host).to_owned();
        Ok(Self { host, authority, tls: TlsConnector::from(Arc::new(tls)) })
    }

    /// A connection after the TLS handshake, before any HTTP.
    pub async fn dial(&self) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        Ok(self.tls.connect(ServerName::try_from(self.host.clone())?, stream).await?)
    }

    /// `host:port` of the server.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    pub async fn connect(&self) -> Result<Connection> {
        let (sender, driver) = http1::handshake(TokioIo::new(self.dial().await?)).await?;
        let mut drivers = JoinSet::new();
        drivers.spawn(async move {
            // How it ends shows in the request that is under way.
            let _ = driver.await;
        });
        Ok(Connection { sender, authority: self.authority.clone(), _drivers: drivers })
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// When the answer is no success.
    pub async fn ask(&self, request: Request) -> Result<Value> {
        let answer = self.connect().await?.send(request).await?.collect().await?.to_bytes();
        Ok(serde_json::from_slice(&answer)?)
    }
}

/// An open connection, used by one request after the other.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
    _drivers: JoinSet<()>,
}

impl Connection {
    /// Sends a request; the body of the answer is still to be read.
    ///
    /// # Errors
    /// When the answer is no success.
    pub async fn send(&mut self, request: Request) -> Result<Incoming> {
        let what = format!("{} {}", request.method, request.path);
        let (status, body) = self.send_any(request).await?;
        if !status.is_success() {
            let answer = body.collect().await?.to_bytes();
            bail!("{what}: {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(body)
    }

    /// The same for whom any answer will do.
    ///
    /// # Errors
    /// When there is none.
    pub async fn send_any(&mut self, request: Request) -> Result<(StatusCode, Incoming)> {
        let message = hyper::Request::builder()
            .method(request.method)
            .uri(request.path)
            .header("host", &self.authority)
            .header("accept", JSON)
            .header("content-type", request.content_type)
            .header("user-agent", "knarr-bench")
            .body(Full::new(request.body))?;
        self.sender.ready().await?;
        let response: Response<Incoming> = self.sender.send_request(message).await?;
        Ok((response.status(), response.into_body()))
    }
}
