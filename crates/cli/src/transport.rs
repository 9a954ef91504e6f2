//! Connections to the server: TCP, through a proxy where the kubeconfig names one, and TLS.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::failure::Failure;
use crate::kubeconfig::os_words;

/// Longest answer of a proxy to CONNECT, in bytes.
const PROXY_ANSWER_BYTES: usize = 16 << 10;

/// Makes connections for hyper.
#[derive(Clone)]
pub struct Connector {
    tls: Option<Arc<rustls::ClientConfig>>,
    server_name: Option<String>,
    proxy: Option<Uri>,
}

impl Connector {
    /// For the cluster and user of a kubeconfig.
    ///
    /// # Errors
    /// When a certificate, key or address cannot be used.
    pub fn new(server: &Uri, cluster: &Value, user: &Value) -> Result<Self, Failure> {
        let tls = match server.scheme_str() {
            Some("https") => Some(Arc::new(tls(cluster, user)?)),
            _ => None,
        };
        let server_name =
            cluster["tls-server-name"].as_str().filter(|name| !name.is_empty()).map(str::to_owned);
        Ok(Self { tls, server_name, proxy: proxy(server, cluster)? })
    }

    async fn connect(self, uri: Uri) -> Result<Wire, std::io::Error> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let tcp = match &self.proxy {
            Some(proxy) => through(proxy, &host, port).await?,
            None => TcpStream::connect((host.as_str(), port)).await?,
        };
        tcp.set_nodelay(true)?;
        let Some(tls) = self.tls else { return Ok(Wire::Plain(tcp)) };
        let name = self.server_name.unwrap_or(host);
        let name = ServerName::try_from(name).map_err(std::io::Error::other)?;
        let stream = tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await?;
        Ok(Wire::Tls(Box::new(stream)))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Wire>, std::io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(uri).await.map(TokioIo::new) })
    }
}

/// An open connection.
pub enum Wire {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

/// The proxy for a server: the kubeconfig's, or the environment's.
fn proxy(server: &Uri, cluster: &Value) -> Result<Option<Uri>, Failure> {
    let own = cluster["proxy-url"].as_str().unwrap_or_default();
    let host = server.host().unwrap_or_default();
    let port = server.port_u16().unwrap_or(if server.scheme_str() == Some("http") { 80 } else { 443 });
    let named = if own.is_empty() { environment_proxy(host, port) } else { Some(own.to_owned()) };
    let Some(named) = named else { return Ok(None) };
    let uri: Uri =
        named.parse().map_err(|e| Failure::message(format!("invalid proxy URL {named:?}: {e}")))?;
    match uri.scheme_str() {
        Some("http") | None => Ok(Some(uri)),
        Some(other) => {
            let why =
                format!("knarr kubectl does not know proxies of scheme {other:?} yet; use the stock kubectl");
            Err(Failure::message(why))
        }
    }
}

fn environment_proxy(host: &str, port: u16) -> Option<String> {
    let variable = |name: &str| {
        let either = std::env::var(name.to_uppercase()).or_else(|_| std::env::var(name.to_lowercase()));
        either.ok().filter(|value| !value.is_empty())
    };
    let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let excepted = variable("no_proxy")
        .is_some_and(|list| list.split(',').map(str::trim).any(|entry| is_excepted(host, port, entry)));
    if local || excepted { None } else { variable("https_proxy") }
}

/// Whether an entry of `NO_PROXY` means a host, as Go reads it: `*`, an address, a range of them, a name and those below,
/// only those below (`.name`, `*.name`); each name or address with a port, perhaps.
fn is_excepted(host: &str, port: u16, entry: &str) -> bool {
    let address: Option<std::net::IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    if entry.is_empty() || entry == "*" {
        return entry == "*";
    }
    if let Some((net, bits)) = entry.split_once('/') {
        let range = net.parse::<std::net::IpAddr>().ok().zip(bits.parse::<u32>().ok());
        return address.zip(range).is_some_and(|(address, (net, bits))| within(address, net, bits));
    }
    let (name, of_port) = match entry.rsplit_once(':') {
        Some((name, text)) if !name.contains(':') || name.ends_with(']') => match text.parse::<u16>() {
            Ok(port) => (name, Some(port)),
            Err(_) => return false,
        },
        _ => (entry, None),
    };
    if of_port.is_some_and(|only| only != port) {
        return false;
    }
    if let Ok(one) = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        return address == Some(one);
    }
    let (host, name) = (host.trim_end_matches('.').to_lowercase(), name.to_lowercase());
    let name = name.strip_prefix('*').unwrap_or(&name);
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => host == name || host.ends_with(&format!(".{name}")),
    }
}

/// Whether an address is in a range.
fn within(address: std::net::IpAddr, net: std::net::IpAddr, bits: u32) -> bool {
    use std::net::IpAddr;
    match (address, net) {
        (IpAddr::V4(address), IpAddr::V4(net)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            address.to_bits() & mask == net.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(net)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            address.to_bits() & mask == net.to_bits() & mask
        }
        _ => false,
    }
}

async fn through(proxy: &Uri, host: &str, port: u16) -> std::io::Result<TcpStream> {
    let at = (proxy.host().unwrap_or_default(), proxy.port_u16().unwrap_or(80));
    let mut tcp = TcpStream::connect(at).await?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let credentials = proxy.authority().and_then(|authority| authority.as_str().rsplit_once('@'));
    let credentials = credentials.map_or(String::new(), |(user, _)| {
        format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(user))
    });
    let ask = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{credentials}\r\n");
    tcp.write_all(ask.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() > PROXY_ANSWER_BYTES {
            return Err(std::io::Error::other("the proxy's answer is too long"));
        }
        answer.push(tcp.read_u8().await?);
    }
    let first = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    match first.split_whitespace().nth(1) {
        Some("200") => Ok(tcp),
        _ => Err(std::io::Error::other(first.split_once(' ').map_or("", |(_, rest)| rest).to_owned())),
    }
}

/// The bytes of a PEM that stands in the file itself (`…-data`, base64) or in another one.
fn pem(of: &Value, key: &str) -> Result<Option<Vec<u8>>, Failure> {
    if let Some(data) = of[format!("{key}-data")].as_str().filter(|data| !data.is_empty()) {
        let decoded = BASE64_STANDARD.decode(data);
        return decoded.map(Some).map_err(|e| Failure::message(format!("{key}-data: {e}")));
    }
    let Some(path) = of[key].as_str().filter(|path| !path.is_empty()) else { return Ok(None) };
    let read = std::fs::read(path);
    read.map(Some)
        .map_err(|e| Failure::message(format!("unable to read {key} {path}: open {path}: {}", os_words(&e))))
}

fn tls(cluster: &Value, user: &Value) -> Result<rustls::ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone());
    let failed = |e: rustls::Error| Failure::message(format!("cannot set up TLS: {e}"));
    let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
    let builder = if cluster["insecure-skip-tls-verify"] == true {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        builder.with_root_certificates(roots(cluster)?)
    };
    let mut config = match identity(user)? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(failed)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(cluster: &Value) -> Result<rustls::RootCertStore, Failure> {
    let mut roots = rustls::RootCertStore::empty();
    match pem(cluster, "certificate-authority")? {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let unusable =
                    |why: String| Failure::message(format!("unable to load root certificates: {why}"));
                let certificate = certificate.map_err(|e| unusable(e.to_string()))?;
                roots.add(certificate).map_err(|e| unusable(e.to_string()))?;
            }
            if roots.is_empty() {
                let why = "unable to load root certificates: unable to parse bytes as PEM block";
                return Err(Failure::message(why));
            }
        }
        None => {
            for certificate in rustls_native_certs::load_native_certs().certs {
                // A certificate of the machine that cannot be used vouches for nobody.
                let _ = roots.add(certificate);
            }
        }
    }
    Ok(roots)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(user: &Value) -> Result<Option<Identity>, Failure> {
    let (Some(chain), Some(key)) = (pem(user, "client-certificate")?, pem(user, "client-key")?) else {
        return Ok(None);
    };
    let wrong = |e: String| Failure::message(format!("tls: {e}"));
    let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|e| wrong(format!("failed to find certificate PEM data: {e}")))?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|e| wrong(format!("failed to parse private key: {e}")))?;
    Ok(Some((chain, key)))
}

/// Takes whoever answers for the server: `insecure-skip-tls-verify`.
#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_excepted_as_go_reads_it() {
        let is = |host: &str, entry: &str| is_excepted(host, 6443, entry);
        for (host, entry) in [
            ("a.b", "*"),
            ("10.1.2.3", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3", "10.1.2.3:6443"),
            ("a.b", "b"),
            ("a.b", "a.b"),
            ("a.b", ".b"),
            ("A.b", "*.B"),
            ("a.b", "b:6443"),
            ("fd00::1", "fd00::/8"),
            ("fd00::1", "[fd00::1]:6443"),
            ("10.1.2.3", "0.0.0.0/0"),
        ] {
            assert!(is(host, entry), "{host} {entry}");
        }
        for (host, entry) in [
            ("b", ".b"),
            ("ab", "b"),
            ("a.b", "b:80"),
            ("11.1.2.3", "10.0.0.0/8"),
            ("a.b", ""),
            ("10.1.2.3", "10.0.0.0/99"),
        ] {
            assert!(!is(host, entry), "{host} {entry}");
        }
    }
}
