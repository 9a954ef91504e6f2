//! Kubernetes' dialect of JSONPath (`k8s.io/client-go/util/jsonpath`): text with expressions in braces.
//!
//! [`Template::parse`] reads a template (`jsonpath/parse.rs`), [`Template::find`] evaluates it (`jsonpath/evaluate.rs`):
//! one list of results for each node of the template, which [`print()`] writes.

mod evaluate;
mod parse;

use std::borrow::Cow;

use serde_json::Value;

use super::{go_text, json};

/// Templates nest by recursion, in unions and filters; deeper ones are refused.
const MAX_DEPTH: usize = 64;

/// Why a template cannot be read or evaluated, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

fn error<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error(text.into()))
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Text(String),
    Bool(bool),
    Int(i64),
    Float(f64),
    Field(String),
    Wildcard,
    Recursive,
    Identifier(String),
    Array(Slice),
    Filter { left: Vec<Node>, right: Vec<Node>, operator: String },
    Union(Vec<Vec<Node>>),
    List(Vec<Node>),
}

/// `[from:to:step]`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Slice {
    from: Option<i64>,
    to: Option<i64>,
    step: Option<i64>,
    /// `to` follows from `from`: one element is wanted.
    single: bool,
}

/// A value that an expression found: a part of the object, or of the template.
pub type Found<'a> = Cow<'a, Value>;

/// A template that has been read.
#[derive(Debug, Clone)]
pub struct Template {
    nodes: Vec<Node>,
}

impl Template {
    /// # Errors
    /// When the text is no template.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(Self { nodes: parse::template(text, 0)? })
    }

    /// The values that the template's nodes find in `object`, node by node.
    ///
    /// # Errors
    /// When a field is missing (unless that is allowed), an index is out of range, or values do not compare.
    pub fn find<'a>(&'a self, object: &'a Value, allow_missing: bool) -> Result<Vec<Vec<Found<'a>>>, Error> {
        evaluate::Evaluation::new(allow_missing).run(&self.nodes, Some(Cow::Borrowed(object)))
    }
}

/// One node's results: separated by spaces, lists and maps as JSON.
pub fn print(results: &[Found<'_>], out: &mut String) {
    for (index, result) in results.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        match result.as_ref() {
            Value::Array(_) | Value::Object(_) => out.push_str(&json::compact(result)),
            Value::Null => out.push_str("null"),
            other => go_text::push_plain(out, other, false),
        }
    }
}
