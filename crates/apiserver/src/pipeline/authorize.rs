//! Asks the authorizer and words the refusal as upstream does.

use std::sync::Arc;

use api::selector::FieldSelector;
use api::{Error, GroupResource};

use super::Call;
use crate::authz::Decision;
use crate::context::Context;
use crate::request::Attributes;

/// Whether the caller may do what the request asks for.
pub(crate) async fn authorize(context: &Context, call: &Call) -> Result<(), Error> {
    if !call.info.is_resource && is_public(&call.info.path) {
        return Ok(());
    }
    check(context, &attributes(call)).await
}

/// Paths that tell nothing about the cluster and must answer before anything is set up.
fn is_public(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/healthz")
}

/// What the request asks for, in the authorizer's terms.
pub(crate) fn attributes(call: &Call) -> Attributes {
    let info = &call.info;
    Attributes {
        user: Arc::clone(&call.user),
        verb: authorization_verb(call).to_owned(),
        is_resource: info.is_resource,
        group: info.group.clone(),
        version: info.version.clone(),
        resource: info.resource.clone(),
        subresource: info.subresource.clone(),
        namespace: info.namespace.clone(),
        name: info.name.clone(),
        field_selector: field_selector(call),
        path: info.path.clone(),
    }
}

/// What a list or watch asks for by equality. One that cannot be parsed is refused later, by its handler.
fn field_selector(call: &Call) -> Vec<(String, String)> {
    let text = match call.info.verb {
        "list" | "watch" => call.query.non_empty("fieldSelector"),
        _ => None,
    };
    let selector = text.and_then(|text| FieldSelector::parse(text).ok()).unwrap_or_default();
    selector
        .requirements()
        .iter()
        .filter(|r| !r.negated)
        .map(|r| (r.field.clone(), r.value.clone()))
        .collect()
}

/// Opening a stream into a pod is a change even when a WebSocket client has to say GET: upstream asks
/// for `create` since 1.35 (KEP-2862 companion fix, `AuthorizePodWebsocketUpgradeCreatePermission`).
fn authorization_verb(call: &Call) -> &'static str {
    let info = &call.info;
    let streams = matches!(info.subresource.as_str(), "exec" | "attach" | "portforward");
    if info.verb == "get" && streams && info.group.is_empty() && info.resource == "pods" {
        return "create";
    }
    info.verb
}

/// Asks about any attributes.
pub(crate) async fn check(context: &Context, attributes: &Attributes) -> Result<(), Error> {
    match context.deps.authorizer.authorize(attributes).await {
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
