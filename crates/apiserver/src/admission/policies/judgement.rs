//! Evaluates the expressions of a validating policy about one request and one set of parameters. Pure. Upstream:
//! `k8s.io/apiserver/pkg/admission/plugin/policy/validating/validator.go`.

use expressions::{Budget, Value as Cel};

use super::configured::{Policy, Validation, Validations};
use super::evaluation::{BUDGET, Run, variables};
use crate::admission::conditions::{Inputs, Judged};

const MAX_MESSAGE_BYTES: usize = 5 * 1024;
const MAX_ANNOTATION_BYTES: usize = 10 * 1024;

/// An objection to a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Objection {
    /// The place of the validation in its policy.
    pub index: usize,
    pub message: String,
    pub reason: String,
}

/// What comes of a policy.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    pub objections: Vec<Objection>,
    /// What refuses the request whatever a binding says: audit annotations that have no value.
    pub failures: Vec<String>,
    /// Audit annotations, by key.
    pub annotations: Vec<(String, String)>,
}

/// Evaluates. Expressions without a value are objections, or are passed over, by the policy's failure policy.
pub(super) fn judge<'a>(policy: &'a Policy<Validations>, inputs: &mut Inputs<'a>) -> Judgement {
    let mut judgement = Judgement::default();
    let object = |index, message: String| Objection { index, message, reason: "Invalid".to_owned() };
    match policy.conditions.judge(inputs) {
        Judged::Holds => {}
        Judged::Failed(why) if policy.fails => {
            judgement.objections.push(object(0, why));
            return judgement;
        }
        Judged::Excluded | Judged::Failed(_) => return judgement,
    }
    let mut budget = Budget::steps(BUDGET);
    let unset = variables(policy, inputs, &mut budget);
    let run = Run { inputs, unset: &unset };
    for (index, validation) in policy.rules.all.iter().enumerate() {
        match run.value(&validation.rule, &policy.scope, &mut budget) {
            Ok(Cel::Bool(true)) => {}
            Ok(_) => judgement.objections.push(Objection {
                index,
                message: message(&run, policy, validation, &mut budget),
                reason: validation.reason.clone(),
            }),
            Err(why) if policy.fails => judgement.objections.push(object(index, why)),
            Err(_) => {}
        }
    }
    for (key, expression) in &policy.rules.annotations {
        match run.value(expression, &policy.scope, &mut budget) {
            Ok(Cel::String(text)) if !text.trim().is_empty() => {
                let mut end = text.trim().len().min(MAX_ANNOTATION_BYTES);
                while !text.trim().is_char_boundary(end) {
                    end -= 1;
                }
                judgement.annotations.push((key.clone(), text.trim()[..end].to_owned()));
            }
            Ok(Cel::String(_) | Cel::Null) => {}
            Ok(_) => judgement.failures.push(format!(
                "valueExpression '{}' resulted in unsupported return type. Return type must be either string or null.",
                expression.text
            )),
            Err(why) if policy.fails => judgement.failures.push(why),
            Err(_) => {}
        }
    }
    judgement
}

/// What is said of a validation that does not hold.
fn message<'a>(
    run: &Run<'_, 'a>,
    policy: &Policy<Validations>,
    validation: &'a Validation,
    budget: &mut Budget,
) -> String {
    let computed = validation.message_expression.as_ref().and_then(|expression| {
        match run.value(expression, &policy.rules.message_scope, budget) {
            Ok(Cel::String(text)) => Some(text.trim().to_owned()),
            Ok(_) => None,
            Err(why) => {
                tracing::debug!(why, "a policy's messageExpression has no value");
                None
            }
        }
    });
    let fits = |text: &String| !text.is_empty() && text.len() <= MAX_MESSAGE_BYTES && !text.contains('\n');
    computed.filter(fits).unwrap_or_else(|| match validation.message.as_str() {
        "" => format!("failed expression: {}", validation.rule.text.trim()),
        message => message.to_owned(),
    })
}
