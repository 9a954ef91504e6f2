//! [`Facts`]: what a certificate says of itself.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub common_name: String,
    pub begins: Timestamp,
    pub ends: Timestamp,
    /// DNS names and IP addresses.
    pub names: Vec<String>,
}

impl Facts {
    /// Reads the first certificate of a PEM; `None` when it cannot be read.
    pub fn read(pem: &str) -> Option<Self> {
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
        let (_, certificate) = X509Certificate::from_der(&block.contents).ok()?;
        let validity = certificate.validity();
        let subject = certificate.subject().iter_common_name().last();
        Some(Self {
            common_name: subject.and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned(),
            begins: Timestamp::from_second(validity.not_before.timestamp()).ok()?,
            ends: Timestamp::from_second(validity.not_after.timestamp()).ok()?,
            names: names(&certificate),
        })
    }

    /// How long the certificate is valid in all.
    pub fn life(&self) -> SignedDuration {
        self.ends.duration_since(self.begins)
    }

    /// Whether the certificate is made for all of these names.
    pub fn covers(&self, names: &[String]) -> bool {
        names.iter().all(|name| self.names.contains(name))
    }
}

/// Whether the first certificate of a PEM is signed by that of a CA.
pub fn is_signed_by(pem: &str, ca_pem: &str) -> bool {
    let block =
        |pem: &str| x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok().map(|(_, block)| block.contents);
    let (Some(leaf), Some(ca)) = (block(pem), block(ca_pem)) else { return false };
    match (X509Certificate::from_der(&leaf), X509Certificate::from_der(&ca)) {
        (Ok((_, leaf)), Ok((_, ca))) => leaf.verify_signature(Some(ca.public_key())).is_ok(),
        _ => false,
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    names.collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| IpAddr::from(v6).to_string())
}
