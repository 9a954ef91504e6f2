//! KYAML: YAML in the flow style alone, strings always quoted, keys where they could be read as something else.
//!
//! As upstream writes it (`sigs.k8s.io/yaml/kyaml`): two blanks a level, lists of objects begin on the line of their key.

use serde_json::{Map, Value};

use super::go_text;

/// One document behind `---`, ended by a line break.
pub fn document(value: &Value) -> String {
    let mut out = "---\n".to_owned();
    node(value, 0, &mut out);
    out.push('\n');
    out
}

fn indent(level: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", level));
}

fn node(value: &Value, level: usize, out: &mut String) {
    match value {
        Value::Object(fields) => mapping(fields, level, out),
        Value::Array(items) => sequence(items, level, out),
        Value::String(text) => string(text, level + 1, out),
        other => out.push_str(&other.to_string()),
    }
}

fn mapping(fields: &Map<String, Value>, level: usize, out: &mut String) {
    if fields.is_empty() {
        return out.push_str("{}");
    }
    let mut keys: Vec<&String> = fields.keys().collect();
    keys.sort();
    out.push_str("{\n");
    for key in keys {
        indent(level + 1, out);
        self::key(key, out);
        out.push_str(": ");
        node(&fields[key], level + 1, out);
        out.push_str(",\n");
    }
    indent(level, out);
    out.push('}');
}

fn sequence(items: &[Value], level: usize, out: &mut String) {
    if items.is_empty() {
        return out.push_str("[]");
    }
    out.push('[');
    if items.iter().all(|item| item.is_object() || item.is_array()) {
        for (index, item) in items.iter().enumerate() {
            out.push_str(if index > 0 { ", " } else { "" });
            node(item, level, out);
        }
    } else {
        out.push('\n');
        for item in items {
            indent(level + 1, out);
            node(item, level + 1, out);
            out.push_str(",\n");
        }
        indent(level, out);
    }
    out.push(']');
}

fn key(key: &str, out: &mut String) {
    if !needs_quotes(key) {
        return out.push_str(key);
    }
    out.push('"');
    key.chars().for_each(|c| escaped(c, out));
    out.push('"');
}

/// A text on one line, or, where it has several, on as many, folded by backslashes.
fn string(text: &str, level: usize, out: &mut String) {
    out.push('"');
    if !text.contains('\n') {
        text.chars().for_each(|c| escaped(c, out));
        return out.push('"');
    }
    out.push_str("\\\n");
    for line in text.split_inclusive('\n') {
        indent(level, out);
        // Blanks at the beginning would be dropped.
        let begins_blank = line.starts_with(|c: char| c.is_whitespace() && c != '\n');
        out.push(if begins_blank { '\\' } else { ' ' });
        line.chars().for_each(|c| escaped(c, out));
        out.push_str("\\\n");
    }
    indent(level, out);
    out.push('"');
}

fn escaped(c: char, out: &mut String) {
    match c {
        '"' | '\\' => out.extend(['\\', c]),
        '\t' => out.push(c),
        '\n' => out.push_str("\\n"),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\r' => out.push_str("\\r"),
        '\u{b}' => out.push_str("\\v"),
        '\0' => out.push_str("\\0"),
        '\u{1b}' => out.push_str("\\e"),
        '\u{85}' => out.push_str("\\N"),
        '\u{a0}' => out.push_str("\\_"),
        '\u{2028}' => out.push_str("\\L"),
        '\u{2029}' => out.push_str("\\P"),
        c if go_text::is_printable(c) => out.push(c),
        c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
        c if (c as u32) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", c as u32)),
        c => out.push_str(&format!("\\U{:08x}", c as u32)),
    }
}

fn needs_quotes(text: &str) -> bool {
    let last = text.chars().count().saturating_sub(1);
    let plain = |(index, c): (usize, char)| {
        c.is_alphanumeric() || c == '_' || (index > 0 && index < last && "-./".contains(c))
    };
    text.is_empty() || is_guessed(text) || !text.chars().enumerate().all(plain)
}

/// Whether readers of YAML could take a text for a number, a date, a truth value or nothing.
fn is_guessed(text: &str) -> bool {
    const WORDS: [&str; 12] = ["null", "true", "false", "t", "f", "y", "n", "yes", "no", "on", "off", "nan"];
    if WORDS.contains(&text.to_lowercase().as_str()) {
        return true;
    }
    let digits = text.replace('_', "");
    let unsigned = digits.trim_start_matches(['+', '-']);
    let of_base = |prefix: [&str; 2], base: u32| {
        prefix
            .iter()
            .any(|p| unsigned.strip_prefix(p).is_some_and(|rest| i64::from_str_radix(rest, base).is_ok()))
    };
    if digits.parse::<i64>().is_ok() || digits.parse::<f64>().is_ok() {
        return true;
    }
    of_base(["0x", "0X"], 16) || of_base(["0b", "0B"], 2) || of_base(["0o", "0O"], 8) || is_date(text)
}

/// `2006-1-2`
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let short = |part: &str| (1..=2).contains(&part.len());
    let number = |part: &str| part.parse::<i8>().ok();
    year.len() == 4
        && short(month)
        && short(day)
        && year
            .parse::<i16>()
            .ok()
            .zip(number(month))
            .zip(number(day))
            .is_some_and(|((year, month), day)| jiff::civil::Date::new(year, month, day).is_ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_in_braces_and_strings_quoted() {
        let object =
            json!({"a": [{"b": 1}, {"c": []}], "no": "no", "l": ["x"], "m": {}, "1": null, "a/b.c-d": true});
        let expected = "---\n{\n  \"1\": null,\n  a: [{\n    b: 1,\n  }, {\n    c: [],\n  }],\n  a/b.c-d: true,\n  \
                        l: [\n    \"x\",\n  ],\n  m: {},\n  \"no\": \"no\",\n}\n";
        assert_eq!(document(&object), expected);
    }

    #[test]
    fn lines_are_folded() {
        let said = document(&json!({"k": "a\n  b\n\nc"}));
        assert_eq!(
            said,
            "---\n{\n  k: \"\\\n     a\\n\\\n    \\  b\\n\\\n     \\n\\\n     c\\\n    \",\n}\n"
        );
    }

    #[test]
    fn keys_that_mean_something_else_are_quoted() {
        for key in ["Yes", "0x1", "1e3", "2006-01-02", "s p", "", "-a", "1_000", "~"] {
            assert!(needs_quotes(key), "{key}");
        }
        for key in ["a-b", "a.b", "ca.crt", "a/b", "_x", "2006-13-02"] {
            assert!(!needs_quotes(key), "{key}");
        }
    }
}
