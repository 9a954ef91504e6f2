//! Where the parts of a user come from: claims by name, and expressions (CEL).

use std::sync::Arc;

use expressions::{Budget, Fault, Program, Type, Value as Cel};
use resources::conditions::CALL_BUDGET;
use serde_json::{Map, Value};

static ANY: Type = Type::Dyn;

/// Where a part of the user comes from.
#[derive(Debug)]
pub(super) enum Source {
    Claim(String),
    Expression(Program),
}

/// A part of the user.
#[derive(Debug)]
pub(super) struct Mapping {
    pub source: Source,
    pub prefix: String,
}

/// A rule that has to hold.
#[derive(Debug)]
pub(super) struct Check {
    pub program: Program,
    pub message: String,
}

/// What an expression has to be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Bool,
    Text,
    /// A text or several.
    Texts,
}

/// An expression over the claims.
pub(super) fn claims_expression(text: &str, wanted: Wanted) -> Result<Program, String> {
    compile(text, "claims", wanted)
}

/// An expression over the user, which has to be true.
pub(super) fn user_expression(text: &str) -> Result<Program, String> {
    compile(text, "user", Wanted::Bool)
}

fn compile(text: &str, variable: &str, wanted: Wanted) -> Result<Program, String> {
    if text.is_empty() {
        return Err("expression is required".to_owned());
    }
    let of = Type::Map(Arc::new(Type::String), Arc::new(Type::Dyn));
    let program =
        Program::compile(text, &[(variable, &of)]).map_err(|why| format!("compilation failed: {why}"))?;
    let told = match (program.result_type(), wanted) {
        (Type::Dyn, _) | (Type::Bool, Wanted::Bool) | (Type::String, Wanted::Text | Wanted::Texts) => None,
        (Type::List(of), Wanted::Texts) if matches!(**of, Type::Dyn | Type::String) => None,
        (Type::Null, Wanted::Texts) => None,
        (_, Wanted::Bool) => Some("bool"),
        (_, Wanted::Text) => Some("string"),
        (_, Wanted::Texts) => Some("string or list of strings"),
    };
    told.map_or(Ok(program), |told| Err(format!("must evaluate to {told}")))
}

pub(super) fn run<'a>(
    program: &'a Program,
    of: &'a Map<String, Value>,
    budget: &mut Budget,
) -> Result<Cel<'a>, String> {
    let before = budget.part(CALL_BUDGET);
    let mut part = budget.part(CALL_BUDGET);
    let value = program.run(&[Cel::Object(of, &ANY)], &mut part);
    budget.spend(&before, &part);
    value.map_err(|fault| match fault {
        Fault::Spent => "the expression costs too much".to_owned(),
        Fault::Failed(why) => why,
    })
}

impl Mapping {
    /// What has to be one text.
    pub(super) fn text(&self, claims: &Map<String, Value>, budget: &mut Budget) -> Result<String, String> {
        match &self.source {
            Source::Claim(claim) => match claims.get(claim) {
                Some(Value::String(text)) => Ok(format!("{}{text}", self.prefix)),
                Some(_) => Err(format!("the claim {claim:?} is no string")),
                None => Err(format!("the claim {claim:?} is not present")),
            },
            Source::Expression(program) => match run(program, claims, budget)? {
                Cel::String(text) => Ok(text.to_string()),
                _ => Err("the expression must return a string".to_owned()),
            },
        }
    }

    /// What may be one text, several or none.
    pub(super) fn texts(
        &self,
        claims: &Map<String, Value>,
        budget: &mut Budget,
    ) -> Result<Vec<String>, String> {
        let found = match &self.source {
            Source::Claim(claim) => match claims.get(claim) {
                None => Vec::new(),
                Some(Value::String(text)) => vec![text.clone()],
                Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
                    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
                }
                Some(_) => return Err(format!("the claim {claim:?} is no string and no list of strings")),
            },
            Source::Expression(program) => listed(&run(program, claims, budget)?)?,
        };
        Ok(found.into_iter().map(|text| format!("{}{text}", self.prefix)).collect())
    }
}

/// The texts of an expression's value; empty ones are none, as upstream.
fn listed(value: &Cel<'_>) -> Result<Vec<String>, String> {
    const WRONG: &str = "the expression must return a string or a list of strings";
    let items = match value {
        Cel::Null => return Ok(Vec::new()),
        Cel::String(text) => vec![text.to_string()],
        list => {
            let json = list.to_json(1 << 20, 4).map_err(|_| WRONG.to_owned())?;
            let Value::Array(items) = json else { return Err(WRONG.to_owned()) };
            let text = |item: Value| match item {
                Value::String(text) => Ok(text),
                _ => Err(WRONG.to_owned()),
            };
            items.into_iter().map(text).collect::<Result<Vec<_>, _>>()?
        }
    };
    Ok(items.into_iter().filter(|text| !text.is_empty()).collect())
}
