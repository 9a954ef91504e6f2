//! Requests for certificates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};

use super::*;

const REQUESTS: &str = "certificatesigningrequests";
const NO_PEM: &str = "PEM block type must be CERTIFICATE REQUEST";

/// A request in DER that is signed with its own key.
fn der() -> Vec<u8> {
    let key = KeyPair::generate().expect("a key");
    let request = CertificateParams::default().serialize_request(&key).expect("a request");
    request.der().to_vec()
}

fn block(label: &str, der: &[u8]) -> String {
    STANDARD.encode(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der)))
}

fn request(field: &str, value: Value) -> Value {
    let mut spec = json!({
        "request": block("CERTIFICATE REQUEST", &der()), "signerName": "example.com/a",
        "usages": ["client auth", "server auth"], "expirationSeconds": 600,
    });
    if !field.is_empty() {
        spec[field] = value;
    }
    json!({"metadata": {"name": "c"}, "spec": spec})
}

/// What is said of a request with a field that is otherwise than it should be.
fn said(field: &str, value: Value) -> Vec<String> {
    created(REQUESTS, &request(field, value))
}

#[test]
fn what_is_asked_for_is_in_pem_and_signed() {
    assert_eq!(said("", json!(null)), [""; 0]);
    for other in ["aGVsbG8=", &block("CERTIFICATE", &der())] {
        assert_eq!(
            said("request", json!(other)),
            [format!("spec.request: Invalid value: \"{other}\": {NO_PEM}")]
        );
    }
    let mut forged = der();
    let last = forged.last_mut().expect("a signature");
    *last ^= 1;
    let forged = block("CERTIFICATE REQUEST", &forged);
    let told = said("request", json!(forged));
    assert!(told[0].ends_with(": x509: signature verification failure"), "{told:?}");
}

#[test]
fn signers_usages_and_lives() {
    for (name, why) in [
        ("foo", "\"foo\": must be a fully qualified domain and path of the form 'example.com/signer-name'"),
        (
            "a/b/c",
            "\"a/b/c\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
        ),
        ("foo/bar", "\"foo\": should be a domain with at least two segments separated by dots"),
        (
            "EXAMPLE.com/foo",
            "\"EXAMPLE.com\": validating label \"EXAMPLE\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        ),
        (
            "example.com/Foo",
            "\"Foo\": validating label \"Foo\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ),
        (
            "kubernetes.io/legacy-unknown",
            "\"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API version",
        ),
    ] {
        assert_eq!(said("signerName", json!(name)), [format!("spec.signerName: Invalid value: {why}")]);
    }
    assert_eq!(said("signerName", json!("")), ["spec.signerName: Required value"]);
    assert_eq!(said("usages", json!([])), ["spec.usages: Required value"]);
    let told = said("usages", json!(["foo", "client auth", "client auth"]));
    assert!(
        told[0].starts_with("spec.usages[0]: Unsupported value: \"foo\": supported values: \"any\", \"cert")
    );
    assert_eq!(told[1..], ["spec.usages[2]: Duplicate value: \"client auth\""]);
    assert_eq!(
        said("expirationSeconds", json!(599)),
        [
            "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)"
        ]
    );
}

fn with_status(conditions: &[(&str, &str)], certificate: &str) -> Value {
    let list: Vec<_> =
        conditions.iter().map(|(kind, status)| json!({"type": kind, "status": status})).collect();
    with(&request("", json!(null)), "/status", json!({"conditions": list, "certificate": certificate}))
}

fn approved(new: &Value, old: &Value) -> Vec<String> {
    compared(REQUESTS, new, old, |row, new, old| row.logic.validate_part_update(new, old))
}

#[test]
fn a_decision_is_one_and_stays() {
    let (open, yes) = (with_status(&[], ""), with_status(&[("Approved", "True")], ""));
    assert_eq!(approved(&yes, &open), [""; 0]);
    assert_eq!(
        approved(&with_status(&[("Approved", "True"), ("Denied", "True")], ""), &yes),
        [
            "status.conditions[1].type: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive"
        ]
    );
    assert_eq!(
        approved(&open, &yes),
        ["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""]
    );
    assert_eq!(
        approved(
            &with_status(&[("Approved", "False"), ("", ""), ("Mine", "X"), ("Mine", "True")], ""),
            &open
        ),
        [
            "status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\"",
            "status.conditions[1].type: Required value",
            "status.conditions[1].status: Required value",
            "status.conditions[2].status: Unsupported value: \"X\": supported values: \"False\", \"True\", \"Unknown\"",
            "status.conditions[3].type: Duplicate value: \"Mine\"",
        ]
    );
    assert_eq!(
        status_updated(REQUESTS, &yes, &open),
        ["status.conditions: Forbidden: updates may not add a condition of type \"Approved\""]
    );
}

#[test]
fn who_signs_sets_a_certificate_once() {
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::default().self_signed(&key).expect("a certificate");
    let issued = block("CERTIFICATE", certificate.der());
    let (open, signed) = (with_status(&[], ""), with_status(&[], &issued));
    assert_eq!(status_updated(REQUESTS, &signed, &open), [""; 0]);
    assert_eq!(
        approved(&signed, &open),
        ["status.certificate: Forbidden: updates may not set certificate content"]
    );
    assert_eq!(
        status_updated(REQUESTS, &open, &signed),
        ["status.certificate: Forbidden: updates may not modify existing certificate content"]
    );
    let headers = "-----BEGIN CERTIFICATE-----\nA: b\n\nAAAA\n-----END CERTIFICATE-----\n";
    for (content, why) in [
        ("aGVsbG8=".to_owned(), "must contain at least one CERTIFICATE PEM block"),
        (block("PRIVATE KEY", b"a"), "only CERTIFICATE PEM blocks are allowed, found \"PRIVATE KEY\""),
        (STANDARD.encode(headers), "no PEM block headers are permitted"),
    ] {
        assert_eq!(
            status_updated(REQUESTS, &with_status(&[], &content), &open),
            [format!("status.certificate: Invalid value: \"<certificate data>\": {why}")]
        );
    }
}
