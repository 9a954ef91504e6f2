//! Writes a Service's Endpoints, the older form of its EndpointSlices: one object that lists at most 1,000 addresses.
//! Upstream: `pkg/controller/endpoint`.
//!
//! Start with [`controller`], the loop, and [`plan`], the decision; [`capacity`] is which addresses are left out.

mod capacity;
pub mod controller;
mod plan;

pub use controller::EndpointsController;

#[cfg(test)]
mod tests;
