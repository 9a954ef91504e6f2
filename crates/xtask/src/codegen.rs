//! Generates `crates/resources/data`: the facts about types and resources, from an OpenAPI v2
//! document, and their descriptions, from the doc comments of the `k8s-openapi` crate. The metrics API, which upstream
//! serves by another server, is said in `codegen/metrics.json` (OpenAPI) and `codegen/metrics.messages.txt`.
//!
//! Start with [`run`]. The files' formats are described where they are read:
//! `crates/resources/src/schema_data.rs`, `table.rs` and `docs.rs`. Never writes anything else.

mod descriptions;
mod messages;
mod order;
mod rows;
mod structs;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

/// The metrics API: its paths and definitions, and its messages' numbers.
const METRICS: &str = include_str!("codegen/metrics.json");
const METRICS_MESSAGES: &str = include_str!("codegen/metrics.messages.txt");
/// What the `k8s-pb` crate does not have yet of the tracked version: messages, and further fields of messages. Source:
/// upstream's `generated.proto` files; the mutating policies' numbers are those that they had in `v1beta1`.
const LATER_MESSAGES: &str = include_str!("codegen/later.messages.txt");

/// Generates all files.
///
/// # Errors
/// When the document cannot be read or holds something the formats cannot say.
pub fn run(swagger: &Path, protobuf: Option<&Path>) -> anyhow::Result<()> {
    let text = fs::read(swagger).with_context(|| format!("read {}", swagger.display()))?;
    let mut document: Value = serde_json::from_slice(&text).context("parse the OpenAPI document")?;
    let metrics: Value = serde_json::from_str(METRICS).context("parse the metrics API")?;
    for part in ["paths", "definitions"] {
        let added = metrics[part].as_object().context("the metrics API lacks a part")?;
        let map = document[part].as_object_mut().context("the document lacks a part")?;
        map.extend(added.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    let rows = rows::collect(&document)?;
    let names = structs::reachable(&document, &rows.iter().flat_map(rows::Row::kinds).collect::<Vec<_>>())?;
    let data = workspace_root()?.join("crates/resources/data");
    fs::create_dir_all(&data)?;
    fs::write(data.join("rows.txt"), rows::render(&rows))?;
    let types = structs::render(&document, &names)?;
    let known = data.join("messages.txt");
    let messages = match protobuf {
        Some(protobuf) => messages::render(protobuf, &types)?,
        None => fs::read_to_string(&known).with_context(|| format!("read {}", known.display()))?,
    };
    let messages = [METRICS_MESSAGES, LATER_MESSAGES]
        .into_iter()
        .fold(messages, |all, more| if all.contains(more) { all } else { all + more });
    fs::write(data.join("types.txt"), order::apply(&types, &messages))?;
    fs::write(known, messages)?;
    let sources = k8s_openapi_sources()?;
    fs::write(data.join("docs.txt"), descriptions::render(&sources, &names, &metrics["definitions"])?)?;
    println!("{} resources, {} structures", rows.len(), names.len());
    Ok(())
}

fn workspace_root() -> anyhow::Result<PathBuf> {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("the crate has no workspace")?;
    Ok(root.to_owned())
}

/// The folder of the tracked version's types in the `k8s-openapi` crate the workspace depends on.
fn k8s_openapi_sources() -> anyhow::Result<PathBuf> {
    let output = Command::new(env!("CARGO")).args(["metadata", "--format-version=1"]).output()?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let manifest = packages
        .iter()
        .find(|p| p["name"] == "k8s-openapi")
        .and_then(|p| p["manifest_path"].as_str())
        .context("the workspace does not depend on k8s-openapi")?;
    Ok(Path::new(manifest).with_file_name("src").join("v1_36"))
}

/// Names of structures, sorted.
type Names = BTreeSet<String>;
