//! JSON as Go's `encoding/json` writes it: keys in order, `<`, `>` and `&` escaped, numbers in Go's notation.

use std::fmt::Write as _;

use serde_json::Value;

use super::go_text;

/// Indented by four spaces a level, as `json.MarshalIndent`; ends without a line break.
pub fn indented(value: &Value) -> String {
    let mut out = String::new();
    push(&mut out, value, Some(0));
    out
}

/// On one line, as `json.Marshal`.
pub fn compact(value: &Value) -> String {
    let mut out = String::new();
    push(&mut out, value, None);
    out
}

fn push(out: &mut String, value: &Value, level: Option<usize>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&go_text::json_number(number)),
        Value::String(text) => push_string(out, text),
        Value::Array(items) if items.is_empty() => out.push_str("[]"),
        Value::Object(fields) if fields.is_empty() => out.push_str("{}"),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(out, index, level);
                push(out, item, level.map(|l| l + 1));
            }
            new_line(out, level);
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (index, (key, item)) in fields.iter().enumerate() {
                separate(out, index, level);
                push_string(out, key);
                out.push_str(if level.is_some() { ": " } else { ":" });
                push(out, item, level.map(|l| l + 1));
            }
            new_line(out, level);
            out.push('}');
        }
    }
}

fn separate(out: &mut String, index: usize, level: Option<usize>) {
    if index > 0 {
        out.push(',');
    }
    new_line(out, level.map(|l| l + 1));
}

fn new_line(out: &mut String, level: Option<usize>) {
    if let Some(level) = level {
        out.push('\n');
        out.extend(std::iter::repeat_n("    ", level));
    }
}

fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}
