//! What the controllers of EndpointSlices and Endpoints have in common: which Services select a pod and which pods a
//! Service selects ([`services`], [`selected`]), what of a pod makes an endpoint ([`member`]), which slices belong
//! to a Service ([`slices`]), and how Endpoints list addresses ([`subsets`]). Upstream: `k8s.io/endpointslice/util`.
//!
//! Never here: a write.

pub(crate) mod member;
pub(crate) mod selected;
pub(crate) mod services;
pub(crate) mod slices;
pub(crate) mod subsets;

/// Marks the endpoints of a Service without an address of its own.
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";
/// When the change happened that led to the endpoints as they are.
pub(crate) const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
