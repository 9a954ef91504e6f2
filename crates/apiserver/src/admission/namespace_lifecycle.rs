//! Refuses new objects in a namespace that does not exist or is being deleted, and the deletion of some namespaces.

use std::sync::Arc;
use std::time::Duration;

use api::{Error, GroupResource, Object};
use base::Clock;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::plugin::{Admission, Operation, Review};
use crate::cache::lookup::{Lookup, decode};
use crate::eventual::Eventual;

/// The namespaces nobody can delete.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// How long a namespace counts as new: its limit ranges and quotas, written through another server, may not have
/// reached the cache yet. Upstream's plugins read what is not in their caches at most as often.
const YOUTH: Duration = Duration::from_secs(30);

/// The plugin `NamespaceLifecycle`.
pub struct NamespaceLifecycle {
    lookup: Lookup,
    clock: Arc<dyn Clock>,
}

/// What tells a namespace's age.
#[derive(Deserialize)]
struct Born {
    metadata: BornMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BornMeta {
    creation_timestamp: Option<Timestamp>,
}

impl NamespaceLifecycle {
    pub fn new(lookup: Lookup, clock: Arc<dyn Clock>) -> Self {
        Self { lookup, clock }
    }

    /// Whether what is made in the namespace may be bound by objects that the cache does not show yet.
    fn is_young(&self, review: &Review<'_>) -> bool {
        if review.operation != Operation::Create || !self.lookup.may_lag() {
            return false;
        }
        let found = self.lookup.entry("", "namespaces", "", &review.attributes.namespace);
        let born = found.and_then(|entry| decode::<Born>(&entry)?.metadata.creation_timestamp);
        born.is_some_and(|born| self.clock.now().duration_since(born).unsigned_abs() < YOUTH)
    }
}

impl Admission for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn admit<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a mut Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        if !self.is_young(review) {
            return self.check(review, object.as_deref()).into();
        }
        Eventual::later(async move {
            self.lookup.freshen().await;
            self.check(review, object.as_deref())
        })
    }
}

impl NamespaceLifecycle {
    fn check(&self, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        if review.operation == Operation::Connect {
            return Ok(());
        }
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
