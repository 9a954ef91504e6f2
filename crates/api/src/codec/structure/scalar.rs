//! Values without parts: numbers, texts, and the texts with a grammar of their own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

use super::super::value::type_word;
use super::Place;
use crate::quantity::Quantity;
use crate::schema::Shape;

/// Checks a value that is not null, and writes it canonically.
pub(super) fn check(shape: &Shape, value: &mut Value, place: Place<'_>) -> Result<(), String> {
    match (shape, &*value) {
        (Shape::Bool, Value::Bool(_)) | (Shape::String, Value::String(_)) => Ok(()),
        (Shape::Int32, Value::Number(n)) if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => Ok(()),
        (Shape::Int64, Value::Number(n)) if n.as_i64().is_some() => Ok(()),
        (Shape::Float, Value::Number(_)) => Ok(()),
        (Shape::Int32 | Shape::Int64, Value::Number(n)) => {
            Err(place.mismatch(&format!("number {n}"), go_type(shape)))
        }
        (Shape::Bytes, Value::String(text)) => base64_bytes(text),
        (Shape::IntOrString, Value::String(_)) => Ok(()),
        (Shape::IntOrString, Value::Number(n)) => int_or_string(n),
        (Shape::IntOrString, other) => {
            Err(format!("json: cannot unmarshal {} into Go value of type int32", type_word(other)))
        }
        (Shape::Quantity, _) => quantity(value),
        (Shape::Time | Shape::MicroTime | Shape::Duration, Value::String(_)) => match shape {
            Shape::Duration => duration(value),
            _ => time(value, *shape == Shape::MicroTime),
        },
        (Shape::Time | Shape::MicroTime | Shape::Duration, other) => {
            Err(format!("json: cannot unmarshal {} into Go value of type string", type_word(other)))
        }
        (_, other) => Err(place.mismatch(type_word(other), go_type(shape))),
    }
}

/// The Go type's name.
pub(super) fn go_type(shape: &Shape) -> &'static str {
    match shape {
        Shape::Bool => "bool",
        Shape::Int32 => "int32",
        Shape::Int64 => "int64",
        Shape::Float => "float64",
        Shape::String => "string",
        Shape::Bytes => "[]uint8",
        Shape::IntOrString => "intstr.IntOrString",
        Shape::Quantity => "resource.Quantity",
        Shape::Time => "v1.Time",
        Shape::MicroTime => "v1.MicroTime",
        Shape::Duration => "v1.Duration",
        Shape::Any | Shape::Struct(_) | Shape::List(_) | Shape::Map(_) => "interface {}",
    }
}

fn int_or_string(n: &Number) -> Result<(), String> {
    if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) {
        return Ok(());
    }
    Err(format!("json: cannot unmarshal number {n} into Go value of type int32"))
}

fn base64_bytes(text: &str) -> Result<(), String> {
    // Go's decoder skips line ends.
    let joined;
    let text = if text.contains(['\n', '\r']) {
        joined = text.replace(['\n', '\r'], "");
        &joined
    } else {
        text
    };
    STANDARD.decode(text).map(drop).map_err(|e| {
        let at = match e {
            base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
            _ => text.len(),
        };
        format!("illegal base64 data at input byte {at}")
    })
}

fn quantity(value: &mut Value) -> Result<(), String> {
    let number;
    let text = match &*value {
        Value::String(text) => text.trim(),
        Value::Number(n) => {
            number = n.to_string();
            &number
        }
        other => {
            number = other.to_string();
            &number
        }
    };
    let canonical = text.parse::<Quantity>().map_err(|e| e.to_string())?.to_string();
    if value.as_str() != Some(&canonical) {
        *value = Value::String(canonical);
    }
    Ok(())
}

/// RFC 3339 in UTC, in seconds or microseconds.
fn time(value: &mut Value, micros: bool) -> Result<(), String> {
    let text = value.as_str().unwrap_or_default();
    let canonical = if text.len() == 20 && text.ends_with('Z') && !micros {
        // The common case: already canonical, once it is known to be a time.
        text.parse::<jiff::Timestamp>().ok().map(|_| None)
    } else {
        text.parse::<jiff::Timestamp>().ok().map(|t| Some(render(t, micros)))
    };
    match canonical {
        Some(None) => Ok(()),
        Some(Some(rendered)) => {
            *value = Value::String(rendered);
            Ok(())
        }
        None => {
            let layout =
                if micros { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
            Err(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""))
        }
    }
}

fn render(time: jiff::Timestamp, micros: bool) -> String {
    if micros { format!("{time:.6}") } else { format!("{:.0}", truncated(time)) }
}

fn truncated(time: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A Go duration.
fn duration(value: &Value) -> Result<(), String> {
    crate::duration::parse(value.as_str().unwrap_or_default()).map(drop)
}
