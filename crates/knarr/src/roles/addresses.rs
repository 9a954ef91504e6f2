//! The machine's addresses while the process runs: the kernel says when an address or a route changes.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use base::{Supervisor, TaskKind};
use futures::StreamExt;
use rtnetlink::MulticastGroup;
use tokio::sync::watch;

use crate::host;

/// The machine's addresses as they are now, best first; never without one.
pub type Addresses = watch::Receiver<Vec<IpAddr>>;

/// Follows the addresses of this machine. Without any the last ones stay; where there were none yet, `otherwise` counts, or
/// the loopback's.
///
/// # Errors
/// When the kernel cannot be asked.
pub fn follow(supervisor: &Supervisor, otherwise: Option<Ipv4Addr>) -> Result<Addresses> {
    // Which address is the best depends on the routes.
    let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv4Route];
    let (connection, handle, mut messages) =
        rtnetlink::new_multicast_connection(&groups).context("following the machine's addresses")?;
    let mut first = now();
    if first.is_empty() {
        first.push(otherwise.unwrap_or(Ipv4Addr::LOCALHOST).into());
    }
    let (told, follower) = watch::channel(first);
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
