//! Issuing and checking single certificates.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

use super::Pair;
use super::facts::{Facts, is_signed_by};

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

    pub fn client(common_name: &'a str, organization: Option<&'a str>) -> Self {
        Self { common_name, organization, names: &[], usage: ExtendedKeyUsagePurpose::ClientAuth }
    }
}

pub(super) fn make_ca(common_name: &str, now: jiff::Timestamp) -> Result<Pair> {
    let key = KeyPair::generate().context("making the CA's key")?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = distinguished_name(common_name, None);
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
    params.distinguished_name = distinguished_name(subject.common_name, subject.organization);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![subject.usage.clone()];
    params.use_authority_key_identifier_extension = true;
    set_life(&mut params, now, LEAF_DAYS)?;
    let certificate = params
        .signed_by(&key, issuer)
        .with_context(|| format!("signing the certificate of {}", subject.common_name))?;
    Ok(Pair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

/// A subject.
pub fn distinguished_name(common_name: &str, organization: Option<&str>) -> DistinguishedName {
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

/// Whether a certificate is signed by this CA, has at least a third of its life left and is made for the subject's names.
pub(super) fn still_good(pem: &str, ca_pem: &str, subject: &Subject<'_>, now: jiff::Timestamp) -> bool {
    let Some(facts) = Facts::read(pem) else { return false };
    is_signed_by(pem, ca_pem) && due(&facts).is_some_and(|due| now <= due) && facts.covers(subject.names)
}

/// Until when a certificate has at least a third of its life left.
pub(super) fn due(facts: &Facts) -> Option<jiff::Timestamp> {
    facts.ends.checked_sub(jiff::SignedDuration::from_secs(LEAF_DAYS * DAY_S / 3)).ok()
}
