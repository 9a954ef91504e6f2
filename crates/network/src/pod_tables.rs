//! Has the tables of a node's pod network restored when somebody takes something of them away: by the kernel's event, as the
//! other agents restore their own tables.
//!
//! Start with [`keep`]. What is in the tables is the CNI plugin's part (the crate `cni`). Never here: changes that the plugin
//! makes as pods come and go.

use std::io;
use std::time::Duration;

use base::Shutdown;
use base::backoff::Policy;
use cni::{BridgeConfig, Damage};
use nft::Sender;

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
    let work = async {
        let mut failures = 0u32;
        loop {
            let Err(error) = follow(&config, &mut failures).await;
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

async fn follow(config: &BridgeConfig, failures: &mut u32) -> Result<std::convert::Infallible, Error> {
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
