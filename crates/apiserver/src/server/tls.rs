//! TLS of the serving side: certificates and client CAs that can be replaced while running.
//!
//! A client certificate is asked for and never demanded. One that does not verify does not end the
//! handshake either: the connection is marked, and its requests are answered 401, as upstream does.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};

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

/// What the server shows of itself and whom it trusts. Both parts can be replaced at any time;
/// new connections see the new ones.
#[derive(Debug)]
pub struct Tls {
    serving: ArcSwap<CertifiedKey>,
    client_ca: ArcSwap<ClientCa>,
}

#[derive(Debug)]
struct ClientCa(Arc<dyn ClientCertVerifier>);

impl Tls {
    /// From PEM: the serving chain (leaf first), its key, and the CAs of client certificates.
    ///
    /// # Errors
    /// When a part cannot be parsed or the key does not fit the certificate.
    pub fn from_pem(chain: &[u8], key: &[u8], client_ca: &[u8]) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self {
            serving: ArcSwap::from_pointee(certified_key(chain, key)?),
            client_ca: ArcSwap::from_pointee(client_verifier(client_ca)?),
        }))
    }

    /// Replaces the serving certificate.
    ///
    /// # Errors
    /// As [`Tls::from_pem`]; the old certificate stays then.
    pub fn replace_serving(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        self.serving.store(Arc::new(certified_key(chain, key)?));
        Ok(())
    }

    /// Replaces the CAs that client certificates are checked against.
    ///
    /// # Errors
    /// As [`Tls::from_pem`]; the old CAs stay then.
    pub fn replace_client_ca(&self, pem: &[u8]) -> Result<(), TlsError> {
        self.client_ca.store(Arc::new(client_verifier(pem)?));
        Ok(())
    }

    /// The configuration of listeners.
    pub(crate) fn server_config(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let provider = provider();
        let asks = Arc::new(AskForCertificate { algorithms: provider.signature_verification_algorithms });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(asks)
            .with_cert_resolver(Arc::new(Resolver(Arc::clone(self))));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Checks the certificates a client has shown (leaf first) against the client CAs.
    pub(crate) fn verify_client(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Err(rustls::Error::NoCertificatesPresented);
        };
        self.client_ca.load().0.verify_client_cert(leaf, intermediates, now).map(|_| ())
    }
}

fn certified_key(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, TlsError> {
    let chain = read_certificates(chain, "serving certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|e| TlsError::Pem { what: "serving key", why: e.to_string() })?;
    Ok(CertifiedKey::from_der(chain, key, &provider())?)
}

fn client_verifier(pem: &[u8]) -> Result<ClientCa, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(pem, "client CA")? {
        roots.add(certificate)?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map(ClientCa)
        .map_err(|e| TlsError::ClientCa(e.to_string()))
}

struct Resolver(Arc<Tls>);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.serving.load_full())
    }
}

/// Takes any client certificate at the handshake, as long as the client holds its key. Whether
/// the certificate is to be trusted is asked of [`Tls::verify_client`] afterwards.
#[derive(Debug)]
struct AskForCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AskForCertificate {
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
