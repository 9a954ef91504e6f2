//! Selects the cluster of this machine that a command concerns.

use anyhow::{Context, Result, bail};

use crate::arguments::Which;
use crate::claims::Claim;
use crate::layout::{Layout, check_name};

/// The cluster a command is about. Where a cluster of this name is on the machine already, its data directory
/// need not be said again.
///
/// # Errors
/// When the name cannot be one, or the cluster of this name keeps its data elsewhere.
pub fn layout_of(which: &Which) -> Result<Layout> {
    check_name(&which.name).map_err(anyhow::Error::msg)?;
    let present = Claim::of(&which.name).map(|claim| claim.data_dir);
    let data_dir = match &which.data_dir {
        // The server runs in another directory.
        Some(dir) => Some(std::path::absolute(dir).with_context(|| format!("reading {}", dir.display()))?),
        None => present.clone(),
    };
    let layout = Layout::new(&which.name, data_dir.as_deref());
    if let Some(present) = present.filter(|present| *present != layout.data_dir) {
        let (name, at) = (&which.name, present.display());
        if !present.exists() {
            bail!(
                "cluster {name:?} of this machine kept its data in {at}, which is gone: `knarr down --purge --name {name}` \
                 clears what is left of it"
            );
        }
        bail!(
            "cluster {name:?} of this machine keeps its data in {at}: take that one down first, or use another name"
        );
    }
    Ok(layout)
}
