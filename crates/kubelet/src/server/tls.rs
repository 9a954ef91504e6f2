//! The server's certificate and the CA its clients must come from, replaceable while running.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the {0} is no valid PEM")]
    Pem(&'static str),
    #[error("the client CA cannot be used: {0}")]
    ClientCa(String),
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// The present TLS configuration. New connections take the newest.
#[derive(Debug)]
pub struct Tls(ArcSwap<ServerConfig>);

impl Tls {
    /// From PEM: the chain (leaf first) with its key, and the CAs that sign clients.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn new(chain_pem: &[u8], key_pem: &[u8], client_ca_pem: &[u8]) -> Result<Self, TlsError> {
        Ok(Self(ArcSwap::from_pointee(configure(chain_pem, key_pem, client_ca_pem)?)))
    }

    /// Takes new certificates into use.
    ///
    /// # Errors
    /// When one of them cannot be used; the old ones stay.
    pub fn replace(&self, chain_pem: &[u8], key_pem: &[u8], client_ca_pem: &[u8]) -> Result<(), TlsError> {
        self.0.store(Arc::new(configure(chain_pem, key_pem, client_ca_pem)?));
        Ok(())
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}

fn configure(chain_pem: &[u8], key_pem: &[u8], client_ca_pem: &[u8]) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for ca in certificates(client_ca_pem, "client CA")? {
        roots.add(ca)?;
    }
    // A client without certificate gets an answer that says so instead of a broken connection.
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|e| TlsError::ClientCa(e.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| TlsError::Pem("key"))?;
    let chain = certificates(chain_pem, "certificate")?;
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_client_cert_verifier(verifier).with_single_cert(chain, key)?;
    // Upgrades, which most requests here are, need HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let list = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    list.ok().filter(|l| !l.is_empty()).ok_or(TlsError::Pem(what))
}
