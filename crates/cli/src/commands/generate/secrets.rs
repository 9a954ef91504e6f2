//! Secrets: of any data, for registries, for TLS.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Map, Value};

use super::{data, hash, name, named};
use crate::failure::Failure;
use crate::gojson;
use crate::session::Session;

pub fn generic(session: &Session) -> Result<Value, Failure> {
    let name = name(session)?;
    secret(session, name, session.flags.text("type"), data::entries(session)?)
}

/// A Secret of entries; its name ends in their hash where that is asked for.
fn secret(
    session: &Session,
    name: &str,
    kind: &str,
    entries: Vec<(String, Vec<u8>)>,
) -> Result<Value, Failure> {
    let mut object = named("v1", "Secret", name);
    if !kind.is_empty() {
        object["type"] = kind.into();
    }
    if !entries.is_empty() {
        let data = entries.into_iter().map(|(key, bytes)| (key, BASE64_STANDARD.encode(bytes).into()));
        object["data"] = data.collect::<Map<_, _>>().into();
    }
    if session.flags.bool("append-hash") {
        hash::append(&mut object);
    }
    Ok(object)
}

pub fn docker_registry(session: &Session) -> Result<Value, Failure> {
    const KIND: &str = "kubernetes.io/dockerconfigjson";
    let flags = &session.flags;
    let name = name(session)?;
    if !flags.list("from-file").is_empty() {
        return secret(session, name, KIND, data::entries(session)?);
    }
    let text = |flag: &str| flags.text(flag).to_owned();
    let (user, password, server) = (text("docker-username"), text("docker-password"), text("docker-server"));
    if user.is_empty() || password.is_empty() || server.is_empty() {
        return Err(Failure::message(
            "either --from-file or the combination of --docker-username, --docker-password and --docker-server is required",
        ));
    }
    // The order of the fields is upstream's, and the file is compared as bytes.
    let field = |key: &str, value: &str| format!("\"{key}\":{}", gojson::compact(&value.into()));
    let mut fields = vec![field("username", &user), field("password", &password)];
    if !flags.text("docker-email").is_empty() {
        fields.push(field("email", flags.text("docker-email")));
    }
    fields.push(field("auth", &BASE64_STANDARD.encode(format!("{user}:{password}"))));
    let server = gojson::compact(&server.into());
    let config = format!("{{\"auths\":{{{server}:{{{}}}}}}}", fields.join(","));
    secret(session, name, KIND, vec![(".dockerconfigjson".into(), config.into_bytes())])
}

pub fn tls(session: &Session) -> Result<Value, Failure> {
    let flags = &session.flags;
    let name = name(session)?;
    let (certificate, key) = (flags.text("cert"), flags.text("key"));
    if certificate.is_empty() || key.is_empty() {
        return Err(Failure::message("key and cert must be specified"));
    }
    let (certificate, key) = (contents(certificate)?, contents(key)?);
    pair(&certificate, &key).map_err(|why| Failure::message(format!("tls: {why}")))?;
    let entries = vec![("tls.crt".into(), certificate), ("tls.key".into(), key)];
    secret(session, name, "kubernetes.io/tls", entries)
}

fn contents(path: &str) -> Result<Vec<u8>, Failure> {
    data::contents(path, |why| format!("Cannot read file {path}, open {path}: {why}"))
}

/// Whether a certificate is that of a key.
fn pair(certificate: &[u8], key: &[u8]) -> Result<(), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or("failed to find any PEM data in certificate input")?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "failed to find any PEM data in key input")?;
    let provider = rustls::crypto::ring::default_provider();
    match rustls::sign::CertifiedKey::from_der(chain, key, &provider) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err("private key does not match public key".into()),
        Err(other) => Err(format!("failed to parse private key: {other}")),
    }
}
