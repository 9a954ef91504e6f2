//! Quotas.

use api::Object;
use api::field::ErrorList;
use serde_json::json;

use crate::columns::policy;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::status;
use crate::validation::policy as valid;

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
        valid::resource_quota(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::NotYetJudged("the scopes of a quota are immutable")
    }

    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        valid::resource_quota(new)
    }
}
