//! Which webhooks a request concerns, and as what each sees it. Upstream: `ShouldCallHook` in
//! `k8s.io/apiserver/pkg/admission/plugin/webhook/generic/webhook.go`.

use std::borrow::Cow;
use std::sync::Arc;

use api::{Error, Object};
use resources::Resource;
use serde_json::{Map, Value};

use super::Asking;
use super::configured::Hook;
use crate::admission::asked;
use crate::admission::authority::Authority;
use crate::admission::conditions::{Inputs, Judged};
use crate::admission::matching::Covered;
use crate::admission::plugin::Review;

/// A request in the version that a webhook has asked for.
pub(super) struct Seen<'a> {
    /// The row of that version, where it is not the request's own.
    pub other: Option<Arc<Resource>>,
    pub object: Option<Cow<'a, Object>>,
    pub old: Option<Cow<'a, Object>>,
    /// See [`asked::request`].
    pub request: Map<String, Value>,
}

impl Asking {
    /// The other versions and groups that serve the objects of the request's resource.
    pub(in crate::admission) fn alike(&self, review: &Review<'_>) -> Vec<Arc<Resource>> {
        let (row, subresource) = (review.resource, &review.attributes.subresource);
        let table = self.kinds.table();
        let is_alike = |other: &&Arc<Resource>| {
            !row.storage_prefix.is_empty()
                && other.storage_prefix == row.storage_prefix
                && other.group_version() != row.group_version()
                && (subresource.is_empty() || other.part(subresource).is_some())
        };
        table.rows().filter(is_alike).cloned().collect()
    }

    /// The request as the webhook sees it; `None` when the webhook is not asked.
    pub(super) async fn seen<'a>(
        &self,
        hook: &Hook,
        review: &'a Review<'_>,
        object: Option<&'a Object>,
    ) -> Result<Option<Seen<'a>>, Error> {
        let other = match hook.matching.covers(review, object, || self.alike(review)) {
            Covered::Not => return Ok(None),
            Covered::AsItIs => None,
            Covered::As(row) => Some(row),
        };
        if !hook.matching.selects(&self.lookup, review, object)? {
            return Ok(None);
        }
        let row = other.as_deref().unwrap_or(review.resource);
        let (mut seen_object, mut old) = (object.map(Cow::Borrowed), review.old.map(Cow::Borrowed));
        if let Some(to) = &other
            && asked::kind(review, review.resource) == review.resource.gvk()
        {
            for side in [&mut seen_object, &mut old].into_iter().flatten() {
                let mut converted = side.clone().into_owned();
                self.convert(review.resource, to, &mut converted).await?;
                *side = Cow::Owned(converted);
            }
        }
        let request = asked::request(review, row, object);
        let seen = Seen { other, object: seen_object, old, request };
        self.meets_conditions(hook, review, seen)
    }

    /// Converts an object from one version to another.
    pub(in crate::admission) async fn convert(
        &self,
        from: &Resource,
        to: &Resource,
        object: &mut Object,
    ) -> Result<(), Error> {
        if self.converter.concerns(from) {
            self.converter.to_stored(from, object).await?;
        }
        if self.converter.concerns(to) {
            self.converter.to_served(to, std::slice::from_mut(object)).await?;
        }
        Ok(())
    }

    fn meets_conditions<'a>(
        &self,
        hook: &Hook,
        review: &'a Review<'_>,
        mut seen: Seen<'a>,
    ) -> Result<Option<Seen<'a>>, Error> {
        if hook.conditions.is_empty() {
            return Ok(Some(seen));
        }
        let request = Value::Object(std::mem::take(&mut seen.request));
        let inputs = Inputs {
            object: seen.object.as_deref(),
            old: seen.old.as_deref(),
            request: &request,
            namespace: None,
            authorizer: Arc::new(Authority::new(&self.authorizer, review.attributes)),
            params: None,
            variables: None,
        };
        match hook.conditions.judge(&inputs) {
            Judged::Holds => {}
            Judged::Excluded => return Ok(None),
            Judged::Failed(why) if hook.fails => return Err(review.forbid(seen.object.as_deref(), why)),
            Judged::Failed(why) => {
                tracing::warn!(
                    webhook = hook.name,
                    why,
                    "match conditions have no value; the webhook is not asked"
                );
                return Ok(None);
            }
        }
        if let Value::Object(request) = request {
            seen.request = request;
        }
        Ok(Some(seen))
    }
}
