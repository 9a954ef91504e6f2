//! [`Notices`]: where the proxy says what it cannot do for a Service.

use informer::{Cache, Key};
use k8s_openapi::api::core::v1::{ObjectReference, Service};

/// Hears what cannot be done for a Service, for whoever looks after the Service.
pub trait Notices: Send + Sync {
    /// Never waits.
    fn warn(&self, service: &ObjectReference, reason: &'static str, message: String);
}

/// Who does not want to know.
impl Notices for () {
    fn warn(&self, _: &ObjectReference, _: &'static str, _: String) {}
}

/// What cannot be done for a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub service: Key,
    pub reason: &'static str,
    pub message: String,
}

impl Notice {
    /// Says it, if the Service is still there.
    pub fn say(self, services: &Cache<Service>, notices: &dyn Notices) {
        tracing::warn!(service = %self.service, reason = self.reason, "{}", self.message);
        let Some(service) = services.get_key(&self.service) else { return };
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Service".to_owned()),
            namespace: service.metadata.namespace.clone(),
            name: service.metadata.name.clone(),
            uid: service.metadata.uid.clone(),
            ..ObjectReference::default()
        };
        notices.warn(&about, self.reason, self.message);
    }
}
