//! Scales what HorizontalPodAutoscalers name by what its pods use.
//!
//! Start with [`controller`], the loop, which looks every 15 s while there is an autoscaler, and [`plan`], the decision.
//! [`figures`] reads what pods use, from `metrics.k8s.io`, and [`values`] the metrics of pods, objects and other systems,
//! which servers that extend the API say; [`replicas`] says how many pods a metric asks for ([`others`], of those that are
//! no resource), [`rate`] how fast the number may change. Upstream: `pkg/controller/podautoscaler`.

pub mod controller;
mod figures;
mod others;
mod plan;
mod rate;
mod replicas;
mod scale;
mod values;

pub use controller::AutoscalerController;

#[cfg(test)]
mod tests;
