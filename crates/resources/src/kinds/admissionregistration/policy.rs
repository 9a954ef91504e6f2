//! Admission policies and their bindings.

use api::Object;
use api::field::ErrorList;

use crate::columns::policy;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::status;
use crate::validation;

pub(in crate::kinds) fn mutating() -> Kind {
    Kind::new("admissionregistration.k8s.io/v1", "mutatingadmissionpolicies", Policy)
        .category("api-extensions")
        .counts_changes()
        .updated_by_version()
        .printed(policy::MUTATING, policy::mutating)
}

struct Policy;

impl Logic for Policy {
    fn default(&self, object: &mut Object) {
        defaults::admission_policy(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        validation::admission_policy::mutating(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("a policy binds only requests that come later")
    }
}

pub(in crate::kinds) fn mutating_binding() -> Kind {
    Kind::new("admissionregistration.k8s.io/v1", "mutatingadmissionpolicybindings", Binding)
        .category("api-extensions")
        .counts_changes()
        .updated_by_version()
        .printed(policy::BINDING, policy::binding)
}

struct Binding;

impl Logic for Binding {
    fn default(&self, object: &mut Object) {
        defaults::admission_policy_binding(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        validation::admission_policy::mutating_binding(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("a binding binds only requests that come later")
    }
}

pub(in crate::kinds) fn validating() -> Kind {
    Kind::new("admissionregistration.k8s.io/v1", "validatingadmissionpolicies", Validating)
        .category("api-extensions")
        .counts_changes()
        .updated_by_version()
        .printed(policy::VALIDATING, policy::validating)
}

pub(in crate::kinds) fn validating_binding() -> Kind {
    Kind::new("admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings", ValidatingBinding)
        .category("api-extensions")
        .counts_changes()
        .updated_by_version()
        .printed(policy::BINDING, policy::binding)
}

struct Validating;

impl Logic for Validating {
    fn default(&self, object: &mut Object) {
        defaults::admission_policy(object);
    }

    fn prepare_status_update(&self, new: &mut Object, old: &Object) {
        status::keep_all_else(new, old);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        validation::admission_policy::validating(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("a policy binds only requests that come later")
    }
}

struct ValidatingBinding;

impl Logic for ValidatingBinding {
    fn default(&self, object: &mut Object) {
        defaults::admission_policy_binding(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        validation::admission_policy::validating_binding(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("a binding binds only requests that come later")
    }
}
