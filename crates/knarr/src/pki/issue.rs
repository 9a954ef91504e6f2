//! Issuing and checking single certificates.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::Pair;

const DAY_S: i64 = 86_400;
/// Life of the CA.
const CA_DAYS: i64 = 3650;
/// Life of everything it signs.
const LEAF_DAYS: i64 = 365;
/// Clocks of a cluster's machines may differ by this much.
const BACKDATE_S: i64 = 300;

/// Who a certificate is for.
pub(super) struct Subject<'a> {
    pub common_name: &'a str,
    pub organization: Option<&'a str>,
    /// DNS names and IP addresses.
    pub names: &'a [String],
    pub usage: ExtendedKeyUsagePurpose,
}

impl<'a> Subject<'a> {
    pub fn server(common_name: &'a str, names: &'a [String]) -> Self {
        Self { common_name, organization: None, names, usage: ExtendedKeyUsagePurpose::ServerAuth }
    }

    pub fn client(common_name: &'a str, organization: &'a str) -> Self {
        Self {
            common_name,
            organization: Some(organization),
            names: &[],
            usage: ExtendedKeyUsagePurpose::ClientAuth,
        }
    }
}

pub(super) fn make_ca(now: jiff::Timestamp) -> Result<Pair> {
    let key = KeyPair::generate().context("making the CA's key")?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = named("knarr-ca", None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
    set_life(&mut params, now, CA_DAYS)?;
    let certificate = params.self_signed(&key).context("signing the CA's certificate")?;
    Ok(Pair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

pub(super) fn issue(
    subject: &Subject<'_>,
    issuer: &Issuer<'_, KeyPair>,
    now: jiff::Timestamp,
) -> Result<Pair> {
    let key = KeyPair::generate().context("making a key")?;
    let mut params = CertificateParams::new(subject.names.to_vec()).context("a certificate's names")?;
    params.distinguished_name = named(subject.common_name, subject.organization);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![subject.usage.clone()];
    params.use_authority_key_identifier_extension = true;
    set_life(&mut params, now, LEAF_DAYS)?;
    let certificate = params
        .signed_by(&key, issuer)
        .with_context(|| format!("signing the certificate of {}", subject.common_name))?;
    Ok(Pair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

fn named(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    name
}

fn set_life(params: &mut CertificateParams, now: jiff::Timestamp, days: i64) -> Result<()> {
    let start = jiff::Timestamp::from_second(now.as_second() - BACKDATE_S)?;
    let end = jiff::Timestamp::from_second(now.as_second() + days * DAY_S)?;
    let date = |t: jiff::Timestamp| {
        let d = t.to_zoned(jiff::tz::TimeZone::UTC);
        let day = rcgen::date_time_ymd(i32::from(d.year()), d.month().unsigned_abs(), d.day().unsigned_abs());
        day + std::time::Duration::from_secs(t.as_second().rem_euclid(DAY_S).unsigned_abs())
    };
    params.not_before = date(start);
    params.not_after = date(end);
    Ok(())
}

/// When a PEM certificate ends; `None` when it cannot be read.
pub(super) fn expires_at(pem: &str) -> Option<jiff::Timestamp> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
    jiff::Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

/// Whether a certificate has at least a third of its life left and is made for the subject's names.
pub(super) fn still_good(pem: &str, subject: &Subject<'_>, now: jiff::Timestamp) -> bool {
    let Some(end) = expires_at(pem) else { return false };
    if end.as_second() - now.as_second() < LEAF_DAYS * DAY_S / 3 {
        return false;
    }
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(pem.as_bytes()) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&pem.contents) else { return false };
    let mut present: Vec<String> = Vec::new();
    if let Ok(Some(extension)) = certificate.subject_alternative_name() {
        for name in &extension.value.general_names {
            match name {
                GeneralName::DNSName(name) => present.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => present.extend(address(bytes)),
                _ => {}
            }
        }
    }
    subject.names.iter().all(|wanted| present.contains(wanted))
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::IpAddr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| std::net::IpAddr::from(v6).to_string())
}
