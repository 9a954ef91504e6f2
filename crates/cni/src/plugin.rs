//! The CNI plugins (specification 1.1.0): called by a runtime with `CNI_COMMAND` and friends in the
//! environment and its configuration on standard input. The caller chooses the plugin by its name.

use std::io::{Read, Write};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::announce::PodName;
use crate::config::{BridgeConfig, LOOPBACK_TYPE, PLUGIN_TYPE};
use crate::host_ports::PortMapping;
use crate::{bridge, link};

const VERSIONS: [&str; 6] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", "0.2.0"];
/// A configuration longer than this is refused.
const INPUT_LIMIT_BYTES: u64 = 1 << 20;
// Error codes of the specification.
const INCOMPATIBLE: u32 = 1;
const BAD_ENVIRONMENT: u32 = 4;
const BAD_INPUT: u32 = 6;
const BAD_CONFIG: u32 = 7;
const FAILED: u32 = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    #[serde(default)]
    cni_version: String,
    #[serde(rename = "cni.dev/valid-attachments", default)]
    valid_attachments: Vec<ValidAttachment>,
    #[serde(flatten)]
    config: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ValidAttachment {
    #[serde(rename = "containerID")]
    container_id: String,
}

/// One of the plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plugin {
    /// Connects a pod with the node's bridge.
    Bridge,
    /// Sets the loopback interface up: containerd asks for a plugin of this name before any other.
    Loopback,
}

impl Plugin {
    /// The plugin a program of this name is.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            PLUGIN_TYPE => Some(Self::Bridge),
            LOOPBACK_TYPE => Some(Self::Loopback),
            _ => None,
        }
    }
}

struct Failure {
    code: u32,
    message: String,
}

fn failure(code: u32, message: impl std::fmt::Display) -> Failure {
    Failure { code, message: message.to_string() }
}

/// Runs a plugin; answers the process's exit code. Writes the result, or the error as the specification
/// wants it, to standard output.
pub fn main(plugin: Plugin) -> u8 {
    let mut version = String::from("1.0.0");
    let (output, code) = match run(plugin, &mut version) {
        Ok(result) => (result, 0),
        Err(failure) => {
            (Some(json!({"cniVersion": version, "code": failure.code, "msg": failure.message})), 1)
        }
    };
    if let Some(output) = output {
        // Nobody is left to tell when the runtime has closed the pipe.
        let _ = writeln!(std::io::stdout(), "{output}");
    }
    code
}

fn variable(name: &str) -> Result<String, Failure> {
    std::env::var(name).map_err(|_| failure(BAD_ENVIRONMENT, format!("{name} is not set")))
}

fn run(plugin: Plugin, version: &mut String) -> Result<Option<Value>, Failure> {
    let command = variable("CNI_COMMAND")?;
    let mut text = Vec::new();
    std::io::stdin()
        .take(INPUT_LIMIT_BYTES)
        .read_to_end(&mut text)
        .map_err(|e| failure(BAD_INPUT, format!("reading the configuration: {e}")))?;
    let input: Input = serde_json::from_slice(&text)
        .map_err(|e| failure(BAD_INPUT, format!("the configuration is no JSON: {e}")))?;
    if !input.cni_version.is_empty() {
        version.clone_from(&input.cni_version);
    }
    if command == "VERSION" {
        return Ok(Some(json!({"cniVersion": version, "supportedVersions": VERSIONS})));
    }
    if !VERSIONS.contains(&version.as_str()) {
        return Err(failure(INCOMPATIBLE, format!("CNI version {version} is not supported")));
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| failure(FAILED, e))?;
    runtime.block_on(async {
        match plugin {
            Plugin::Bridge => on_bridge(&command, input, version).await,
            Plugin::Loopback => on_loopback(&command, version).await,
        }
    })
}

async fn on_loopback(command: &str, version: &str) -> Result<Option<Value>, Failure> {
    if command != "ADD" {
        // It goes with the namespace.
        return Ok(None);
    }
    let netns = variable("CNI_NETNS")?;
    link::raise_loopback(Path::new(&netns)).await.map_err(|e| failure(FAILED, e))?;
    Ok(Some(json!({"cniVersion": version, "interfaces": [{"name": "lo", "sandbox": netns}]})))
}

async fn on_bridge(command: &str, input: Input, version: &str) -> Result<Option<Value>, Failure> {
    let ports = match input.config["runtimeConfig"].get("portMappings") {
        Some(ports) => Vec::<PortMapping>::deserialize(ports),
        None => Ok(Vec::new()),
    };
    let config: BridgeConfig = serde_json::from_value(input.config)
        .map_err(|e| failure(BAD_CONFIG, format!("the configuration: {e}")))?;
    match command {
        "ADD" => {
            let ports = ports.map_err(|e| failure(BAD_CONFIG, format!("runtimeConfig.portMappings: {e}")))?;
            add(&config, &ports, version).await.map(Some)
        }
        "DEL" => {
            bridge::detach(&config, &variable("CNI_CONTAINERID")?).await.map_err(|e| failure(FAILED, e))?;
            Ok(None)
        }
        "CHECK" => {
            bridge::check(&config, &variable("CNI_CONTAINERID")?).await.map_err(|e| failure(FAILED, e))?;
            Ok(None)
        }
        "GC" => {
            let keep: Vec<String> = input.valid_attachments.into_iter().map(|a| a.container_id).collect();
            bridge::collect_garbage(&config, &keep).await.map_err(|e| failure(FAILED, e))?;
            Ok(None)
        }
        "STATUS" => Ok(None),
        other => Err(failure(BAD_ENVIRONMENT, format!("CNI_COMMAND {other:?} is not known"))),
    }
}

async fn add(config: &BridgeConfig, ports: &[PortMapping], version: &str) -> Result<Value, Failure> {
    let (id, netns, interface) =
        (variable("CNI_CONTAINERID")?, variable("CNI_NETNS")?, variable("CNI_IFNAME")?);
    let pod = pod(config)?;
    let attached = bridge::attach_pod(config, pod.as_ref(), &id, Path::new(&netns), &interface, ports)
        .await
        .map_err(|e| failure(FAILED, e))?;
    Ok(json!({
        "cniVersion": version,
        "interfaces": [
            {"name": config.bridge},
            {"name": attached.host_interface},
            {"name": interface, "mac": attached.mac, "sandbox": netns},
        ],
        "ips": [{
            "address": format!("{}/{}", attached.address, attached.range.prefix),
            "gateway": attached.range.gateway().to_string(),
            "interface": 2,
        }],
        "routes": [{"dst": "0.0.0.0/0", "gw": attached.range.gateway().to_string()}],
        "dns": {},
    }))
}

/// The pod that is attached, where its policies are to be in force first. No policy is for a sandbox without a pod, which
/// says so; who forgets to name a pod gets no network.
fn pod(config: &BridgeConfig) -> Result<Option<PodName>, Failure> {
    if config.policy_socket.is_none() {
        return Ok(None);
    }
    pod_of(&variable("CNI_ARGS")?)
}

fn pod_of(arguments: &str) -> Result<Option<PodName>, Failure> {
    match PodName::read(arguments) {
        Some(pod) => Ok(Some(pod)),
        None if PodName::is_nobody(arguments) => Ok(None),
        None => Err(failure(BAD_ENVIRONMENT, format!("CNI_ARGS names no pod: {arguments:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_without_a_pod_says_so() {
        let read = |arguments| pod_of(arguments).map(|pod| pod.map(|pod| pod.name)).map_err(|e| e.message);
        assert_eq!(read("K8S_POD_NAMESPACE=a;K8S_POD_NAME=b"), Ok(Some("b".to_owned())));
        assert_eq!(read("K8S_POD_NAMESPACE=;K8S_POD_NAME=;K8S_POD_UID=x"), Ok(None));
        for forgotten in ["", "IgnoreUnknown=1", "K8S_POD_NAMESPACE=;K8S_POD_NAME=b"] {
            assert_eq!(read(forgotten), Err(format!("CNI_ARGS names no pod: {forgotten:?}")));
        }
    }

    #[test]
    fn plugins_are_known_by_the_names_runtimes_call_them() {
        assert_eq!(Plugin::named("knarr-bridge"), Some(Plugin::Bridge));
        assert_eq!(Plugin::named("loopback"), Some(Plugin::Loopback));
        assert_eq!(Plugin::named("knarr"), None);
    }
}
