//! The Container Network Interface: programs that connect a network namespace, found by configuration.
//!
//! The configuration used at ADD is kept, so that DEL runs the same plugins even if the configuration has changed
//! since.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::config::NetworkConfig;
use shim::files::{read_json, write_json};

/// No plugin may take longer.
const PLUGIN_TIMEOUT: Duration = Duration::from_secs(60);
const INTERFACE: &str = "eth0";
/// Plugins answer with less than this many bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A pod that is connected or disconnected.
#[derive(Debug, Clone)]
pub struct Pod<'a> {
    pub sandbox_id: &'a str,
    pub name: &'a str,
    pub namespace: &'a str,
    pub uid: &'a str,
    pub netns: &'a Path,
    /// Where what was done is kept.
    pub record: &'a Path,
    /// `runtimeConfig` for plugins that announce a capability, by the capability's name.
    pub capabilities: Value,
}

/// Why the network could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    #[error("cni plugin not initialized")]
    NotConfigured,
    #[error("cni configuration {path}: {reason}")]
    Configuration { path: PathBuf, reason: String },
    #[error("cni plugin {plugin:?} failed ({command}): {reason}")]
    Plugin { plugin: String, command: &'static str, reason: String },
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Runs plugins.
#[derive(Debug, Clone)]
pub struct Cni {
    config: NetworkConfig,
}

/// A network's configuration and, after ADD, its result.
#[derive(serde::Serialize, serde::Deserialize)]
struct Network {
    list: Value,
    result: Value,
}

impl Cni {
    pub fn new(config: NetworkConfig) -> Self {
        Self { config }
    }

    /// Whether a network is configured.
    pub fn ready(&self) -> Result<(), CniError> {
        self.load().map(drop)
    }

    /// Connects the pod; its addresses, without prefix lengths.
    pub async fn add(&self, pod: &Pod<'_>) -> Result<Vec<String>, CniError> {
        let list = self.load()?;
        let mut network = Network { result: Value::Null, list };
        // Kept before anything runs: a half-finished ADD is undone as well.
        write_json(pod.record, &network)?;
        for plugin in plugins(&network.list) {
            network.result = self.run(pod, "ADD", &network, plugin).await?;
        }
        write_json(pod.record, &network)?;
        let ips = network.result["ips"].as_array().into_iter().flatten();
        Ok(ips
            .filter_map(|ip| ip["address"].as_str())
            .map(|a| a.split('/').next().unwrap_or(a).to_owned())
            .collect())
    }

    /// Disconnects the pod; fine when it never was connected.
    pub async fn del(&self, pod: &Pod<'_>) -> Result<(), CniError> {
        if !pod.record.exists() {
            return Ok(());
        }
        let network: Network = read_json(pod.record)?;
        for plugin in plugins(&network.list).rev() {
            self.run(pod, "DEL", &network, plugin).await?;
        }
        std::fs::remove_file(pod.record)?;
        Ok(())
    }

    fn load(&self) -> Result<Value, CniError> {
        let Ok(entries) = std::fs::read_dir(&self.config.conf_dir) else {
            return Err(CniError::NotConfigured);
        };
        let known = |p: &PathBuf| {
            p.extension().and_then(|e| e.to_str()).is_some_and(|e| matches!(e, "conflist" | "conf" | "json"))
        };
        let path = entries
            .filter_map(|e| Some(e.ok()?.path()))
            .filter(known)
            .min()
            .ok_or(CniError::NotConfigured)?;
        let invalid = |reason: String| CniError::Configuration { path: path.clone(), reason };
        let value: Value = read_json(&path).map_err(|e| invalid(e.to_string()))?;
        let list = if value["plugins"].is_array() {
            value
        } else {
            json!({"cniVersion": value["cniVersion"], "name": value["name"], "plugins": [value]})
        };
        if !list["name"].is_string() || plugins(&list).any(|p| !p["type"].is_string()) {
            return Err(invalid("a network needs a name, and each of its plugins a type".to_owned()));
        }
        Ok(list)
    }

    async fn run(
        &self,
        pod: &Pod<'_>,
        command: &'static str,
        network: &Network,
        plugin: &Value,
    ) -> Result<Value, CniError> {
        let kind = plugin["type"].as_str().unwrap_or_default();
        let failed = |reason: String| CniError::Plugin { plugin: kind.to_owned(), command, reason };
        // A name, not a path: configuration never runs programs from elsewhere.
        let program = (!kind.contains('/'))
            .then(|| self.config.bin_dirs.iter().map(|d| d.join(kind)).find(|p| p.is_file()))
            .flatten()
            .ok_or_else(|| failed(format!("not found in {:?}", self.config.bin_dirs)))?;
        let mut child = tokio::process::Command::new(program)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", pod.sandbox_id)
            .env("CNI_NETNS", pod.netns)
            .env("CNI_IFNAME", INTERFACE)
            .env("CNI_ARGS", arguments(pod))
            .env("CNI_PATH", std::env::join_paths(&self.config.bin_dirs).unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed(e.to_string()))?;
        let input =
            serde_json::to_vec(&plugin_input(pod, network, plugin)).map_err(|e| failed(e.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A plugin that doesn't read reports its failure by the exit code.
            let _ = stdin.write_all(&input).await;
        }
        let output = tokio::time::timeout(PLUGIN_TIMEOUT, child.wait_with_output())
            .await
            .map_err(|_| failed(format!("did not answer within {} s", PLUGIN_TIMEOUT.as_secs())))?
            .map_err(|e| failed(e.to_string()))?;
        if output.stdout.len() > MAX_ANSWER_BYTES {
            return Err(failed("its answer is too long".to_owned()));
        }
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            let reason = answer["msg"].as_str().map_or_else(
                || stderr.trim().to_owned(),
                |m| [m, answer["details"].as_str().unwrap_or_default()].join(" ").trim().to_owned(),
            );
            return Err(failed(reason));
        }
        Ok(answer)
    }
}

fn plugins(list: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    list["plugins"].as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn arguments(pod: &Pod<'_>) -> String {
    format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
        pod.namespace, pod.name, pod.sandbox_id, pod.uid
    )
}

fn plugin_input(pod: &Pod<'_>, network: &Network, plugin: &Value) -> Value {
    let mut input = plugin.clone();
    input["cniVersion"] = network.list["cniVersion"].clone();
    input["name"] = network.list["name"].clone();
    if !network.result.is_null() {
        input["prevResult"] = network.result.clone();
    }
    let mut runtime_config = serde_json::Map::new();
    for (capability, wanted) in plugin["capabilities"].as_object().into_iter().flatten() {
        let value = &pod.capabilities[capability];
        if wanted == &Value::Bool(true) && !value.is_null() {
            runtime_config.insert(capability.clone(), value.clone());
        }
    }
    if !runtime_config.is_empty() {
        input["runtimeConfig"] = runtime_config.into();
    }
    input
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn setup(script: &str) -> (tempfile::TempDir, Cni) {
        let dir = tempfile::tempdir().expect("a folder");
        let plugin = dir.path().join("fake");
        std::fs::write(&plugin, format!("#!/bin/sh\n{script}\n")).expect("a plugin");
        std::fs::set_permissions(&plugin, PermissionsExt::from_mode(0o755)).expect("an executable");
        let conf =
            json!({"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "fake"}, {"type": "fake"}]});
        write_json(&dir.path().join("10-n.conflist"), &conf).expect("a configuration");
        let cni = Cni::new(NetworkConfig { conf_dir: dir.path().into(), bin_dirs: vec![dir.path().into()] });
        (dir, cni)
    }

    fn pod<'a>(record: &'a Path) -> Pod<'a> {
        Pod {
            sandbox_id: "s1",
            name: "p",
            namespace: "ns",
            uid: "u",
            netns: Path::new("/n"),
            record,
            capabilities: Value::Null,
        }
    }

    #[tokio::test]
    async fn plugins_are_chained_and_undone() {
        let (dir, cni) = setup(
            "cat >> ${0%/*}/log; echo \" $CNI_COMMAND $CNI_CONTAINERID\" >> ${0%/*}/log; echo '{\"ips\":[{\"address\":\"10.0.0.7/24\"}]}'",
        );
        let record = dir.path().join("record");
        assert_eq!(cni.add(&pod(&record)).await.expect("an address"), ["10.0.0.7"]);
        cni.del(&pod(&record)).await.expect("it is undone");
        cni.del(&pod(&record)).await.expect("undoing again is fine");
        let log = std::fs::read_to_string(dir.path().join("log")).expect("a log");
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(
            !lines[0].contains("prevResult")
                && lines[1].contains("prevResult")
                && lines[2].ends_with("DEL s1")
        );
    }

    #[tokio::test]
    async fn a_failing_plugin_says_why() {
        let (dir, cni) = setup("echo '{\"code\":11,\"msg\":\"no address left\"}'; exit 1");
        let error = cni.add(&pod(&dir.path().join("record"))).await.expect_err("it fails");
        assert_eq!(error.to_string(), "cni plugin \"fake\" failed (ADD): no address left");
    }

    #[tokio::test]
    async fn no_configuration_is_a_clear_error() {
        let dir = tempfile::tempdir().expect("a folder");
        let cni = Cni::new(NetworkConfig { conf_dir: dir.path().into(), bin_dirs: Vec::new() });
        assert!(matches!(cni.ready(), Err(CniError::NotConfigured)));
    }
}
