//! Takes ResourceSlices out of the API whose driver is not there: pods would be bound to devices that nobody prepares.
//!
//! Start at [`Wiper::run`]. When the agent starts, all slices of the node go, since no driver has registered yet; those of
//! a driver go when the driver has stayed away for [`DELAY`]. Drivers publish theirs again when they come back.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use base::Shutdown;
use base::backoff::Policy;
use k8s_openapi::api::resource::v1::ResourceSlice;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Drivers;

/// How long a driver may be away (upstream `defaultWipingDelay`).
const DELAY: Duration = Duration::from_secs(30);
const RETRY: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(300));

/// See the module's documentation.
pub struct Wiper {
    client: Client,
    node: String,
    drivers: Drivers,
}

impl Wiper {
    pub fn new(client: Client, node: &str, drivers: Drivers) -> Self {
        Self { client, node: node.to_owned(), drivers }
    }

    /// Runs until `shutdown`.
    pub async fn run(self, shutdown: Shutdown) {
        tokio::select! {
            () = shutdown.started() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&self) {
        let mut wipes = JoinSet::new();
        wipes.spawn(wipe(self.client.clone(), self.selector(None)));
        let mut due: BTreeMap<String, Instant> = BTreeMap::new();
        let mut running: BTreeMap<String, tokio::task::AbortHandle> = BTreeMap::new();
        loop {
            let now = Instant::now();
            let reachable = self.drivers.reachable();
            for (driver, is_there) in reachable {
                if is_there {
                    due.remove(&driver);
                    if let Some(wipe) = running.remove(&driver) {
                        wipe.abort();
                    }
                } else if let Entry::Vacant(running) = running.entry(driver.clone()) {
                    let at = *due.entry(driver.clone()).or_insert(now + DELAY);
                    if at <= now {
                        due.remove(&driver);
                        running.insert(wipes.spawn(wipe(self.client.clone(), self.selector(Some(&driver)))));
                    }
                }
            }
            while wipes.try_join_next().is_some() {}
            let next = due.values().min().copied();
            let time = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.drivers.changed() => {}
                () = time => {}
            }
        }
    }

    fn selector(&self, driver: Option<&str>) -> String {
        let node = format!("spec.nodeName={}", self.node);
        driver.map_or(node.clone(), |driver| format!("{node},spec.driver={driver}"))
    }
}

/// Deletes the slices that a selector finds, again and again until the API has done so.
async fn wipe(client: Client, selector: String) {
    let slices: Api<ResourceSlice> = Api::all(client);
    let found = ListParams::default().fields(&selector);
    let mut failures = 0;
    while let Err(error) = slices.delete_collection(&DeleteParams::default(), &found).await {
        failures += 1;
        tracing::debug!(%error, selector, "the slices of a driver that is away cannot be deleted yet");
        tokio::time::sleep(RETRY.delay(failures)).await;
    }
    tracing::debug!(selector, "the slices of a driver that is away are deleted");
}
