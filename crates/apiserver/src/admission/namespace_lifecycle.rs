//! Nothing is made in a namespace that does not exist or is going away, and some namespaces stay.

use api::{Error, GroupResource, Object};
use serde_json::json;

use super::plugin::{Immediate, Operation, Review};
use crate::cache::lookup::Lookup;

/// The namespaces nobody can delete.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// The plugin `NamespaceLifecycle`.
pub struct NamespaceLifecycle {
    lookup: Lookup,
}

impl NamespaceLifecycle {
    pub fn new(lookup: Lookup) -> Self {
        Self { lookup }
    }
}

impl Immediate for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn change(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        if review.operation == Operation::Connect {
            return Ok(());
        }
        let object = object.as_deref();
        if review.is_about("", "namespaces") {
            let doomed = review.operation == Operation::Delete && IMMORTAL.contains(&review.name(object));
            return if doomed {
                Err(review.forbid(object, "this namespace may not be deleted"))
            } else {
                Ok(())
            };
        }
        let namespace = &review.attributes.namespace;
        if namespace.is_empty() || review.operation == Operation::Delete || is_question(review) {
            return Ok(());
        }
        let Some(found) = self.lookup.entry("", "namespaces", "", namespace) else {
            return Err(Error::not_found(&GroupResource::new("", "namespaces"), namespace));
        };
        if review.operation != Operation::Create || found.field("status.phase") != Some("Terminating") {
            return Ok(());
        }
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let cause = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        }]);
        Err(review.forbid(object, why).with_detail("causes", cause))
    }
}

/// Whether the request only asks what somebody may do, which needs no namespace.
fn is_question(review: &Review<'_>) -> bool {
    review.is_about("authorization.k8s.io", "localsubjectaccessreviews")
}
