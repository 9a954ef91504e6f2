//! Writes a Service's EndpointSlices: the pods that it selects, at most 100 in a slice. Upstream:
//! `pkg/controller/endpointslice` and `k8s.io/endpointslice`.
//!
//! Start with [`controller`], the loop, and [`plan`], the decision. The decision's parts: [`desired`] (which endpoints a
//! Service has), [`hints`] and [`topology`] (whom an endpoint is meant for), [`packing`] (which slice holds which endpoint, so that few
//! are written), [`slice`] (the object). [`metrics`] has the figures.

pub mod controller;
mod desired;
mod hints;
pub mod metrics;
mod packing;
mod plan;
mod slice;
mod topology;

pub use controller::EndpointSliceController;

#[cfg(test)]
mod tests;
