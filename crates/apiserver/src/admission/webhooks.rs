//! Admission webhooks: [`MutatingWebhooks`] and [`ValidatingWebhooks`] ask what the cluster's users run about requests.
//! Upstream: `k8s.io/apiserver/pkg/admission/plugin/webhook`.
//!
//! `configured` reads the configurations, `seen` says which of them a request concerns, and as what, `exchange` has the texts that go
//! to and fro, `refusal` what a client is told, `metrics` what is counted. A write without a webhook costs one look at
//! each of the two resources.

mod configured;
mod exchange;
mod metrics;
mod mutating;
mod refusal;
mod seen;
mod validating;

use std::sync::Arc;

use resources::ResourceSource;

pub use mutating::MutatingWebhooks;
pub use validating::ValidatingWebhooks;

use crate::cache::lookup::Lookup;
use crate::conversion::Converter;
use crate::identity::authz::Authorizer;
use crate::webhook::{Caller, Credentials};
use metrics::Metrics;

pub(super) const GROUP: &str = "admissionregistration.k8s.io";

/// What asking webhooks takes. Both plugins share one.
#[derive(Clone)]
pub struct Asking {
    pub(super) lookup: Lookup,
    pub(super) kinds: Arc<dyn ResourceSource>,
    pub(super) converter: Arc<dyn Converter>,
    pub(super) authorizer: Arc<dyn Authorizer>,
    pub(super) caller: Caller,
    metrics: Metrics,
}

impl Asking {
    /// `kinds`: all that are served; versions of one kind are converted by `converter`.
    pub fn new(
        lookup: Lookup,
        kinds: Arc<dyn ResourceSource>,
        converter: Arc<dyn Converter>,
        authorizer: Arc<dyn Authorizer>,
        caller: Caller,
    ) -> Self {
        Self { lookup, kinds, converter, authorizer, caller, metrics: Metrics::default() }
    }

    /// The same, with credentials.
    #[must_use]
    pub fn with(&self, credentials: Option<Arc<Credentials>>) -> Self {
        Self { caller: self.caller.with(credentials), ..self.clone() }
    }
}
