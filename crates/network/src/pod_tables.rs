//! Has the tables of a node's pod network, and of the network of nodes that share a machine, restored when somebody takes
//! something of them away: by the kernel's event, as the other agents restore their own tables.
//!
//! Start with [`keep`]. What is in the tables is the CNI plugin's part (the crate `cni`). Never here: changes that the plugin
//! makes as pods come and go.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use base::Shutdown;
use base::backoff::Policy;
use cni::members::{self, MembersNetwork};
use cni::{BridgeConfig, Damage};
use nft::{Family, Sender, What};

use crate::listening;

/// How long after a restoration that failed the next one is tried.
const BACKOFF: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(30));

/// Why the tables are not what they are to be.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("netlink: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Cni(#[from] cni::Error),
}

/// Keeps the tables until `shutdown` starts; they stay.
pub async fn keep(config: BridgeConfig, shutdown: Shutdown) {
    run(Kept::Pods(config), shutdown).await;
}

/// The same for the table of nodes that share a machine.
pub async fn keep_members(network: MembersNetwork, shutdown: Shutdown) {
    run(Kept::Members(network), shutdown).await;
}

/// What the kept tables are for.
enum Kept {
    Pods(BridgeConfig),
    Members(MembersNetwork),
}

async fn run(kept: Kept, shutdown: Shutdown) {
    let work = async {
        let mut failures = 0u32;
        loop {
            let Err(error) = match &kept {
                Kept::Pods(config) => follow(config, &mut failures).await,
                Kept::Members(network) => follow_members(network, &mut failures).await,
            };
            failures = failures.saturating_add(1);
            tracing::error!(%error, failures, "the pod network's tables are not restored; trying again");
            tokio::time::sleep(BACKOFF.delay(failures)).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = shutdown.started() => {}
    }
}

async fn follow(config: &BridgeConfig, failures: &mut u32) -> Result<Infallible, Error> {
    let (events, sender) = (listening::subscribe()?, Sender::open()?);
    let port = sender.port()?;
    // What happened while nobody listened.
    cni::restore(config, &Damage::all(), &sender).await?;
    *failures = 0;
    loop {
        let mut ready = events.readable().await?;
        let mut damage = Damage::default();
        let is_whole = ready.get_inner().read(port, |change| damage.note(config, &change))?;
        ready.clear_ready();
        if !is_whole {
            damage = Damage::all();
        }
        if !damage.is_none() {
            tracing::debug!(?damage, "something of the pod network's tables was taken away");
            cni::restore(config, &damage, &sender).await?;
        }
    }
}

async fn follow_members(network: &MembersNetwork, failures: &mut u32) -> Result<Infallible, Error> {
    let (events, sender) = (listening::subscribe()?, Sender::open()?);
    let port = sender.port()?;
    // What happened while nobody listened.
    members::restore(network, &sender)?;
    *failures = 0;
    loop {
        let mut ready = events.readable().await?;
        let mut is_cut = false;
        let is_whole = ready.get_inner().read(port, |change| {
            is_cut |= change.is_of(Family::Ipv4, &network.bridge) && change.what != What::Other;
        })?;
        ready.clear_ready();
        if is_cut || !is_whole {
            tracing::debug!("something of the table of this machine's nodes was taken away");
            members::restore(network, &sender)?;
        }
    }
}
