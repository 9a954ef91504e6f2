//! [`KubeletClient`]: connections from the API server to the nodes' agents, by mutual TLS.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serving::TlsError;

/// The server's identity towards nodes, and the CA it knows them by. Replaced while the server runs: new connections show
/// the new one.
pub struct KubeletClient {
    present: ArcSwap<ClientConfig>,
}

impl KubeletClient {
    /// From PEM: the CA of the nodes' serving certificates, the client's chain and key.
    ///
    /// # Errors
    /// When a part cannot be parsed.
    pub fn from_pem(ca: &[u8], chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(Self { present: ArcSwap::new(Self::config(ca, chain, key)?) })
    }

    /// Replaces the identity and the CA.
    ///
    /// # Errors
    /// As [`Self::from_pem`]; the old ones stay then.
    pub fn replace(&self, ca: &[u8], chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        self.present.store(Self::config(ca, chain, key)?);
        Ok(())
    }

    pub(crate) fn tls(&self) -> Arc<ClientConfig> {
        self.present.load_full()
    }

    fn config(ca: &[u8], chain: &[u8], key: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
        let bad = |what: &'static str| {
            move |e: rustls::pki_types::pem::Error| TlsError::Pem { what, why: e.to_string() }
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca) {
            roots.add(certificate.map_err(bad("node CA"))?)?;
        }
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(bad("kubelet client certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(bad("kubelet client key"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        Ok(Arc::new(config))
    }
}
