//! Talking to an API server: a `kube::Client` over HTTPS or straight into a server of the same
//! process, kubeconfig files, and the recorder of Events.
//!
//! Start with [`connect`]. Nothing here caches or retries: that is the `informer` crate's work.

pub mod connect;
pub mod error;
pub mod events;
pub mod kubeconfig;
pub mod managed_fields;
pub mod replaceable;

pub use connect::{Credentials, Endpoint, Trust, https, https_as, in_process, of_kubeconfig};
pub use error::{
    is_already_exists, is_conflict, is_expired, is_forbidden_by_terminating_namespace, is_not_found,
    is_not_found_of, is_without_namespace, message,
};
pub use events::{EventType, Recorder, reference};
pub use kube;
pub use replaceable::Replaceable;
