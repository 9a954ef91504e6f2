//! Functions of texts.

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
            let found = regex.find_iter(text).take(limit).map(|found| Value::string(found.as_str()));
            Ok(Value::List(Arc::new(found.collect())))
        }
        ("charAt", [Value::Int(place)]) => {
            let place = usize::try_from(*place).ok().filter(|place| *place <= text.chars().count());
            match place {
                Some(place) => {
                    Ok(Value::string(text.chars().nth(place).map(String::from).unwrap_or_default()))
                }
                None => failed("index out of range"),
            }
        }
        ("indexOf", [Value::String(part), from @ ..]) => index_of(text, part, from),
        ("lastIndexOf", [Value::String(part)]) => {
            Ok(text.rfind(&**part).map_or(Value::Int(-1), |at| place(text, at)))
        }
        ("lowerAscii", []) => Ok(Value::string(text.to_ascii_lowercase())),
        ("upperAscii", []) => Ok(Value::string(text.to_ascii_uppercase())),
        ("trim", []) => Ok(Value::string(text.trim())),
        ("reverse", []) => Ok(Value::string(text.chars().rev().collect::<String>())),
        ("replace", [Value::String(old), Value::String(new), limit @ ..]) => {
            let limit = match limit {
                [Value::Int(limit)] if *limit >= 0 => usize::try_from(*limit).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            let count = (text.matches(&**old).count() as u64).min(limit as u64);
            budget.charge(count * (new.len() as u64 / 10 + 1))?;
            Ok(Value::string(text.replacen(&**old, new, limit)))
        }
        ("split", [Value::String(by), limit @ ..]) => split(text, by, limit, budget),
        ("substring", [Value::Int(from), to @ ..]) => substring(text, *from, to),
        ("format", [list]) => format(text, list, budget),
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

fn index_of<'a>(text: &str, part: &str, from: &[Value<'a>]) -> Evaluated<'a> {
    let from = match from {
        [] => Some(0),
        [Value::Int(from)] => byte_of(text, *from),
        _ => return no_overload(),
    };
    let Some(from) = from else { return failed("index out of range") };
    Ok(text[from..].find(part).map_or(Value::Int(-1), |at| place(text, from + at)))
}

fn split<'a>(text: &str, by: &str, limit: &[Value<'a>], budget: &mut Budget) -> Evaluated<'a> {
    budget.charge(text.len() as u64 / 10 + 1)?;
    let parts: Vec<&str> = match (limit, by) {
        ([Value::Int(0)], _) => Vec::new(),
        ([Value::Int(limit)], by) if *limit > 0 => {
            text.splitn(usize::try_from(*limit).unwrap_or(usize::MAX), by).collect()
        }
        (_, "") => text.split("").filter(|part| !part.is_empty()).collect(),
        (_, by) => text.split(by).collect(),
    };
    budget.charge(parts.len() as u64)?;
    Ok(Value::List(Arc::new(parts.into_iter().map(Value::string).collect())))
}

fn substring<'a>(text: &str, from: i64, to: &[Value<'a>]) -> Evaluated<'a> {
    let to = match to {
        [] => Some(text.len()),
        [Value::Int(to)] => byte_of(text, *to),
        _ => return no_overload(),
    };
    match (byte_of(text, from), to) {
        (Some(from), Some(to)) if from <= to => Ok(Value::string(&text[from..to])),
        _ => failed("index out of range"),
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

/// A value inside a list or map that is printed.
fn shown(value: &Value<'_>, budget: &mut Budget) -> Result<String, Fault> {
    budget.charge(1)?;
    if let Value::String(text) = value {
        budget.charge(text.len() as u64 / 10)?;
        return Ok(text.to_string());
    }
    if let Some(items) = value.items() {
        let items = items.iter().map(|item| shown(item, budget)).collect::<Result<Vec<_>, _>>()?;
        return Ok(format!("[{}]", items.join(", ")));
    }
    if let Some(entries) = value.entries() {
        let entries = entries
            .iter()
            .map(|(key, value)| Ok(format!("{}: {}", shown(key, budget)?, shown(value, budget)?)));
        return Ok(format!("{{{}}}", entries.collect::<Result<Vec<_>, Fault>>()?.join(", ")));
    }
    text_of(value).ok_or_else(|| Fault::Failed("could not convert argument to string".to_owned()))
}

/// `"%s is %d".format([a, b])`
fn format<'a>(text: &str, list: &Value<'a>, budget: &mut Budget) -> Evaluated<'a> {
    let mut items = list.items().unwrap_or_default().into_iter();
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let digits = rest
            .strip_prefix('.')
            .map_or("", |after| &after[..after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len())]);
        if rest.starts_with('.') {
            rest = &rest[1 + digits.len()..];
        }
        let Some(verb) = rest.chars().next() else {
            return failed("could not parse formatting clause: unexpected end of string");
        };
        rest = &rest[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(item) = items.next() else { return failed("index 0 out of range") };
        let precision: usize = digits.parse().unwrap_or(6).min(100);
        match (verb, &item) {
            ('s', _) => out.push_str(&shown(&item, budget)?),
            ('d', Value::Int(_) | Value::Uint(_)) => out.push_str(&text_of(&item).unwrap_or_default()),
            ('f', Value::Double(n)) => out.push_str(&format!("{n:.precision$}")),
            ('e', Value::Double(n)) => out.push_str(&format!("{n:.precision$e}")),
            ('b', Value::Int(n)) => out.push_str(&format!("{n:b}")),
            ('b', Value::Bool(flag)) => out.push_str(if *flag { "1" } else { "0" }),
            ('o', Value::Int(n)) => out.push_str(&format!("{n:o}")),
            ('x', Value::Int(n)) => out.push_str(&format!("{n:x}")),
            ('X', Value::Int(n)) => out.push_str(&format!("{n:X}")),
            _ => return failed(format!("unrecognized formatting clause \"{verb}\"")),
        }
    }
    out.push_str(rest);
    Ok(Value::string(out))
}
