//! Which servers of an etcd run: each keeps a key with a short life, as upstream's do
//! (`pkg/controlplane/reconcilers/lease.go`), by which the others tell that its address is to stay among the endpoints of the
//! Service `kubernetes`.

use std::collections::BTreeSet;
use std::time::Duration;

use base::Shutdown;
use controllers::kubernetes_service::ApiServiceFeed;
use etcd::Etcd;
use serde_json::json;
use store::{Error, Expect, ListRange, Previous, Store};

/// Upstream's.
const PREFIX: &str = "/registry/masterleases/";
/// Upstream's `DefaultEndpointReconcilerTTL`.
const LIFE_S: u64 = 15;
/// Upstream's `DefaultEndpointReconcilerInterval`.
const INTERVAL: Duration = Duration::from_secs(10);

/// Shows that this server runs, and looks who else does, until shutdown.
pub(super) async fn run(etcd: Etcd, feed: ApiServiceFeed, shutdown: Shutdown) {
    let mut shown = BTreeSet::new();
    loop {
        let own = feed.own_addresses();
        let left: Vec<_> = shown.difference(&own).cloned().collect();
        match look(&etcd, &own, &left).await {
            Ok(alive) => feed.set_alive(alive),
            Err(Error::Closed) => return,
            Err(error) => tracing::warn!(%error, "this server cannot tell the others that it runs"),
        }
        shown = own;
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.started() => break,
        }
    }
    for address in shown {
        if let Err(error) = withdraw(&etcd, &address).await {
            tracing::info!(%error, "the other servers take this one's address out later");
        }
    }
}

async fn look(etcd: &Etcd, own: &BTreeSet<String>, left: &[String]) -> Result<BTreeSet<String>, Error> {
    for address in own {
        let subsets = json!([{"addresses": [{"ip": address}]}]);
        let value = json!({"kind": "Endpoints", "apiVersion": "v1", "metadata": {}, "subsets": subsets});
        let key = format!("{PREFIX}{address}");
        etcd.put(&key, value.to_string().into(), Expect::Anything, Some(LIFE_S)).await?;
    }
    for address in left {
        withdraw(etcd, address).await?;
    }
    let range = ListRange { prefix: PREFIX.to_owned(), ..ListRange::default() };
    let found = etcd.list(range).await?.items;
    Ok(found.iter().filter_map(|item| item.key.strip_prefix(PREFIX)).map(str::to_owned).collect())
}

async fn withdraw(etcd: &Etcd, address: &str) -> Result<(), Error> {
    etcd.delete(&format!("{PREFIX}{address}"), Expect::Anything, Previous::Unwanted).await.map(drop)
}
