//! Secrets.

use api::Object;
use api::field::ErrorList;

use crate::columns::basic;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::validation::config;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("v1", "secrets", Secret).selectable("type").columns(basic::SECRET)
}

struct Secret;

impl Logic for Secret {
    fn default(&self, object: &mut Object) {
        defaults::secret(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        config::secret(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&config::secret_update)
    }
}
