//! kubeconfig files as kubectl finds, merges and reads them, and what flags lay over them.
//!
//! Files are handled as JSON values, so that fields unknown here survive `kubectl config set-…`.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::failure::{Failure, quoted};

/// Longest kubeconfig file that is read, in bytes.
const LONGEST_BYTES: u64 = 16 << 20;

/// The lists of named entries and the field of an entry that holds its content.
const LISTS: [(&str, &str); 3] = [("clusters", "cluster"), ("contexts", "context"), ("users", "user")];

/// The fields that name files, of all entries.
const FILES: [&str; 5] =
    ["certificate-authority", "client-certificate", "client-key", "tokenFile", "cluster-info"];

/// All files merged: of entries of one name, and of other fields, the first file's counts.
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    pub merged: Value,
    /// In which file each entry stands, by list and name.
    pub origins: Vec<(String, String, PathBuf)>,
    /// Where changes go that belong to no entry.
    pub main_file: PathBuf,
}

/// Which files count, in order, and whether the first one has to be there.
pub fn files(explicit: &str) -> (Vec<PathBuf>, bool) {
    if !explicit.is_empty() {
        return (vec![PathBuf::from(explicit)], true);
    }
    if let Some(list) = std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) {
        let mut files: Vec<PathBuf> = Vec::new();
        for file in std::env::split_paths(&list).filter(|file| !file.as_os_str().is_empty()) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
        return (files, false);
    }
    (vec![home().join(".kube/config")], false)
}

pub fn home() -> PathBuf {
    std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default()
}

/// Reads one file; `None` where there is none.
///
/// # Errors
/// When it cannot be read or is no kubeconfig.
pub fn read(path: &Path) -> Result<Option<Value>, Failure> {
    let shown = path.display();
    let text = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if metadata.len() > LONGEST_BYTES => {
            return Err(Failure::message(format!("{shown} is too large for a kubeconfig file")));
        }
        _ => std::fs::read_to_string(path).map_err(|e| {
            Failure::message(format!("error loading config file \"{shown}\": open {shown}: {}", os_words(&e)))
        })?,
    };
    if text.trim().is_empty() {
        return Ok(Some(json!({})));
    }
    let wrong = |why: String| Failure::message(format!("error loading config file \"{shown}\": {why}"));
    let value: Value = serde_saphyr::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    match value {
        Value::Object(_) => Ok(Some(value)),
        Value::Null => Ok(Some(json!({}))),
        _ => Err(wrong("it is not a mapping".into())),
    }
}

/// What Go says of an error of the system.
pub fn os_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        std::io::ErrorKind::IsADirectory => "is a directory".into(),
        std::io::ErrorKind::NotADirectory => "not a directory".into(),
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        _ => {
            let text = error.to_string();
            // Go has the C library's texts in small letters, without a number.
            match text.rsplit_once(" (os error ") {
                Some((text, _)) => text.to_lowercase(),
                None => text,
            }
        }
    }
}

impl Kubeconfig {
    /// Reads and merges the files that count.
    ///
    /// # Errors
    /// When a file is no kubeconfig, or the one asked for by name is missing.
    pub fn load(explicit: &str) -> Result<Self, Failure> {
        let (files, required) = files(explicit);
        let main_file = files.iter().find(|file| file.exists()).or(files.last()).cloned().unwrap_or_default();
        let mut merged = Map::new();
        let mut origins = Vec::new();
        for file in &files {
            let Some(mut one) = read(file)? else {
                if required {
                    let shown = file.display();
                    return Err(Failure::message(format!("stat {shown}: no such file or directory")));
                }
                continue;
            };
            absolute_paths(&mut one, file);
            merge(&mut merged, &mut origins, one, file);
        }
        Ok(Self { merged: Value::Object(merged), origins, main_file })
    }

    /// The content of an entry.
    pub fn entry(&self, list: &str, name: &str) -> Option<&Value> {
        let field = LISTS.iter().find(|(l, _)| *l == list)?.1;
        let entries = self.merged[list].as_array()?;
        entries.iter().find(|entry| entry["name"] == name).map(|entry| &entry[field])
    }

    pub fn current_context(&self) -> &str {
        self.merged["current-context"].as_str().unwrap_or_default()
    }
}

fn merge(
    merged: &mut Map<String, Value>,
    origins: &mut Vec<(String, String, PathBuf)>,
    one: Value,
    file: &Path,
) {
    let Value::Object(fields) = one else { return };
    for (key, value) in fields {
        match value {
            Value::Array(entries) if LISTS.iter().any(|(list, _)| *list == key) => {
                let slot = merged.entry(key.clone()).or_insert_with(|| json!([]));
                let Value::Array(present) = slot else { continue };
                for entry in entries {
                    let name = entry["name"].as_str().unwrap_or_default().to_owned();
                    if !present.iter().any(|p| p["name"] == *name) {
                        origins.push((key.clone(), name, file.to_owned()));
                        present.push(entry);
                    }
                }
            }
            value => {
                let slot = merged.entry(key).or_insert(Value::Null);
                if slot.is_null() || *slot == "" {
                    *slot = value;
                }
            }
        }
    }
}

/// Paths in a file are relative to the file.
fn absolute_paths(config: &mut Value, file: &Path) {
    let folder = file.parent().unwrap_or(Path::new(""));
    for (list, field) in LISTS {
        for entry in config.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            for key in FILES {
                let Some(slot) = entry.get_mut(field).and_then(|content| content.get_mut(key)) else {
                    continue;
                };
                if let Some(path) = slot.as_str().filter(|path| !path.is_empty()) {
                    *slot = folder.join(path).to_string_lossy().into_owned().into();
                }
            }
        }
    }
}

/// Where the server is and as whom to talk to it, as files and flags together say.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub server: String,
    pub namespace: String,
    /// Whether somebody chose the namespace: a flag, a context, the pod's own.
    pub namespace_by_flag: bool,
    pub cluster: Value,
    pub user: Value,
    pub impersonate: Vec<(String, String)>,
}

/// The flags that count here.
pub trait Overrides {
    fn text(&self, name: &str) -> &str;
    fn list(&self, name: &str) -> &[String];
    fn is_true(&self, name: &str) -> bool;
}

impl Settings {
    /// Puts files and flags together.
    ///
    /// # Errors
    /// When a context, cluster or user that was asked for is not there, or what they say contradicts itself.
    pub fn resolve(config: &Kubeconfig, flags: &dyn Overrides) -> Result<Self, Failure> {
        let asked = flags.text("context");
        let context_name = if asked.is_empty() { config.current_context() } else { asked };
        let context = config.entry("contexts", context_name);
        if context.is_none() && !context_name.is_empty() {
            let what = if asked.is_empty() {
                format!("context was not found for specified context: {context_name}")
            } else {
                format!("context was not found for specified context: {asked}")
            };
            return Err(Failure::Verbatim(format!("Error in configuration: {what}")));
        }
        let context = context.cloned().unwrap_or_default();
        let mut cluster = Self::cluster(config, &context, flags)?;
        let user = Self::user(config, &context, flags)?;
        let mut namespace = context["namespace"].as_str().unwrap_or_default().to_owned();
        let by_flag = flags.text("namespace");
        if !by_flag.is_empty() {
            by_flag.clone_into(&mut namespace);
        }
        let mut settings = Self { impersonate: impersonation(&user, flags), user, ..Self::default() };
        settings.server = cluster["server"].as_str().unwrap_or_default().to_owned();
        if settings.server.is_empty() && settings.in_cluster(&mut cluster, &mut namespace).is_none() {
            settings.server = "http://localhost:8080".into();
        }
        settings.cluster = cluster;
        settings.namespace_by_flag = !by_flag.is_empty();
        settings.namespace = if namespace.is_empty() { "default".into() } else { namespace };
        Ok(settings)
    }

    fn cluster(config: &Kubeconfig, context: &Value, flags: &dyn Overrides) -> Result<Value, Failure> {
        let asked = flags.text("cluster");
        let name = if asked.is_empty() { context["cluster"].as_str().unwrap_or_default() } else { asked };
        let mut cluster = config
            .entry("clusters", name)
            .filter(|entry| entry.is_object())
            .cloned()
            .unwrap_or_else(|| json!({}));
        let server = flags.text("server");
        if !server.is_empty() {
            cluster["server"] = server.into();
        } else if !name.is_empty() && cluster["server"].as_str().unwrap_or_default().is_empty() {
            return Err(Failure::message(format!("no server found for cluster {}", quoted(name))));
        }
        let authority = flags.text("certificate-authority");
        if !authority.is_empty() {
            cluster["certificate-authority"] = authority.into();
            cluster["certificate-authority-data"] = Value::Null;
        }
        if flags.is_true("insecure-skip-tls-verify") {
            cluster["insecure-skip-tls-verify"] = true.into();
            if authority.is_empty() {
                cluster["certificate-authority"] = Value::Null;
                cluster["certificate-authority-data"] = Value::Null;
            }
        }
        let name = flags.text("tls-server-name");
        if !name.is_empty() {
            cluster["tls-server-name"] = name.into();
        }
        let has_authority = ["certificate-authority", "certificate-authority-data"]
            .iter()
            .any(|key| cluster[*key].as_str().is_some_and(|text| !text.is_empty()));
        if cluster["insecure-skip-tls-verify"] == true && has_authority {
            let why = "specifying a root certificates file with the insecure flag is not allowed";
            return Err(Failure::message(why));
        }
        Ok(cluster)
    }

    fn user(config: &Kubeconfig, context: &Value, flags: &dyn Overrides) -> Result<Value, Failure> {
        let asked = flags.text("user");
        let name = if asked.is_empty() { context["user"].as_str().unwrap_or_default() } else { asked };
        let found = config.entry("users", name);
        if found.is_none() && !asked.is_empty() {
            return Err(Failure::message(format!("auth info {} does not exist", quoted(asked))));
        }
        let mut user = found.filter(|entry| entry.is_object()).cloned().unwrap_or_else(|| json!({}));
        for (flag, instead_of) in [
            ("client-certificate", "client-certificate-data"),
            ("client-key", "client-key-data"),
            ("token", "tokenFile"),
        ] {
            if !flags.text(flag).is_empty() {
                user[flag] = flags.text(flag).into();
                user[instead_of] = Value::Null;
            }
        }
        for flag in ["username", "password"] {
            if !flags.text(flag).is_empty() {
                user[flag] = flags.text(flag).into();
            }
        }
        Ok(user)
    }

    /// Within a pod, without any kubeconfig: the pod's own account.
    fn in_cluster(&mut self, cluster: &mut Value, namespace: &mut String) -> Option<()> {
        const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
        let host = std::env::var("KUBERNETES_SERVICE_HOST").ok().filter(|host| !host.is_empty())?;
        let port = std::env::var("KUBERNETES_SERVICE_PORT").ok().filter(|port| !port.is_empty())?;
        let token = std::fs::read_to_string(format!("{ACCOUNT}/token")).ok()?;
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        self.server = format!("https://{host}:{port}");
        cluster["certificate-authority"] = format!("{ACCOUNT}/ca.crt").into();
        if self.user["token"].as_str().unwrap_or_default().is_empty() {
            self.user["token"] = token.trim().into();
        }
        if namespace.is_empty()
            && let Ok(own) = std::fs::read_to_string(format!("{ACCOUNT}/namespace"))
        {
            own.trim().clone_into(namespace);
        }
        Some(())
    }
}

fn impersonation(user: &Value, flags: &dyn Overrides) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    let either = |flag: &str, field: &str| {
        let asked = flags.text(flag);
        if asked.is_empty() { user[field].as_str().unwrap_or_default().to_owned() } else { asked.to_owned() }
    };
    for (flag, field, header) in [("as", "as", "Impersonate-User"), ("as-uid", "as-uid", "Impersonate-Uid")] {
        let value = either(flag, field);
        if !value.is_empty() {
            headers.push((header.to_owned(), value));
        }
    }
    let mut groups: Vec<String> = flags.list("as-group").to_vec();
    if groups.is_empty() {
        let own = user["as-groups"].as_array().into_iter().flatten();
        groups = own.filter_map(|group| group.as_str().map(str::to_owned)).collect();
    }
    headers.extend(groups.into_iter().map(|group| ("Impersonate-Group".to_owned(), group)));
    let mut extra: Vec<(String, String)> = Vec::new();
    for pair in flags.list("as-user-extra") {
        extra.extend(pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
    if extra.is_empty() {
        for (key, values) in user["as-user-extra"].as_object().into_iter().flatten() {
            let values = values.as_array().into_iter().flatten().filter_map(Value::as_str);
            extra.extend(values.map(|value| (key.clone(), value.to_owned())));
        }
    }
    for (key, value) in extra {
        let key = percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC);
        headers.push((format!("Impersonate-Extra-{key}"), value));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_of_several_wins() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let (mut merged, mut origins) = (Map::new(), Vec::new());
        let first = json!({"clusters": [{"name": "a", "cluster": {"server": "1"}}], "current-context": ""});
        let second = json!({"clusters": [{"name": "a", "cluster": {"server": "2"}},
            {"name": "b", "cluster": {"server": "3"}}], "current-context": "x"});
        merge(&mut merged, &mut origins, first, &one);
        merge(&mut merged, &mut origins, second, &two);
        let config = Kubeconfig { merged: merged.into(), origins, main_file: one };
        assert_eq!(config.entry("clusters", "a").expect("there")["server"], "1");
        assert_eq!(config.entry("clusters", "b").expect("there")["server"], "3");
        assert_eq!(config.current_context(), "x");
        assert_eq!(config.origins[1].2, two);
    }
}
