//! Namespaces, accounts, and data out of files and words.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::{hash, name, named};
use crate::failure::Failure;
use crate::kubeconfig::os_words;
use crate::session::Session;

/// Largest file that becomes data, in bytes; the server takes no more.
const LARGEST_BYTES: u64 = 3 << 20;

pub fn namespace(session: &Session) -> Result<Value, Failure> {
    let mut object = named("v1", "Namespace", name(session)?);
    object["spec"] = json!({});
    object["status"] = json!({});
    Ok(object)
}

pub fn service_account(session: &Session) -> Result<Value, Failure> {
    Ok(named("v1", "ServiceAccount", name(session)?))
}

pub fn config_map(session: &Session) -> Result<Value, Failure> {
    let mut object = named("v1", "ConfigMap", name(session)?);
    let (mut texts, mut binary) = (Map::new(), Map::new());
    for (key, bytes) in entries(session)? {
        match String::from_utf8(bytes) {
            Ok(text) => texts.insert(key, text.into()),
            Err(error) => binary.insert(key, BASE64_STANDARD.encode(error.as_bytes()).into()),
        };
    }
    if !texts.is_empty() {
        object["data"] = texts.into();
    }
    if !binary.is_empty() {
        object["binaryData"] = binary.into();
    }
    if session.flags.bool("append-hash") {
        hash::append(&mut object);
    }
    Ok(object)
}

/// The keys and values of `--from-file`, `--from-literal` and `--from-env-file`.
///
/// # Errors
/// When one cannot be read, or is there twice.
pub fn entries(session: &Session) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let flags = &session.flags;
    if flags.changed("from-env-file") && (flags.changed("from-file") || flags.changed("from-literal")) {
        return Err(Failure::message("from-env-file cannot be combined with from-file or from-literal"));
    }
    let mut entries = Vec::new();
    for source in flags.list("from-file") {
        from_file(source, &mut entries)?;
    }
    for source in flags.list("from-literal") {
        let Some((key, value)) = source.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::message(format!("invalid literal source {source}, expected key=value")));
        };
        entries.push((key.to_owned(), value.trim_matches(['"', '\'']).as_bytes().to_vec()));
    }
    for file in flags.list("from-env-file") {
        from_env_file(file, &mut entries)?;
    }
    let mut keys: Vec<&String> = Vec::new();
    for (key, _) in &entries {
        if let Some(fault) = api::names::config_key(key).first() {
            return Err(Failure::message(format!("{key:?} is not valid key name for a ConfigMap: {fault}")));
        }
        if keys.contains(&key) {
            return Err(Failure::message(format!(
                "cannot add key {key:?}, another key by that name already exists in Data"
            )));
        }
        keys.push(key);
    }
    Ok(entries)
}

/// A file's bytes; `failed` says why there are none.
///
/// # Errors
/// When it cannot be read, or is too large.
pub fn contents(path: &str, failed: impl Fn(&str) -> String) -> Result<Vec<u8>, Failure> {
    let failed = |why: &str| Failure::message(failed(why));
    let metadata = std::fs::metadata(path).map_err(|e| failed(&os_words(&e)))?;
    if metadata.len() > LARGEST_BYTES {
        return Err(failed("it is too large"));
    }
    std::fs::read(path).map_err(|e| failed(&os_words(&e)))
}

fn read(path: &str) -> Result<Vec<u8>, Failure> {
    contents(path, |why| format!("error reading {path}: {why}"))
}

fn from_file(source: &str, entries: &mut Vec<(String, Vec<u8>)>) -> Result<(), Failure> {
    let (key, path) = match source.split_once('=') {
        Some((key, path)) => (Some(key), path),
        None => (None, source),
    };
    if source.matches('=').count() > 1 {
        return Err(Failure::message("key names or file paths cannot contain '='"));
    }
    if key.is_some_and(str::is_empty) || path.is_empty() {
        return Err(Failure::message(format!("key name for file path {path} missing")));
    }
    let base =
        |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let failed = |e: std::io::Error| Failure::message(format!("error reading {path}: {}", os_words(&e)));
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        let key = key.map_or_else(|| base(Path::new(path)), str::to_owned);
        entries.push((key, read(path)?));
        return Ok(());
    }
    if key.is_some() {
        return Err(Failure::message("cannot give a key name for a directory path"));
    }
    let mut files = Vec::new();
    for file in std::fs::read_dir(path).map_err(failed)? {
        files.push(file.map_err(failed)?.path());
    }
    files.sort();
    for file in files.into_iter().filter(|file| file.is_file()) {
        entries.push((base(&file), read(&file.to_string_lossy())?));
    }
    Ok(())
}

fn from_env_file(path: &str, entries: &mut Vec<(String, Vec<u8>)>) -> Result<(), Failure> {
    let text = String::from_utf8(read(path)?);
    let text = text.map_err(|_| Failure::message(format!("env file {path} contains invalid utf8 bytes")))?;
    for line in text.trim_start_matches('\u{feff}').lines().map(str::trim_start) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, value.to_owned()),
            None => (line, std::env::var(line).unwrap_or_default()),
        };
        entries.push((key.to_owned(), value.into_bytes()));
    }
    Ok(())
}
