//! Asks the authorizer; a refusal has upstream's message.

use std::time::Instant;

use api::{Error, GroupResource};

use crate::context::Context;
use crate::identity::authz::Decision;
use crate::metrics::Authorization;
use crate::request::Attributes;
use crate::request::call::Call;

/// Whether the caller may do what the request asks for. `noted` gets the decision and its reason, if somebody writes
/// them down.
pub(crate) async fn authorize(
    context: &Context,
    call: &Call,
    noted: Option<&mut Option<(bool, String)>>,
) -> Result<(), Error> {
    if !call.info.is_resource && is_public(&call.info.path) {
        if let Some(noted) = noted {
            *noted = Some((true, String::new()));
        }
        return Ok(());
    }
    let attributes = call.attributes();
    let authorizer = &context.deps.authorizer;
    let asked_at = Instant::now();
    let decision = authorizer.authorize(&attributes).await;
    let ending = match &decision {
        Decision::Allow => Authorization::Allowed,
        Decision::Deny(_) => Authorization::Denied,
        Decision::NoOpinion(_) => Authorization::NoOpinion,
    };
    context.metrics.access.authorized(ending, asked_at.elapsed());
    if let Some(noted) = noted {
        *noted = Some(match &decision {
            Decision::Allow => (true, authorizer.explain(&attributes).await),
            Decision::Deny(reason) | Decision::NoOpinion(reason) => (false, reason.clone()),
        });
    }
    allowed(decision, &attributes)
}

/// Paths that tell nothing about the cluster and must answer before anything is set up.
fn is_public(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/healthz")
}

fn allowed(decision: Decision, attributes: &Attributes) -> Result<(), Error> {
    match decision {
        Decision::Allow => Ok(()),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(forbidden(attributes, &reason)),
    }
}

/// The 403 of a request that is not allowed.
pub(crate) fn forbidden(attributes: &Attributes, reason: &str) -> Error {
    let user = &attributes.user.name;
    let mut message = if attributes.is_resource {
        let resource = if attributes.subresource.is_empty() {
            attributes.resource.clone()
        } else {
            format!("{}/{}", attributes.resource, attributes.subresource)
        };
        let target = if attributes.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {:?}", attributes.namespace)
        };
        format!(
            "User {user:?} cannot {} resource {resource:?} in API group {:?} {target}",
            attributes.verb, attributes.group
        )
    } else {
        format!("User {user:?} cannot {} path {:?}", attributes.verb, attributes.path)
    };
    if !reason.is_empty() {
        message.push_str(": ");
        message.push_str(reason);
    }
    Error::forbidden(&GroupResource::new(&attributes.group, &attributes.resource), &attributes.name, &message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::request::User;

    #[test]
    fn refusals_read_as_upstream() {
        let user = Arc::new(User { name: "x".into(), ..User::default() });
        let mut a = Attributes {
            user,
            verb: "list".into(),
            is_resource: true,
            version: "v1".into(),
            resource: "pods".into(),
            namespace: "default".into(),
            ..Attributes::default()
        };
        assert_eq!(
            forbidden(&a, "").message,
            r#"pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default""#
        );
        a.namespace.clear();
        a.name = "p".into();
        a.subresource = "exec".into();
        assert_eq!(
            forbidden(&a, "why").message,
            r#"pods "p" is forbidden: User "x" cannot list resource "pods/exec" in API group "" at the cluster scope: why"#
        );
        let path =
            Attributes { path: "/metrics".into(), verb: "get".into(), user: a.user, ..Attributes::default() };
        assert_eq!(forbidden(&path, "").message, r#"forbidden: User "x" cannot get path "/metrics""#);
    }
}
