//! Drivers of volumes, what nodes have of them, and what they can provide.

use api::Object;
use api::field::ErrorList;

use crate::columns::basic;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::validation::{csi, warnings};

pub(in crate::kinds) fn driver() -> Kind {
    Kind::new("storage.k8s.io/v1", "csidrivers", Driver)
        .counts_changes()
        .updated_by_version()
        .returns_deleted()
}

struct Driver;

impl Logic for Driver {
    fn default(&self, object: &mut Object) {
        defaults::csi_driver(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        csi::driver(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&csi::driver_update)
    }
}

pub(in crate::kinds) fn node() -> Kind {
    Kind::new("storage.k8s.io/v1", "csinodes", Node)
        .updated_by_version()
        .returns_deleted()
        .columns(basic::CSI_NODE)
}

struct Node;

impl Logic for Node {
    fn validate(&self, object: &Object) -> ErrorList {
        csi::node(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&csi::node_update)
    }
}

pub(in crate::kinds) fn storage_capacity() -> Kind {
    Kind::new("storage.k8s.io/v1", "csistoragecapacities", Capacity)
        .updated_by_version()
        .columns(basic::CSI_CAPACITY)
}

struct Capacity;

impl Logic for Capacity {
    fn validate(&self, object: &Object) -> ErrorList {
        csi::capacity(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&csi::capacity_update)
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        warnings::storage_capacity(object)
    }
}
