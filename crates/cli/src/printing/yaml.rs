//! YAML as stock kubectl writes it: JSON values through go-yaml version 2, whose emitter is libyaml's.
//!
//! Where a string is quoted, and how lines are folded, is libyaml's analysis of scalars (`yaml/scalar.rs`) and go-yaml's
//! question whether the string would be read back as something else (`yaml/resolve.rs`).

mod keys;
mod resolve;
mod scalar;

use std::collections::VecDeque;

use serde_json::{Map, Number, Value};

use super::go_text;
use scalar::{Analysis, Style};

/// Lines are folded at the first space behind this column.
const BEST_WIDTH: usize = 80;
/// Longer keys are written in the form of complex ones (`? key`).
const SIMPLE_KEY_BYTES: usize = 128;

/// One document, ended by a line break.
pub fn document(value: &Value) -> String {
    let mut emitter = Emitter { whitespace: true, indention: true, ..Emitter::default() };
    emitter.node(value, Place::Root, -1);
    if !emitter.out.ends_with('\n') {
        emitter.out.push('\n');
    }
    emitter.out
}

/// Where a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Item,
    /// The value of a key; sequences are not indented further there.
    Value,
    SimpleKey,
    ComplexKey,
}

#[derive(Debug, Default)]
struct Emitter {
    out: String,
    column: usize,
    /// The last character written was white space or an indicator that needs none behind it.
    whitespace: bool,
    /// Only white space and `-`, `?`, `:` stand in the line so far.
    indention: bool,
}

impl Emitter {
    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn put_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    /// A break that is part of a scalar's text.
    fn write_break(&mut self, c: char) {
        self.out.push(c);
        self.column = 0;
    }

    fn write_indent(&mut self, indent: i32) {
        let indent = usize::try_from(indent).unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.put_break();
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn indicator(&mut self, text: &str, need_whitespace: bool, is_whitespace: bool, is_indention: bool) {
        if need_whitespace && !self.whitespace {
            self.put(' ');
        }
        for c in text.chars() {
            self.put(c);
        }
        self.whitespace = is_whitespace;
        self.indention = self.indention && is_indention;
    }

    fn node(&mut self, value: &Value, place: Place, indent: i32) {
        match value {
            Value::Null => self.scalar("null", Style::Plain, place, indent),
            Value::Bool(true) => self.scalar("true", Style::Plain, place, indent),
            Value::Bool(false) => self.scalar("false", Style::Plain, place, indent),
            Value::Number(value) => self.scalar(&number(value), Style::Plain, place, indent),
            Value::String(text) => self.string(text, place, indent),
            Value::Array(items) if items.is_empty() => self.empty("[", "]"),
            Value::Object(fields) if fields.is_empty() => self.empty("{", "}"),
            Value::Array(items) => self.sequence(items, place, indent),
            Value::Object(fields) => self.mapping(fields, indent),
        }
    }

    fn empty(&mut self, open: &str, close: &str) {
        self.indicator(open, true, true, false);
        self.indicator(close, false, false, false);
    }

    fn sequence(&mut self, items: &[Value], place: Place, indent: i32) {
        let indentless = place == Place::Value && !self.indention;
        let inner = deeper(indent, indentless);
        for item in items {
            self.write_indent(inner);
            self.indicator("-", true, false, true);
            self.node(item, Place::Item, inner);
        }
    }

    fn mapping(&mut self, fields: &Map<String, Value>, indent: i32) {
        let inner = deeper(indent, false);
        for (key, value) in keys::sorted(fields) {
            self.write_indent(inner);
            if key.len() <= SIMPLE_KEY_BYTES && !Analysis::of(key).multiline {
                self.string(key, Place::SimpleKey, inner);
                self.indicator(":", false, false, false);
            } else {
                self.indicator("?", true, false, true);
                self.string(key, Place::ComplexKey, inner);
                self.write_indent(inner);
                self.indicator(":", true, false, true);
            }
            self.node(value, Place::Value, inner);
        }
    }

    fn string(&mut self, text: &str, place: Place, indent: i32) {
        let style = if text.contains('\n') {
            Style::Literal
        } else if resolve::is_string(text) {
            Style::Plain
        } else {
            Style::DoubleQuoted
        };
        self.scalar(text, style, place, indent);
    }

    fn scalar(&mut self, text: &str, wanted: Style, place: Place, indent: i32) {
        let analysis = Analysis::of(text);
        let key = place == Place::SimpleKey;
        let indent = if indent < 0 { 2 } else { indent + 2 };
        match scalar::select(&analysis, wanted, text, key) {
            Style::Plain => self.plain(text, !key, indent),
            Style::SingleQuoted => self.single_quoted(text, !key, indent),
            Style::DoubleQuoted => self.double_quoted(text, !key, indent),
            Style::Literal => self.literal(text, indent),
        }
    }

    /// Whether a space may become a line break here.
    fn folds(&self, allowed: bool, after_space: bool) -> bool {
        allowed && !after_space && self.column > BEST_WIDTH
    }

    fn plain(&mut self, text: &str, folding: bool, indent: i32) {
        if !self.whitespace && !text.is_empty() {
            self.put(' ');
        }
        self.flowing(text, folding, indent, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn single_quoted(&mut self, text: &str, folding: bool, indent: i32) {
        self.indicator("'", true, false, false);
        self.flowing(text, folding, indent, true);
        self.indicator("'", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    /// The text of plain and single quoted scalars.
    fn flowing(&mut self, text: &str, folding: bool, indent: i32, quoted: bool) {
        let (mut spaces, mut breaks) = (false, false);
        let mut rest: VecDeque<char> = text.chars().collect();
        let mut first = true;
        while let Some(c) = rest.pop_front() {
            let last = rest.is_empty();
            if c == ' ' {
                let inside = !quoted || (!first && !last);
                if self.folds(folding, spaces) && inside && rest.front() != Some(&' ') {
                    self.write_indent(indent);
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else if scalar::is_break(c) {
                if !breaks && c == '\n' {
                    self.put_break();
                }
                self.write_break(c);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.write_indent(indent);
                }
                if quoted && c == '\'' {
                    self.put('\'');
                }
                self.put(c);
                self.indention = false;
                (spaces, breaks) = (false, false);
            }
            first = false;
        }
    }

    fn double_quoted(&mut self, text: &str, folding: bool, indent: i32) {
        self.indicator("\"", true, false, false);
        let mut spaces = false;
        let mut rest = text.chars().peekable();
        let mut first = true;
        while let Some(c) = rest.next() {
            if scalar::is_escaped(c) {
                for c in scalar::escape(c).chars() {
                    self.put(c);
                }
                spaces = false;
            } else if c == ' ' {
                if self.folds(folding, spaces) && !first && rest.peek().is_some() {
                    self.write_indent(indent);
                    if rest.peek() == Some(&' ') {
                        self.put('\\');
                    }
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else {
                self.put(c);
                spaces = false;
            }
            first = false;
        }
        self.indicator("\"", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn literal(&mut self, text: &str, indent: i32) {
        self.indicator("|", true, false, false);
        let hints = scalar::block_hints(text);
        self.indicator(&hints, false, false, false);
        self.put_break();
        self.indention = true;
        self.whitespace = true;
        let mut breaks = true;
        for c in text.chars() {
            if scalar::is_break(c) {
                self.write_break(c);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.write_indent(indent);
                }
                self.put(c);
                self.indention = false;
                breaks = false;
            }
        }
    }
}

fn deeper(indent: i32, indentless: bool) -> i32 {
    if indent < 0 {
        0
    } else if indentless {
        indent
    } else {
        indent + 2
    }
}

/// A number goes through JSON's text, which YAML reads as a whole number where it is one.
fn number(number: &Number) -> String {
    let text = go_text::json_number(number);
    if text == "-0" {
        return "0".to_owned();
    }
    if text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok() {
        return text;
    }
    text.parse::<f64>().map_or(text, go_text::float_g)
}
