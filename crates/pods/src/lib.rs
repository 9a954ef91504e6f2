//! What a pod is, said once: what it asks for, which ports of its node it takes, how it is classed, which taints it
//! tolerates, which nodes it selects, and whether it is ready, active or at its end; and by which addresses its node and
//! the node's pods are reached ([`node`]); which persistent volume satisfies which claim ([`volumes`]);
//! and which ResourceClaims it uses ([`devices`]).
//!
//! The kind table, scheduler, node agent and controllers decide by these functions, so that a pod which one of them accepts is not
//! refused by another. Start with [`requests()`] and [`Amounts`].
//!
//! Never here: IO, a clock, a decision about more than one pod.

mod amounts;
mod container;
pub mod devices;
mod fit;
mod host_ports;
pub mod node;
mod node_selector;
mod qos;
mod requests;
mod state;
mod tolerations;
pub mod volumes;

pub use amounts::Amounts;
pub use container::{Figure, at_peak, is_sidecar};
pub use fit::{Shortage, exceeds, shortages};
pub use host_ports::{HostPort, host_ports};
pub use node_selector::{NodeRequirements, NodeSelector, Preference, preferences};
pub use qos::{List, class_of_figures, qos_class};
pub use requests::{
    Side, is_settled, nonzero_requests, quantities, quantities_of_spec, quantities_with_overhead, requests,
};
pub use state::{
    condition, holds_resources, is_active, is_ready, is_terminal, is_terminating, label, node_name, phase,
    ready_condition,
};
pub use tolerations::{tolerates, tolerates_taint};
