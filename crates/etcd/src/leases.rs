//! The leases of keys that expire. Keys written soon after one another share a lease, as upstream has it
//! (`k8s.io/apiserver/pkg/storage/etcd3/lease_manager.go`): a lease costs etcd more than a key.

use std::future::Future;
use std::time::Duration;

use store::Error;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Keys share a lease for so long at most, in seconds, or for a twentieth of their time if that is less.
const SHARED_S: u64 = 60;
const SHARE: u64 = 20;
/// Keys of one lease: they all go in one commit.
const KEYS: u32 = 1000;

#[derive(Debug, Clone, Copy)]
struct Lease {
    id: i64,
    /// Not before this time does the lease end.
    ends: Instant,
    keys: u32,
}

/// A grant that failed.
#[derive(Debug)]
struct Failed {
    ttl_s: u64,
    at: Instant,
    error: Error,
}

/// The lease of several keys that was granted last.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Lease>,
    failed: Option<Failed>,
}

impl Leases {
    /// A lease that ends in `ttl_s` or a little later: the last one where that suits, else one that `grant` makes, which
    /// is given the seconds that the lease is to last. One grant, or its failure, serves all who wait for it.
    pub async fn lease<F>(&self, ttl_s: u64, grant: impl FnOnce(u64) -> F) -> Result<i64, Error>
    where
        F: Future<Output = Result<i64, Error>>,
    {
        let extra_s = extra_s(ttl_s);
        let granted_s = ttl_s.saturating_add(extra_s).max(1);
        if extra_s == 0 {
            // Nobody can share the lease, and those who can share another one keep that.
            return grant(granted_s).await;
        }
        let asked = Instant::now();
        let (mut state, waited) = match self.state.try_lock() {
            Ok(state) => (state, false),
            // Held while etcd grants a lease.
            Err(_) => (self.state.lock().await, true),
        };
        let now = Instant::now();
        if let Some(id) = state.shared(ttl_s, now) {
            return Ok(id);
        }
        if let Some(failed) = &state.failed
            && waited
            && failed.ttl_s == ttl_s
            && failed.at >= asked
        {
            return Err(failed.error.clone());
        }
        state.failed = None;
        match grant(granted_s).await {
            Ok(id) => {
                let ends = now + Duration::from_secs(granted_s);
                state.last = Some(Lease { id, ends, keys: 1 });
                Ok(id)
            }
            Err(error) => {
                state.failed = Some(Failed { ttl_s, at: Instant::now(), error: error.clone() });
                Err(error)
            }
        }
    }

    /// Uses the lease no more.
    pub async fn forget(&self, id: i64) {
        self.state.lock().await.last.take_if(|lease| lease.id == id);
    }
}

impl State {
    /// The last lease, if it suits a key that expires in `ttl_s`.
    fn shared(&mut self, ttl_s: u64, now: Instant) -> Option<i64> {
        let lease = self.last.as_mut()?;
        let wanted = now + Duration::from_secs(ttl_s);
        let latest = wanted + Duration::from_secs(extra_s(ttl_s));
        if lease.keys >= KEYS || lease.ends < wanted || lease.ends > latest {
            return None;
        }
        lease.keys += 1;
        Some(lease.id)
    }
}

/// How much longer than asked a lease lasts, so that others may share it.
fn extra_s(ttl_s: u64) -> u64 {
    SHARED_S.min(ttl_s / SHARE)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use futures::future::join_all;

    use super::*;

    /// An etcd that takes a second for a lease.
    #[derive(Default)]
    struct Granting {
        leases: Leases,
        granted: AtomicI64,
    }

    impl Granting {
        async fn lease(&self, ttl_s: u64) -> i64 {
            let grant = async |granted_s| {
                assert!(granted_s >= ttl_s, "never earlier");
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(self.granted.fetch_add(1, Ordering::Relaxed) + 1)
            };
            self.leases.lease(ttl_s, grant).await.expect("granted")
        }

        async fn fail(&self, ttl_s: u64) -> String {
            let grant = async |_| {
                let n = self.granted.fetch_add(1, Ordering::Relaxed) + 1;
                tokio::time::sleep(Duration::from_secs(10)).await;
                Err(Error::Unavailable(n.to_string().into()))
            };
            self.leases.lease(ttl_s, grant).await.expect_err("not granted").to_string()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_shared_while_it_suits() {
        let etcd = Granting::default();
        assert_eq!(etcd.lease(3600).await, 1);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(etcd.lease(3600).await, 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(etcd.lease(3600).await, 2, "never earlier");
        assert_eq!(etcd.lease(60).await, 3, "nor an hour later");
        assert_eq!(etcd.lease(60).await, 3);
        etcd.leases.forget(2).await;
        assert_eq!(etcd.lease(60).await, 3);
        etcd.leases.forget(3).await;
        assert_eq!(etcd.lease(60).await, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_nobody_can_share_leaves_the_shared_one_in_place() {
        let etcd = Granting::default();
        assert_eq!(etcd.lease(3600).await, 1);
        assert_eq!((etcd.lease(15).await, etcd.lease(15).await), (2, 3), "one each");
        assert_eq!(etcd.lease(3600).await, 1);
        // Nor does it wait for one that is shared.
        let begun = Instant::now();
        etcd.leases.forget(1).await;
        tokio::join!(etcd.lease(3600), etcd.lease(15));
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn one_grant_serves_all_who_wait() {
        let etcd = Granting::default();
        let begun = Instant::now();
        let all = join_all((0..u64::from(KEYS) + 1).map(|_| etcd.lease(3600))).await;
        assert!(all[..KEYS as usize].iter().all(|id| *id == 1), "{all:?}");
        assert_eq!((all[KEYS as usize], begun.elapsed()), (2, Duration::from_secs(2)), "the first is full");
    }

    #[tokio::test(start_paused = true)]
    async fn one_failure_serves_all_who_wait_and_nobody_later() {
        let etcd = Granting::default();
        let begun = Instant::now();
        let all = join_all((0..100).map(|_| etcd.fail(3600))).await;
        assert!(all.iter().all(|error| error.ends_with(": 1")), "{all:?}");
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
        assert!(etcd.fail(3600).await.ends_with(": 2"));
        // Who waits for one that is given up is served by the next.
        let given_up = tokio::time::timeout(Duration::from_secs(5), etcd.fail(3600));
        let (given_up, next) = tokio::join!(given_up, etcd.lease(3600));
        assert_eq!((given_up.is_err(), next), (true, 4));
    }
}
