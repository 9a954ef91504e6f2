//! What a driver says of its volume: how much it holds and has left.

use std::path::Path;

use csi::v1::node_service_capability::rpc::Type as Capability;
use csi::v1::volume_usage::Unit;

use super::Csi;
use super::calls::Calls;
use crate::seams::VolumeFigures;

impl Csi {
    /// The figures of a volume that is mounted at `path`; `None` of a driver that gives none.
    ///
    /// # Errors
    /// Why they cannot be had, in words.
    pub async fn figures(
        &self,
        driver: &str,
        handle: &str,
        path: &Path,
    ) -> Result<Option<VolumeFigures>, String> {
        let mut calls = Calls::to(&self.deps.drivers, driver).await?;
        if !calls.can(Capability::GetVolumeStats) {
            return Ok(None);
        }
        let usage = calls.figures(handle, path).await?;
        if usage.is_empty() {
            return Err("failed to get usage from response. usage is nil".to_owned());
        }
        // No file system holds less than nothing.
        let figure = |amount: i64| u64::try_from(amount).ok();
        let mut figures = VolumeFigures::default();
        for one in usage {
            match one.unit() {
                Unit::Bytes => {
                    figures.available_bytes = figure(one.available);
                    figures.capacity_bytes = figure(one.total);
                    figures.used_bytes = figure(one.used);
                }
                Unit::Inodes => {
                    figures.inodes_free = figure(one.available);
                    figures.inodes = figure(one.total);
                    figures.inodes_used = figure(one.used);
                }
                Unit::Unknown => tracing::debug!(driver, handle, "a driver counts in an unknown unit"),
            }
        }
        Ok(Some(figures))
    }
}
