//! Admission policies: [`MutatingPolicies`] changes and [`ValidatingPolicies`] judges requests by expressions that the
//! cluster's users store. Upstream: `k8s.io/apiserver/pkg/admission/plugin/policy`.
//!
//! Of both sorts: `configured` reads policies and their bindings, `dispatch` says which of them concern a request,
//! `params` finds the objects that a binding gives to its policy, `evaluation` evaluates, `refusal` says what a client
//! is told. `judgement` is what comes of validating policies, `change` what comes of mutating ones, of which `metrics`
//! counts. Nothing here waits but for conversions.

mod change;
mod configured;
mod dispatch;
mod evaluation;
mod judgement;
mod metrics;
mod mutating;
mod params;
mod refusal;
mod validating;

pub use mutating::MutatingPolicies;
pub use validating::ValidatingPolicies;
