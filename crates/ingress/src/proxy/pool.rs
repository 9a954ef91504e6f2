//! [`Pool`]: the endpoints of one port of a Service, among which requests are divided.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::endpoint::{Dialer, Endpoint};
use crate::metrics::Answers;
use crate::translate::endpoints::{Lack, Offer};
use crate::translate::manner::Manner;

/// How many endpoints are compared at most for one request.
const COMPARED: usize = 8;

/// The endpoints of a backend. They are replaced while requests are under way.
pub struct Pool {
    state: ArcSwap<State>,
    /// Where the next comparison begins.
    next: AtomicUsize,
    dialer: Arc<Dialer>,
    pub(super) answers: Arc<Answers>,
    /// How its requests are treated.
    pub(super) manner: Manner,
}

struct State {
    endpoints: Vec<Arc<Endpoint>>,
    lack: Option<Lack>,
}

impl Pool {
    pub(super) fn new(dialer: Arc<Dialer>, answers: Arc<Answers>, manner: Manner, offer: Offer) -> Self {
        let Offer { wire, endpoints, lack } = offer;
        let endpoints =
            endpoints.into_iter().map(|at| Arc::new(Endpoint::new(at, wire, manner, Arc::clone(&dialer))));
        let state = State { endpoints: endpoints.collect(), lack };
        Self { state: ArcSwap::from_pointee(state), next: AtomicUsize::new(0), dialer, answers, manner }
    }

    /// Has the pool consist of these endpoints from now on. Those that stay keep their connections; those that go get
    /// no new request, and their requests in progress end by themselves.
    pub fn replace(&self, offer: Offer) {
        let before = self.state.load_full();
        let is_kept = |endpoint: &Arc<Endpoint>| {
            endpoint.wire() == offer.wire && offer.endpoints.contains(&endpoint.address())
        };
        let (kept, gone): (Vec<_>, Vec<_>) = before.endpoints.iter().cloned().partition(is_kept);
        let known: BTreeSet<SocketAddr> = kept.iter().map(|endpoint| endpoint.address()).collect();
        let new = offer.endpoints.difference(&known);
        let new =
            new.map(|at| Arc::new(Endpoint::new(*at, offer.wire, self.manner, Arc::clone(&self.dialer))));
        let endpoints = kept.into_iter().chain(new).collect();
        self.state.store(Arc::new(State { endpoints, lack: offer.lack }));
        for endpoint in gone {
            endpoint.retire();
        }
    }

    #[cfg(test)]
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.state.load().endpoints.iter().map(|endpoint| endpoint.address().to_string()).collect()
    }

    /// An endpoint for a request: of a few in turn the one with the fewest requests, one that could not be reached
    /// lately last, none that was tried before.
    ///
    /// # Errors
    /// What the pool lacks; `None` where all have been tried.
    pub(super) fn choose(&self, tried: &[Arc<Endpoint>]) -> Result<Arc<Endpoint>, Option<Lack>> {
        let state = self.state.load();
        let count = state.endpoints.len();
        if count == 0 {
            return Err(Some(state.lack.clone().unwrap_or(Lack::Ready)));
        }
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let turn = (0..count).map(|step| &state.endpoints[start.wrapping_add(step) % count]);
        let untried = turn.filter(|one| !tried.iter().any(|tried| Arc::ptr_eq(tried, one))).take(COMPARED);
        untried.min_by_key(|endpoint| endpoint.load(now)).cloned().ok_or(None)
    }
}
