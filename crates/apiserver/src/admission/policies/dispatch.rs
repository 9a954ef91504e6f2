//! [`find`]: which policies concern a request, by which bindings and with what parameters, and as what each sees the
//! request ([`see`]). Upstream: `k8s.io/apiserver/pkg/admission/plugin/policy/generic/policy_dispatcher.go`.

use std::borrow::Cow;
use std::sync::Arc;

use api::{Error, GroupResource, Object};
use resources::Resource;
use serde_json::Value;

use super::configured::{Binding, Bindings, Policies, Policy};
use super::params;
use crate::admission::asked;
use crate::admission::authority::Authority;
use crate::admission::conditions::Inputs;
use crate::admission::matching::Covered;
use crate::admission::plugin::Review;
use crate::admission::webhooks::Asking;
use crate::cache::lookup::decode;

/// What was found.
pub(super) enum Found<'p, R> {
    Call(Call<'p, R>),
    Misconfigured(Misconfigured<'p>),
}

/// A policy to be evaluated about the request.
pub(super) struct Call<'p, R> {
    pub name: &'p str,
    pub policy: &'p Policy<R>,
    pub binding: &'p Binding,
    pub params: Option<Value>,
    /// The version that the policy asks for, where it is not the request's own.
    pub other: Option<Arc<Resource>>,
}

/// A policy or binding that concerns the request and cannot be used.
pub(super) struct Misconfigured<'p> {
    pub name: &'p str,
    /// Whether the request fails with that.
    pub fails: bool,
    /// `None` when it is the policy.
    pub binding: Option<&'p Binding>,
    pub why: String,
}

/// The calls for a request, in the order of the policies' and bindings' names.
///
/// # Errors
/// When the request's namespace is unknown, or a selector cannot be read.
pub(super) async fn find<'p, R>(
    asking: &Asking,
    policies: &'p Policies<R>,
    bindings: &'p Bindings,
    review: &Review<'_>,
    object: Option<&Object>,
) -> Result<Vec<Found<'p, R>>, Error> {
    let mut found = Vec::new();
    for (name, policy) in policies {
        let Some(bound) = bindings.get(name) else { continue };
        let alike = || asking.alike(review);
        let other = match policy.matching.covers(review, object, alike) {
            Covered::Not => continue,
            Covered::AsItIs => None,
            Covered::As(row) => Some(row),
        };
        if !policy.matching.selects(&asking.lookup, review, object)? {
            continue;
        }
        let fails = policy.fails;
        let kind = policy.param_kind.as_ref().map(|kind| params::row(asking, kind)).transpose();
        let kind = match kind {
            Ok(kind) => kind,
            Err(why) => {
                let why = format!("failed to configure policy: {why}");
                found.push(Found::Misconfigured(Misconfigured { name, fails, binding: None, why }));
                continue;
            }
        };
        for binding in bound {
            if let Some(matching) = &binding.matching
                && (matching.has_rules() && matches!(matching.covers(review, object, alike), Covered::Not)
                    || !matching.selects(&asking.lookup, review, object)?)
            {
                continue;
            }
            let (reference, namespace) = (binding.param_ref.as_ref(), asked::namespace(review, object));
            match params::collect(asking, kind.as_deref(), reference, namespace).await {
                Ok(all) => {
                    found.extend(all.into_iter().map(|params| {
                        Found::Call(Call { name, policy, binding, params, other: other.clone() })
                    }))
                }
                Err(why) => {
                    let why = format!("failed to configure binding: {why}");
                    let binding = Some(binding);
                    found.push(Found::Misconfigured(Misconfigured { name, fails, binding, why }));
                }
            }
        }
    }
    Ok(found)
}

/// A request as a policy sees it.
pub(super) struct Seen<'a> {
    pub object: Option<Cow<'a, Object>>,
    pub old: Option<Cow<'a, Object>>,
    pub request: Value,
    pub namespace: Option<Value>,
}

/// The request as one about `other`, where that is not its own version.
pub(super) async fn see<'a>(
    asking: &Asking,
    other: Option<&Arc<Resource>>,
    review: &'a Review<'_>,
    object: Option<&'a Object>,
) -> Result<Seen<'a>, Error> {
    let row = other.map_or(review.resource, |row| row);
    let (mut seen, mut old) = (object.map(Cow::Borrowed), review.old.map(Cow::Borrowed));
    if let Some(to) = converted(review, other) {
        for side in [&mut seen, &mut old].into_iter().flatten() {
            asking.convert(review.resource, to, side.to_mut()).await?;
        }
    }
    let name = review.attributes.namespace.as_str();
    let namespace = if name.is_empty() || review.is_about("", "namespaces") {
        None
    } else {
        let entry = asking.lookup.entry("", "namespaces", "", name);
        let missing = || Error::not_found(&GroupResource::new("", "namespaces"), name);
        Some(entry.and_then(|entry| decode(&entry)).ok_or_else(missing)?)
    };
    Ok(Seen { request: asked::request(review, row, object).into(), object: seen, old, namespace })
}

/// The version that the object is converted to; what a subresource carries is of one version.
pub(super) fn converted<'r>(review: &Review<'_>, other: Option<&'r Arc<Resource>>) -> Option<&'r Resource> {
    let own = asked::kind(review, review.resource) == review.resource.gvk();
    other.filter(|_| own).map(|row| &**row)
}

impl Seen<'_> {
    /// What a policy's expressions see.
    pub(super) fn inputs<'s>(
        &'s self,
        asking: &Asking,
        review: &Review<'_>,
        params: Option<&'s Value>,
    ) -> Inputs<'s> {
        Inputs {
            object: self.object.as_deref(),
            old: self.old.as_deref(),
            request: &self.request,
            namespace: self.namespace.as_ref(),
            authorizer: Arc::new(Authority::new(&asking.authorizer, review.attributes)),
            params,
            variables: None,
        }
    }
}
