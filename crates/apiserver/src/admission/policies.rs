//! Admission policies: [`ValidatingPolicies`] judges requests by expressions that the cluster's users store. Upstream:
//! `k8s.io/apiserver/pkg/admission/plugin/policy`.
//!
//! `configured` reads policies and their bindings, `params` finds the objects that a binding gives to its policy,
//! `judgement` evaluates, `refusal` says what a client is told. Nothing here waits but for conversions.

mod configured;
mod judgement;
mod params;
mod refusal;
mod validating;

pub use validating::ValidatingPolicies;
