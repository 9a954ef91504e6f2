//! Writing an OCI image archive (image-spec `image-layout.md`) with one layer.

use std::fs::File;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, Header};

/// How a container of the image runs, where its pod says nothing.
#[derive(Default)]
pub struct RunConfig {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub env: Vec<String>,
    pub exposed_ports: Vec<String>,
    pub stop_signal: Option<String>,
}

/// Writes the archive; the image carries all of `names`.
pub fn write_archive(path: &Path, names: &[&str], layer: Vec<u8>, run: &RunConfig) -> Result<()> {
    let mut config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Entrypoint": run.entrypoint, "Cmd": run.cmd, "Env": run.env},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    });
    if !run.exposed_ports.is_empty() {
        config["config"]["ExposedPorts"] =
            run.exposed_ports.iter().map(|port| (port.clone(), json!({}))).collect();
    }
    if let Some(signal) = &run.stop_signal {
        config["config"]["StopSignal"] = signal.as_str().into();
    }
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    })
    .to_string()
    .into_bytes();
    let entries: Vec<Value> = names
        .iter()
        .map(|name| {
            let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
            entry["annotations"] = json!({"io.containerd.image.name": name});
            entry
        })
        .collect();
    let index = json!({"schemaVersion": 2, "manifests": entries}).to_string().into_bytes();
    let mut tar = Builder::new(File::create(path)?);
    append(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    for blob in [&layer, &config, &manifest] {
        append(&mut tar, &format!("blobs/sha256/{}", hex(blob)), blob)?;
    }
    append(&mut tar, "index.json", &index)?;
    tar.into_inner()?.sync_all()?;
    Ok(())
}

fn append(tar: &mut Builder<File>, path: &str, bytes: &[u8]) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    tar.append_data(&mut header, path, bytes)?;
    Ok(())
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Go's name of this machine's architecture.
fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}
