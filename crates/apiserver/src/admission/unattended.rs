//! What knarr stores and does not do all of yet: creating such an object is answered with a warning.
//!
//! Start with [`INCOMPLETE`], the list: whoever does the rest takes the kind out.

use api::{Error, Object};

use super::plugin::{Immediate, Operation, Review};

/// Kinds of which something is not done, by group and plural, with what that is.
const INCOMPLETE: &[(&str, &str, &str)] = &[
    ("resource.k8s.io", "resourceclaims", NO_DEVICES),
    ("resource.k8s.io", "resourceclaimtemplates", NO_DEVICES),
];

const NO_DEVICES: &str = "devices are allocated; knarr's nodes do not hand them to containers yet";

/// Warns of what is not done. No plugin of upstream's.
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
    let found = INCOMPLETE.iter().find(|(of, name, _)| (*of, *name) == (group, plural));
    found.map(|(_, _, what)| format!("{kind}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_kind_is_served_and_warned_of_by_its_name() {
        let table = resources::builtin();
        for (group, plural, _) in INCOMPLETE.iter().copied() {
            let version = table.preferred_version(group).unwrap_or_else(|| panic!("{group} is not served"));
            let row = table.find(group, version, plural).unwrap_or_else(|| panic!("{plural} is not served"));
            assert!(warning(group, plural, &row.kind).is_some_and(|text| text.starts_with(&*row.kind)));
        }
    }

    #[test]
    fn the_warning_names_what_is_not_done() {
        assert_eq!(
            warning("resource.k8s.io", "resourceclaims", "ResourceClaim").as_deref(),
            Some("ResourceClaim: devices are allocated; knarr's nodes do not hand them to containers yet")
        );
        assert_eq!(warning("apps", "deployments", "Deployment"), None);
    }
}
