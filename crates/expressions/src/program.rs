//! [`Program`]: an expression that was read and checked.

use std::fmt;

use crate::check;
use crate::cost::{self, Extent};
use crate::evaluate::{self, Budget, Fault};
use crate::parser;
use crate::syntax::Expr;
use crate::types::Type;
use crate::value::Value;

/// See the module's documentation.
#[derive(Debug)]
pub struct Program {
    expr: Expr,
    of: Type,
    names: Vec<String>,
}

/// Why an expression is none, as upstream's compiler says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected(String);

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Program {
    /// Reads and checks an expression over variables of the given types.
    ///
    /// # Errors
    /// What is wrong, with its line and column.
    pub fn compile(text: &str, variables: &[(&str, &Type)]) -> Result<Self, Rejected> {
        Self::read(text, variables, false)
    }

    /// The same, of an expression that may make objects: `Object{…}`, `Object.spec{…}` and `JSONPatch{…}`.
    ///
    /// # Errors
    /// What is wrong, with its line and column.
    pub fn compile_making(text: &str, variables: &[(&str, &Type)]) -> Result<Self, Rejected> {
        Self::read(text, variables, true)
    }

    fn read(text: &str, variables: &[(&str, &Type)], makes: bool) -> Result<Self, Rejected> {
        let rejected = |(at, what): (usize, String)| Rejected(pointed(text, at, &what));
        let expr = parser::parse(text).map_err(rejected)?;
        let of = check::check(&expr, variables, makes).map_err(rejected)?;
        Ok(Self { expr, of, names: variables.iter().map(|(name, _)| (*name).to_owned()).collect() })
    }

    /// The type of the result.
    pub fn result_type(&self) -> &Type {
        &self.of
    }

    /// Whether the expression speaks of a variable.
    pub fn mentions(&self, name: &str) -> bool {
        evaluate::mentions(&self.expr, name)
    }

    /// What the expression costs at most where every variable is of the extent. The types are those that the variables
    /// were declared with, in order.
    pub fn worst_cost(&self, types: &[&Type], extent: &Extent) -> u64 {
        let variables: Vec<(&str, &Type)> =
            self.names.iter().map(String::as_str).zip(types.iter().copied()).collect();
        cost::worst(&self.expr, &variables, extent)
    }

    /// Evaluates the expression with the variables' values, in the order in which they were declared.
    ///
    /// # Errors
    /// When the expression has no value for these, or the budget is spent.
    pub fn run<'a>(&'a self, values: &[Value<'a>], budget: &mut Budget) -> Result<Value<'a>, Fault> {
        let known = self.names.iter().map(String::as_str).zip(values.iter().cloned()).collect();
        evaluate::evaluate(&self.expr, known, budget)
    }
}

/// The message with the place that it is about.
fn pointed(text: &str, at: usize, what: &str) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count();
    let column = before.rsplit('\n').next().unwrap_or("").chars().count();
    let source = text.lines().nth(line).unwrap_or("");
    let dots = ".".repeat(column);
    format!("ERROR: <input>:{}:{}: {what}\n | {source}\n | {dots}^", line + 1, column + 1)
}
