//! The leases of keys that expire. Keys written soon after one another share a lease, as upstream has it
//! (`k8s.io/apiserver/pkg/storage/etcd3/lease_manager.go`): a lease costs etcd more than a key.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Keys share a lease for so long at most, in seconds, or for a twentieth of their time if that is less.
const SHARED_S: u64 = 60;
const SHARE: u64 = 20;
/// Keys of one lease: they all go in one commit.
const KEYS: u32 = 1000;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    pub id: i64,
    /// Not before this time does the lease end.
    pub ends: Instant,
    pub keys: u32,
}

/// The lease that was granted last.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    last: Mutex<Option<Lease>>,
}

impl Leases {
    /// The last lease, if it suits a key that expires in `ttl_s`.
    pub fn shared(&self, ttl_s: u64, now: Instant) -> Option<i64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = last.as_mut()?;
        let wanted = now + Duration::from_secs(ttl_s);
        let latest = wanted + Duration::from_secs(extra_s(ttl_s));
        if lease.keys >= KEYS || lease.ends < wanted || lease.ends > latest {
            return None;
        }
        lease.keys += 1;
        Some(lease.id)
    }

    pub fn remember(&self, lease: Lease) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(lease);
    }

    /// Uses the lease no more.
    pub fn forget(&self, id: i64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.take_if(|lease| lease.id == id);
    }
}

/// How much longer than asked a lease lasts, so that others may share it.
pub(crate) fn extra_s(ttl_s: u64) -> u64 {
    SHARED_S.min(ttl_s / SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_shared_while_it_suits() {
        let leases = Leases::default();
        let start = Instant::now();
        let after = |s| start + Duration::from_secs(s);
        assert_eq!(leases.shared(3600, start), None);
        leases.remember(Lease { id: 7, ends: after(3660), keys: 1 });
        assert_eq!(leases.shared(3600, after(60)), Some(7));
        assert_eq!(leases.shared(3600, after(61)), None, "never earlier");
        assert_eq!(leases.shared(60, after(0)), None, "nor an hour later");
        leases.remember(Lease { id: 8, ends: after(3660), keys: KEYS - 1 });
        assert_eq!(leases.shared(3600, start), Some(8));
        assert_eq!(leases.shared(3600, start), None, "full");
        leases.remember(Lease { id: 9, ends: after(3660), keys: 1 });
        leases.forget(8);
        assert_eq!(leases.shared(3600, start), Some(9));
        leases.forget(9);
        assert_eq!(leases.shared(3600, start), None);
    }
}
