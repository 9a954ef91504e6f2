//! What is particular to etcd: its processes, which are killed, restarted and cut off; leases; TLS.

mod faults;
mod particular;

use std::sync::Arc;

use etcd::Etcd;
use etcd::testing::Cluster;
use store::Store;

use crate::Backend;

/// An etcd of one member.
pub(crate) struct Fixture {
    pub cluster: Cluster,
    pub store: Etcd,
}

impl Fixture {
    /// On a runtime of several threads, one of which waits.
    pub fn of(count: usize) -> Self {
        let cluster = Cluster::start(count, None).expect("etcd starts");
        let store = blocking(Etcd::connect(cluster.config())).expect("etcd answers");
        Self { cluster, store }
    }
}

fn blocking<T>(work: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work))
}

impl Backend for Fixture {
    const DELIVERS_COMPACTED: bool = true;

    fn new() -> Self {
        Self::of(1)
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    /// From etcd's disk, after it was killed.
    async fn reopen(&mut self) {
        self.store.close().await.expect("the store closes");
        self.cluster.members[0].kill();
        self.cluster.members[0].start().expect("etcd starts again");
        self.store = Etcd::connect(self.cluster.config()).await.expect("etcd answers again");
    }
}
