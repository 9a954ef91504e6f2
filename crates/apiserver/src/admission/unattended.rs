//! What knarr stores and does nothing about yet: creating such an object is answered with a warning.
//!
//! Start with [`STORED`], the list: whoever builds a controller takes the kind out.

use api::{Error, Object};

use super::plugin::{Immediate, Operation, Review};

/// Kinds without a controller, by group and plural.
const STORED: &[(&str, &str)] = &[
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "resourceclaims"),
    ("resource.k8s.io", "resourceclaimtemplates"),
    ("resource.k8s.io", "resourceslices"),
];

/// Warns of what is stored only. No plugin of upstream's.
pub struct Unattended;

impl Immediate for Unattended {
    fn name(&self) -> &'static str {
        "Unattended"
    }

    fn check(&self, review: &Review<'_>, _object: Option<&Object>) -> Result<(), Error> {
        if review.operation == Operation::Create && review.attributes.subresource.is_empty() {
            let row = review.resource;
            if let Some(text) = warning(&row.group, &row.plural, &row.kind) {
                review.attributes.notes.warn(text);
            }
        }
        Ok(())
    }
}

/// What the creator of an object of the kind is to know.
fn warning(group: &str, plural: &str, kind: &str) -> Option<String> {
    STORED
        .contains(&(group, plural))
        .then(|| format!("{kind} is stored; knarr runs no controller for it yet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_kind_is_served_and_warned_of_by_its_name() {
        let table = resources::builtin();
        for (group, plural) in STORED.iter().copied() {
            let version = table.preferred_version(group).unwrap_or_else(|| panic!("{group} is not served"));
            let row = table.find(group, version, plural).unwrap_or_else(|| panic!("{plural} is not served"));
            assert!(warning(group, plural, &row.kind).is_some_and(|text| text.starts_with(&*row.kind)));
        }
    }

    #[test]
    fn the_warning_names_what_is_not_done() {
        assert_eq!(
            warning("resource.k8s.io", "resourceslices", "ResourceSlice").as_deref(),
            Some("ResourceSlice is stored; knarr runs no controller for it yet")
        );
        assert_eq!(warning("apps", "deployments", "Deployment"), None);
    }
}
