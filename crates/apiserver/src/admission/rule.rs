//! [`Rule`]: what a webhook or policy is asked about. Pure. Upstream:
//! `k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules`.

use api::Object;
use resources::Resource;
use serde::{Deserialize, Deserializer};

use super::plugin::Review;

/// A rule of a configuration, as it is written. `*` is any.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Rule {
    #[serde(deserialize_with = "or_default")]
    operations: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    api_groups: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    api_versions: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    resources: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    scope: String,
    /// Of policies: the names of the objects; any where there is none.
    #[serde(deserialize_with = "or_default")]
    resource_names: Vec<String>,
}

/// A field that is absent or null.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn has(names: &[String], name: &str) -> bool {
    names.iter().any(|known| known == "*" || known == name)
}

impl Rule {
    /// Whether the rule is about the request, if the request were about `row`.
    pub(super) fn covers(&self, review: &Review<'_>, row: &Resource, object: Option<&Object>) -> bool {
        has(&self.operations, review.operation.as_str())
            && has(&self.api_groups, &row.group)
            && has(&self.api_versions, &row.version)
            && self.resources.iter().any(|text| names(text, &row.plural, &review.attributes.subresource))
            && self.is_in_scope(review, row)
            && self.names(review, object)
    }

    fn names(&self, review: &Review<'_>, object: Option<&Object>) -> bool {
        self.resource_names.is_empty()
            || self.resource_names.iter().any(|name| name == review.given_name(object))
    }

    fn is_in_scope(&self, review: &Review<'_>, row: &Resource) -> bool {
        // A namespace is in no namespace, though requests about one name it.
        let cluster = review.attributes.namespace.is_empty() || !row.namespaced();
        match self.scope.as_str() {
            "Cluster" => cluster,
            "Namespaced" => !cluster,
            _ => true,
        }
    }
}

/// Whether `resource[/subresource]` names these.
fn names(text: &str, plural: &str, subresource: &str) -> bool {
    let (resource, part) = text.split_once('/').unwrap_or((text, ""));
    (resource == "*" || resource == plural) && (part == "*" || part == subresource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_named_with_their_parts() {
        for (text, plain, status) in [
            ("pods", true, false),
            ("*", true, false),
            ("*/*", true, true),
            ("pods/*", true, true),
            ("*/status", false, true),
            ("pods/status", false, true),
            ("nodes/*", false, false),
        ] {
            assert_eq!((names(text, "pods", ""), names(text, "pods", "status")), (plain, status), "{text}");
        }
    }
}
