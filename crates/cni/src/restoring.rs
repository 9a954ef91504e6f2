//! Puts the tables of a node's pod network right when somebody has taken something of them away.
//!
//! Start with [`Damage`]: what went, by what the kernel says of changes. [`restore`] makes it again, from what stands in the
//! records of addresses and ports. Never here: waiting for changes.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;

use nft::{Batch, Change, Family, Sender, What};

use crate::bridge::host_interface;
use crate::config::{BridgeConfig, Range};
use crate::{Error, binding, host_ports, ipam, link, masquerade, port_records};

/// What of the tables is not as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Damage {
    masquerade: bool,
    ports: bool,
    bindings: Bindings,
}

/// Ports of the bridge that may be bound to no address any more.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Bindings {
    All,
    Of(BTreeSet<String>),
}

impl Default for Bindings {
    fn default() -> Self {
        Self::Of(BTreeSet::new())
    }
}

impl Damage {
    /// Anything may have happened.
    pub const fn all() -> Self {
        Self { masquerade: true, ports: true, bindings: Bindings::All }
    }

    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Notes what a change, which is not a restoration's own, takes away. A pod that goes takes something away too, and
    /// restoring finds that nothing is missing.
    pub fn note(&mut self, config: &BridgeConfig, change: &Change<'_>) {
        let is_cut = change.what != What::Other;
        if change.is_of(Family::Ipv4, &config.bridge) {
            self.masquerade |= is_cut;
        } else if change.is_of(Family::Ipv4, &host_ports::table_of(&config.bridge)) {
            self.ports |= is_cut;
        } else if change.is_of(Family::Device, &config.bridge) {
            match (change.what, &mut self.bindings) {
                (What::Gone, _) => self.bindings = Bindings::All,
                (What::ChainCut(chain), Bindings::Of(ports)) => {
                    ports.insert(binding::port_of(chain).to_owned());
                }
                _ => {}
            }
        }
    }
}

/// Makes again what is damaged. All transactions go by `sender`.
///
/// # Errors
/// When the kernel refuses, or the records cannot be read.
pub async fn restore(config: &BridgeConfig, damage: &Damage, sender: &Sender) -> Result<(), Error> {
    let send = |batch: Batch| batch.send_by(sender);
    let pods = Range::parse(&config.cluster_cidr)?;
    if damage.masquerade {
        send(masquerade::make(&config.bridge, pods)).map_err(Error::Nft)?;
    }
    if damage.ports {
        send(host_ports::prepare(&config.bridge, pods)).map_err(Error::Nft)?;
        open_ports(config, send)?;
    }
    if damage.bindings != Bindings::default() {
        send(binding::prepare(&config.bridge)).map_err(Error::Nft)?;
        bind(config, &damage.bindings, send).await?;
    }
    Ok(())
}

/// Each pod's ports by themselves: one that cannot be opened is no reason to leave out others.
fn open_ports(config: &BridgeConfig, send: impl Fn(Batch) -> io::Result<()> + Copy) -> Result<(), Error> {
    port_records::each(&config.ipam_dir, |address, ports| {
        if let Err(error) = host_ports::open(&config.bridge, address, ports, send) {
            tracing::error!(%address, %error, "host ports of a pod are not opened again");
        }
    })
}

async fn bind(
    config: &BridgeConfig,
    bindings: &Bindings,
    send: impl Fn(Batch) -> io::Result<()>,
) -> Result<(), Error> {
    let gateway = link::mac_for(Range::parse(&config.subnet)?.gateway());
    let records = if config.ipam_dir.exists() { ipam::records(&config.ipam_dir)? } else { Vec::new() };
    let pods = records.into_iter().map(|(address, owner)| (host_interface(config, &owner), address));
    let cut: Vec<(String, Ipv4Addr)> = pods
        .filter(|(port, _)| match bindings {
            Bindings::All => true,
            Bindings::Of(ports) => ports.contains(port),
        })
        .collect();
    link::here(|handle| async move {
        for (port, address) in cut {
            if link::find(&handle, &port).await?.is_none() {
                continue;
            }
            let bound = send(binding::bind(&config.bridge, &port, link::mac_for(address), address));
            let bound = bound.and_then(|()| send(binding::lead_to_gateway(&config.bridge, &port, gateway)));
            // The pod may have gone meanwhile, and with it what keeps its chains.
            if link::find(&handle, &port).await?.is_none() {
                binding::release(&config.bridge, &port).map_err(Error::Nft)?;
            } else {
                bound.map_err(Error::Nft)?;
            }
        }
        Ok(())
    })
    .await
}
