//! Config maps and secrets: keys, sizes, what the types of secrets require, immutability.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{check, read};

/// All values of a config map or secret together, in bytes.
const MAX_BYTES: usize = 1024 * 1024;
const FROZEN: &str = "field is immutable when `immutable` is set";
const ACCOUNT: &str = "kubernetes.io/service-account.name";

pub(crate) fn config_map(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let binary = read::top(object, "binaryData");
    let mut total = 0;
    let data = Path::root("data");
    for (key, value) in read::strings(read::top(object, "data")) {
        let at = data.key(key);
        check::faults(&mut errors, &at, key, names::config_key(key));
        if binary.get(key).is_some() {
            errors.push(FieldError::invalid(&at, key, "duplicate of key present in binaryData"));
        }
        total += value.len();
    }
    let path = Path::root("binaryData");
    for (key, value) in read::strings(binary) {
        check::faults(&mut errors, &path.key(key), key, names::config_key(key));
        total += decoded_len(value);
    }
    if total > MAX_BYTES {
        // The empty path of the object itself reads like this.
        errors.push(FieldError::too_long(&Path::root("[]"), MAX_BYTES));
    }
    errors
}

/// The number of bytes that a base64 text encodes.
fn decoded_len(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

pub(crate) fn config_map_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = frozen(new, old, &["data", "binaryData"]);
    errors.extend(config_map(new));
    errors
}

fn frozen(new: &Object, old: &Object, fields: &[&str]) -> ErrorList {
    let mut errors = ErrorList::new();
    let immutable = |o: &Object| read::top_raw(o, "immutable").and_then(Value::as_bool) == Some(true);
    if !immutable(old) {
        return errors;
    }
    if !immutable(new) {
        errors.push(FieldError::forbidden(&Path::root("immutable"), FROZEN));
    }
    for field in fields {
        if read::top_raw(new, field) != read::top_raw(old, field) {
            errors.push(FieldError::forbidden(&Path::root(field), FROZEN));
        }
    }
    errors
}

pub(crate) fn secret(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("data");
    let data = read::top(object, "data").as_object();
    let mut total = 0;
    for (key, value) in data.into_iter().flatten() {
        check::faults(&mut errors, &path.key(key), key, names::config_key(key));
        total += decoded_len(value.as_str().unwrap_or(""));
    }
    if total > MAX_BYTES {
        errors.push(FieldError::too_long(&path, MAX_BYTES));
    }
    let value = |key: &str| data.and_then(|d| d.get(key)).and_then(Value::as_str);
    let require = |errors: &mut ErrorList, keys: &[&str]| {
        for key in keys {
            errors.push(FieldError::required(&path.key(key), ""));
        }
    };
    match read::top_raw(object, "type").and_then(Value::as_str).unwrap_or("") {
        "kubernetes.io/service-account-token" if object.annotation(ACCOUNT).is_none_or(str::is_empty) => {
            let metadata = Path::root("metadata");
            let annotations = metadata.child("annotations");
            errors.push(FieldError::required(&annotations.key(ACCOUNT), ""));
        }
        "kubernetes.io/dockercfg" => json_of(&mut errors, &path, ".dockercfg", value(".dockercfg")),
        "kubernetes.io/dockerconfigjson" => {
            json_of(&mut errors, &path, ".dockerconfigjson", value(".dockerconfigjson"));
        }
        "kubernetes.io/basic-auth" if value("username").is_none() && value("password").is_none() => {
            require(&mut errors, &["username", "password"]);
        }
        "kubernetes.io/ssh-auth" if value("ssh-privatekey").is_none_or(str::is_empty) => {
            require(&mut errors, &["ssh-privatekey"]);
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if value(key).is_none() {
                    require(&mut errors, &[key]);
                }
            }
        }
        _ => {}
    }
    errors
}

/// The key must be there and hold a JSON object. What it holds is never shown.
fn json_of(errors: &mut ErrorList, path: &Path<'_>, key: &str, value: Option<&str>) {
    let Some(value) = value else {
        errors.push(FieldError::required(&path.key(key), ""));
        return;
    };
    let bytes = STANDARD.decode(value).unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes) {
        let detail = match error.classify() {
            serde_json::error::Category::Eof => "unexpected end of JSON input",
            _ => "invalid JSON: must be an object",
        };
        errors.push(FieldError::invalid(&path.key(key), "<secret contents redacted>", detail));
    }
}

pub(crate) fn secret_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    check::unchanged(
        &mut errors,
        &Path::root("type"),
        read::top_raw(new, "type"),
        read::top_raw(old, "type"),
    );
    errors.extend(frozen(new, old, &["data"]));
    errors.extend(secret(new));
    errors
}
