//! Several authorizers as one: the first that decides has decided.

use std::sync::Arc;

use super::{Authorizer, Decision};
use crate::request::Attributes;

/// Asks in order. The reasons of those without opinion are joined by line ends, as upstream does.
pub struct Union(pub Vec<Arc<dyn Authorizer>>);

impl Authorizer for Union {
    fn authorize(&self, attributes: &Attributes) -> Decision {
        let mut reasons = Vec::new();
        for authorizer in &self.0 {
            match authorizer.authorize(attributes) {
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(reason),
                decided => return decided,
            }
        }
        Decision::NoOpinion(reasons.join("\n"))
    }

    fn explain(&self, attributes: &Attributes) -> String {
        let allows = |one: &&Arc<dyn Authorizer>| one.authorize(attributes) == Decision::Allow;
        self.0.iter().find(allows).map(|one| one.explain(attributes)).unwrap_or_default()
    }
}
