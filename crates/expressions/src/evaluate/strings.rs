//! Functions of texts.

mod format;

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::{Budget, Evaluated, Fault, failed, index_value, no_overload};
use crate::value::Value;

/// The largest program of a pattern, in bytes.
const PATTERN_BYTES: usize = 1 << 20;
/// What building a pattern costs, beside its length.
const PATTERN_STEPS: u64 = 50;

pub(super) fn call<'a>(
    name: &str,
    of: &Value<'a>,
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Evaluated<'a> {
    let Value::String(text) = of else { return no_overload() };
    match (name, arguments) {
        ("contains", [Value::String(part)]) => {
            budget.charge(1 + text.len() as u64 / 10)?;
            Ok(Value::Bool(text.contains(&**part)))
        }
        ("startsWith", [Value::String(part)]) => Ok(Value::Bool(text.starts_with(&**part))),
        ("endsWith", [Value::String(part)]) => Ok(Value::Bool(text.ends_with(&**part))),
        ("matches", [Value::String(pattern)]) => {
            Ok(Value::Bool(regex(pattern, text, budget)?.is_match(text)))
        }
        ("find", [Value::String(pattern)]) => {
            let found = regex(pattern, text, budget)?.find(text).map_or("", |found| found.as_str());
            Ok(Value::string(found))
        }
        ("findAll", [Value::String(pattern), limit @ ..]) => {
            let limit = match limit {
                [Value::Int(limit)] => usize::try_from(*limit).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            let regex = regex(pattern, text, budget)?;
            listed(regex.find_iter(text).take(limit).map(|found| found.as_str()), budget)
        }
        ("charAt", [Value::Int(place)]) => match byte_of(text, *place) {
            Some(at) => Ok(Value::string(text[at..].chars().next().map(String::from).unwrap_or_default())),
            None => out_of_range(*place),
        },
        ("indexOf", [Value::String(part), from @ ..]) => index_of(text, part, from),
        ("lastIndexOf", [Value::String(part), to @ ..]) => last_index_of(text, part, to),
        ("lowerAscii", []) => Ok(Value::string(text.to_ascii_lowercase())),
        ("upperAscii", []) => Ok(Value::string(text.to_ascii_uppercase())),
        ("trim", []) => Ok(Value::string(text.trim())),
        ("replace", [Value::String(old), Value::String(new), limit @ ..]) => {
            let limit = match limit {
                [Value::Int(limit)] if *limit >= 0 => usize::try_from(*limit).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            let count = (text.matches(&**old).count() as u64).min(limit as u64);
            budget.charge(count.saturating_mul(new.len() as u64 / 10 + 1))?;
            budget.make(text.len())?;
            Ok(Value::string(text.replacen(&**old, new, limit)))
        }
        ("split", [Value::String(by), limit @ ..]) => split(text, by, limit, budget),
        ("substring", [Value::Int(from), to @ ..]) => substring(text, *from, to),
        ("format", [list]) => format::filled(text, list, budget),
        _ => no_overload(),
    }
}

fn regex(pattern: &str, text: &str, budget: &mut Budget) -> Result<Regex, Fault> {
    // Upstream: the text's length by the pattern's.
    let product = (text.len() as u64 / 10 + 1).saturating_mul(pattern.len() as u64 / 4 + 1);
    budget.charge(product.saturating_add(PATTERN_STEPS))?;
    let built = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
    built.map_err(|error| Fault::Failed(error.to_string()))
}

/// The place of a byte among the characters.
fn place<'a>(text: &str, at: usize) -> Value<'a> {
    index_value(text[..at].chars().count())
}

/// The byte where a character begins.
fn byte_of(text: &str, character: i64) -> Option<usize> {
    let wanted = usize::try_from(character).ok()?;
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(wanted)
}

/// The first place of a part that begins at or behind a place. An empty part is where it is looked for; behind the end
/// there is nothing (cel-go's `ext/strings.go`, as of v0.26).
fn index_of<'a>(text: &str, part: &str, from: &[Value<'a>]) -> Evaluated<'a> {
    let wanted = match from {
        [] => 0,
        [Value::Int(from)] => *from,
        _ => return no_overload(),
    };
    if part.is_empty() {
        return Ok(Value::Int(wanted));
    }
    if wanted < 0 {
        return out_of_range(wanted);
    }
    let Some(from) = byte_of(text, wanted) else { return Ok(Value::Int(-1)) };
    Ok(text[from..].find(part).map_or(Value::Int(-1), |at| place(text, from + at)))
}

/// The last place of a part that begins at or before a place, also within another one.
fn last_index_of<'a>(text: &str, part: &str, to: &[Value<'a>]) -> Evaluated<'a> {
    let end = match to {
        [] if part.is_empty() => return Ok(place(text, text.len())),
        [] => text.len(),
        [Value::Int(to)] if part.is_empty() => return Ok(Value::Int(*to)),
        [Value::Int(to)] if *to < 0 => return out_of_range(*to),
        [Value::Int(to)] => match byte_of(text, *to) {
            Some(begin) if begin < text.len() => text.floor_char_boundary(begin.saturating_add(part.len())),
            _ => return Ok(Value::Int(-1)),
        },
        _ => return no_overload(),
    };
    Ok(text[..end].rfind(part).map_or(Value::Int(-1), |at| place(text, at)))
}

fn out_of_range<T>(place: i64) -> Result<T, Fault> {
    failed(format!("index out of range: {place}"))
}

/// A text as the language writes it.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

fn split<'a>(text: &str, by: &str, limit: &[Value<'a>], budget: &mut Budget) -> Evaluated<'a> {
    budget.charge(text.len() as u64 / 10 + 1)?;
    match (limit, by) {
        ([Value::Int(0)], _) => listed(std::iter::empty(), budget),
        ([Value::Int(limit)], by) if *limit > 0 => {
            listed(text.splitn(usize::try_from(*limit).unwrap_or(usize::MAX), by), budget)
        }
        (_, "") => listed(text.split("").filter(|part| !part.is_empty()), budget),
        (_, by) => listed(text.split(by), budget),
    }
}

/// A list of texts, each of which costs before it is made.
fn listed<'a, 't>(texts: impl Iterator<Item = &'t str>, budget: &mut Budget) -> Evaluated<'a> {
    let mut out = Vec::new();
    for text in texts {
        budget.charge(1)?;
        out.push(Value::string(text));
    }
    Ok(Value::List(Arc::new(out)))
}

fn substring<'a>(text: &str, from: i64, to: &[Value<'a>]) -> Evaluated<'a> {
    let end = match to {
        [] => Some(text.len()),
        [Value::Int(to)] => byte_of(text, *to),
        _ => return no_overload(),
    };
    match (byte_of(text, from), end, to) {
        (Some(start), Some(end), _) if start <= end => Ok(Value::string(&text[start..end])),
        (Some(_), Some(_), [Value::Int(to)]) => {
            failed(format!("invalid substring range. start: {from}, end: {to}"))
        }
        (Some(_), None, [Value::Int(to)]) => out_of_range(*to),
        _ => out_of_range(from),
    }
}

/// How many bytes the text of a value has, where that depends on the value.
pub(super) fn text_bytes(value: &Value<'_>) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Type(name) => name.len(),
        _ => 0,
    }
}

/// How a value reads as a text; `None` of what has none.
pub(super) fn text_of(value: &Value<'_>) -> Option<String> {
    Some(match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Uint(n) => n.to_string(),
        Value::Double(n) => n.to_string(),
        Value::String(text) => text.to_string(),
        Value::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok()?,
        Value::Timestamp(time) => time.to_string(),
        Value::Duration(duration) => format!("{}s", duration.as_secs_f64()),
        Value::Type(name) => name.to_string(),
        Value::Address(address) => address.to_string(),
        Value::Range(address, length) => format!("{address}/{length}"),
        _ => return None,
    })
}
