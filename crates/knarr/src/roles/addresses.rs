//! The machine's addresses while the server runs: the kernel says when an address or a route changes.

use std::net::IpAddr;

use anyhow::{Context, Result};
use base::{Supervisor, TaskKind};
use futures::StreamExt;
use rtnetlink::MulticastGroup;
use tokio::sync::watch;

use crate::host;

/// Follows the addresses of this machine, best first. Without any the last ones stay.
///
/// # Errors
/// When the kernel cannot be asked.
pub fn follow(supervisor: &Supervisor) -> Result<watch::Receiver<Vec<IpAddr>>> {
    // Which address is the best depends on the routes.
    let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv4Route];
    let (connection, handle, mut messages) =
        rtnetlink::new_multicast_connection(&groups).context("following the machine's addresses")?;
    let (told, follower) = watch::channel(now());
    let shutdown = supervisor.shutdown().clone();
    supervisor.spawn(TaskKind::Background, "addresses", async move {
        let _kept = handle;
        let follow = async {
            while messages.next().await.is_some() {
                let now = now();
                told.send_if_modified(|told| {
                    let changed = !now.is_empty() && *told != now;
                    if changed {
                        tracing::info!(?now, "the machine's addresses have changed");
                        *told = now;
                    }
                    changed
                });
            }
        };
        tokio::select! {
            () = connection => tracing::warn!("changes of the machine's addresses are no longer seen"),
            () = follow => {}
            () = shutdown.started() => {}
        }
    });
    Ok(follower)
}

fn now() -> Vec<IpAddr> {
    host::addresses().into_iter().map(IpAddr::V4).collect()
}
