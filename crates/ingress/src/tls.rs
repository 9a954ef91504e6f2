//! The certificates that clients are shown, by the name they ask for (SNI), replaced while connections are served.
//!
//! Start with [`Certificates`]. Who asks for a name without a certificate is shown one made here that nobody trusts, as
//! other Ingress controllers do: so a client learns that its host is not set up, and not that nobody listens.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::router::{Names, Pattern};

/// The name in the certificate that is shown where there is none.
pub const FALLBACK_NAME: &str = "knarr ingress fallback certificate";
const DAY_S: i64 = 86_400;
const FALLBACK_DAYS: i64 = 3650;

/// Why a certificate cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CertificateError {
    #[error("there is no Secret of this name")]
    NoSecret,
    #[error("it has no key {0:?}")]
    NoKey(&'static str),
    #[error("its {what} is no valid PEM: {why}")]
    Pem { what: &'static str, why: String },
    #[error("its tls.crt holds no certificate")]
    Empty,
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
    #[error("making a certificate: {0}")]
    Making(#[from] rcgen::Error),
}

/// Reads a certificate chain, leaf first, and its key, both in PEM.
///
/// # Errors
/// When a part cannot be read, or the key is another certificate's.
pub fn read(chain: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, CertificateError> {
    let pem = |what| {
        move |error: rustls::pki_types::pem::Error| CertificateError::Pem { what, why: error.to_string() }
    };
    let chain =
        CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().map_err(pem("tls.crt"))?;
    if chain.is_empty() {
        return Err(CertificateError::Empty);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(pem("tls.key"))?;
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider())?))
}

/// The hosts that a certificate names.
pub fn hosts(certificate: &CertifiedKey) -> Vec<Pattern> {
    let Some(leaf) = certificate.cert.first() else { return Vec::new() };
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else { return Vec::new() };
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return Vec::new() };
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(Pattern::parse(name)),
        _ => None,
    });
    names.collect()
}

fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn fallback(now: Timestamp) -> Result<CertifiedKey, CertificateError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, FALLBACK_NAME);
    let day = |offset: i64| {
        let at = Timestamp::from_second(now.as_second() + offset * DAY_S).unwrap_or(now);
        let day = at.to_zoned(jiff::tz::TimeZone::UTC);
        rcgen::date_time_ymd(i32::from(day.year()), day.month().unsigned_abs(), day.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (day(-1), day(FALLBACK_DAYS));
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok(CertifiedKey::from_der(vec![certificate.der().clone()], key, &provider())?)
}

/// The certificates of all hosts. Readers never wait; hosts are replaced one at a time.
#[derive(Debug)]
pub struct Certificates {
    shown: Arc<Shown>,
    config: ArcSwap<ServerConfig>,
}

#[derive(Debug)]
struct Shown {
    names: Names<Arc<CertifiedKey>>,
    fallback: Arc<CertifiedKey>,
}

impl Certificates {
    /// None yet but the one for hosts without.
    ///
    /// # Errors
    /// When that one cannot be made.
    pub fn new(now: Timestamp) -> Result<Self, CertificateError> {
        let shown = Arc::new(Shown { names: Names::default(), fallback: Arc::new(fallback(now)?) });
        let config = ArcSwap::from_pointee(config(&shown)?);
        Ok(Self { shown, config })
    }

    /// Has a host be served with this certificate from now on. New connections are shown it; no session from before
    /// is resumed.
    ///
    /// # Errors
    /// When the cryptography lacks what TLS needs.
    pub fn replace(
        &self,
        host: &Pattern,
        certificate: Option<Arc<CertifiedKey>>,
    ) -> Result<(), CertificateError> {
        self.shown.names.replace(host, certificate);
        self.config.store(Arc::new(config(&self.shown)?));
        Ok(())
    }

    /// How many of these hosts have a certificate.
    #[cfg(test)]
    pub(crate) fn count(&self, hosts: &[&str]) -> usize {
        hosts.iter().filter(|host| self.shown.names.find(host).iter().any(Option::is_some)).count()
    }

    /// For the next handshake.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}

fn config(shown: &Arc<Shown>) -> Result<ServerConfig, CertificateError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(shown) as _);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or("").to_ascii_lowercase();
        let [exact, wildcard] = self.names.find(name.strip_suffix('.').unwrap_or(&name));
        Some(exact.or(wildcard).unwrap_or_else(|| Arc::clone(&self.fallback)))
    }
}
