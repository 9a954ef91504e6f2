//! The revisions of an object: a Deployment's ReplicaSets, the ControllerRevisions of others.

use serde_json::Value;

use crate::builder::Info;
use crate::client::{Request, escaped};
use crate::failure::Failure;
use crate::session::Session;

const REVISION: &str = "deployment.kubernetes.io/revision";

/// One state that an object's template had.
pub struct Revision {
    pub number: i64,
    /// The ReplicaSet or ControllerRevision.
    pub object: Value,
}

impl Revision {
    /// The template of the pods.
    pub fn template(&self) -> Value {
        if self.object["kind"] == "ReplicaSet" {
            return self.object["spec"]["template"].clone();
        }
        let mut template = self.object["data"]["spec"]["template"].clone();
        if let Some(fields) = template.as_object_mut() {
            // The data is a patch.
            fields.remove("$patch");
        }
        template
    }

    /// The revision as printers show it: a ReplicaSet, or the object with the template that it had.
    pub fn state(&self, info: &Info) -> Value {
        if self.object["kind"] == "ReplicaSet" {
            return self.object.clone();
        }
        let mut state = info.object.clone();
        state["spec"]["template"] = self.template();
        state
    }
}

/// The revisions that the object owns, the oldest first.
///
/// # Errors
/// When the server does not list them.
pub fn revisions(session: &Session, info: &Info) -> Result<Vec<Revision>, Failure> {
    let (plural, kind) = match info.resource.kind.as_str() {
        "Deployment" => ("replicasets", "ReplicaSet"),
        _ => ("controllerrevisions", "ControllerRevision"),
    };
    let selector = crate::remote::pods::selector(&info.object).unwrap_or_default();
    let path = format!("/apis/apps/v1/namespaces/{}/{plural}", escaped(&info.namespace));
    let list = session.client()?.json(&Request::get(path).with("labelSelector", &selector))?;
    let uid = &info.object["metadata"]["uid"];
    let mut found = Vec::new();
    for item in list["items"].as_array().into_iter().flatten() {
        let owners = item["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        let owned = owners.into_iter().any(|owner| owner["uid"] == *uid && owner["controller"] == true);
        let number = match kind {
            "ReplicaSet" => {
                item["metadata"]["annotations"][REVISION].as_str().and_then(|text| text.parse().ok())
            }
            _ => item["revision"].as_i64(),
        };
        if let Some(number) = number.filter(|_| owned) {
            let mut object = item.clone();
            object["apiVersion"] = "apps/v1".into();
            object["kind"] = kind.into();
            found.push(Revision { number, object });
        }
    }
    found.sort_by_key(|revision| revision.number);
    Ok(found)
}
