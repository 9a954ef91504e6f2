//! Nodes: a node agent creates its node with a status.

use api::Object;
use api::field::ErrorList;

use crate::columns::node;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::part::{PartHandler, Proxied};
use crate::validation::{cluster, warnings};

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("v1", "nodes", Node)
        .short("no")
        .stored_at("minions")
        .selectable("spec.unschedulable")
        .printed(node::COLUMNS, node::cells)
        .part("proxy", PartHandler::Proxy(Proxied::Node))
}

struct Node;

impl Logic for Node {
    fn default(&self, object: &mut Object) {
        defaults::node(object);
    }

    fn prepare_create(&self, _object: &mut Object) {}

    fn validate(&self, object: &Object) -> ErrorList {
        cluster::node(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&cluster::node_update)
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        cluster::node_update(new, old)
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        warnings::node(object)
    }
}
