//! Config maps.

use api::Object;
use api::field::ErrorList;

use crate::columns::basic;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::validation::config;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("v1", "configmaps", ConfigMap).short("cm").printed(basic::CONFIG_MAP, basic::config_map)
}

struct ConfigMap;

impl Logic for ConfigMap {
    fn validate(&self, object: &Object) -> ErrorList {
        config::config_map(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&config::config_map_update)
    }
}
