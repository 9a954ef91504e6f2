//! How Go writes values: floating point numbers, quoted strings, and JSON values as `%v` and `%#v` of package `fmt`
//! print them. What stock kubectl prints through `fmt` comes out the same by these functions.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// A number of JSON as Go's decoder of the API's objects holds it: whole numbers that fit are `int64`, all others
/// `float64`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Numeric {
    Int(i64),
    Float(f64),
}

impl Numeric {
    pub fn of(number: &Number) -> Self {
        number.as_i64().map_or_else(|| Self::Float(number.as_f64().unwrap_or_default()), Self::Int)
    }
}

/// Shortest digits of a finite number that is not negative, and the decimal exponent of the first one.
fn shortest(value: f64) -> (String, i32) {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        return Some("NaN");
    }
    if value.is_infinite() { Some(if value > 0.0 { "+Inf" } else { "-Inf" }) } else { None }
}

/// The shortest text in exponent notation, the exponent of two digits at least: `1.5e+30`.
pub fn float_e(value: f64) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let (digits, exponent) = shortest(value.abs());
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{point}{rest}e{exponent_sign}{:02}", exponent.unsigned_abs())
}

/// Decimal notation without an exponent, shortest.
pub fn float_f(value: f64) -> String {
    special(value).map_or_else(|| format!("{value}"), str::to_owned)
}

/// `%g` and `%v` of a `float64`.
pub fn float_g(value: f64) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let (_, exponent) = shortest(value.abs());
    // Shortest texts count as of precision six where the notation is decided (`strconv/ftoa.go`).
    if value != 0.0 && !(-4..6).contains(&exponent) { float_e(value) } else { float_f(value) }
}

/// A number as `encoding/json` writes it.
pub fn json_number(number: &Number) -> String {
    match Numeric::of(number) {
        Numeric::Int(value) => value.to_string(),
        Numeric::Float(value) => json_float(value),
    }
}

fn json_float(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return float_f(value);
    }
    let text = float_e(value);
    match text.strip_suffix(|c: char| c.is_ascii_digit()).and_then(|head| head.strip_suffix("e-0")) {
        Some(head) => format!("{head}e-{}", &text[text.len() - 1..]),
        None => text,
    }
}

/// Whether Go's `strconv` counts a character as printable.
pub fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\u{a1}'..='\u{ff}' => c != '\u{ad}',
        _ if (c as u32) < 0xa0 => false,
        // Spaces, format characters, private use and what is assigned to nothing.
        '\u{1680}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' => false,
        '\u{3000}' | '\u{feff}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{fffb}' => false,
        '\u{fffe}'..='\u{ffff}' | '\u{e0000}'..='\u{e00ff}' | '\u{f0000}'.. => false,
        _ => true,
    }
}

/// `strconv.Quote`.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        push_quoted(&mut out, c, '"', false);
    }
    out.push('"');
    out
}

/// One character within `delimiter`s, escaped where Go escapes it.
pub fn push_quoted(out: &mut String, c: char, delimiter: char, ascii: bool) {
    match c {
        '\\' => out.push_str("\\\\"),
        _ if c == delimiter => {
            out.push('\\');
            out.push(c);
        }
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        _ if is_printable(c) && (!ascii || c.is_ascii()) => out.push(c),
        _ => {
            let code = c as u32;
            let _ = match code {
                0..0x20 | 0x7f => write!(out, "\\x{code:02x}"),
                0x20..0x1_0000 => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            };
        }
    }
}

/// `%v`: maps as `map[key:value …]` in the order of their keys.
pub fn plain(value: &Value) -> String {
    let mut out = String::new();
    push_plain(&mut out, value, false);
    out
}

/// `%+v` and `%v` are the same for what JSON holds; `quoted` writes strings as `%q` does.
pub fn push_plain(out: &mut String, value: &Value, quoted: bool) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Number(number) => match Numeric::of(number) {
            Numeric::Int(value) => {
                let _ = write!(out, "{value}");
            }
            Numeric::Float(value) => out.push_str(&float_g(value)),
        },
        Value::String(text) if quoted => out.push_str(&quote(text)),
        Value::String(text) => out.push_str(text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                push_plain(out, item, quoted);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push_str("map[");
            for (index, (key, item)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                if quoted {
                    out.push_str(&quote(key));
                } else {
                    out.push_str(key);
                }
                out.push(':');
                push_plain(out, item, quoted);
            }
            out.push(']');
        }
    }
}

/// The name of the type that Go's decoder gives a value.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) => match Numeric::of(number) {
            Numeric::Int(_) => "int64",
            Numeric::Float(_) => "float64",
        },
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// `%#v`: Go's syntax.
pub fn push_syntax(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("interface {}(nil)"),
        Value::String(text) => out.push_str(&quote(text)),
        Value::Array(items) => {
            out.push_str("[]interface {}{");
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                push_syntax(out, item);
            }
            out.push('}');
        }
        Value::Object(fields) => {
            out.push_str("map[string]interface {}{");
            for (index, (key, item)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(&quote(key));
                out.push(':');
                push_syntax(out, item);
            }
            out.push('}');
        }
        Value::Bool(_) | Value::Number(_) => push_plain(out, value, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_go_writes_them() {
        for (value, plain, json) in [
            (1e6, "1e+06", "1000000"),
            (123_456_789.0, "1.23456789e+08", "123456789"),
            (1.5e30, "1.5e+30", "1.5e+30"),
            (0.0001, "0.0001", "0.0001"),
            (0.00001, "1e-05", "0.00001"),
            (1e-7, "1e-07", "1e-7"),
            (-0.5, "-0.5", "-0.5"),
            (0.0, "0", "0"),
            (100_000.0, "100000", "100000"),
        ] {
            assert_eq!(float_g(value), plain, "{value}");
            assert_eq!(json_float(value), json, "{value}");
        }
    }
}
