//! `knarr down`: takes a cluster off the machine, also after all its processes were killed.

use anyhow::{Context, Result};
use client::kubeconfig;

use super::{say, user_kubeconfig};
use crate::arguments::Down;
use crate::claims::{self, Claim};
use crate::cluster::Cluster;
use crate::process::ProcessRecord;
use crate::which::layout_of;
use crate::{host, teardown};

/// Stops the cluster. Doing it again does no harm.
///
/// # Errors
/// Says what could not be removed.
pub fn run(down: &Down) -> Result<()> {
    let layout = layout_of(&down.which)?;
    if !rustix::process::geteuid().is_root() {
        anyhow::bail!("knarr needs root: run it with sudo");
    }
    let was_running = ProcessRecord::running(&layout.pid_file()).is_some();
    let claimed = Claim::of(&layout.name).map(|claim| claim.slot);
    let slot = claimed.or_else(|| Cluster::load(&layout).ok().map(|cluster| cluster.slot));
    teardown::tear_down(&layout, slot)?;
    // Nobody claims a place meanwhile: what is removed here would be the new cluster's.
    let guard = claims::lock()?;
    if down.purge {
        claims::forget(&layout.data_dir).context("removing the note of its address range")?;
    }
    if !claims::any() {
        host::restore()?;
        claims::remove_all()?;
    }
    drop(guard);
    if let Some(path) = user_kubeconfig() {
        kubeconfig::remove(&path, &layout.context())?;
    }
    // Read before it goes with the folder.
    let etcd = Cluster::load(&layout).ok().and_then(|cluster| cluster.etcd);
    if down.purge {
        match base::remove_tree(&layout.data_dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", layout.data_dir.display()));
            }
            _ => {}
        }
    }
    say(&format!(
        "cluster {:?} {}\n",
        layout.name,
        if was_running { "is down" } else { "was not running; nothing of it is left" }
    ))?;
    if let Some(etcd) = etcd.filter(|_| down.purge) {
        say(&format!(
            "its objects stay in {place}: other servers may use them; `etcdctl del --prefix {prefix}/` removes them\n",
            place = etcd.place(),
            prefix = etcd.prefix
        ))?;
    }
    Ok(())
}
