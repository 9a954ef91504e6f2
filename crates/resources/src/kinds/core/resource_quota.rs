//! Quotas.

use api::Object;
use api::field::ErrorList;
use serde_json::json;

use crate::columns::policy;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::status;
use crate::validation::quota;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("v1", "resourcequotas", ResourceQuota)
        .short("quota")
        .returns_deleted()
        .printed(policy::QUOTA, policy::quota)
}

struct ResourceQuota;

impl Logic for ResourceQuota {
    fn default(&self, object: &mut Object) {
        defaults::resource_quota(object);
    }

    fn prepare_create(&self, object: &mut Object) {
        status::start(object, json!({}));
    }

    fn validate(&self, object: &Object) -> ErrorList {
        quota::resource_quota(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&quota::update)
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        quota::status_update(new, old)
    }
}
