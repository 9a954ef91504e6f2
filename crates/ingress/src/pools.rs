//! [`Pools`]: the endpoints of every backend that a rule leads to.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use informer::Key;

use crate::proxy::{Pool, Proxy};
use crate::translate::backend::Backend;
use crate::view::View;

/// So many pools that no rule has any more may be left before they are looked for.
const LEFT_OVER: usize = 256;

/// The pools, for as long as a rule leads to them.
pub(crate) struct Pools {
    proxy: Proxy,
    view: View,
    pools: HashMap<Backend, Weak<Pool>>,
    by_service: HashMap<Key, BTreeSet<Backend>>,
    /// How many there were when those without rules were removed.
    swept: usize,
}

impl Pools {
    pub fn new(proxy: Proxy, view: View) -> Self {
        Self { proxy, view, pools: HashMap::new(), by_service: HashMap::new(), swept: 0 }
    }

    /// The pool of a backend.
    pub fn get(&mut self, backend: Backend) -> Arc<Pool> {
        if let Some(pool) = self.pools.get(&backend).and_then(Weak::upgrade) {
            return pool;
        }
        let (namespace, name) = match &backend {
            Backend::Service(backend) => (&*backend.service.namespace, &*backend.service.name),
            Backend::Resource(_) => ("", ""),
        };
        let pool = Arc::new(self.proxy.pool(namespace, name, backend.manner(), self.view.offer(&backend)));
        if let Backend::Service(of) = &backend {
            self.by_service.entry(of.service.clone()).or_default().insert(backend.clone());
        }
        self.pools.insert(backend, Arc::downgrade(&pool));
        pool
    }

    /// A Service or its endpoints have changed.
    pub fn update(&self, service: &Key) {
        for backend in self.by_service.get(service).into_iter().flatten() {
            if let Some(pool) = self.pools.get(backend).and_then(Weak::upgrade) {
                pool.replace(self.view.offer(backend));
            }
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.pools.len()
    }

    /// Forgets pools that no rule leads to, once in a while.
    pub fn sweep(&mut self) {
        if self.pools.len() < 2 * self.swept + LEFT_OVER {
            return;
        }
        self.pools.retain(|_, pool| pool.strong_count() > 0);
        self.swept = self.pools.len();
        for backends in self.by_service.values_mut() {
            backends.retain(|backend| self.pools.contains_key(backend));
        }
        self.by_service.retain(|_, backends| !backends.is_empty());
    }
}
