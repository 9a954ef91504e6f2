//! Changes of the kubeconfig files: each in the file that has the entry, new ones in the first file that is there.

use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::show::no_context;
use crate::failure::{Failure, quoted};
use crate::kubeconfig::{Kubeconfig, os_words, read};
use crate::output::out;
use crate::session::Session;

/// The one argument of a command.
fn name(session: &Session) -> Result<&str, Failure> {
    match session.arguments() {
        [one] => Ok(one),
        other => Err(session.usage(&format!("Unexpected args: [{}]", other.join(" ")))),
    }
}

fn file_of(config: &Kubeconfig, list: &str, name: &str) -> PathBuf {
    let origin = config.origins.iter().find(|(l, n, _)| l == list && n == name);
    origin.map_or_else(|| config.main_file.clone(), |(_, _, file)| file.clone())
}

/// Reads a file, changes it and writes it, readable by its owner alone; a crash leaves the old or the new file.
fn edit(path: &Path, change: impl FnOnce(&mut Value)) -> Result<(), Failure> {
    let mut config = read(path)?.unwrap_or_else(|| json!({}));
    for (key, value) in [("apiVersion", "v1"), ("kind", "Config")] {
        if config[key].is_null() {
            config[key] = value.into();
        }
    }
    change(&mut config);
    for list in ["clusters", "contexts", "users"] {
        if config[list].as_array().is_none_or(Vec::is_empty) {
            config[list] = Value::Null;
        }
    }
    if config["current-context"].is_null() {
        config["current-context"] = "".into();
    }
    let failed = |e: std::io::Error| Failure::message(format!("open {}: {}", path.display(), os_words(&e)));
    let text = serde_saphyr::to_string(&config).map_err(|e| Failure::message(e.to_string()))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut fresh = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    fresh.write_all(text.as_bytes()).and_then(|()| fresh.as_file().sync_all()).map_err(failed)?;
    // A link stays a link: what it leads to is replaced.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    fresh.persist(target).map(|_| ()).map_err(|e| failed(e.error))
}

/// The entry of a name in a list of a file, made if it is missing.
fn entry<'a>(config: &'a mut Value, list: &str, name: &str) -> &'a mut Value {
    let field = list.trim_end_matches('s').to_owned();
    if !config[list].is_array() {
        config[list] = json!([]);
    }
    let Some(entries) = config[list].as_array_mut() else { unreachable!("it was made an array above") };
    let index = match entries.iter().position(|entry| entry["name"] == name) {
        Some(index) => index,
        None => {
            entries.push(json!({"name": name, field.as_str(): {}}));
            entries.len() - 1
        }
    };
    let content = &mut entries[index][field.as_str()];
    if !content.is_object() {
        *content = json!({});
    }
    content
}

fn lay(content: &mut Value, fields: Map<String, Value>) {
    for (key, value) in fields {
        match content.as_object_mut() {
            Some(map) if value.is_null() => {
                map.remove(&key);
            }
            Some(map) => {
                map.insert(key, value);
            }
            None => {}
        }
    }
}

pub fn use_context(session: &Session) -> Result<(), Failure> {
    let name = name(session)?;
    let config = session.kubeconfig()?;
    if config.entry("contexts", name).is_none() {
        return Err(no_context(name));
    }
    edit(&current_context_file(&config)?, |config| config["current-context"] = name.into())?;
    out(&format!("Switched to context {}.\n", quoted(name)))
}

/// The file whose current context counts: the first that has one.
fn current_context_file(config: &Kubeconfig) -> Result<PathBuf, Failure> {
    let mut files: Vec<&PathBuf> = config.origins.iter().map(|(_, _, file)| file).collect();
    files.dedup();
    for file in files {
        let content = read(file)?.unwrap_or_default();
        if content["current-context"].as_str().is_some_and(|current| !current.is_empty()) {
            return Ok(file.clone());
        }
    }
    Ok(config.main_file.clone())
}

pub fn set_context(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let config = session.kubeconfig()?;
    let current = flags.bool("current");
    let name = match (session.arguments(), current) {
        ([_, ..], true) => {
            return Err(Failure::message("you cannot specify both a context name and --current"));
        }
        ([], false) => {
            return Err(Failure::message("you must specify a non-empty context name or --current"));
        }
        ([], true) if config.current_context().is_empty() => {
            return Err(Failure::message("no current context is set"));
        }
        ([], true) => config.current_context().to_owned(),
        ([name], false) => name.clone(),
        (more, false) => return Err(session.usage(&format!("Unexpected args: [{}]", more.join(" ")))),
    };
    let known = config.entry("contexts", &name).is_some();
    let mut fields = Map::new();
    for key in ["cluster", "user", "namespace"] {
        if flags.changed(key) {
            fields.insert(key.to_owned(), flags.text(key).into());
        }
    }
    edit(&file_of(&config, "contexts", &name), |config| lay(entry(config, "contexts", &name), fields))?;
    out(&format!("Context {} {}.\n", quoted(&name), if known { "modified" } else { "created" }))
}

/// A file by its path, or its bytes within the kubeconfig.
fn certificate(session: &Session, flag: &str, fields: &mut Map<String, Value>) -> Result<(), Failure> {
    let flags = &session.flags;
    if !flags.changed(flag) {
        return Ok(());
    }
    let path = flags.text(flag);
    if !flags.bool("embed-certs") {
        let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
        fields.insert(flag.to_owned(), path.to_string_lossy().into_owned().into());
        fields.insert(format!("{flag}-data"), Value::Null);
        return Ok(());
    }
    let bytes = std::fs::read(path).map_err(|e| {
        Failure::message(format!("could not read {flag} data from {path}: open {path}: {}", os_words(&e)))
    })?;
    fields.insert(format!("{flag}-data"), BASE64_STANDARD.encode(bytes).into());
    fields.insert(flag.to_owned(), Value::Null);
    Ok(())
}

pub fn set_cluster(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let name = name(session)?;
    let mut fields = Map::new();
    for key in ["server", "tls-server-name", "proxy-url"] {
        if flags.changed(key) {
            fields.insert(key.to_owned(), flags.text(key).into());
        }
    }
    certificate(session, "certificate-authority", &mut fields)?;
    if flags.changed("insecure-skip-tls-verify") {
        let insecure = flags.bool("insecure-skip-tls-verify");
        fields.insert("insecure-skip-tls-verify".into(), if insecure { true.into() } else { Value::Null });
        if insecure && flags.changed("certificate-authority") {
            return Err(Failure::message(
                "you cannot specify a certificate authority and insecure mode at the same time",
            ));
        }
        if insecure {
            fields.insert("certificate-authority".into(), Value::Null);
            fields.insert("certificate-authority-data".into(), Value::Null);
        }
    }
    let config = session.kubeconfig()?;
    edit(&file_of(&config, "clusters", name), |config| lay(entry(config, "clusters", name), fields))?;
    out(&format!("Cluster {} set.\n", quoted(name)))
}

pub fn set_credentials(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let name = name(session)?;
    for flag in
        ["auth-provider", "auth-provider-arg", "exec-command", "exec-arg", "exec-env", "exec-api-version"]
    {
        if flags.changed(flag) {
            let why = format!("knarr kubectl does not know \"--{flag}\" yet; use the stock kubectl");
            return Err(Failure::message(why));
        }
    }
    if flags.changed("token") && (flags.changed("username") || flags.changed("password")) {
        return Err(Failure::message(
            "you cannot specify more than one authentication method at the same time: --token, --username/--password",
        ));
    }
    let mut fields = Map::new();
    for key in ["token", "username", "password"] {
        if flags.changed(key) {
            fields.insert(key.to_owned(), flags.text(key).into());
        }
    }
    if flags.changed("token") {
        fields.extend(["username", "password", "tokenFile"].map(|key| (key.to_owned(), Value::Null)));
    }
    if flags.changed("username") {
        fields.extend(["token", "tokenFile"].map(|key| (key.to_owned(), Value::Null)));
    }
    certificate(session, "client-certificate", &mut fields)?;
    certificate(session, "client-key", &mut fields)?;
    let config = session.kubeconfig()?;
    edit(&file_of(&config, "users", name), |config| lay(entry(config, "users", name), fields))?;
    out(&format!("User {} set.\n", quoted(name)))
}

pub fn rename_context(session: &Session) -> Result<(), Failure> {
    let [old, new] = session.arguments() else {
        return Err(session.usage(&format!("Unexpected args: [{}]", session.arguments().join(" "))));
    };
    let config = session.kubeconfig()?;
    let file = file_of(&config, "contexts", old);
    if config.entry("contexts", old).is_none() {
        return Err(Failure::message(format!(
            "cannot rename the context {}, it's not in {}",
            quoted(old),
            file.display()
        )));
    }
    if config.entry("contexts", new).is_some() {
        let why = format!(
            "cannot rename the context {}, the context {} already exists in {}",
            quoted(old),
            quoted(new),
            file.display()
        );
        return Err(Failure::message(why));
    }
    edit(&file, |config| {
        for entry in config["contexts"].as_array_mut().into_iter().flatten() {
            if entry["name"] == *old {
                entry["name"] = new.as_str().into();
            }
        }
        if config["current-context"] == *old {
            config["current-context"] = new.as_str().into();
        }
    })?;
    out(&format!("Context {} renamed to {}.\n", quoted(old), quoted(new)))
}

/// `delete-…`.
pub fn remove(session: &Session, list: &str, what: &str) -> Result<(), Failure> {
    let name = name(session)?;
    let config = session.kubeconfig()?;
    let file = file_of(&config, list, name);
    if config.entry(list, name).is_none() {
        return Err(Failure::message(format!("cannot delete {what} {name}, not in {}", file.display())));
    }
    if what == "context" && config.current_context() == name {
        crate::output::err(
            "warning: this removed your active context, use \"kubectl config use-context\" to select a different one\n",
        );
    }
    edit(&file, |config| {
        if let Some(entries) = config[list].as_array_mut() {
            entries.retain(|entry| entry["name"] != *name);
        }
    })?;
    out(&format!("deleted {what} {name} from {}\n", file.display()))
}

/// The parts of a property's name: `clusters.NAME.server`. Names may have dots of their own, so the known names count.
fn steps(config: &Kubeconfig, property: &str) -> Vec<String> {
    let (list, rest) = property.split_once('.').unwrap_or((property, ""));
    let known =
        config.merged[list].as_array().into_iter().flatten().filter_map(|entry| entry["name"].as_str());
    let longest = known
        .filter(|name| rest == *name || rest.strip_prefix(*name).is_some_and(|rest| rest.starts_with('.')))
        .max_by_key(|name| name.len());
    let mut steps = vec![list.to_owned()];
    match longest {
        Some(name) => {
            steps.push(name.to_owned());
            steps.extend(rest[name.len()..].split('.').filter(|step| !step.is_empty()).map(str::to_owned));
        }
        None => steps.extend(rest.split('.').filter(|step| !step.is_empty()).map(str::to_owned)),
    }
    steps
}

pub fn set(session: &Session) -> Result<(), Failure> {
    let [property, value] = session.arguments() else {
        return Err(session.usage(&format!("Unexpected args: [{}]", session.arguments().join(" "))));
    };
    let config = session.kubeconfig()?;
    let steps = steps(&config, property);
    let text: Value = match (value.as_str(), steps.last().map(String::as_str)) {
        ("true", Some("insecure-skip-tls-verify" | "disable-compression")) => true.into(),
        ("false", Some("insecure-skip-tls-verify" | "disable-compression")) => false.into(),
        (value, Some(last)) if last.ends_with("-data") && !session.flags.bool("set-raw-bytes") => {
            BASE64_STANDARD.encode(value).into()
        }
        (value, _) => value.into(),
    };
    match steps.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["current-context"] => {
            edit(&current_context_file(&config)?, |config| config["current-context"] = text)?
        }
        [list @ ("clusters" | "contexts" | "users"), name, field] => {
            edit(&file_of(&config, list, name), |config| entry(config, list, name)[*field] = text)?;
        }
        _ => {
            let why = format!(
                "knarr kubectl cannot set the property {} yet; use the stock kubectl",
                quoted(property)
            );
            return Err(Failure::message(why));
        }
    }
    out(&format!("Property {} set.\n", quoted(property)))
}

pub fn unset(session: &Session) -> Result<(), Failure> {
    let property = name(session)?;
    let config = session.kubeconfig()?;
    match steps(&config, property).iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["current-context"] => {
            edit(&current_context_file(&config)?, |config| config["current-context"] = "".into())?
        }
        [list @ ("clusters" | "contexts" | "users")] => {
            edit(&config.main_file, |config| config[*list] = Value::Null)?
        }
        [list @ ("clusters" | "contexts" | "users"), name] => {
            edit(&file_of(&config, list, name), |config| {
                if let Some(entries) = config[*list].as_array_mut() {
                    entries.retain(|entry| entry["name"] != **name);
                }
            })?
        }
        [list @ ("clusters" | "contexts" | "users"), name, field] => {
            if config.entry(list, name).is_none() {
                return Err(Failure::message(format!("current map key `{name}` is invalid")));
            }
            edit(&file_of(&config, list, name), |config| {
                lay(entry(config, list, name), Map::from_iter([((*field).to_owned(), Value::Null)]))
            })?;
        }
        _ => {
            let why = format!(
                "knarr kubectl cannot unset the property {} yet; use the stock kubectl",
                quoted(property)
            );
            return Err(Failure::message(why));
        }
    }
    out(&format!("Property {} unset.\n", quoted(property)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_the_rest_of_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        std::fs::write(&path, "users: [{name: a, user: {token: t, other: 1}}]\nextra: kept\n")
            .expect("written");
        edit(&path, |config| {
            lay(entry(config, "users", "a"), Map::from_iter([("token".to_owned(), "u".into())]))
        })
        .expect("changed");
        let config = read(&path).expect("read").expect("there");
        assert_eq!(config["users"][0]["user"], json!({"token": "u", "other": 1}));
        assert_eq!((config["extra"].as_str(), config["kind"].as_str()), (Some("kept"), Some("Config")));
        std::fs::write(&path, "- a list").expect("written");
        assert!(edit(&path, |_| ()).is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "- a list");
    }
}
