//! The commands of the command line, one module each.

pub mod crictl;
pub mod dashboard;
pub mod down;
pub mod image;
pub mod status;
pub mod store;
pub mod token;
pub mod up;
pub mod why;

use std::io::Write;

use anyhow::{Context, Result, bail};

use crate::layout::Layout;
use crate::process::ProcessRecord;

/// The nodes of the cluster that run on this machine: never none.
///
/// # Errors
/// When the cluster does not run.
pub fn nodes_of(layout: &Layout) -> Result<Vec<u8>> {
    let server = ProcessRecord::running(&layout.pid_file());
    // What a killed server leaves are sockets that nobody listens on.
    let nodes = server.map(|_| layout.running_nodes()).unwrap_or_default();
    if nodes.is_empty() {
        bail!("cluster {:?} is not running", layout.name);
    }
    Ok(nodes)
}

/// The container runtime of one node.
///
/// # Errors
/// When it does not answer.
pub async fn runtime_of(
    layout: &Layout,
    node: u8,
) -> Result<(cri::RuntimeServiceClient, cri::ImageServiceClient)> {
    let connected = cri::connect(&layout.node(node).cri_socket()).await;
    connected.map_err(|error| anyhow::anyhow!("cluster {:?} does not answer: {error}", layout.name))
}

/// What a runtime's refusal says.
pub fn told(status: tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{}", status.message())
}

/// Where the user's kubeconfig is: the first file of `$KUBECONFIG`, else `~/.kube/config`.
pub fn user_kubeconfig() -> Option<std::path::PathBuf> {
    if let Some(list) = std::env::var_os("KUBECONFIG")
        && let Some(first) = std::env::split_paths(&list).find(|p| !p.as_os_str().is_empty())
    {
        return Some(first);
    }
    std::env::var_os("HOME").map(|home| std::path::Path::new(&home).join(".kube/config"))
}

/// Writes `text` to standard output. A reader who has gone away (`knarr image import … | head -1`) ends
/// nothing: the command does its work all the same.
///
/// # Errors
/// When standard output cannot be written for another reason, a full disk for example.
pub fn say(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("writing to standard output")
        }
        _ => Ok(()),
    }
}

/// Rows as a table with aligned columns, three blanks between them, as `crictl` and `kubectl` print.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> Result<String> {
    let mut out = tabwriter::TabWriter::new(Vec::new()).padding(3).minwidth(0);
    writeln!(out, "{}", header.join("\t"))?;
    for row in rows {
        writeln!(out, "{}", row.join("\t"))?;
    }
    let bytes = out.into_inner().map_err(|e| anyhow::anyhow!("{e}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
