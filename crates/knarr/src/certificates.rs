//! The certificates that a node has from the cluster: asked for through the API, and renewed while the node runs.
//!
//! `wanted` says which certificate is asked for, `request` asks and waits for it, `keeper` renews it in time.
//! Which requests are approved without a person is decided by the control
//! plane (`crates/controllers/src/certificates`). Keys are made here and never leave the machine.

pub mod keeper;
pub mod request;
pub mod wanted;
