//! The node's container runtime: the built-in one behind its socket, or another's socket.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base::TaskKind;
use cni::config::{LOOPBACK_TYPE, PLUGIN_TYPE};
use runtime::image::{Options, RegistryOptions};
use streaming::StreamingConfig;

use super::{Config, Deps};
use crate::layout::NodeLayout;
use crate::settings::Settings;

/// Starts the runtime, unless the settings name another one's socket, and returns the socket.
///
/// # Errors
/// When it cannot be started.
pub(super) async fn start(config: &Config, deps: &Deps) -> Result<PathBuf> {
    link_plugins(&config.layout)?;
    if let Some(endpoint) = &config.settings.container_runtime_endpoint {
        return Ok(endpoint.strip_prefix("unix://").unwrap_or(endpoint).into());
    }
    start_own(config, deps).await?;
    Ok(config.layout.cri_socket())
}

/// The built-in runtime behind its socket.
async fn start_own(node: &Config, deps: &Deps) -> Result<()> {
    let layout = &node.layout;
    let mut images = Options::new(layout.images_dir());
    images.registries = registries(&node.settings);
    let program = std::env::current_exe().context("finding knarr's own program")?;
    let config = runtime::NodeConfig {
        runtime: runtime::Config {
            root_dir: layout.images_dir(),
            state_dir: layout.runtime_state_dir(),
            socket: layout.cri_socket(),
            cgroup_parent: layout.cgroup.clone(),
            shim_command: vec![program.display().to_string(), "shim".into()],
            network: runtime::NetworkConfig {
                conf_dir: layout.cni_conf_dir(),
                bin_dirs: vec![layout.cni_bin_dir(), "/opt/cni/bin".into()],
            },
            cdi_dirs: vec!["/etc/cdi".into(), "/var/run/cdi".into()],
        },
        images,
        streaming: StreamingConfig::default(),
        import_socket: layout.import_socket(),
    };
    let runtime = runtime::Node::build(config, deps.clock.clone(), deps.supervisor.clone())
        .await
        .context("building the container runtime")?;
    let shutdown = deps.supervisor.shutdown().clone();
    deps.supervisor.spawn(TaskKind::Essential, "container runtime", async move {
        if let Err(error) = runtime.run(shutdown).await {
            tracing::error!(%error, "the container runtime stopped");
        }
    });
    Ok(())
}

fn registries(settings: &Settings) -> RegistryOptions {
    RegistryOptions {
        insecure: settings.insecure_registries.clone(),
        mirrors: settings.registry_mirrors.clone(),
        ..RegistryOptions::default()
    }
}

/// The plugins are knarr itself, called by other names.
fn link_plugins(layout: &NodeLayout) -> Result<()> {
    let program = std::env::current_exe().context("finding knarr's own program")?;
    [PLUGIN_TYPE, LOOPBACK_TYPE]
        .iter()
        .try_for_each(|name| link_to(&program, &layout.cni_bin_dir().join(name)))
}

fn link_to(program: &Path, link: &Path) -> Result<()> {
    if std::fs::read_link(link).is_ok_and(|target| target == program) {
        return Ok(());
    }
    match std::fs::remove_file(link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", link.display()));
        }
        _ => {}
    }
    symlink(program, link).with_context(|| format!("linking {}", link.display()))
}
