//! Who names an owner of an object may delete the object, as the owner's end will; and who has the owner's deletion wait
//! for the object may change the owner's finalizers. Off by default, as upstream (`plugin/pkg/admission/gc`).

use std::sync::Arc;

use api::{Error, GroupVersion, Object};
use resources::{Resource, ResourceSource};
use serde_json::Value;

use super::plugin::{Admission, Operation, Review};
use crate::eventual::Eventual;
use crate::identity::authz::{Authorizer, Decision};
use crate::request::Attributes;

/// The plugin `OwnerReferencesPermissionEnforcement`.
pub struct OwnerPermissions {
    kinds: Arc<dyn ResourceSource>,
    authorizer: Arc<dyn Authorizer>,
}

impl OwnerPermissions {
    pub fn new(kinds: Arc<dyn ResourceSource>, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { kinds, authorizer }
    }

    /// The reason for which the user may not; `None` of who may.
    async fn refused(&self, attributes: &Attributes) -> Option<String> {
        match self.authorizer.authorize(attributes).await {
            Decision::Allow => None,
            Decision::Deny(reason) | Decision::NoOpinion(reason) => Some(reason),
        }
    }

    async fn judge(&self, review: &Review<'_>, new: &Object) -> Result<(), Error> {
        let asked = review.attributes;
        let delete = Attributes { verb: "delete".to_owned(), ..asked.clone() };
        if let Some(reason) = self.refused(&delete).await {
            let why = format!("cannot set an ownerRef on a resource you can't delete: {reason}, <nil>");
            return Err(review.forbid(Some(new), why));
        }
        for owner in new_blocking(review.old, new) {
            let row = self.row(owner).map_err(|why| {
                let [version, kind] = ["apiVersion", "kind"].map(|key| text(owner, key));
                review.forbid(Some(new), format!("cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {version} Kind {kind}: {why}"))
            })?;
            let finalizers = Attributes {
                user: Arc::clone(&asked.user),
                verb: "update".to_owned(),
                is_resource: true,
                group: row.group.to_string(),
                version: row.version.to_string(),
                resource: row.plural.to_string(),
                subresource: "finalizers".to_owned(),
                namespace: if row.namespaced() { asked.namespace.clone() } else { String::new() },
                name: text(owner, "name").to_owned(),
                ..Attributes::default()
            };
            if let Some(reason) = self.refused(&finalizers).await {
                let why = format!(
                    "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: {reason}, <nil>"
                );
                return Err(review.forbid(Some(new), why));
            }
        }
        Ok(())
    }

    /// The resource of an owner's kind.
    fn row(&self, owner: &Value) -> Result<Arc<Resource>, String> {
        let [version, kind] = ["apiVersion", "kind"].map(|key| text(owner, key));
        let unknown = || format!("no matches for kind {kind:?} in version {version:?}");
        let of = GroupVersion::parse(version).ok_or_else(unknown)?;
        let table = self.kinds.table();
        table.by_kind(&of.group, &of.version, kind).cloned().ok_or_else(unknown)
    }
}

fn text<'v>(owner: &'v Value, key: &str) -> &'v str {
    owner.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn owners(object: &Object) -> &[Value] {
    object.at(&["metadata", "ownerReferences"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn blocks(owner: &Value) -> bool {
    owner.get("blockOwnerDeletion").and_then(Value::as_bool).unwrap_or(false)
}

/// The owners whose deletion waits for the object and did not before.
fn new_blocking<'o>(old: Option<&Object>, new: &'o Object) -> Vec<&'o Value> {
    let known = old.map_or(&[][..], owners);
    let blocked = |owner: &Value| known.iter().any(|k| text(k, "uid") == text(owner, "uid") && blocks(k));
    owners(new).iter().filter(|owner| blocks(owner) && !blocked(owner)).collect()
}

impl Admission for OwnerPermissions {
    fn name(&self) -> &'static str {
        "OwnerReferencesPermissionEnforcement"
    }

    fn validate<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        let written = matches!(review.operation, Operation::Create | Operation::Update);
        // The status of pods cannot change owners, and nodes write it.
        let passes = review.is_about("", "pods") && review.attributes.subresource == "status";
        let Some(new) = object.filter(|_| written && !passes) else { return Ok(()).into() };
        if owners(new) == review.old.map_or(&[][..], owners) {
            return Ok(()).into();
        }
        Eventual::later(self.judge(review, new))
    }
}
