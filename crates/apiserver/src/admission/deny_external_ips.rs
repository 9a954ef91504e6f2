//! Services take no further external addresses. Off by default, as upstream (`plugin/pkg/admission/denyserviceexternalips`).

use api::{Error, Object};
use serde_json::Value;

use super::plugin::{Immediate, Operation, Review};

/// The plugin `DenyServiceExternalIPs`.
pub struct DenyServiceExternalIps;

fn addresses(service: &Object) -> impl Iterator<Item = &str> {
    let list = service.at(&["spec", "externalIPs"]).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

impl Immediate for DenyServiceExternalIps {
    fn name(&self) -> &'static str {
        "DenyServiceExternalIPs"
    }

    fn check(&self, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let written = matches!(review.operation, Operation::Create | Operation::Update);
        let concerned = written && review.is_about_whole("", "services");
        let Some(service) = object.filter(|_| concerned) else { return Ok(()) };
        let before: Vec<&str> = review.old.map(|old| addresses(old).collect()).unwrap_or_default();
        if addresses(service).all(|address| before.contains(&address)) {
            return Ok(());
        }
        Err(review.forbid(object, "Use of external IPs is denied by admission control"))
    }
}
