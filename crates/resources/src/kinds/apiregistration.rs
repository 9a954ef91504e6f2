//! Groups and versions that other servers answer for.

use api::Object;
use serde_json::json;

use crate::columns;
use crate::defaults;
use crate::kinds::builder::{Kind, path_segment};
use crate::logic::{Changes, Logic};
use crate::status;

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

    fn prepare_create(&self, object: &mut Object) {
        status::start(object, json!({}));
    }

    fn prepare_status_update(&self, new: &mut Object, old: &Object) {
        status::keep_all_else(new, old);
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("a version may be served from elsewhere at any time")
    }
}
