//! Writes EndpointSlices that say what users' Endpoints say, for Services without a selector: whoever reads slices alone
//! finds those endpoints too. Upstream: `pkg/controller/endpointslicemirroring`.
//!
//! Start with [`controller`], the loop, and [`plan`], the decision; [`desired`] is which slices there should be.

pub mod controller;
mod desired;
mod plan;

pub use controller::EndpointSliceMirroringController;

#[cfg(test)]
mod tests;
