//! Who the user is: tokens, passwords, and programs that hand out credentials (`exec` in a kubeconfig).

use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use serde_json::{Value, json};

use crate::failure::{Failure, quoted};
use crate::kubeconfig::os_words;

/// The `Authorization` header of a user without a client certificate.
///
/// # Errors
/// When the token's file cannot be read or the token is no header's text.
pub fn authorization(user: &Value) -> Result<Option<HeaderValue>, Failure> {
    let field = |key: &str| user[key].as_str().filter(|text| !text.is_empty());
    let text = if let Some(token) = field("token") {
        format!("Bearer {token}")
    } else if let Some(path) = field("tokenFile") {
        let token = std::fs::read_to_string(path)
            .map_err(|e| Failure::message(format!("open {path}: {}", os_words(&e))))?;
        format!("Bearer {}", token.trim())
    } else if let Some(name) = field("username") {
        let password = field("password").unwrap_or_default();
        format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")))
    } else {
        return Ok(None);
    };
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| Failure::message("the token has characters that no token has"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Runs the user's credential plugin, if there is one, and puts what it hands out into `user`.
///
/// # Errors
/// When the plugin fails or hands out nothing of use.
pub fn from_plugin(user: &mut Value, cluster: &Value, server: &str) -> Result<(), Failure> {
    if user.get("auth-provider").is_some_and(Value::is_object) {
        let name = user["auth-provider"]["name"].as_str().unwrap_or_default();
        return Err(Failure::message(format!("no Auth Provider found for name {}", quoted(name))));
    }
    // Who says who they are (`--token`) is not asked again.
    let said = |key: &&str| user[*key].as_str().is_some_and(|text| !text.is_empty());
    if ["token", "tokenFile", "username"].iter().any(said) {
        return Ok(());
    }
    let Some(plugin) = user.get("exec").filter(|exec| exec.is_object()).cloned() else { return Ok(()) };
    let name = plugin["command"].as_str().unwrap_or_default();
    let version = plugin["apiVersion"].as_str().unwrap_or_default();
    let credential = run(&plugin, name, &information(&plugin, cluster, server, version))?;
    if credential["apiVersion"] != version {
        let got = credential["apiVersion"].as_str().unwrap_or_default();
        return Err(Failure::message(format!(
            "getting credentials: exec plugin is configured to use API version {version}, plugin returned version {got}"
        )));
    }
    let status = &credential["status"];
    for (from, to, encoded) in [
        ("token", "token", false),
        ("clientCertificateData", "client-certificate-data", true),
        ("clientKeyData", "client-key-data", true),
    ] {
        if let Some(value) = status[from].as_str().filter(|text| !text.is_empty()) {
            user[to] = if encoded { BASE64_STANDARD.encode(value).into() } else { value.into() };
        }
    }
    if status["token"].is_null() && status["clientCertificateData"].is_null() {
        return Err(Failure::message(
            "getting credentials: exec plugin didn't return a token or cert/key pair",
        ));
    }
    Ok(())
}

fn information(plugin: &Value, cluster: &Value, server: &str, version: &str) -> Value {
    let interactive = plugin["interactiveMode"] != "Never" && rustix::termios::isatty(std::io::stdin());
    let mut spec = json!({"interactive": interactive});
    if plugin["provideClusterInfo"] == true {
        spec["cluster"] = json!({"server": server});
        for (from, to) in [
            ("certificate-authority-data", "certificate-authority-data"),
            ("tls-server-name", "tls-server-name"),
            ("insecure-skip-tls-verify", "insecure-skip-tls-verify"),
            ("proxy-url", "proxy-url"),
        ] {
            if !cluster[from].is_null() {
                spec["cluster"][to] = cluster[from].clone();
            }
        }
    }
    json!({"kind": "ExecCredential", "apiVersion": version, "spec": spec})
}

fn run(plugin: &Value, name: &str, information: &Value) -> Result<Value, Failure> {
    let arguments = plugin["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut command = Command::new(name);
    command.args(arguments).env("KUBERNETES_EXEC_INFO", information.to_string());
    for variable in plugin["env"].as_array().into_iter().flatten() {
        if let (Some(key), Some(value)) = (variable["name"].as_str(), variable["value"].as_str()) {
            command.env(key, value);
        }
    }
    let interactive = information["spec"]["interactive"] == true;
    command.stdin(if interactive { Stdio::inherit() } else { Stdio::null() });
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| {
        let hint = plugin["installHint"].as_str().map_or(String::new(), |hint| format!("\n\n{hint}"));
        let why = format!("getting credentials: exec: executable {name} not found");
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                Failure::Unreachable(format!("Unable to connect to the server: {why}{hint}"))
            }
            _ => Failure::message(format!("getting credentials: exec: {}", os_words(&error))),
        }
    })?;
    if !output.status.success() {
        let code = output.status.code().unwrap_or(-1);
        return Err(Failure::Unreachable(format!(
            "Unable to connect to the server: getting credentials: exec: executable {name} failed with exit code {code}"
        )));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|e| Failure::message(format!("getting credentials: decoding stdout: {e}")))
}
