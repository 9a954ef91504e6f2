//! Requests for certificates: what is asked for, what was decided, what was issued.
//! Facts: upstream's `pkg/apis/certificates/validation`.

use std::collections::HashSet;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::error::X509Error;
use x509_parser::pem::{Pem, parse_x509_pem};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{check, read};

/// The shortest life of a certificate that can be asked for, in seconds.
const SHORTEST_S: i64 = 600;
/// The signer of old, which v1 does not serve.
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
/// What decides a request, which only its own subresource says.
pub(crate) const DECISIONS: [&str; 2] = ["Approved", "Denied"];
/// Conditions that once said stay.
const LASTING: [&str; 3] = ["Approved", "Denied", "Failed"];
/// The most unknown usages that are told.
const MAX_UNKNOWN: usize = 16;
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// Who may say what in a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// Who approves: decisions, and no certificate.
    Approver,
    /// Who signs: a certificate, and no decision.
    Signer,
}

pub(crate) fn signing_request(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    let request = read::text(spec, "request");
    if let Err(why) = judge_request(request) {
        errors.push(FieldError::invalid(&path.child("request"), request, why));
    }
    usages(&mut errors, &path.child("usages"), spec);
    let signer = read::text(spec, "signerName");
    if signer == LEGACY_SIGNER {
        let detail = "the legacy signerName is not allowed via this API version";
        errors.push(FieldError::invalid(&path.child("signerName"), signer, detail));
    } else {
        signer_name(&mut errors, &path.child("signerName"), signer);
    }
    if let Some(seconds) = read::int(spec, "expirationSeconds").filter(|s| *s < SHORTEST_S) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid(&path.child("expirationSeconds"), seconds, detail));
    }
    errors.extend(faulty_conditions(object, None));
    errors.extend(faulty_certificate(object));
    errors
}

/// A change by who approves or denies.
pub(crate) fn approval(new: &Object, old: &Object) -> ErrorList {
    change(new, old, Writer::Approver)
}

/// A change by who signs.
pub(crate) fn signing(new: &Object, old: &Object) -> ErrorList {
    change(new, old, Writer::Signer)
}

/// The spec cannot change, and was judged when the request was made.
fn change(new: &Object, old: &Object, writer: Writer) -> ErrorList {
    let mut errors = faulty_conditions(new, Some(old));
    let [after, before] = [new, old].map(|object| read::text(read::top(object, "status"), "certificate"));
    if after != before && judge_certificate(before).is_ok() {
        errors.extend(faulty_certificate(new));
    }
    let status = Path::root("status");
    let conditions_path = status.child("conditions");
    for lasting in LASTING {
        if of_type(new, lasting).len() < of_type(old, lasting).len() {
            let detail = format!("updates may not remove a condition of type {lasting:?}");
            errors.push(FieldError::forbidden(&conditions_path, detail));
        }
    }
    if writer == Writer::Signer {
        for decision in DECISIONS {
            let (after, before) = (of_type(new, decision), of_type(old, decision));
            let detail = match after.len().cmp(&before.len()) {
                std::cmp::Ordering::Greater => {
                    format!("updates may not add a condition of type {decision:?}")
                }
                std::cmp::Ordering::Equal if after != before => {
                    format!("updates may not modify a condition of type {decision:?}")
                }
                _ => continue,
            };
            errors.push(FieldError::forbidden(&conditions_path, detail));
        }
    }
    if after != before {
        let at = status.child("certificate");
        match writer {
            Writer::Approver => {
                errors.push(FieldError::forbidden(&at, "updates may not set certificate content"));
            }
            Writer::Signer if !before.is_empty() => {
                let detail = "updates may not modify existing certificate content";
                errors.push(FieldError::forbidden(&at, detail));
            }
            Writer::Signer => {}
        }
    }
    errors
}

/// Signatures by elliptic curves with SHA-256, SHA-384 and SHA-512 (RFC 5758).
const ECDSA_WITH_SHA2: [&str; 3] = ["1.2.840.10045.4.3.2", "1.2.840.10045.4.3.3", "1.2.840.10045.4.3.4"];

/// Whether a text in base64 is a request in PEM, signed with the key that it asks a certificate for.
fn judge_request(request: &str) -> Result<(), String> {
    let wrong = || "PEM block type must be CERTIFICATE REQUEST".to_owned();
    let pem = STANDARD.decode(request).map_err(|_| wrong())?;
    let (_, block) = parse_x509_pem(&pem).map_err(|_| wrong())?;
    if block.label != "CERTIFICATE REQUEST" {
        return Err(wrong());
    }
    let (rest, parsed) =
        X509CertificationRequest::from_der(&block.contents).map_err(|error| error.to_string())?;
    if !rest.is_empty() {
        return Err("asn1: syntax error: trailing data".to_owned());
    }
    let algorithm = parsed.signature_algorithm.algorithm.to_id_string();
    match parsed.verify_signature() {
        Ok(()) => Ok(()),
        // Signatures over P-521 cannot be checked here: who signs has to.
        Err(X509Error::SignatureUnsupportedAlgorithm) if ECDSA_WITH_SHA2.contains(&algorithm.as_str()) => {
            Ok(())
        }
        Err(X509Error::SignatureUnsupportedAlgorithm) => {
            Err("x509: cannot verify signature: algorithm unimplemented".to_owned())
        }
        Err(_) => Err("x509: signature verification failure".to_owned()),
    }
}

fn usages(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    if read::list(spec, "usages").is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    let unknown = read::texts(spec, "usages").enumerate().filter(|(_, usage)| !USAGES.contains(usage));
    // Not all of them: each error names all that there are.
    for (i, usage) in unknown.take(MAX_UNKNOWN) {
        errors.push(FieldError::not_supported(&path.index(i), usage, &USAGES));
    }
    let mut seen = HashSet::new();
    for (i, usage) in read::texts(spec, "usages").enumerate() {
        if !seen.insert(usage) {
            errors.push(FieldError::duplicate(&path.index(i), usage));
        }
    }
}

/// A domain and a path of one segment.
pub(super) fn signer_name(errors: &mut ErrorList, path: &Path<'_>, name: &str) {
    const MAX_DOMAIN: usize = 253;
    const MAX_PATH: usize = 253 + 63 + 1;
    if !check::required(errors, path, name) {
        return;
    }
    let segments: Vec<&str> = name.split('/').collect();
    let &[domain, rest] = segments.as_slice() else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(FieldError::invalid(path, name, detail));
        return;
    };
    if domain.len() > MAX_DOMAIN {
        errors.push(FieldError::too_long(path, MAX_DOMAIN));
    }
    first_faulty_label(errors, path, domain, names::dns1123_label);
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(path, domain, detail));
    }
    first_faulty_label(errors, path, rest, names::dns1123_subdomain);
    if name.len() > MAX_DOMAIN + MAX_PATH + 1 {
        errors.push(FieldError::too_long(path, MAX_DOMAIN + MAX_PATH + 1));
    }
}

fn first_faulty_label(
    errors: &mut ErrorList,
    path: &Path<'_>,
    value: &str,
    grammar: fn(&str) -> names::Faults,
) {
    let faulty = value.split('.').map(|label| (label, grammar(label))).find(|(_, faults)| !faults.is_empty());
    if let Some((label, faults)) = faulty {
        errors.extend(
            faults.into_iter().map(|fault| {
                FieldError::invalid(path, value, format!("validating label {label:?}: {fault}"))
            }),
        );
    }
}

pub(crate) fn conditions(object: &Object) -> &[Value] {
    read::list(read::top(object, "status"), "conditions")
}

fn of_type<'a>(object: &'a Object, kind: &str) -> Vec<&'a Value> {
    conditions(object).iter().filter(|condition| read::text(condition, "type") == kind).collect()
}

/// What of the old conditions has the fault already is tolerated.
fn faulty_conditions(object: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    let before: Vec<&str> =
        old.map_or(&[][..], conditions).iter().map(|condition| read::text(condition, "type")).collect();
    let were_both = DECISIONS.iter().all(|decision| before.contains(decision));
    let were_twice = before.iter().collect::<HashSet<_>>().len() < before.len();
    let status = Path::root("status");
    let list = status.child("conditions");
    let mut seen: Vec<&str> = Vec::new();
    for (i, condition) in conditions(object).iter().enumerate() {
        let at = list.index(i);
        let kind = read::text(condition, "type");
        if kind.is_empty() && !before.contains(&"") {
            errors.push(FieldError::required(&at.child("type"), ""));
        }
        let allowed: &[&str] = if LASTING.contains(&kind) { &["True"] } else { &STATUSES };
        check::one_of(&mut errors, &at.child("status"), read::text(condition, "status"), allowed);
        let decided = |other: &str| DECISIONS.contains(&other) && other != kind;
        if !were_both && DECISIONS.contains(&kind) && seen.iter().any(|other| decided(other)) {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(&at.child("type"), kind, detail));
        }
        if !were_twice && seen.contains(&kind) {
            errors.push(FieldError::duplicate(&at.child("type"), kind));
        }
        seen.push(kind);
    }
    errors
}

fn faulty_certificate(object: &Object) -> Option<FieldError> {
    let certificate = read::text(read::top(object, "status"), "certificate");
    let why = judge_certificate(certificate).err()?;
    let status = Path::root("status");
    Some(FieldError::invalid(&status.child("certificate"), "<certificate data>", why))
}

/// Whether a text in base64 is nothing, or certificates in PEM.
fn judge_certificate(certificate: &str) -> Result<(), String> {
    let none = || "must contain at least one CERTIFICATE PEM block".to_owned();
    if certificate.is_empty() {
        return Ok(());
    }
    let pem = STANDARD.decode(certificate).map_err(|_| none())?;
    let mut blocks = 0;
    for block in Pem::iter_from_buffer(&pem) {
        let Ok(block) = block else {
            // A block with headers is none to the reader: its lines are not all base64.
            let has_headers = pem.split(|byte| *byte == b'\n').any(|line| line.contains(&b':'));
            return Err(if has_headers { "no PEM block headers are permitted".to_owned() } else { none() });
        };
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        if block.contents.is_empty() {
            return Err("found CERTIFICATE PEM block containing 0 certificates".to_owned());
        }
        X509Certificate::from_der(&block.contents).map_err(|error| error.to_string())?;
        blocks += 1;
    }
    if blocks == 0 { Err(none()) } else { Ok(()) }
}
