//! Scales what HorizontalPodAutoscalers name by what its pods use.
//!
//! Start with [`controller`], the loop, which looks every 15 s while there is an autoscaler, and [`plan`], the decision.
//! [`figures`] reads what pods use, from `metrics.k8s.io`; [`replicas`] says how many pods that asks for, [`rate`] how
//! fast the number may change. Upstream: `pkg/controller/podautoscaler`.
//!
//! The metrics of pods, objects and others outside come from servers that are aggregated into the API, which this one
//! cannot do yet: their conditions say so, in upstream's words.

pub mod controller;
mod figures;
mod plan;
mod rate;
mod replicas;
mod scale;

pub use controller::AutoscalerController;

#[cfg(test)]
mod tests;
