//! Shows in the status of every PodDisruptionBudget how many of its pods may be disrupted; the eviction subresource of
//! the API server goes by that number.
//!
//! Start with [`controller`], the loop, and [`plan`], the decision. [`scale`] finds how many pods the owners of a
//! budget's pods want, which percentages are of. [`stale`] takes back what was said of pods that were to be disrupted
//! and are still there. Upstream: `pkg/controller/disruption`.

pub mod controller;
mod plan;
mod scale;
mod stale;

pub use controller::DisruptionController;
pub use stale::StaleDisruptionController;

#[cfg(test)]
mod tests;
