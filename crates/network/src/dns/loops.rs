//! [`Loops`]: finds servers that pass questions on to us, as CoreDNS' plugin `loop` does: by a question about a name that
//! nobody else knows.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hickory_server::proto::rr::{Name, RecordType};
use hickory_server::resolver::TokioResolver;

/// Of names that are asked about for this only: nothing is below it (RFC 2606).
const ZONE: &str = "loop.invalid.";

#[derive(Debug, Default)]
pub(super) struct Loops {
    /// Names that are being asked about, and whether the question has come here.
    asked: Mutex<HashMap<Name, Arc<AtomicBool>>>,
    /// How many these are: mostly none, which every question finds out without a lock.
    count: AtomicUsize,
}

impl Loops {
    /// Whether the name is one that we have asked a server about.
    pub fn has_asked(&self, name: &Name) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let asked = self.lock();
        let came = asked.get(&name.to_lowercase());
        came.inspect(|came| came.store(true, Ordering::Relaxed)).is_some()
    }

    /// Asks the servers of a resolver, and returns whether the question has come here.
    pub async fn leads_here(&self, resolver: &TokioResolver) -> bool {
        let text = format!("{}.{ZONE}", base::random::uuid());
        let Ok(name) = Name::from_ascii(&text) else { return false };
        let came: Arc<AtomicBool> = Arc::default();
        self.lock().insert(name.clone(), came.clone());
        self.count.fetch_add(1, Ordering::Release);
        let _asking = Asking { loops: self, name: &name };
        // Whatever the answer is.
        let _ = resolver.lookup(name.clone(), RecordType::HINFO).await;
        came.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Arc<AtomicBool>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that is being asked about, also if nobody waits for the answer any more.
struct Asking<'a> {
    loops: &'a Loops,
    name: &'a Name,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.loops.lock().remove(self.name);
        self.loops.count.fetch_sub(1, Ordering::Release);
    }
}
