//! kubeconfig files: a context is merged in and taken out again without touching the others.
//!
//! The file is handled as a JSON value, so that fields knarr does not know survive.

use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::Endpoint;

/// Why a kubeconfig file could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("{path} is not a kubeconfig file: {why}")]
    Parse { path: String, why: String },
}

/// A complete kubeconfig with one cluster, user and context, all called `name`.
pub fn document(name: &str, endpoint: &Endpoint) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [cluster(name, endpoint)],
        "users": [user(name, endpoint)],
        "contexts": [context(name)],
        "current-context": name,
    })
}

fn cluster(name: &str, endpoint: &Endpoint) -> Value {
    json!({"name": name, "cluster": {
        "server": endpoint.server,
        "certificate-authority-data": BASE64_STANDARD.encode(&endpoint.ca_pem),
    }})
}

fn user(name: &str, endpoint: &Endpoint) -> Value {
    json!({"name": name, "user": {
        "client-certificate-data": BASE64_STANDARD.encode(&endpoint.certificate_pem),
        "client-key-data": BASE64_STANDARD.encode(&endpoint.key_pem),
    }})
}

fn context(name: &str) -> Value {
    json!({"name": name, "context": {"cluster": name, "user": name}})
}

/// What contradicts a cluster or user that knarr writes, and so goes: kubectl refuses a certificate authority beside
/// the wish to check none, and a token would win over the certificate.
const CONTRADICTING: [&str; 9] = [
    "auth-provider",
    "certificate-authority",
    "client-certificate",
    "client-key",
    "exec",
    "insecure-skip-tls-verify",
    "password",
    "token",
    "username",
];

/// Adds the context `name` to the file, or brings it up to date, and makes it the current one. What the user has set
/// beside the fields that knarr writes (a context's namespace, a cluster's proxy) stays. A missing file is made.
///
/// # Errors
/// When the file cannot be read or written, or is no kubeconfig; it is left as it was then.
pub fn merge(path: &Path, name: &str, endpoint: &Endpoint) -> Result<(), KubeconfigError> {
    let mut config = read(path)?.unwrap_or_else(|| document(name, endpoint));
    let map = as_map(path, &mut config)?;
    for (list, entry) in
        [("clusters", cluster(name, endpoint)), ("users", user(name, endpoint)), ("contexts", context(name))]
    {
        put_entry(named_list(map, list), name, entry);
    }
    map.insert("current-context".into(), name.into());
    write(path, &config)
}

/// Lays an entry over the one of its name, which keeps its place, or adds it.
fn put_entry(items: &mut Vec<Value>, name: &str, entry: Value) {
    let Some(present) = items.iter_mut().find(|item| item["name"] == name) else {
        items.push(entry);
        return;
    };
    let (Some(present), Value::Object(entry)) = (present.as_object_mut(), entry) else { return };
    for (key, fields) in entry {
        match (present.get_mut(&key), fields) {
            (Some(Value::Object(present)), Value::Object(fields)) => {
                present.retain(|field, _| !CONTRADICTING.contains(&field.as_str()));
                present.extend(fields);
            }
            (_, fields) => {
                present.insert(key, fields);
            }
        }
    }
}

/// Removes the context `name` from the file, if the file has it.
///
/// # Errors
/// As for [`merge`].
pub fn remove(path: &Path, name: &str) -> Result<(), KubeconfigError> {
    let Some(mut config) = read(path)? else { return Ok(()) };
    let map = as_map(path, &mut config)?;
    for list in ["clusters", "users", "contexts"] {
        named_list(map, list).retain(|item| item["name"] != name);
    }
    if map.get("current-context").is_some_and(|current| current == name) {
        map.insert("current-context".into(), "".into());
    }
    write(path, &config)
}

/// Writes a kubeconfig with this one context, readable by its owner alone.
///
/// # Errors
/// When the file cannot be written.
pub fn create(path: &Path, name: &str, endpoint: &Endpoint) -> Result<(), KubeconfigError> {
    write(path, &document(name, endpoint))
}

/// Where the file's current context leads, and with which credentials. What [`create`] writes is understood:
/// certificates and key inside the file.
///
/// # Errors
/// When there is no such file, or it lacks something.
pub fn endpoint(path: &Path) -> Result<Endpoint, KubeconfigError> {
    let fail = |why: String| KubeconfigError::Parse { path: path.display().to_string(), why };
    let config = read(path)?.ok_or_else(|| fail("it is empty or missing".into()))?;
    let named = |list: &str, name: &Value| {
        let items = config[list].as_array().into_iter().flatten();
        items.into_iter().find(|item| item["name"] == *name).cloned()
    };
    let context = named("contexts", &config["current-context"])
        .ok_or_else(|| fail("it has no current context".into()))?;
    let part = |list: &str, key: &str| {
        named(list, &context["context"][key]).ok_or_else(|| fail(format!("its context has no {key}")))
    };
    let (cluster, user) = (part("clusters", "cluster")?, part("users", "user")?);
    let pem = |object: &Value, key: &str| {
        let bytes = object[key].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        text.ok_or_else(|| fail(format!("{key} is missing or damaged")))
    };
    let (cluster, user) = (&cluster["cluster"], &user["user"]);
    Ok(Endpoint {
        server: cluster["server"].as_str().ok_or_else(|| fail("server is missing".into()))?.to_owned(),
        ca_pem: pem(cluster, "certificate-authority-data")?,
        certificate_pem: pem(user, "client-certificate-data")?,
        key_pem: pem(user, "client-key-data")?,
    })
}

fn as_map<'a>(path: &Path, config: &'a mut Value) -> Result<&'a mut Map<String, Value>, KubeconfigError> {
    config.as_object_mut().ok_or_else(|| KubeconfigError::Parse {
        path: path.display().to_string(),
        why: "not a mapping".into(),
    })
}

fn named_list<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Vec<Value> {
    let slot = map.entry(key).or_insert_with(|| Value::Array(Vec::new()));
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    match slot {
        Value::Array(items) => items,
        _ => unreachable!("the slot was made an array above"),
    }
}

fn read(path: &Path) -> Result<Option<Value>, KubeconfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => return Ok(None),
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(KubeconfigError::Io { path: path.display().to_string(), source }),
    };
    serde_saphyr::from_str(&text)
        .map(Some)
        .map_err(|e| KubeconfigError::Parse { path: path.display().to_string(), why: e.to_string() })
}

/// Writes beside the file and renames, so that a crash leaves the old or the new file, never half of one.
fn write(path: &Path, config: &Value) -> Result<(), KubeconfigError> {
    let fail = |source: std::io::Error| KubeconfigError::Io { path: path.display().to_string(), source };
    let text = serde_saphyr::to_string(config)
        .map_err(|e| KubeconfigError::Parse { path: path.display().to_string(), why: e.to_string() })?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    let fresh = path.with_extension("knarr-new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&fresh).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    std::fs::rename(&fresh, path).map_err(fail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn endpoint(server: &str) -> Endpoint {
        Endpoint {
            server: server.into(),
            ca_pem: "ca".into(),
            certificate_pem: "cert".into(),
            key_pem: "key".into(),
        }
    }

    #[test]
    fn other_contexts_survive_a_merge_and_a_removal() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("config");
        merge(&path, "one", &endpoint("https://one")).expect("merge");
        merge(&path, "two", &endpoint("https://two")).expect("merge");
        merge(&path, "two", &endpoint("https://two-again")).expect("merge");
        let config = read(&path).expect("read").expect("present");
        assert_eq!(config["current-context"], "two");
        assert_eq!(config["clusters"].as_array().map(Vec::len), Some(2));
        remove(&path, "two").expect("remove");
        let config = read(&path).expect("read").expect("present");
        assert_eq!(config["clusters"][0]["name"], "one");
        assert_eq!(config["current-context"], "");
    }

    #[test]
    fn what_the_user_set_stays_when_a_context_is_brought_up_to_date() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("config");
        merge(&path, "one", &endpoint("https://one")).expect("merge");
        merge(&path, "two", &endpoint("https://two")).expect("merge");
        let mut config = read(&path).expect("read").expect("present");
        config["contexts"][0]["context"]["namespace"] = "shop".into();
        config["clusters"][0]["cluster"]["proxy-url"] = "socks5://localhost:1".into();
        config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = true.into();
        config["users"][0]["user"]["token"] = "old".into();
        write(&path, &config).expect("written");
        merge(&path, "one", &endpoint("https://one-again")).expect("merge");
        let config = read(&path).expect("read").expect("present");
        let expected =
            json!({"name": "one", "context": {"cluster": "one", "user": "one", "namespace": "shop"}});
        assert_eq!(config["contexts"][0], expected);
        let cluster = &config["clusters"][0]["cluster"];
        assert_eq!(cluster["server"], "https://one-again");
        assert_eq!(cluster["proxy-url"], "socks5://localhost:1");
        assert!(cluster.get("insecure-skip-tls-verify").is_none());
        assert!(config["users"][0]["user"].get("token").is_none());
        assert_eq!(config["contexts"].as_array().map(Vec::len), Some(2));
        assert_eq!(config["current-context"], "one");
    }

    #[test]
    fn the_current_context_is_read_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("config");
        assert!(super::endpoint(&path).is_err());
        merge(&path, "one", &endpoint("https://one:6443")).expect("merge");
        merge(&path, "two", &endpoint("https://[::2]")).expect("merge");
        let read = super::endpoint(&path).expect("understood");
        assert_eq!((read.ca_pem.as_str(), read.certificate_pem.as_str()), ("ca", "cert"));
        assert_eq!(read.key_pem, "key");
        assert_eq!(read.authority().expect("an address"), "[::2]:443");
        assert_eq!(endpoint("https://one:6443").authority().expect("an address"), "one:6443");
        remove(&path, "two").expect("remove");
        let error = super::endpoint(&path).err().expect("there is no current context").to_string();
        assert!(error.contains("no current context"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_kubeconfig_is_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("config");
        std::fs::write(&path, "- just\n- a list\n").expect("write");
        assert!(merge(&path, "one", &endpoint("https://one")).is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "- just\n- a list\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_file_is_merged_into_or_left_as_it_was(
            text in "(clusters|users|contexts|current-context|[a-z]{1,4}): ?(\\[\\]|\\{\\}|[a-z]{0,3}|\n- [a-z:& *]{0,8})\n|\\PC{0,60}",
        ) {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("config");
            std::fs::write(&path, &text).expect("written");
            match merge(&path, "one", &endpoint("https://one")) {
                Ok(()) => {
                    let config = read(&path).expect("read").expect("present");
                    prop_assert_eq!(&config["current-context"], "one");
                    remove(&path, "one").expect("what was written can be read");
                }
                Err(_) => prop_assert_eq!(std::fs::read_to_string(&path).expect("read"), text),
            }
        }
    }
}
