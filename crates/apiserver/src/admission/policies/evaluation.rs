//! Evaluates the expressions of policies of both sorts: [`variables`] first, then what [`Run`] is asked. Pure.

use std::sync::Arc;

use expressions::{Budget, Value as Cel};
use resources::conditions::Scope;

use super::configured::{Compiled, Policy};
use crate::admission::conditions::{Inputs, run};

/// What all expressions of a policy may cost together about one request and one set of parameters, in steps
/// (`k8s.io/apiserver/pkg/apis/cel/config.go`).
pub(super) const BUDGET: u64 = 10_000_000;

/// The variables that have no value, and why.
pub(super) type Unset<'a> = Vec<(&'a str, String)>;

/// Evaluates the variables. Why one has no value is told by whoever needs it.
pub(super) fn variables<'a, R>(
    policy: &'a Policy<R>,
    inputs: &mut Inputs<'a>,
    budget: &mut Budget,
) -> Unset<'a> {
    let mut unset = Vec::new();
    for (name, expression) in &policy.variables {
        match (Run { inputs, unset: &unset }.value(expression, &policy.scope, budget)) {
            Ok(value) => {
                let mut known = inputs.variables.take().unwrap_or_default();
                Arc::make_mut(&mut known).push((Cel::String(name.as_str().into()), value));
                inputs.variables = Some(known);
            }
            Err(why) => unset.push((name.as_str(), why)),
        }
    }
    unset
}

/// The evaluation of one policy's expressions.
pub(super) struct Run<'r, 'a> {
    pub inputs: &'r Inputs<'a>,
    pub unset: &'r [(&'a str, String)],
}

impl<'a> Run<'_, 'a> {
    /// The value of an expression.
    pub fn value(&self, of: &'a Compiled, scope: &Scope, budget: &mut Budget) -> Result<Cel<'a>, String> {
        let failed = |why: &str| format!("expression '{}' resulted in error: {why}", of.text);
        let program = of.program.as_ref().map_err(|why| failed(why))?;
        run(program, &self.inputs.values(scope), budget).map_err(|why| {
            let missing = self.unset.iter().find(|(name, _)| why == format!("no such key: {name}"));
            let composed = missing.filter(|_| program.mentions("variables"));
            composed.map_or_else(
                || failed(&why),
                |(name, why)| failed(&format!("composited variable {name:?} fails to evaluate: {why}")),
            )
        })
    }
}
