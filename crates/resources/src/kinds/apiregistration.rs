//! Groups and versions, and who serves them: this server or another one that a Service leads to.

use api::Object;
use api::field::ErrorList;
use serde_json::{Value, json};

use crate::columns;
use crate::kinds::builder::{Kind, path_segment};
use crate::logic::{Changes, Logic};
use crate::status;
use crate::{defaults, validation};

pub(super) fn api_service() -> Kind {
    Kind::new("apiregistration.k8s.io/v1", "apiservices", ApiService)
        .category("api-extensions")
        .stored_at("apiregistration.k8s.io/apiservices")
        .updated_by_version()
        .named(path_segment)
        .printed(columns::service::API_SERVICE, columns::service::api_service)
}

struct ApiService;

impl Logic for ApiService {
    fn default(&self, object: &mut Object) {
        defaults::api_service(object);
    }

    /// What this server serves itself is available from the start.
    fn prepare_create(&self, object: &mut Object) {
        let is_local = object.at(&["spec", "service"]).is_none_or(Value::is_null);
        let since = object.str_at(&["metadata", "creationTimestamp"]);
        let available = json!({
            "type": "Available", "status": "True", "lastTransitionTime": since,
            "reason": "Local", "message": "Local APIServices are always available",
        });
        let status = if is_local { json!({"conditions": [available]}) } else { json!({}) };
        status::start(object, status);
    }

    fn prepare_status_update(&self, new: &mut Object, old: &Object) {
        status::keep_all_else(new, old);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        validation::api_service::api_service(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("a version may be served from elsewhere at any time")
    }

    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        validation::api_service::status(new)
    }
}
