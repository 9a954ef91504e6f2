//! What the CNI plugin says, and who waits for the answer.

use std::net::Ipv4Addr;

use cni::announce::Announcement;
use informer::Key;
use tokio::sync::oneshot;

/// Something that the plugin says. It is answered once the kernel has taken what follows from it.
#[derive(Debug)]
pub(super) struct Call {
    pub what: What,
    answer: oneshot::Sender<()>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A pod gets an address.
    Attached { pod: Key, uid: String, address: Ipv4Addr },
    /// An address is free: nothing of its pod runs any more.
    Detached { address: Ipv4Addr },
}

impl Call {
    /// A call, and what hears the answer.
    pub fn new(said: Announcement) -> (Self, oneshot::Receiver<()>) {
        let (answer, heard) = oneshot::channel();
        let what = match said {
            Announcement::Attached { namespace, name, uid, address } => {
                What::Attached { pod: Key::new(&namespace, &name), uid, address }
            }
            Announcement::Detached { address } => What::Detached { address },
        };
        (Self { what, answer }, heard)
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_given_up(&self) -> bool {
        self.answer.is_closed()
    }

    /// The kernel has taken it.
    pub fn answer(self) {
        // Who asked may have gone.
        let _ = self.answer.send(());
    }
}
