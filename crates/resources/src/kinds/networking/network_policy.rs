//! Network policies.

use api::Object;
use api::field::ErrorList;

use crate::columns::basic;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::validation::network_policy;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("networking.k8s.io/v1", "networkpolicies", NetworkPolicy)
        .short("netpol")
        .counts_changes()
        .columns(basic::NETWORK_POLICY)
}

struct NetworkPolicy;

impl Logic for NetworkPolicy {
    fn default(&self, object: &mut Object) {
        defaults::network_policy(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        network_policy::network_policy(object)
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        network_policy::warnings(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("rules are free")
    }
}
