//! Jobs: runs pods until enough of them have succeeded, or until too many have failed.
//!
//! Start with [`plan`], the decision: [`counts`] is what the pods and the status say together, [`ending`] whether and
//! how the Job ends, [`moves`] which pods are to be made or deleted, [`tracking`] which ends are counted. A pod keeps a
//! finalizer until its end stands in the Job's status, first among the uncounted by its uid, then, once the finalizer
//! is gone, in a counter: so no end is lost or counted twice, wherever a round stops. [`controller`] is the loop,
//! [`orphans`] another that takes the finalizer off pods whose Job does not count them any more.
//!
//! Upstream: `pkg/controller/job`. Where upstream writes the status twice in a round, two rounds write it once each.

mod backoff;
mod claim;
mod conditions;
pub mod controller;
mod counts;
mod ending;
mod failure_policy;
mod indexes;
mod moves;
pub mod orphans;
mod plan;
mod pod;
mod settings;
mod success_policy;
mod template;
mod tracking;

pub(crate) use conditions::finish;

pub use controller::JobController;
pub use orphans::JobOrphanController;

#[cfg(test)]
mod tests;
