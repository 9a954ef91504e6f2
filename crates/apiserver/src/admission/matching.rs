//! [`Matching`]: which requests a webhook or policy concerns, by rules and selectors. Upstream:
//! `k8s.io/apiserver/pkg/admission/plugin/policy/matching`.

use std::sync::Arc;

use api::selector::LabelSelector;
use api::{Error, GroupResource, Object};
use resources::Resource;
use serde::Deserialize;
use serde_json::Value;

use super::asked;
use super::plugin::{Operation, Review};
use super::rule::{Rule, or_default};
use crate::cache::lookup::Lookup;

/// What a configuration says, under the names that policies have for it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Written {
    #[serde(deserialize_with = "or_default")]
    pub resource_rules: Vec<Rule>,
    #[serde(deserialize_with = "or_default")]
    pub exclude_resource_rules: Vec<Rule>,
    pub match_policy: Option<String>,
    pub namespace_selector: Value,
    pub object_selector: Value,
}

/// See the module's documentation.
pub(super) struct Matching {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    /// Whether requests about other versions of the resources are meant too.
    equivalent: bool,
    namespaces: Result<LabelSelector, String>,
    objects: Result<LabelSelector, String>,
}

/// How rules cover a request.
pub(super) enum Covered {
    Not,
    AsItIs,
    /// As one about this version of the resource.
    As(Arc<Resource>),
}

impl From<Written> for Matching {
    fn from(written: Written) -> Self {
        let selector = |value: &Value| match value {
            Value::Null => Ok(LabelSelector::default()),
            value => LabelSelector::from_object(value).map_err(|error| error.message),
        };
        Self {
            namespaces: selector(&written.namespace_selector),
            objects: selector(&written.object_selector),
            rules: written.resource_rules,
            excluded: written.exclude_resource_rules,
            equivalent: written.match_policy.as_deref() != Some("Exact"),
        }
    }
}

impl Matching {
    /// Whether there are rules at all; a binding without any leaves it to its policy.
    pub(super) fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Whether the rules cover the request. `alike`: the other versions of its resource.
    pub(super) fn covers(
        &self,
        review: &Review<'_>,
        object: Option<&Object>,
        alike: impl Fn() -> Vec<Arc<Resource>>,
    ) -> Covered {
        match self.first(&self.excluded, review, object, &alike) {
            Covered::Not => self.first(&self.rules, review, object, &alike),
            Covered::AsItIs | Covered::As(_) => Covered::Not,
        }
    }

    fn first(
        &self,
        rules: &[Rule],
        review: &Review<'_>,
        object: Option<&Object>,
        alike: impl Fn() -> Vec<Arc<Resource>>,
    ) -> Covered {
        if rules.iter().any(|rule| rule.covers(review, review.resource, object)) {
            return Covered::AsItIs;
        }
        if !self.equivalent || rules.is_empty() {
            return Covered::Not;
        }
        let alike = alike();
        let by_rule = |row: &&Arc<Resource>| rules.iter().position(|rule| rule.covers(review, row, object));
        let covered = alike.iter().filter_map(|row| by_rule(&row).map(|at| (at, row)));
        // The first rule counts, whichever version it names.
        covered.min_by_key(|(at, _)| *at).map_or(Covered::Not, |(_, row)| Covered::As(Arc::clone(row)))
    }

    /// Whether both selectors take the request.
    pub(super) fn selects(
        &self,
        lookup: &Lookup,
        review: &Review<'_>,
        object: Option<&Object>,
    ) -> Result<bool, Error> {
        Ok(self.is_in_namespaces(lookup, review, object)? && self.is_selected(review, object)?)
    }

    fn is_in_namespaces(
        &self,
        lookup: &Lookup,
        review: &Review<'_>,
        object: Option<&Object>,
    ) -> Result<bool, Error> {
        let namespace = asked::namespace(review, object);
        let is_one = review.is_about("", "namespaces");
        if namespace.is_empty() && !is_one {
            return Ok(true);
        }
        let selector = self.namespaces.as_ref().map_err(Error::internal)?;
        if selector.is_everything() {
            return Ok(true);
        }
        // A namespace that comes or changes is judged by what it will be.
        let written = matches!(review.operation, Operation::Create | Operation::Update);
        if is_one && written && review.attributes.subresource.is_empty() {
            return Ok(object.is_some_and(|object| selector.matches_object(object)));
        }
        let entry = lookup.entry("", "namespaces", "", namespace);
        let entry =
            entry.ok_or_else(|| Error::not_found(&GroupResource::new("", "namespaces"), namespace))?;
        Ok(selector.matches(|key| entry.label(key)))
    }

    fn is_selected(&self, review: &Review<'_>, object: Option<&Object>) -> Result<bool, Error> {
        let selector = self.objects.as_ref().map_err(Error::internal)?;
        let selects = |object: Option<&Object>| object.is_some_and(|object| selector.matches_object(object));
        Ok(selector.is_everything() || selects(object) || selects(review.old))
    }
}
