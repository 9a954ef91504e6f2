//! What one projected volume shows beside each other: secrets, tokens, bundles and certificates.

use std::collections::HashSet;

use api::field::{ErrorList, FieldError, Path};
use api::names::{self, Faults};
use serde_json::Value;

use super::files::{downward_file, keys_to_paths};
use crate::validation::certificates::signer_name;
use crate::validation::{check, read, selector};

const MIN_TOKEN_S: i64 = 600;
const MAX_TOKEN_S: i64 = 1 << 32;
const KEY_TYPES: [&str; 6] = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
const MIN_CERTIFICATE_S: i64 = 3600;
/// 91 days, and one day for signers of the cluster itself.
const MAX_CERTIFICATE_S: i64 = 91 * 24 * 3600;
const MAX_OWN_CERTIFICATE_S: i64 = 24 * 3600;

/// The paths that the sources of a volume have taken.
struct Taken<'a> {
    paths: HashSet<&'a str>,
}

impl<'a> Taken<'a> {
    /// Each path shows one thing; `shown` is the value that upstream's error has.
    fn take(&mut self, errors: &mut ErrorList, volume: &Path<'_>, path: &'a str, shown: &str) {
        if !self.paths.insert(path) {
            errors.push(FieldError::invalid(volume, shown, "conflicting duplicate paths"));
        }
    }
}

pub(super) fn sources(errors: &mut ErrorList, path: &Path<'_>, volume: &Value) {
    let list = path.child("sources");
    let mut taken = Taken { paths: HashSet::new() };
    for (i, source) in read::list(volume, "sources").iter().enumerate() {
        let at = list.index(i);
        let mut count = 0;
        for kind in ["secret", "configMap"] {
            let Some(object) = read::get(source, kind) else { continue };
            count += 1;
            keys(errors, path, &at.child(kind), object, &mut taken);
        }
        if let Some(fields) = read::get(source, "downwardAPI") {
            count += 1;
            for file in read::list(fields, "items") {
                downward_file(errors, &at.child("downwardAPI"), file);
                let name = read::text(file, "path");
                if !name.is_empty() {
                    taken.take(errors, path, name, name);
                }
            }
        }
        if let Some(given) = read::get(source, "serviceAccountToken") {
            count += 1;
            token(errors, path, &at.child("serviceAccountToken"), given);
        }
        if let Some(bundle) = read::get(source, "clusterTrustBundle") {
            count += 1;
            trust_bundle(errors, &at.child("clusterTrustBundle"), bundle);
            let name = read::text(bundle, "path");
            taken.take(errors, path, name, name);
        }
        if let Some(given) = read::get(source, "podCertificate") {
            count += 1;
            certificate(errors, path, &at.child("podCertificate"), given, &mut taken);
        }
        if count > 1 {
            let detail = "may not specify more than 1 volume type per source";
            errors.push(FieldError::forbidden(&at, detail));
        }
    }
}

fn keys<'a>(
    errors: &mut ErrorList,
    volume: &Path<'_>,
    path: &Path<'_>,
    object: &'a Value,
    taken: &mut Taken<'a>,
) {
    let name = read::text(object, "name");
    check::required(errors, &path.child("name"), name);
    keys_to_paths(errors, &path.child("items"), object);
    for file in read::list(object, "items").iter().map(|item| read::text(item, "path")) {
        if !file.is_empty() {
            taken.take(errors, volume, file, name);
        }
    }
}

/// Upstream's path of the file leaves out which source it is.
fn token(errors: &mut ErrorList, volume: &Path<'_>, path: &Path<'_>, source: &Value) {
    let seconds = read::int(source, "expirationSeconds").unwrap_or(0);
    let detail = if seconds < MIN_TOKEN_S {
        Some("may not specify a duration less than 10 minutes")
    } else if seconds > MAX_TOKEN_S {
        Some("may not specify a duration larger than 2^32 seconds")
    } else {
        None
    };
    if let Some(detail) = detail {
        errors.push(FieldError::invalid(&path.child("expirationSeconds"), seconds, detail));
    }
    let file = read::text(source, "path");
    if check::required(errors, &volume.child("path"), file) {
        check::non_reserved_path(errors, &volume.child("path"), file);
    }
}

fn trust_bundle(errors: &mut ErrorList, path: &Path<'_>, bundle: &Value) {
    let [name, signer] = ["name", "signerName"].map(|key| read::get(bundle, key).and_then(Value::as_str));
    match (name, signer) {
        (Some(_), Some(_)) => {
            let detail = "only one of name and signerName may be used";
            errors.push(FieldError::invalid(path, bundle.clone(), detail));
        }
        (Some(name), None) => {
            let at = path.child("name");
            if name.is_empty() {
                errors.push(FieldError::required(&at, "must be a valid object name"));
            }
            for fault in bundle_name(name) {
                let detail = format!("not a valid clustertrustbundlename: {fault}");
                errors.push(FieldError::invalid(&at, name, detail));
            }
            if let Some(selector) = read::get(bundle, "labelSelector") {
                let detail = "labelSelector must be unset if name is specified";
                errors.push(FieldError::invalid(&path.child("labelSelector"), selector.clone(), detail));
            }
        }
        (None, Some(signer)) => {
            let at = path.child("signerName");
            if signer.is_empty() {
                errors.push(FieldError::required(&at, "must be a valid signer name"));
            }
            signer_name(errors, &at, signer);
            let selector = read::get(bundle, "labelSelector");
            selector::label_selector(errors, &path.child("labelSelector"), selector);
        }
        (None, None) => {
            errors.push(FieldError::required(path, "either name or signerName must be specified"));
        }
    }
    let file = read::text(bundle, "path");
    check::required(errors, &path.child("path"), file);
    check::non_reserved_path(errors, &path.child("path"), file);
}

/// Bundles of a signer have names that begin with the signer's.
fn bundle_name(name: &str) -> Faults {
    match name.rsplit_once(':') {
        None => names::dns1123_subdomain(name),
        Some(("", _)) => {
            vec!["ClusterTrustBundle without signer name must not have \":\" in its name".to_owned()]
        }
        Some((_, own)) => names::dns1123_subdomain(own),
    }
}

fn certificate<'a>(
    errors: &mut ErrorList,
    volume: &Path<'_>,
    path: &Path<'_>,
    given: &'a Value,
    taken: &mut Taken<'a>,
) {
    let signer = read::text(given, "signerName");
    signer_name(errors, &path.child("signerName"), signer);
    let key_type = read::text(given, "keyType");
    if !KEY_TYPES.contains(&key_type) {
        errors.push(FieldError::not_supported(&path.child("keyType"), key_type, &KEY_TYPES));
    }
    if let Some(seconds) = read::int(given, "maxExpirationSeconds") {
        let domain = signer.split('/').next().unwrap_or_default();
        let is_own = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
        let most = if is_own { MAX_OWN_CERTIFICATE_S } else { MAX_CERTIFICATE_S };
        let bound = match seconds {
            ..MIN_CERTIFICATE_S => Some(format!(">= {MIN_CERTIFICATE_S}")),
            _ if seconds > most => Some(format!("<= {most}")),
            _ => None,
        };
        if let Some(bound) = bound {
            let detail = format!("if provided, maxExpirationSeconds must be {bound}");
            errors.push(FieldError::invalid(&path.child("maxExpirationSeconds"), seconds, detail));
        }
    }
    let mut files = 0;
    for key in ["credentialBundlePath", "keyPath", "certificateChainPath"] {
        let file = read::text(given, key);
        if file.is_empty() {
            continue;
        }
        files += 1;
        check::non_reserved_path(errors, &path.child(key), file);
        taken.take(errors, volume, file, file);
    }
    if files == 0 {
        let detail = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        errors.push(FieldError::required(path, detail));
    }
}
