//! TLS of the serving side: the certificate shown and the CAs of clients, replaced while connections are served.
//!
//! A client's certificate is asked for and never demanded. The server's [`Policy`] decides whether a
//! connection with a certificate that does not verify is accepted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Why certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the {what} is no valid PEM: {why}")]
    Pem { what: &'static str, why: String },
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
    #[error("the client CA cannot be used: {0}")]
    ClientCa(String),
}

/// How a server treats a client whose certificate does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unverified {
    /// The handshake fails.
    Refused,
    /// The connection is made, as long as the client holds the certificate's key. The server asks
    /// [`ServerTls::verify_client`] and answers accordingly.
    Served,
}

/// How a server negotiates.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    pub unverified: Unverified,
    /// Names of ALPN, the preferred first.
    pub protocols: &'static [&'static str],
}

/// The certificate and key of a server, and the CAs it trusts, in PEM.
#[derive(Debug, Clone, Copy)]
pub struct Pem<'a> {
    /// The serving certificate, leaf first.
    pub chain: &'a [u8],
    pub key: &'a [u8],
    /// The CAs that sign clients' certificates.
    pub client_ca: &'a [u8],
}

/// What a server shows of itself and whom it trusts. Each part can be replaced at any time; new connections
/// see the new one, and no session from before is resumed.
#[derive(Debug)]
pub struct ServerTls {
    policy: Policy,
    present: ArcSwap<Present>,
    /// Held while a part is replaced: what is built next starts from what was built last.
    replacing: Mutex<()>,
}

/// A configuration and what it was made from.
#[derive(Debug)]
struct Present {
    serving: Arc<SingleCertAndKey>,
    clients: Arc<dyn ClientCertVerifier>,
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// # Errors
    /// When a part cannot be parsed or the key does not fit the certificate.
    pub fn new(policy: Policy, pem: Pem<'_>) -> Result<Self, TlsError> {
        let present = build(policy, serving_key(pem.chain, pem.key)?, client_verifier(pem.client_ca)?)?;
        Ok(Self { policy, present: ArcSwap::from_pointee(present), replacing: Mutex::default() })
    }

    /// Replaces the serving certificate.
    ///
    /// # Errors
    /// As [`ServerTls::new`]; the old certificate stays then.
    pub fn replace_serving(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let serving = serving_key(chain, key)?;
        self.replace(|present| build(self.policy, serving, Arc::clone(&present.clients)))
    }

    /// Replaces the CAs that client certificates are checked against.
    ///
    /// # Errors
    /// As [`ServerTls::new`]; the old CAs stay then.
    pub fn replace_client_ca(&self, client_ca: &[u8]) -> Result<(), TlsError> {
        let clients = client_verifier(client_ca)?;
        self.replace(|present| build(self.policy, Arc::clone(&present.serving), clients))
    }

    fn replace(&self, next: impl FnOnce(&Present) -> Result<Present, TlsError>) -> Result<(), TlsError> {
        let _alone = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = next(&self.present.load())?;
        self.present.store(Arc::new(next));
        Ok(())
    }

    /// Shakes hands with who has connected, within `patience`. `None` when that fails; the reason is logged.
    pub async fn handshake(&self, socket: TcpStream, patience: Duration) -> Option<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.present.load().config));
        match tokio::time::timeout(patience, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS handshake failed");
                None
            }
            Err(_) => {
                tracing::debug!("TLS handshake took too long");
                None
            }
        }
    }

    /// Checks the certificates a client has shown (leaf first) against the client CAs.
    ///
    /// # Errors
    /// Why the client is not to be trusted.
    pub fn verify_client(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), rustls::Error> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Err(rustls::Error::NoCertificatesPresented);
        };
        self.present.load().clients.verify_client_cert(leaf, intermediates, now).map(|_| ())
    }
}

/// CAs of clients, apart from those of a server: who has a certificate of theirs is something else than its other
/// clients.
#[derive(Debug)]
pub struct Clients(Arc<dyn ClientCertVerifier>);

impl Clients {
    /// # Errors
    /// When the CAs cannot be parsed.
    pub fn from_pem(ca: &[u8]) -> Result<Self, TlsError> {
        Ok(Self(client_verifier(ca)?))
    }

    /// Checks the certificates a client has shown (leaf first).
    ///
    /// # Errors
    /// Why the client is none of these.
    pub fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), rustls::Error> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Err(rustls::Error::NoCertificatesPresented);
        };
        self.0.verify_client_cert(leaf, intermediates, now).map(|_| ())
    }
}

fn build(
    policy: Policy,
    serving: Arc<SingleCertAndKey>,
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<Present, TlsError> {
    let provider = provider();
    let verifier = match policy.unverified {
        Unverified::Refused => Arc::clone(&clients),
        Unverified::Served => {
            Arc::new(AnyCertificate { algorithms: provider.signature_verification_algorithms })
        }
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::clone(&serving) as _);
    config.alpn_protocols = policy.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Present { serving, clients, config: Arc::new(config) })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn read_certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| TlsError::Pem { what, why: e.to_string() })?;
    if certificates.is_empty() {
        return Err(TlsError::Pem { what, why: "it holds no certificate".to_owned() });
    }
    Ok(certificates)
}

fn serving_key(chain: &[u8], key: &[u8]) -> Result<Arc<SingleCertAndKey>, TlsError> {
    let chain = read_certificates(chain, "serving certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|e| TlsError::Pem { what: "serving key", why: e.to_string() })?;
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider())?.into()))
}

/// A client without certificate gets an answer that says so instead of a broken connection.
fn client_verifier(pem: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(pem, "client CA")? {
        roots.add(certificate)?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|e| TlsError::ClientCa(e.to_string()))
}

/// Takes any client certificate at the handshake, as long as the client holds its key. Whether
/// the certificate is to be trusted is asked of [`ServerTls::verify_client`] afterwards.
#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
