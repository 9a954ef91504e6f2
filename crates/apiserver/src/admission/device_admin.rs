//! Who asks for a device as an administrator, whoever else has it, may do so only in a namespace that a label allows it in.
//! Upstream: `pkg/registry/resource/authorize.go`, part of the storage of claims and templates.

use api::field::{ErrorList, FieldError, Path};
use api::{Error, GroupKind, Object};
use serde_json::Value;

use super::plugin::{Immediate, Operation, Review};
use crate::cache::lookup::Lookup;

const GROUP: &str = "resource.k8s.io";
const LABEL: &str = "resource.kubernetes.io/admin-access";
const WHY: &str = "admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the \
                   containing namespace";

/// Checks new claims and templates.
pub struct DeviceAdmin {
    lookup: Lookup,
}

impl DeviceAdmin {
    pub fn new(lookup: Lookup) -> Self {
        Self { lookup }
    }

    fn allows(&self, namespace: &str) -> bool {
        let namespace = self.lookup.object("", "namespaces", "", namespace);
        namespace.is_some_and(|namespace| namespace.label(LABEL) == Some("true"))
    }
}

impl Immediate for DeviceAdmin {
    fn name(&self) -> &'static str {
        "DeviceAdminAccess"
    }

    fn check(&self, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let (Operation::Create, Some(object)) = (review.operation, object) else { return Ok(()) };
        let root = Path::root("spec");
        let (at, path): (&[&str], _) = if review.is_about_whole(GROUP, "resourceclaims") {
            (&["spec", "devices", "requests"], root)
        } else if review.is_about_whole(GROUP, "resourceclaimtemplates") {
            (&["spec", "spec", "devices", "requests"], root.child("spec"))
        } else {
            return Ok(());
        };
        let mut errors = ErrorList::new();
        let requests = object.at(at).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (i, request) in requests.iter().enumerate() {
            if request.pointer("/exactly/adminAccess") == Some(&Value::Bool(true)) {
                let path = path.child("devices");
                let path = path.child("requests");
                let path = path.index(i);
                let path = path.child("exactly");
                errors.push(FieldError::forbidden(&path.child("adminAccess"), WHY));
            }
        }
        if errors.is_empty() || self.allows(&review.attributes.namespace) {
            return Ok(());
        }
        let kind = GroupKind::new(&review.resource.group, &review.resource.kind);
        Err(Error::invalid(&kind, review.name(Some(object)), &errors))
    }
}
