//! StatefulSets: pods with names, hosts and volumes of their own, made and ended in order.
//!
//! Start with [`controller`], the loop, and [`plan`], the decision: [`lineup`] sorts the pods by their ordinals,
//! [`steps`] says what each needs, [`identity`] makes them, [`claims`] and [`retention`] keep their volume claims,
//! and [`status`] reports. Revisions of the template are `crate::history`'s.

mod claims;
pub mod controller;
mod identity;
mod lineup;
mod names;
mod plan;
mod retention;
mod status;
mod steps;
mod words;

pub use controller::StatefulSetController;

#[cfg(test)]
mod tests;
