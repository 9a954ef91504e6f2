//! [`Authority`]: the cluster's CA, with its key.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    SignatureAlgorithm, SigningKey,
};
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

use super::der;
use super::request::Request;

/// The longest life of a certificate (upstream: `--cluster-signing-duration`).
const LONGEST: Duration = Duration::from_hours(8760);
/// The shortest that can be asked for.
const SHORTEST: Duration = Duration::from_mins(10);
/// Clocks of a cluster's machines may differ by this much.
const BACKDATE: Duration = Duration::from_mins(5);
/// A shorter life counts from now, a longer one from the backdated beginning.
const SHORT: Duration = Duration::from_hours(8);

const CLIENT_AUTH: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 2];
const SERVER_AUTH: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 1];
const KEY_USAGE: [u64; 4] = [2, 5, 29, 15];
const OTHER_NAMES: [u64; 4] = [2, 5, 29, 17];
const BASIC_CONSTRAINTS: [u64; 4] = [2, 5, 29, 19];
const AUTHORITY_KEY: [u64; 4] = [2, 5, 29, 35];
const EXTENDED_USAGE: [u64; 4] = [2, 5, 29, 37];

/// Why there is no authority, or it did not sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("the CA's key cannot be used: {0}")]
    Key(#[from] rcgen::Error),
    #[error("the CA's certificate cannot be read: {0}")]
    Certificate(String),
    #[error("the CA's key is of a sort that signs nothing here")]
    Algorithm,
    #[error("the CA's certificate is no longer valid")]
    Expired,
}

/// Signs certificates. Nobody reads its key.
pub struct Authority {
    key: KeyPair,
    algorithm: Vec<u8>,
    /// The CA's name, as DER.
    name: Vec<u8>,
    /// The CA's key identifier, where its certificate has one.
    key_id: Option<Vec<u8>>,
    not_after: Timestamp,
}

impl Authority {
    /// From the CA's certificate and key, both in PEM.
    ///
    /// # Errors
    /// When one of them cannot be read or the key is of an unknown sort.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let unreadable = |error: &dyn std::fmt::Display| AuthorityError::Certificate(error.to_string());
        let key = KeyPair::from_pem(key_pem)?;
        let algorithm = identifier(key.algorithm()).ok_or(AuthorityError::Algorithm)?;
        let (_, block) = x509_parser::pem::parse_x509_pem(certificate_pem.as_bytes())
            .map_err(|error| unreadable(&error))?;
        let (_, certificate) =
            X509Certificate::from_der(&block.contents).map_err(|error| unreadable(&error))?;
        let key_id =
            certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                _ => None,
            });
        let not_after = Timestamp::from_second(certificate.validity().not_after.timestamp())
            .map_err(|error| unreadable(&error))?;
        Ok(Self { algorithm, name: certificate.subject().as_raw().to_vec(), key_id, not_after, key })
    }

    /// A certificate in PEM for what was asked, of the length asked for within bounds.
    pub(super) fn sign(
        &self,
        request: &Request,
        usages: &[String],
        expiration_s: Option<i32>,
        now: Timestamp,
    ) -> Result<Vec<u8>, AuthorityError> {
        if self.not_after <= now {
            return Err(AuthorityError::Expired);
        }
        let (begins, ends) = life(expiration_s, now, self.not_after);
        let serial: [u8; 16] = base::random::bytes();
        let body = der::sequence(&[
            &der::tagged(0xa0, &der::unsigned(&[2])),
            &der::unsigned(&[&[serial[0] & 0x7f | 0x40], &serial[1..]].concat()),
            &self.algorithm,
            &self.name,
            &der::sequence(&[&der::time(begins), &der::time(ends)]),
            &request.subject,
            &request.public_key,
            &der::tagged(0xa3, &self.extensions(request, usages)),
        ]);
        let signature = self.key.sign(&body)?;
        let certificate = der::sequence(&[&body, &self.algorithm, &der::bits(&signature)]);
        Ok(pem(&certificate))
    }

    fn extensions(&self, request: &Request, usages: &[String]) -> Vec<u8> {
        let has = |usage: &str| usages.iter().any(|given| given == usage);
        // Bit 0 is the first of the byte (RFC 5280 §4.2.1.3).
        let bits = if has("digital signature") { 0x80 } else { 0u8 }
            | if has("key encipherment") { 0x20 } else { 0 };
        let mut all = Vec::new();
        if bits != 0 {
            let unused = u8::try_from(bits.trailing_zeros()).unwrap_or_default();
            all.push(extension(&KEY_USAGE, true, &der::tagged(0x03, &[unused, bits])));
        }
        let extended: Vec<u8> = [("client auth", CLIENT_AUTH), ("server auth", SERVER_AUTH)]
            .iter()
            .filter(|(usage, _)| has(usage))
            .flat_map(|(_, id)| der::oid(id))
            .collect();
        if !extended.is_empty() {
            all.push(extension(&EXTENDED_USAGE, false, &der::sequence(&[&extended])));
        }
        all.push(extension(&BASIC_CONSTRAINTS, true, &der::sequence(&[])));
        if let Some(id) = &self.key_id {
            all.push(extension(&AUTHORITY_KEY, false, &der::sequence(&[&der::tagged(0x80, id)])));
        }
        if let Some(names) = &request.other_names {
            all.push(extension(&OTHER_NAMES, false, names));
        }
        der::sequence(&all.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }
}

fn extension(id: &[u64], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag = if critical { der::tagged(0x01, &[0xff]) } else { Vec::new() };
    der::sequence(&[&der::oid(id), &flag, &der::octets(value)])
}

/// How the algorithm is named in a certificate.
fn identifier(algorithm: &'static SignatureAlgorithm) -> Option<Vec<u8>> {
    let (id, null): (&[u64], bool) = if algorithm == &PKCS_ECDSA_P256_SHA256 {
        (&[1, 2, 840, 10045, 4, 3, 2], false)
    } else if algorithm == &PKCS_ECDSA_P384_SHA384 {
        (&[1, 2, 840, 10045, 4, 3, 3], false)
    } else if algorithm == &PKCS_ED25519 {
        (&[1, 3, 101, 112], false)
    } else if algorithm == &PKCS_RSA_SHA256 {
        (&[1, 2, 840, 113_549, 1, 1, 11], true)
    } else {
        return None;
    };
    let parameters = if null { der::tagged(0x05, &[]) } else { Vec::new() };
    Some(der::sequence(&[&der::oid(id), &parameters]))
}

/// When a certificate begins and ends. None outlives the CA's.
pub(super) fn life(expiration_s: Option<i32>, now: Timestamp, ca_ends: Timestamp) -> (Timestamp, Timestamp) {
    let asked = expiration_s.map(|s| Duration::from_secs(u64::try_from(s).unwrap_or_default()));
    let lasts = asked.map_or(LONGEST, |asked| asked.clamp(SHORTEST, LONGEST));
    let begins = now.checked_sub(BACKDATE).unwrap_or(now);
    let counted_from = if lasts < SHORT { now } else { begins };
    let ends = counted_from.checked_add(lasts).unwrap_or(ca_ends);
    (begins, ends.min(ca_ends))
}

fn pem(der: &[u8]) -> Vec<u8> {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = b"-----BEGIN CERTIFICATE-----\n".to_vec();
    for line in text.as_bytes().chunks(64) {
        pem.extend_from_slice(line);
        pem.push(b'\n');
    }
    pem.extend_from_slice(b"-----END CERTIFICATE-----\n");
    pem
}
