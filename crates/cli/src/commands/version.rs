//! `version`.

use serde_json::{Value, json};

use super::Command;
use crate::client::Request;
use crate::failure::Failure;
use crate::output::{err, out};
use crate::printing::{self, OutputFormat};
use crate::session::Session;

pub const COMMANDS: [Command; 1] = [Command {
    words: "version",
    flags: &["client bool=false, o output"],
    usage: "",
    about: "Print the client and server version information",
    run,
}];

/// The minor version of the API that this client was made for.
const MINOR: u64 = 36;

fn client_version() -> Value {
    json!({"major": "1", "minor": MINOR.to_string(), "gitVersion": format!("v1.{MINOR}.0"),
        "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture())})
}

/// As Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn run(session: &Session) -> Result<(), Failure> {
    if !session.arguments().is_empty() {
        return Err(Failure::message(format!("extra arguments: [{}]", session.arguments().join(" "))));
    }
    let format = session.flags.text("output");
    let mut versions = json!({"clientVersion": client_version()});
    let mut refused = None;
    if !session.flags.bool("client") {
        match session.client()?.json(&Request::get("/version")) {
            Ok(server) => versions["serverVersion"] = server,
            Err(failure) => refused = Some(failure),
        }
    }
    let mut bytes = Vec::new();
    let format = match format {
        "" => None,
        "json" => Some(OutputFormat::Json),
        "yaml" => Some(OutputFormat::Yaml),
        _ => return Err(Failure::message("--output must be 'yaml' or 'json'")),
    };
    match format {
        Some(format) => {
            printing::print(&format, &versions, &mut bytes).map_err(|e| Failure::message(e.to_string()))?;
            if format == OutputFormat::Yaml {
                bytes.push(b'\n');
            }
            crate::output::bytes(&bytes)?;
        }
        None => {
            out(&format!(
                "Client Version: {}\n",
                versions["clientVersion"]["gitVersion"].as_str().unwrap_or_default()
            ))?;
            if let Some(server) = versions["serverVersion"]["gitVersion"].as_str() {
                out(&format!("Server Version: {server}\n"))?;
            }
        }
    }
    skew(&versions["serverVersion"]);
    refused.map_or(Ok(()), Err)
}

/// A server more than one minor version away may know other fields.
fn skew(server: &Value) {
    let minor = server["minor"].as_str().map(|text| text.trim_end_matches('+'));
    let Some(minor) = minor.and_then(|text| text.parse::<u64>().ok()) else { return };
    if minor.abs_diff(MINOR) > 1 {
        err(&format!(
            "WARNING: version difference between client (1.{MINOR}) and server (1.{minor}) exceeds the supported minor version skew of +/-1\n"
        ));
    }
}
