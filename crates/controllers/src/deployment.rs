//! Rolls Deployments out: a ReplicaSet for every revision of the template, scaled up and down so that enough
//! pods stay available and not too many run.
//!
//! Start with [`controller`], the loop, and [`plan`], the decision. The decision's parts: [`rollout`] (the
//! working state), [`revision`] (annotations and the new set), [`rolling`], [`recreate`] and [`proportional`]
//! (sizes), [`status`] and [`progress`] (what users see), [`template`] (the hash), [`limits`] (surge and
//! unavailability). Sizes are decided for all sets at once and written afterwards.

pub mod controller;
mod limits;
mod plan;
mod progress;
mod proportional;
mod recreate;
mod revision;
mod rolling;
mod rollout;
mod status;
mod template;

pub use controller::DeploymentController;

#[cfg(test)]
mod tests;
