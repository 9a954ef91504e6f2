//! Work that comes again and again for several parties, such as drivers: each party's runs beside that of the others, and
//! is not begun anew while it runs. One that hangs holds up nobody else.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

type Running<'a> = Pin<Box<dyn Future<Output = String> + Send + 'a>>;

/// See the module's documentation.
#[derive(Default)]
pub struct Rounds<'a> {
    busy: HashSet<String>,
    running: FuturesUnordered<Running<'a>>,
}

impl<'a> Rounds<'a> {
    /// Begins a party's work, unless it is at it still; the work runs within [`Self::work`].
    pub fn begin(&mut self, party: &str, work: impl Future<Output = ()> + Send + 'a) {
        if self.busy.insert(party.to_owned()) {
            let party = party.to_owned();
            self.running.push(Box::pin(async move {
                work.await;
                party
            }));
        }
    }

    /// Goes on with all that was begun. Never ends; cancellation safe.
    pub async fn work(&mut self) {
        while let Some(party) = self.running.next().await {
            self.busy.remove(&party);
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_hangs_holds_up_nobody_and_is_not_begun_twice() {
        let (hanging, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut rounds = Rounds::default();
        for round in 1..=3 {
            rounds.begin("hangs", async {
                hanging.fetch_add(1, Ordering::Relaxed);
                std::future::pending().await
            });
            rounds.begin("works", async {
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(rounds.work().now_or_never(), None);
            assert_eq!((hanging.load(Ordering::Relaxed), done.load(Ordering::Relaxed)), (1, round));
        }
    }
}
