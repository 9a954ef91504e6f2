//! Requests as clients make them, and what comes of them.

use std::sync::Arc;

use informer::{Action, Controller};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authority::{Authority, life};
use super::cleaner::{CsrCleanerController, kept_until};
use super::signing::{CsrSigningController, Outcome, outcome};
use super::{approving, cleaner};

const CLIENT: [&str; 3] = ["client auth", "digital signature", "key encipherment"];
const SERVER: [&str; 2] = ["digital signature", "server auth"];

fn at(time: &str) -> Timestamp {
    time.parse().expect("a time")
}

fn now() -> Timestamp {
    at("2026-06-01T12:00:00Z")
}

/// A CA of ten years.
fn authority() -> (Authority, Vec<u8>) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2035, 1, 1);
    let certificate = params.self_signed(&key).expect("a certificate");
    let authority = Authority::from_pem(&certificate.pem(), &key.serialize_pem()).expect("an authority");
    (authority, certificate.der().to_vec())
}

/// A request's PEM.
fn pem(common_name: &str, organization: &str, names: &[&str]) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = DistinguishedName::new();
    if !organization.is_empty() {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name.push(DnType::CommonName, common_name);
    let key = KeyPair::generate().expect("a key");
    params.serialize_request(&key).expect("a request").pem().expect("PEM").into_bytes()
}

fn request(signer: &str, pem: Vec<u8>, usages: &[&str], approved: bool) -> CertificateSigningRequest {
    let conditions: Vec<Value> = if approved {
        vec![json!({"type": "Approved", "status": "True", "lastUpdateTime": "2026-06-01T11:00:00Z"})]
    } else {
        Vec::new()
    };
    let mut request: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": {"name": "r", "uid": "u", "creationTimestamp": "2026-06-01T10:00:00Z"},
        "spec": {"signerName": format!("kubernetes.io/{signer}"), "usages": usages, "username": "jane", "request": ""},
        "status": {"conditions": conditions},
    }))
    .expect("a request");
    request.spec.request = ByteString(pem);
    request
}

fn signed(outcome: Option<Outcome>) -> Vec<u8> {
    match outcome {
        Some(Outcome::Signed(pem)) => x509_parser::pem::parse_x509_pem(&pem).expect("PEM").1.contents,
        other => panic!("{other:?}"),
    }
}

fn refused(signer: &str, pem: Vec<u8>, usages: &[&str]) -> String {
    match outcome(&request(signer, pem, usages, true), &authority().0, now()) {
        Some(Outcome::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_approved_request_is_signed_by_the_clusters_ca() {
    let (authority, ca) = authority();
    let mut asked = request("kube-apiserver-client", pem("jane", "dev", &[]), &CLIENT, true);
    asked.spec.expiration_seconds = Some(3600);
    let der = signed(outcome(&asked, &authority, now()));
    let (_, certificate) = X509Certificate::from_der(&der).expect("a certificate");
    let (_, issuer) = X509Certificate::from_der(&ca).expect("a certificate");
    certificate.verify_signature(Some(issuer.public_key())).expect("the CA's signature");
    assert_eq!(certificate.subject().to_string(), "O=dev, CN=jane");
    assert_eq!(certificate.issuer().to_string(), "CN=ca");
    let validity = certificate.validity();
    assert_eq!(validity.not_before.timestamp(), at("2026-06-01T11:55:00Z").as_second());
    assert_eq!(validity.not_after.timestamp(), at("2026-06-01T13:00:00Z").as_second());
    let usage = certificate.key_usage().expect("readable").expect("there");
    assert!(usage.critical && usage.value.digital_signature() && usage.value.key_encipherment());
    assert!(!usage.value.key_cert_sign() && !certificate.is_ca());
    let extended = certificate.extended_key_usage().expect("readable").expect("there").value;
    assert!(extended.client_auth && !extended.server_auth);
    assert!(certificate.basic_constraints().expect("readable").expect("there").critical);

    let names = ["n1", "10.0.0.7"];
    let serving = request("kubelet-serving", pem("system:node:n1", "system:nodes", &names), &SERVER, true);
    let der = signed(outcome(&serving, &authority, now()));
    let (_, certificate) = X509Certificate::from_der(&der).expect("a certificate");
    let other = certificate.subject_alternative_name().expect("readable").expect("there");
    assert_eq!(other.value.general_names.len(), 2);
    assert!(certificate.extended_key_usage().expect("readable").expect("there").value.server_auth);
    let kubelet = request(
        "kube-apiserver-client-kubelet",
        pem("system:node:n1", "system:nodes", &[]),
        &["client auth", "digital signature"],
        true,
    );
    signed(outcome(&kubelet, &authority, now()));
}

#[test]
fn only_approved_requests_of_the_clusters_signers_are_signed_and_once() {
    let (authority, _) = authority();
    let made = || pem("jane", "dev", &[]);
    let nothing = |request: &CertificateSigningRequest| assert_eq!(outcome(request, &authority, now()), None);
    nothing(&request("kube-apiserver-client", made(), &CLIENT, false));
    nothing(&request("legacy-unknown", made(), &CLIENT, true));
    let mut foreign = request("x", made(), &CLIENT, true);
    foreign.spec.signer_name = "example.com/signer".into();
    nothing(&foreign);
    let approved = request("kube-apiserver-client", made(), &CLIENT, true);
    nothing(&super::with_condition(&approved, "Failed", "R", "m".into(), now()));
    let mut issued = approved.clone();
    issued.status.as_mut().expect("a status").certificate = Some(ByteString(b"x".to_vec()));
    nothing(&issued);

    let observed = super::signing::Observed::of(approved.clone(), Outcome::Refused("no".into()));
    let plan = CsrSigningController::reconcile(&observed, now());
    let [Action::Update { target, object }] = plan.actions.as_slice() else { panic!("{plan:?}") };
    assert_eq!(target.path(), "/apis/certificates.k8s.io/v1/certificatesigningrequests/r/status");
    assert_eq!(
        object.at(&["status", "conditions"]).and_then(|list| list.get(1)),
        Some(
            &json!({"type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": "no",
            "lastUpdateTime": "2026-06-01T12:00:00Z", "lastTransitionTime": "2026-06-01T12:00:00Z"})
        )
    );
}

#[test]
fn each_signer_keeps_to_its_own() {
    let client = "kube-apiserver-client";
    assert_eq!(
        refused(client, pem("jane", "dev", &[]), &["server auth"]),
        "invalid usage for client certificate: server auth"
    );
    assert_eq!(
        refused(client, pem("jane", "dev", &[]), &["digital signature"]),
        "missing required usage for client certificate: client auth"
    );
    let kubelet = "kube-apiserver-client-kubelet";
    assert_eq!(
        refused(kubelet, pem("system:node:n", "dev", &[]), &CLIENT),
        "subject organization is not system:nodes"
    );
    assert_eq!(
        refused(kubelet, pem("system:node:n", "system:nodes", &["x"]), &CLIENT),
        "DNS subjectAltNames are not allowed"
    );
    assert_eq!(
        refused(kubelet, pem("system:node:n", "system:nodes", &["1.2.3.4"]), &CLIENT),
        "IP subjectAltNames are not allowed"
    );
    assert_eq!(
        refused(kubelet, pem("system:node:n", "system:nodes", &[]), &["client auth"]),
        "usages did not match [client auth digital signature key encipherment]"
    );
    assert_eq!(
        refused(kubelet, pem("n", "system:nodes", &[]), &CLIENT),
        "subject common name does not begin with system:node:"
    );
    let serving = "kubelet-serving";
    assert_eq!(
        refused(serving, pem("system:node:n", "system:nodes", &[]), &SERVER),
        "DNS or IP subjectAltName is required"
    );
    assert_eq!(
        refused(serving, pem("system:node:n", "system:nodes", &["n"]), &CLIENT),
        "usages did not match [digital signature key encipherment server auth]"
    );
    assert!(
        refused(client, b"no request".to_vec(), &CLIENT)
            .starts_with("PEM block type must be CERTIFICATE REQUEST")
    );
    let mut forged = pem("jane", "dev", &[]);
    let other = String::from_utf8(pem("jane", "system:masters", &[])).expect("text");
    // The body of one under the signature of another: the last two lines hold most of the signature.
    let lines: Vec<&str> = other.lines().collect();
    let own = String::from_utf8(std::mem::take(&mut forged)).expect("text");
    let mixed: Vec<&str> = lines[..lines.len() - 2]
        .iter()
        .copied()
        .chain(own.lines().rev().take(2).collect::<Vec<_>>().into_iter().rev())
        .collect();
    assert!(!refused(client, mixed.join("\n").into_bytes(), &CLIENT).is_empty());
}

#[test]
fn a_certificate_lives_as_long_as_asked_within_bounds() {
    let lives = |expiration: Option<i32>, ca: &str| {
        let (begins, ends) = life(expiration, now(), at(ca));
        assert_eq!(begins, at("2026-06-01T11:55:00Z"));
        ends.to_string()
    };
    let ca = "2035-01-01T00:00:00Z";
    assert_eq!(lives(None, ca), "2027-06-01T11:55:00Z");
    assert_eq!(lives(Some(i32::MAX), ca), "2027-06-01T11:55:00Z");
    assert_eq!(lives(Some(5), ca), "2026-06-01T12:10:00Z");
    assert_eq!(lives(Some(8 * 3600), ca), "2026-06-01T19:55:00Z");
    assert_eq!(lives(Some(7 * 3600), ca), "2026-06-01T19:00:00Z");
    assert_eq!(lives(None, "2026-07-01T00:00:00Z"), "2026-07-01T00:00:00Z", "none outlives its CA");
}

#[test]
fn kubelets_requests_are_recognized() {
    let kubelet = |user: &str| {
        let mut request = request(
            "kube-apiserver-client-kubelet",
            pem("system:node:n", "system:nodes", &[]),
            &CLIENT,
            false,
        );
        request.spec.username = Some(user.to_owned());
        request
    };
    let rights = |request: &CertificateSigningRequest| -> Vec<&str> {
        approving::recognized(request).into_iter().map(|(right, _)| right).collect()
    };
    assert_eq!(rights(&kubelet("system:node:n")), ["selfnodeclient", "nodeclient"]);
    assert_eq!(rights(&kubelet("system:bootstrap:x")), ["nodeclient"]);
    let denied = super::with_condition(&kubelet("system:node:n"), "Denied", "R", "m".into(), now());
    assert!(rights(&denied).is_empty());
    assert!(rights(&request("kube-apiserver-client", pem("jane", "dev", &[]), &CLIENT, false)).is_empty());
}

#[test]
fn a_nodes_other_certificates_are_recognized_and_nobody_elses() {
    let asks = |signer: &str, pem: Vec<u8>, usages: &[&str], user: &str, group: &str| {
        let mut request = request(signer, pem, usages, false);
        request.spec.username = Some(user.to_owned());
        request.spec.groups = Some(vec![group.to_owned(), "system:authenticated".to_owned()]);
        approving::recognized(&request).into_iter().map(|(right, _)| right).collect::<Vec<_>>()
    };
    let agents =
        |pem: Vec<u8>, user: &str, group: &str| asks("kube-apiserver-client", pem, &CLIENT, user, group);
    let proxy = || pem("system:kube-proxy", "", &[]);
    assert_eq!(agents(proxy(), "system:node:n", "system:nodes"), ["selfnodeproxyclient"]);
    let none: [&str; 0] = [];
    assert_eq!(agents(proxy(), "system:bootstrap:x", "system:bootstrappers"), none);
    assert_eq!(agents(proxy(), "root", "system:masters"), none);
    assert_eq!(agents(proxy(), "system:node:n", "dev"), none, "no certificate of a node says so");
    assert_eq!(agents(proxy(), "system:node:", "system:nodes"), none);
    assert_eq!(agents(pem("system:kube-proxy", "dev", &[]), "system:node:n", "system:nodes"), none);
    assert_eq!(agents(pem("system:kube-proxy", "", &["x"]), "system:node:n", "system:nodes"), none);
    assert_eq!(agents(pem("kubernetes-admin", "", &[]), "system:node:n", "system:nodes"), none);

    let serving = |user: &str, group: &str| {
        asks("kubelet-serving", pem("system:node:n", "system:nodes", &["n"]), &SERVER, user, group)
    };
    assert_eq!(serving("system:node:n", "system:nodes"), ["selfnodeserver"]);
    assert_eq!(serving("system:node:m", "system:nodes"), none);
    assert_eq!(serving("system:node:n", "dev"), none);
    assert_eq!(serving("system:bootstrap:x", "system:bootstrappers"), none);
}

#[test]
fn old_requests_go() {
    let pending = request("kube-apiserver-client", pem("jane", "dev", &[]), &CLIENT, false);
    assert_eq!(kept_until(&pending), Some(at("2026-06-02T10:00:00Z")));
    let approved = request("kube-apiserver-client", pem("jane", "dev", &[]), &CLIENT, true);
    assert_eq!(kept_until(&approved), Some(at("2026-06-01T12:00:00Z")));
    let shown = cleaner::CsrCleanerController::reconcile(&Arc::new(approved.clone()), now());
    assert!(shown.actions.is_empty() && shown.again_after.is_some());
    let later = CsrCleanerController::reconcile(&Arc::new(approved), at("2026-06-01T12:00:01Z"));
    let [Action::Delete { target, policy }] = later.actions.as_slice() else { panic!("{later:?}") };
    assert_eq!((target.name.as_str(), policy.uid.as_deref()), ("r", Some("u")));
}
