//! Go's `text/template`, for values of JSON: `-o go-template`.
//!
//! [`Template::parse`] reads a text through tokens (`template/lex.rs`) into nodes (`template/parse.rs`,
//! `template/node.rs`); [`Template::execute`] walks them (`template/execute.rs`) with the functions of
//! `template/functions.rs`, among them `printf` (`template/format.rs`). What is wrong is said in Go's words.
//! Left out are complex numbers and what only Go's own types have: methods, fields of structs, channels.

mod execute;
mod format;
mod functions;
mod lex;
mod node;
mod number;
mod parse;
mod value;

use std::collections::BTreeMap;

use serde_json::Value;

/// The name of the template in errors; stock kubectl's.
const NAME: &str = "output";
/// Blocks, parentheses and calls of templates nest no deeper.
const MAX_DEPTH: usize = 200;
/// A template that writes more is stopped.
const MAX_OUTPUT_BYTES: usize = 256 << 20;

/// A text that has been read, with the templates that it defines.
#[derive(Debug)]
pub struct Template {
    text: String,
    trees: BTreeMap<String, Vec<node::Node>>,
}

impl Template {
    /// # Errors
    /// Go's description of the first mistake.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trees = parse::parse(text)?;
        Ok(Self { text: text.to_owned(), trees })
    }

    /// Writes to `out` what the template makes of `data`.
    ///
    /// # Errors
    /// Go's description of what could not be done; `out` then holds what was written before.
    pub fn execute(&self, data: &Value, allow_missing: bool, out: &mut String) -> Result<(), String> {
        execute::execute(self, data, allow_missing, out)
    }
}

/// An object as templates see it: whole numbers are `int64`s even where JSON wrote them with a fraction of zero, since
/// stock kubectl writes and reads the object once more before.
pub fn data(object: &Value) -> Value {
    match object {
        Value::Number(number) => {
            let text = crate::printing::go_text::json_number(number);
            text.parse::<i64>().map_or_else(|_| object.clone(), Value::from)
        }
        Value::Array(items) => Value::Array(items.iter().map(data).collect()),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), data(value))).collect(),
        other => other.clone(),
    }
}
