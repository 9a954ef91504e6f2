//! The functions of templates: Go's own, and kubectl's `exists` and `base64decode`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::format;
use super::value::Val;
use crate::printing::go_text;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    Any,
    String,
}

type Run = for<'a> fn(&[Val<'a>]) -> Result<Val<'a>, String>;

/// What is to be known for a call.
#[derive(Clone, Copy)]
pub struct Function {
    name: &'static str,
    /// Those that every call must give.
    pub parameters: &'static [Parameter],
    /// Takes any number of values more.
    pub variadic: bool,
    pub run: Run,
}

const NONE: &[Parameter] = &[];
const ONE: &[Parameter] = &[Parameter::Any];
const TWO: &[Parameter] = &[Parameter::Any, Parameter::Any];
const TEXT: &[Parameter] = &[Parameter::String];

const fn function(
    name: &'static str,
    parameters: &'static [Parameter],
    variadic: bool,
    run: Run,
) -> Function {
    Function { name, parameters, variadic, run }
}

const FUNCTIONS: [Function; 21] = [
    // The two are cut short by the caller.
    function("and", ONE, true, last),
    function("or", ONE, true, last),
    function("base64decode", TEXT, false, base64decode),
    function("call", ONE, true, call),
    function("eq", ONE, true, eq),
    function("exists", ONE, true, exists_in),
    function("ge", TWO, false, |v| Ok(Val::bool(!is_less(v)?))),
    function("gt", TWO, false, |v| Ok(Val::bool(!is_less(v)? && !is_equal(v)?))),
    function("html", NONE, true, |v| Ok(Val::text(html(&joined(v))))),
    function("index", ONE, true, index),
    function("js", NONE, true, |v| Ok(Val::text(js(&joined(v))))),
    function("le", TWO, false, |v| Ok(Val::bool(is_less(v)? || is_equal(v)?))),
    function("len", ONE, false, length),
    function("lt", TWO, false, |v| Ok(Val::bool(is_less(v)?))),
    function("ne", TWO, false, |v| Ok(Val::bool(!is_equal(v)?))),
    function("not", ONE, false, |v| Ok(Val::bool(!v.first().is_some_and(Val::is_true)))),
    function("print", NONE, true, |v| Ok(Val::text(format::sprint(v)))),
    function("printf", TEXT, true, |v| {
        Ok(Val::text(format::sprintf(
            v.first().and_then(Val::string).unwrap_or_default(),
            v.get(1..).unwrap_or_default(),
        )))
    }),
    function("println", NONE, true, |v| Ok(Val::text(format::sprintln(v)))),
    function("slice", ONE, true, slice),
    function("urlquery", NONE, true, |v| Ok(Val::text(url_query(&joined(v))))),
];

pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

pub fn exists(name: &str) -> bool {
    find(name).is_some()
}

fn last<'a>(values: &[Val<'a>]) -> Result<Val<'a>, String> {
    Ok(values.last().cloned().unwrap_or(Val::Nothing))
}

fn base64decode<'a>(values: &[Val<'a>]) -> Result<Val<'a>, String> {
    // As Go's decoder, which skips line breaks.
    let text: String = values
        .first()
        .and_then(Val::string)
        .unwrap_or_default()
        .chars()
        .filter(|c| !matches!(c, '\r' | '\n'))
        .collect();
    match STANDARD.decode(&text) {
        Ok(bytes) => Ok(Val::text(String::from_utf8_lossy(&bytes))),
        Err(error) => {
            let at = match error {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => {
                    text.len() / 4 * 4
                }
            };
            Err(format!("base64 decode failed: illegal base64 data at input byte {at}"))
        }
    }
}

/// No value of JSON is a function; what is no nil is refused by the caller, who knows its name.
fn call<'a>(_: &[Val<'a>]) -> Result<Val<'a>, String> {
    Err("call of nil".to_owned())
}

fn incompatible(left: &Val<'_>, right: &Val<'_>) -> String {
    format!("incompatible types for comparison: {} and {}", left.type_name(), right.type_name())
}

fn unboxed<'a>(value: Option<&Val<'a>>) -> Val<'a> {
    value.cloned().unwrap_or(Val::Nothing).unboxed()
}

fn eq<'a>(values: &[Val<'a>]) -> Result<Val<'a>, String> {
    if values.len() < 2 {
        return Err("missing argument for comparison".to_owned());
    }
    let first = unboxed(values.first());
    for other in &values[1..] {
        if equal(&first, &other.clone().unboxed())? {
            return Ok(Val::bool(true));
        }
    }
    Ok(Val::bool(false))
}

fn is_equal(values: &[Val<'_>]) -> Result<bool, String> {
    equal(&unboxed(values.first()), &unboxed(values.get(1)))
}

fn equal(left: &Val<'_>, right: &Val<'_>) -> Result<bool, String> {
    match (left.basic(), right.basic()) {
        (None, None) => {
            if left.is_nil() || right.is_nil() {
                return Ok(left.is_nil() == right.is_nil());
            }
            let (shown, type_name) = (right.plain(""), right.type_name());
            if left.type_name() != type_name {
                return Err(format!(
                    "non-comparable types {}: {}, {type_name}: {shown}",
                    left.plain(""),
                    left.type_name()
                ));
            }
            Err(format!("non-comparable type {shown}: {type_name}"))
        }
        (a, b) if a == b => Ok(order(left, right) == Some(Ordering::Equal)),
        (Some(_), Some(_)) if left.integer().is_some() && right.integer().is_some() => {
            Ok(left.integer() == right.integer())
        }
        _ if left.is_nil() || right.is_nil() => Ok(false),
        _ => Err(incompatible(left, right)),
    }
}

fn order(left: &Val<'_>, right: &Val<'_>) -> Option<Ordering> {
    if let (Some(left), Some(right)) = (left.integer(), right.integer()) {
        return Some(left.cmp(&right));
    }
    if let (Some(left), Some(right)) = (left.float(), right.float()) {
        return left.partial_cmp(&right);
    }
    if let (Some(left), Some(right)) = (left.string(), right.string()) {
        return Some(left.cmp(right));
    }
    left.json().and_then(Value::as_bool).zip(right.json().and_then(Value::as_bool)).map(|(l, r)| l.cmp(&r))
}

fn is_less(values: &[Val<'_>]) -> Result<bool, String> {
    let (left, right) = (unboxed(values.first()), unboxed(values.get(1)));
    let bad_type = || "invalid type for comparison".to_owned();
    let (left_kind, right_kind) = (left.basic().ok_or_else(bad_type)?, right.basic().ok_or_else(bad_type)?);
    let whole = left.integer().is_some() && right.integer().is_some();
    if left_kind != right_kind && !whole {
        return Err(incompatible(&left, &right));
    }
    if left_kind == super::value::Basic::Bool {
        return Err(bad_type());
    }
    Ok(order(&left, &right) == Some(Ordering::Less))
}

fn position(index: &Val<'_>, limit: usize) -> Result<usize, String> {
    match index.clone().unboxed() {
        Val::Nothing => Err("cannot index slice/array with nil".to_owned()),
        index => match index.integer() {
            None => Err(format!("cannot index slice/array with type {}", index.type_name())),
            Some(at) => usize::try_from(at)
                .ok()
                .filter(|at| *at <= limit)
                .ok_or_else(|| format!("index out of range: {at}")),
        },
    }
}

fn index<'a>(values: &[Val<'a>]) -> Result<Val<'a>, String> {
    let mut item = unboxed(values.first());
    if matches!(item, Val::Nothing) {
        return Err("index of untyped nil".to_owned());
    }
    for index in values.get(1..).unwrap_or_default() {
        if item.is_nil() {
            return Err("index of nil pointer".to_owned());
        }
        item = match item.json() {
            Some(Value::Array(items)) => {
                let at = position(index, items.len())?;
                item.item(at).ok_or_else(|| "reflect: slice index out of range".to_owned())?
            }
            Some(Value::String(text)) => {
                let at = position(index, text.len())?;
                let byte = text.as_bytes().get(at).copied();
                Val::Byte(byte.ok_or_else(|| "reflect: string index out of range".to_owned())?)
            }
            Some(Value::Object(_)) => match index.clone().unboxed() {
                Val::Nothing => return Err("value is nil; should be of type string".to_owned()),
                key => match key.string() {
                    None => return Err(format!("value has type {}; should be string", key.type_name())),
                    // A key that is not there has the value nil.
                    Some(key) => match item.field(key) {
                        Some(Val::Nothing) | None => Val::Boxed(Cow::Owned(Value::Null)),
                        Some(value) => value,
                    },
                },
            },
            _ => return Err(format!("can't index item of type {}", item.type_name())),
        };
    }
    Ok(item)
}

fn exists_in<'a>(values: &[Val<'a>]) -> Result<Val<'a>, String> {
    let mut item = unboxed(values.first());
    for index in values.get(1..).unwrap_or_default() {
        item = item.unboxed();
        let index = index.clone().unboxed();
        let next = match item.json() {
            Some(Value::Array(_)) => {
                index.integer().and_then(|at| usize::try_from(at).ok()).and_then(|at| item.item(at))
            }
            Some(Value::String(text)) => index
                .integer()
                .and_then(|at| usize::try_from(at).ok())
                .and_then(|at| text.as_bytes().get(at).copied())
                .map(Val::Byte),
            Some(Value::Object(_)) => index.string().and_then(|key| item.field(key)),
            _ => None,
        };
        match next {
            Some(next) => item = next,
            None => return Ok(Val::bool(false)),
        }
    }
    Ok(Val::bool(!item.is_nil()))
}

fn slice<'a>(values: &[Val<'a>]) -> Result<Val<'a>, String> {
    let item = unboxed(values.first());
    let indexes = values.get(1..).unwrap_or_default();
    if matches!(item, Val::Nothing) {
        return Err("slice of untyped nil".to_owned());
    }
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()));
    }
    let length = match item.json() {
        Some(Value::String(_)) if indexes.len() == 3 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        Some(Value::String(text)) => text.len(),
        Some(Value::Array(items)) => items.len(),
        _ => return Err(format!("can't slice item of type {}", item.type_name())),
    };
    let mut bounds = [0, length, length];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = position(index, length)?;
    }
    for pair in bounds[..indexes.len().max(2)].windows(2) {
        if pair[0] > pair[1] {
            return Err(format!("invalid slice index: {} > {}", pair[0], pair[1]));
        }
    }
    let [from, to, _] = bounds;
    Ok(match item.json() {
        Some(Value::String(text)) => {
            Val::text(String::from_utf8_lossy(text.as_bytes().get(from..to).unwrap_or_default()))
        }
        Some(Value::Array(items)) => {
            Val::Data(Cow::Owned(Value::from(items.get(from..to).unwrap_or_default().to_vec())))
        }
        _ => Val::Nothing,
    })
}

fn length<'a>(values: &[Val<'a>]) -> Result<Val<'a>, String> {
    let item = values.first().cloned().unwrap_or(Val::Nothing);
    if matches!(item, Val::Nothing) {
        return Err("reflect: call of reflect.Value.Type on zero Value".to_owned());
    }
    let length = match item.json() {
        Some(Value::Null) => return Err("len of nil pointer".to_owned()),
        Some(Value::String(text)) => text.len(),
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(fields)) => fields.len(),
        _ => return Err(format!("len of type {}", item.type_name())),
    };
    Ok(Val::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// One string as it is, anything else as `print` writes it.
fn joined(values: &[Val<'_>]) -> String {
    match values {
        [one] if one.string().is_some() => one.string().unwrap_or_default().to_owned(),
        _ => {
            let shown: Vec<Val<'_>> = values
                .iter()
                .map(|value| if value.is_nil() { Val::text("<no value>") } else { value.clone() })
                .collect();
            format::sprint(&shown)
        }
    }
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            _ => out.push(c),
        }
    }
    out
}

fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => {
                out.push('\\');
                out.push(c);
            }
            '<' | '>' | '&' | '=' | '\0'..=' ' if c != ' ' => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            _ if c.is_ascii() || go_text::is_printable(c) => out.push(c),
            _ => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
        }
    }
    out
}

fn url_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
