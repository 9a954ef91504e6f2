//! [`Conditions`]: expressions that say whether a webhook or policy is asked about a request. Upstream:
//! `k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions`.

use std::sync::Arc;

use api::Object;
use expressions::{Budget, Fault, Foreign, Program, Type, Value as Cel};
use resources::conditions::{self, CALL_BUDGET, MATCH_BUDGET, Scope};
use serde::Deserialize;
use serde_json::Value;

static DYN: Type = Type::Dyn;

/// What expressions see.
pub(super) struct Inputs<'a> {
    pub object: Option<&'a Object>,
    pub old: Option<&'a Object>,
    /// The request, see [`super::asked`].
    pub request: &'a Value,
    pub namespace: Option<&'a Value>,
    pub authorizer: Arc<dyn Foreign>,
    pub params: Option<&'a Value>,
    /// The values of a policy's variables, by name.
    pub variables: Option<Arc<Vec<(Cel<'a>, Cel<'a>)>>>,
}

impl<'a> Inputs<'a> {
    /// The value of a variable.
    pub(super) fn value(&self, name: &str) -> Cel<'a> {
        let object = |object: Option<&'a Object>| object.map_or(Cel::Null, |o| Cel::Object(&o.0, &DYN));
        match name {
            "object" => object(self.object),
            "oldObject" => object(self.old),
            "request" => Cel::read(self.request, conditions::request_type()),
            "namespaceObject" => {
                self.namespace.map_or(Cel::Null, |of| Cel::read(of, conditions::namespace_type()))
            }
            "authorizer" => Cel::Foreign(Arc::clone(&self.authorizer)),
            "params" => self.params.map_or(Cel::Null, |of| Cel::read(of, &DYN)),
            "variables" => self.variables.clone().map_or_else(|| Cel::Map(Arc::default()), Cel::Map),
            _ => Cel::Null,
        }
    }

    /// The values of all variables of a scope.
    pub(super) fn values(&self, scope: &Scope) -> Vec<Cel<'a>> {
        scope.names().map(|name| self.value(name)).collect()
    }
}

/// An expression as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Written {
    pub name: String,
    pub expression: String,
}

/// The conditions of a webhook or policy.
pub(super) struct Conditions {
    scope: Scope,
    all: Vec<(Written, Result<Program, String>)>,
}

/// What comes of conditions.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Holds,
    /// One does not: nobody is asked.
    Excluded,
    /// None is false, and some have no value.
    Failed(String),
}

impl Conditions {
    pub(super) fn new(scope: Scope, written: Vec<Written>) -> Self {
        let compile = |written: Written| {
            let program = scope.compile(written.expression.trim(), &[Type::Bool]);
            (written, program)
        };
        let all = written.into_iter().map(compile).collect();
        Self { scope, all }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Evaluates until one does not hold.
    pub(super) fn judge(&self, inputs: &Inputs<'_>) -> Judged {
        let values = inputs.values(&self.scope);
        let mut budget = Budget::steps(MATCH_BUDGET);
        let mut failures = Vec::new();
        for (written, program) in &self.all {
            let result = match program {
                Ok(program) => run(program, &values, &mut budget),
                Err(why) => Err(why.clone()),
            };
            match result {
                Ok(Cel::Bool(true)) => {}
                Ok(Cel::Bool(false)) => return Judged::Excluded,
                Ok(_) => {
                    failures.push(format!("expression '{}' did not evaluate to a bool", written.expression))
                }
                Err(why) => {
                    failures.push(format!("expression '{}' resulted in error: {why}", written.expression));
                }
            }
        }
        match failures.as_slice() {
            [] => Judged::Holds,
            [only] => Judged::Failed(only.clone()),
            many => Judged::Failed(format!("[{}]", many.join(", "))),
        }
    }
}

/// Evaluates a program within its part of a budget.
pub(super) fn run<'a>(
    program: &'a Program,
    values: &[Cel<'a>],
    budget: &mut Budget,
) -> Result<Cel<'a>, String> {
    let before = budget.part(CALL_BUDGET);
    let mut left = before.clone();
    let result = program.run(values, &mut left);
    budget.spend(&before, &left);
    result.map_err(|fault| match fault {
        Fault::Failed(why) => why,
        Fault::Spent => "operation cancelled: actual cost limit exceeded".to_owned(),
    })
}
