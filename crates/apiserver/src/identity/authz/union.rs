//! Several authorizers as one: the first decision counts.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::authorizer::{Authorizer, Decision};
use crate::eventual::{Eventual, in_turn};
use crate::request::Attributes;

/// Asks in order. The reasons of those without opinion are joined by line ends, as upstream does.
pub struct Union(pub Vec<Arc<dyn Authorizer>>);

impl Authorizer for Union {
    fn authorize<'a>(&'a self, attributes: &'a Attributes) -> Eventual<'a, Decision> {
        let judge = |mut reasons: Vec<String>, decision| {
            match decision {
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(reason),
                decided => return ControlFlow::Break(decided),
            }
            ControlFlow::Continue(reasons)
        };
        in_turn(self.0.iter(), Vec::new(), |one| one.authorize(attributes), judge).map(|flow| match flow {
            ControlFlow::Break(decided) => decided,
            ControlFlow::Continue(reasons) => Decision::NoOpinion(reasons.join("\n")),
        })
    }

    fn explain<'a>(&'a self, attributes: &'a Attributes) -> Eventual<'a, String> {
        Eventual::later(async move {
            for one in self.0.iter().filter(|one| !one.asks_others()) {
                if one.authorize(attributes).await == Decision::Allow {
                    return one.explain(attributes).await;
                }
            }
            String::new()
        })
    }
}
