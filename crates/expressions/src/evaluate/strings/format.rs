//! `"%s is %d".format([a, b])`, in the form that cel-go's `ext/formatting.go` has for its first versions.

use std::fmt::Write as _;

use super::super::{Budget, Evaluated, Fault, failed};
use super::{quoted, text_bytes, text_of};
use crate::value::Value;

/// The most digits behind the point.
const MAX_PRECISION: usize = 1_000;

/// The text with its clauses replaced by the values of a list.
pub(super) fn filled<'a>(text: &str, list: &Value<'a>, budget: &mut Budget) -> Evaluated<'a> {
    let items = list.items().unwrap_or_default();
    let (mut out, mut used, mut rest) = (String::new(), 0, text);
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let (precision, clause, after) = clause(&rest[at + 1..])?;
        rest = after;
        if clause == '%' {
            out.push('%');
            continue;
        }
        let Some(item) = items.get(used) else { return failed(format!("index {used} out of range")) };
        used += 1;
        budget.charge(1 + precision.unwrap_or(0) as u64 / 10)?;
        out.push_str(&one(clause, precision.unwrap_or(6), item, budget)?);
    }
    if used < items.len() {
        return failed(format!(
            "too many arguments supplied to string.format (expected {used}, got {})",
            items.len()
        ));
    }
    out.push_str(rest);
    Ok(Value::string(out))
}

/// The precision and letter of a clause, and what follows it.
fn clause(text: &str) -> Result<(Option<usize>, char, &str), Fault> {
    let unread = |why: &str| Fault::Failed(format!("could not parse formatting clause: {why}"));
    let (precision, rest) = match text.strip_prefix('.') {
        None => (None, text),
        Some(after) => {
            let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            let digits: usize =
                after[..end].parse().map_err(|_| unread("error while parsing precision: not a number"))?;
            if digits > MAX_PRECISION {
                return Err(unread(&format!("precision exceeds the largest one, {MAX_PRECISION}")));
            }
            (Some(digits), &after[end..])
        }
    };
    let letter = rest.chars().next().ok_or_else(|| unread("unexpected end of string"))?;
    Ok((precision, letter, &rest[letter.len_utf8()..]))
}

/// A value in the form of a clause.
fn one(letter: char, precision: usize, item: &Value<'_>, budget: &mut Budget) -> Result<String, Fault> {
    let wrong =
        |wants: &str| failed(format!("error during formatting: {wants}, was given {}", item.type_name()));
    match (letter, item) {
        ('s', Value::String(text)) => {
            budget.make(text.len())?;
            Ok(text.to_string())
        }
        ('s', Value::Double(n)) => Ok(n.to_string()),
        ('s', Value::Timestamp(_) | Value::Duration(_) | Value::Bytes(_)) => {
            budget.make(text_bytes(item))?;
            text_of(item)
                .map_or_else(|| wrong("string clause can only be used on strings and what has a text"), Ok)
        }
        ('s', _) => shown(item, budget),
        ('d', Value::Int(n)) => Ok(n.to_string()),
        ('d', Value::Uint(n)) => Ok(n.to_string()),
        ('d', _) => wrong("decimal clause can only be used on integers"),
        ('f', Value::Double(n)) => Ok(format!("{n:.precision$}")),
        ('f', _) => wrong("fixed-point clause can only be used on doubles"),
        ('e', Value::Double(n)) => Ok(scientific(*n, precision)),
        ('e', _) => wrong("scientific clause can only be used on doubles"),
        ('b', Value::Bool(flag)) => Ok(u8::from(*flag).to_string()),
        ('b', Value::Int(n)) => Ok(signed(*n, format!("{:b}", n.unsigned_abs()))),
        ('b', Value::Uint(n)) => Ok(format!("{n:b}")),
        ('b', _) => wrong("only integers and bools can be formatted as binary"),
        ('o', Value::Int(n)) => Ok(signed(*n, format!("{:o}", n.unsigned_abs()))),
        ('o', Value::Uint(n)) => Ok(format!("{n:o}")),
        ('o', _) => wrong("octal clause can only be used on integers"),
        ('x' | 'X', _) => {
            budget.make(text_bytes(item).saturating_mul(2))?;
            match hexadecimal(item) {
                Some(text) if letter == 'X' => Ok(text.to_uppercase()),
                Some(text) => Ok(text),
                None => wrong(HEXADECIMAL),
            }
        }
        _ => {
            failed(format!("could not parse formatting clause: unrecognized formatting clause \"{letter}\""))
        }
    }
}

const HEXADECIMAL: &str = "only integers, byte buffers, and strings can be formatted as hex";

fn signed(number: i64, digits: String) -> String {
    if number < 0 { format!("-{digits}") } else { digits }
}

fn hexadecimal(item: &Value<'_>) -> Option<String> {
    let of_bytes = |bytes: &[u8]| {
        bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
    };
    match item {
        Value::Int(n) => Some(signed(*n, format!("{:x}", n.unsigned_abs()))),
        Value::Uint(n) => Some(format!("{n:x}")),
        Value::String(text) => Some(of_bytes(text.as_bytes())),
        Value::Bytes(bytes) => Some(of_bytes(bytes)),
        _ => None,
    }
}

/// `1.052033 × 10⁰³`, with narrow spaces that do not break, as the English locale has it.
fn scientific(number: f64, precision: usize) -> String {
    let written = format!("{number:.precision$e}");
    let Some((digits, exponent)) = written.split_once('e') else { return written };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(rest) => ("\u{207b}", rest),
        None => ("", exponent),
    };
    let exponent = format!("{exponent:0>2}");
    let raised = exponent.chars().map(|digit| match digit {
        '1' => '\u{b9}',
        '2' => '\u{b2}',
        '3' => '\u{b3}',
        other => char::from_u32(u32::from(other) - u32::from('0') + 0x2070).unwrap_or(other),
    });
    format!("{digits}\u{202f}\u{d7}\u{202f}10{sign}{}", raised.collect::<String>())
}

/// A value that is printed, or that is inside a list or map which is.
fn shown(value: &Value<'_>, budget: &mut Budget) -> Result<String, Fault> {
    crate::depth::deep(|| shown_here(value, budget))
}

fn shown_here(value: &Value<'_>, budget: &mut Budget) -> Result<String, Fault> {
    budget.charge(1)?;
    match value {
        Value::String(text) => {
            budget.make(text.len())?;
            return Ok(quoted(text));
        }
        Value::Bytes(bytes) => {
            budget.make(bytes.len())?;
            return Ok(format!("b{}", quoted(&String::from_utf8_lossy(bytes))));
        }
        Value::Double(n) => return Ok(format!("{n:.6}")),
        Value::Timestamp(_) | Value::Duration(_) => {
            let name = if matches!(value, Value::Timestamp(_)) { "timestamp" } else { "duration" };
            return Ok(format!("{name}({})", quoted(&text_of(value).unwrap_or_default())));
        }
        _ => {}
    }
    if let Some(items) = value.each_item() {
        let items = items.map(|item| shown(&item, budget)).collect::<Result<Vec<_>, _>>()?;
        budget.make(items.iter().map(|item| item.len() + 2).sum())?;
        return Ok(format!("[{}]", items.join(", ")));
    }
    if let Some(entries) = value.each_entry() {
        let mut shown = entries
            .map(|(key, value)| Ok(format!("{}: {}", shown(&key, budget)?, shown(&value, budget)?)))
            .collect::<Result<Vec<_>, Fault>>()?;
        budget.make(shown.iter().map(|entry| entry.len() + 2).sum())?;
        shown.sort_unstable();
        return Ok(format!("{{{}}}", shown.join(", ")));
    }
    text_of(value).map_or_else(
        || {
            failed(format!(
                "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, \
                 maps, lists, types, durations, and timestamps, was given {}",
                value.type_name()
            ))
        },
        Ok,
    )
}
