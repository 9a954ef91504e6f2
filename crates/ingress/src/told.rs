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
    reach: Reach,
    /// Has every Ingress be looked at.
    wake: Option<Wake>,
}

impl Told {
    pub fn replace(&self, reach: Reach) {
        let mut state = self.state();
        if state.reach != reach {
            state.reach = reach;
            if let Some(wake) = &state.wake {
                wake();
            }
        }
    }

    pub fn reach(&self) -> Reach {
        self.state().reach.clone()
    }

    pub fn wake_by(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.state().wake = Some(Box::new(wake));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
