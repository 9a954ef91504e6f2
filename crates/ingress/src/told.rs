//! [`Told`]: what the proxy's task tells the controller that writes the Ingresses' status.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Wake = Box<dyn Fn() + Send + Sync>;

/// Where Ingresses are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Addresses of this machine; none while no port is open.
    pub addresses: Vec<IpAddr>,
    /// Ports that should be open and are not, in words.
    pub troubles: Vec<String>,
}

/// Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Nothing until the ports have been looked at: what is written in the objects stays until then.
    reach: Option<Reach>,
    /// Has every Ingress be looked at.
    wake: Option<Wake>,
}

impl Told {
    pub fn replace(&self, reach: Reach) {
        let mut state = self.state();
        if state.reach.as_ref() != Some(&reach) {
            state.reach = Some(reach);
            if let Some(wake) = &state.wake {
                wake();
            }
        }
    }

    pub fn reach(&self) -> Option<Reach> {
        self.state().reach.clone()
    }

    pub fn wake_by(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.state().wake = Some(Box::new(wake));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn nothing_is_known_at_first_and_only_changes_wake() {
        let (told, woken) = (Told::default(), Arc::new(AtomicUsize::new(0)));
        let count = woken.clone();
        told.wake_by(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(told.reach(), None, "what a status says from before a start is not taken away");
        let closed = Reach::default();
        let open = Reach { addresses: vec![IpAddr::from([192, 0, 2, 1])], troubles: Vec::new() };
        for reach in [&closed, &closed, &open, &open] {
            told.replace(reach.clone());
        }
        assert_eq!((told.reach(), woken.load(Ordering::Relaxed)), (Some(open), 2));
    }
}
