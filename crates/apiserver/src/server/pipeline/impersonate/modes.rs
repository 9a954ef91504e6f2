//! The ways in which somebody may be allowed to act as somebody else (KEP-5284; upstream:
//! `apiserver/pkg/endpoints/filters/impersonation/mode.go`). Start with [`become_user`].
//!
//! The constrained ways want two rights: to act as the user (`impersonate:MODE`), and to do what the request does while
//! acting as somebody (`impersonate-on:MODE:VERB`). They are tried before the old one, `impersonate`, which covers all
//! that the user may do.

use std::sync::Arc;

use api::Error;
use api::names;

use crate::identity::authz::{Authorizer, Decision};
use crate::request::{Attributes, User};
use crate::server::pipeline::authorize::forbidden;

const AUTHENTICATION_GROUP: &str = "authentication.k8s.io";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const NODE_KEYS: &str = "authentication.kubernetes.io/associated-node-keys";
/// From so many groups or extra values on, the right to all of them is asked for first.
const MANY: usize = 4;

/// The caller has become the user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Impersonated {
    pub user: User,
    /// The constrained right by which, for the audit.
    pub constraint: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A service account acts as the node that its pod is on.
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    /// As a user who is neither node nor service account.
    UserInfo,
    /// The right of old, without constraints.
    Legacy,
}

impl Mode {
    const ALL: [Self; 5] =
        [Self::AssociatedNode, Self::ArbitraryNode, Self::ServiceAccount, Self::UserInfo, Self::Legacy];

    const fn name(self) -> Option<&'static str> {
        match self {
            Self::AssociatedNode => Some("associated-node"),
            Self::ArbitraryNode => Some("arbitrary-node"),
            Self::ServiceAccount => Some("serviceaccount"),
            Self::UserInfo => Some("user-info"),
            Self::Legacy => None,
        }
    }

    /// Whether it is about such a user at all.
    fn concerns(self, wanted: &User, caller: &User) -> bool {
        let (node, account) = (node(&wanted.name), service_account(&wanted.name));
        let only_name = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        match self {
            Self::AssociatedNode => {
                let own = caller.extra.get(NODE_NAME).map(Vec::as_slice);
                only_name
                    && service_account(&caller.name).is_some()
                    && node.is_some_and(|node| matches!(own, Some([own]) if own == node))
            }
            Self::ArbitraryNode => only_name && node.is_some(),
            Self::ServiceAccount => only_name && account.is_some(),
            Self::UserInfo => node.is_none() && account.is_none(),
            Self::Legacy => true,
        }
    }
}

/// The node that a user is.
fn node(user: &str) -> Option<&str> {
    user.strip_prefix("system:node:").filter(|name| names::is_dns1123_subdomain(name))
}

/// Namespace and name of the service account that a user is.
fn service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (names::is_dns1123_label(namespace) && names::is_dns1123_subdomain(name)).then_some((namespace, name))
}

/// The user whom the caller wants to be, if a mode allows it to who asks for `request`.
///
/// # Errors
/// 403 in the words of the first mode that refuses.
pub(super) async fn become_user(
    authorizer: &dyn Authorizer,
    request: &Attributes,
    wanted: &User,
) -> Result<Impersonated, Error> {
    let mut first = None;
    for mode in Mode::ALL {
        if !mode.concerns(wanted, &request.user) {
            continue;
        }
        match (Asking { mode, authorizer, request }).check(wanted).await {
            Ok(done) => return Ok(done),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    Err(first.unwrap_or_else(|| Error::internal("all impersonation modes failed")))
}

/// One mode's questions.
struct Asking<'a> {
    mode: Mode,
    authorizer: &'a dyn Authorizer,
    request: &'a Attributes,
}

impl Asking<'_> {
    /// Who asks. That a service account is on the node has been seen, so that it does not matter on which one.
    fn caller(&self) -> Arc<User> {
        let caller = &self.request.user;
        if self.mode != Mode::AssociatedNode {
            return Arc::clone(caller);
        }
        let keys = caller.extra.keys().cloned().collect();
        Arc::new(User { extra: [(NODE_KEYS.to_owned(), keys)].into(), ..User::clone(caller) })
    }

    /// A question about somebody or something to act as.
    fn question(&self, group: &str, resource: &str) -> Attributes {
        let verb =
            self.mode.name().map_or_else(|| "impersonate".to_owned(), |mode| format!("impersonate:{mode}"));
        Attributes {
            user: self.caller(),
            verb,
            is_resource: true,
            group: group.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            notes: self.request.notes.clone(),
            ..Attributes::default()
        }
    }

    async fn ask(&self, attributes: &Attributes) -> Result<(), Error> {
        match self.authorizer.authorize(attributes).await {
            Decision::Allow => Ok(()),
            Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(forbidden(attributes, &reason)),
        }
    }

    async fn check(&self, wanted: &User) -> Result<Impersonated, Error> {
        if let Some(mode) = self.mode.name() {
            let verb = format!("impersonate-on:{mode}:{}", self.request.verb);
            self.ask(&Attributes { user: self.caller(), verb, ..self.request.clone() }).await?;
        }
        let mut user = wanted.clone();
        self.name(&mut user).await?;
        if !wanted.uid.is_empty() {
            let uid = self.question(AUTHENTICATION_GROUP, "uids");
            self.ask(&Attributes { name: wanted.uid.clone(), ..uid }).await?;
        }
        self.groups(&wanted.groups).await?;
        self.extra(wanted).await?;
        let anonymous = user.name == "system:anonymous";
        let everybody = if anonymous { "system:unauthenticated" } else { "system:authenticated" };
        if !user.groups.iter().any(|group| group == everybody || group == "system:unauthenticated") {
            user.groups.push(everybody.to_owned());
        }
        let constraint = self.mode.name().map(|mode| format!("impersonate:{mode}"));
        Ok(Impersonated { user, constraint })
    }

    fn group_of_names(&self) -> &'static str {
        if self.mode == Mode::Legacy { "" } else { AUTHENTICATION_GROUP }
    }

    /// Asks about the name, and gives the user the groups that go with it.
    async fn name(&self, user: &mut User) -> Result<(), Error> {
        let mut question = self.question(self.group_of_names(), "users");
        question.name.clone_from(&user.name);
        if let Some(node) = node(&user.name).filter(|_| self.mode != Mode::Legacy) {
            let any = self.mode == Mode::AssociatedNode;
            "nodes".clone_into(&mut question.resource);
            question.name = if any { "*".to_owned() } else { node.to_owned() };
            user.groups = vec!["system:nodes".to_owned()];
        }
        if let Some((namespace, name)) = service_account(&user.name) {
            "serviceaccounts".clone_into(&mut question.resource);
            (question.namespace, question.name) = (namespace.to_owned(), name.to_owned());
            if user.groups.is_empty() {
                let all =
                    ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
                user.groups = all.into();
            }
        }
        self.ask(&question).await
    }

    async fn groups(&self, groups: &[String]) -> Result<(), Error> {
        if groups.is_empty() {
            return Ok(());
        }
        let mut question = self.question(self.group_of_names(), "groups");
        if self.mode != Mode::Legacy {
            if groups.iter().any(String::is_empty) {
                return Err(forbidden(&question, "impersonating the empty string group is not allowed"));
            }
            if groups.iter().any(|group| group == "system:masters") {
                "system:masters".clone_into(&mut question.name);
                return Err(forbidden(&question, "impersonating the system:masters group is not allowed"));
            }
            if groups.len() >= MANY {
                "*".clone_into(&mut question.name);
                if self.ask(&question).await.is_ok() {
                    return Ok(());
                }
            }
        }
        for group in groups {
            question.name.clone_from(group);
            self.ask(&question).await?;
        }
        Ok(())
    }

    async fn extra(&self, wanted: &User) -> Result<(), Error> {
        if wanted.extra.is_empty() {
            return Ok(());
        }
        let mut question = self.question(AUTHENTICATION_GROUP, "userextras");
        if self.mode != Mode::Legacy {
            if let Some(fault) = wanted.extra.iter().find_map(|(key, values)| extra_fault(key, values)) {
                return Err(forbidden(&question, &fault));
            }
            if wanted.extra.len() >= MANY || wanted.extra.values().map(Vec::len).sum::<usize>() >= MANY {
                (question.subresource, question.name) = ("*".to_owned(), "*".to_owned());
                if self.ask(&question).await.is_ok() {
                    return Ok(());
                }
            }
        }
        for (key, values) in &wanted.extra {
            question.subresource.clone_from(key);
            for value in values {
                question.name.clone_from(value);
                self.ask(&question).await?;
            }
        }
        Ok(())
    }
}

/// Why nobody may act with such an extra value under a constraint.
fn extra_fault(key: &str, values: &[String]) -> Option<String> {
    if key.is_empty() {
        return Some("impersonating the empty string key in extra is not allowed".to_owned());
    }
    let (domain, path) = key.split_once('/').unwrap_or_default();
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || br"/-._~%!$&'()*+,;=:".contains(&b);
    if path.is_empty() || !names::is_dns1123_subdomain(domain) || !path.bytes().all(is_allowed) {
        return Some(format!(
            "impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {key:?}: must be a domain-prefixed path (such as \"acme.io/foo\")"
        ));
    }
    if key != key.to_lowercase() {
        return Some(format!("impersonating a non-lowercase key in extra is not allowed: {key:?}"));
    }
    values
        .iter()
        .any(String::is_empty)
        .then(|| "impersonating the empty string value in extra is not allowed".to_owned())
}

#[cfg(test)]
mod tests;
