//! Roles and who has them.

use api::Object;
use api::field::ErrorList;

use crate::columns::{basic, binding};
use crate::defaults;
use crate::kinds::builder::{Kind, path_segment};
use crate::logic::{Changes, Logic};
use crate::row::Immutable;
use crate::validation::rbac;

pub(super) fn cluster_role() -> Kind {
    Kind::new("rbac.authorization.k8s.io/v1", "clusterroles", ClusterRole)
        .created_by_put()
        .named(path_segment)
        .columns(basic::CREATED)
}

struct ClusterRole;

impl Logic for ClusterRole {
    fn validate(&self, object: &Object) -> ErrorList {
        rbac::cluster_role(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("who may grant what is judged by admission")
    }
}

pub(super) fn cluster_role_binding() -> Kind {
    Kind::new("rbac.authorization.k8s.io/v1", "clusterrolebindings", ClusterRoleBinding)
        .created_by_put()
        .named(path_segment)
        .immutable(Immutable::invalid(&["roleRef"], "cannot change roleRef"))
        .printed(binding::COLUMNS, binding::cells)
}

struct ClusterRoleBinding;

impl Logic for ClusterRoleBinding {
    fn default(&self, object: &mut Object) {
        defaults::role_binding(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        rbac::cluster_role_binding(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::AllButImmutable
    }
}

pub(super) fn role() -> Kind {
    Kind::new("rbac.authorization.k8s.io/v1", "roles", Role)
        .created_by_put()
        .named(path_segment)
        .columns(basic::CREATED)
}

struct Role;

impl Logic for Role {
    fn validate(&self, object: &Object) -> ErrorList {
        rbac::role(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("who may grant what is judged by admission")
    }
}

pub(super) fn role_binding() -> Kind {
    Kind::new("rbac.authorization.k8s.io/v1", "rolebindings", RoleBinding)
        .created_by_put()
        .named(path_segment)
        .immutable(Immutable::invalid(&["roleRef"], "cannot change roleRef"))
        .printed(binding::COLUMNS, binding::cells)
}

struct RoleBinding;

impl Logic for RoleBinding {
    fn default(&self, object: &mut Object) {
        defaults::role_binding(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        rbac::role_binding(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::AllButImmutable
    }
}
