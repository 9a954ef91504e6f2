//! The JSON of values, within limits.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value as Json};

use crate::value::Value;

/// Whole numbers that every reader of JSON holds exactly: the largest one.
const MAX_WHOLE: f64 = 9_007_199_254_740_991.0;

/// What the JSON of a value may take: an expression that names something large often makes something larger still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub bytes: usize,
    pub depth: usize,
}

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), String> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or("the value is too large")?;
        Ok(())
    }

    /// One level further in.
    fn enter(&mut self) -> Result<(), String> {
        self.depth = self.depth.checked_sub(1).ok_or("the value nests too deep")?;
        Ok(())
    }
}

impl Value<'_> {
    /// The value as JSON, which has at most about so many bytes and levels.
    ///
    /// # Errors
    /// When the value has no JSON, or more of it.
    pub fn to_json(&self, bytes: usize, depth: usize) -> Result<Json, String> {
        json(self, &mut Room { bytes, depth })
    }
}

fn json(value: &Value<'_>, room: &mut Room) -> Result<Json, String> {
    room.take(8)?;
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Int(n) => (*n).into(),
        Value::Uint(n) => (*n).into(),
        Value::Double(n) => number(*n)?,
        Value::String(text) => {
            room.take(text.len())?;
            Json::String(text.to_string())
        }
        Value::Bytes(bytes) => {
            room.take(bytes.len() * 4 / 3)?;
            Json::String(STANDARD.encode(bytes))
        }
        Value::Timestamp(time) => Json::String(time.to_string()),
        Value::Duration(duration) => Json::String(seconds(*duration)),
        Value::List(_) | Value::Map(_) | Value::Made(_) | Value::Array(..) | Value::Object(..) => {
            room.enter()?;
            let parts = parts(value, room)?;
            room.depth += 1;
            parts
        }
        other => return Err(format!("a value of type {} has no JSON", other.type_name())),
    })
}

fn parts(value: &Value<'_>, room: &mut Room) -> Result<Json, String> {
    let mut map = Map::new();
    match value {
        Value::List(items) => {
            return items.iter().map(|item| json(item, room)).collect::<Result<_, _>>().map(Json::Array);
        }
        Value::Array(items, _) => {
            items.iter().try_for_each(|item| weigh(item, room))?;
            return Ok(Json::Array(items.to_vec()));
        }
        Value::Object(fields, _) => {
            for (name, value) in *fields {
                room.take(name.len())?;
                weigh(value, room)?;
            }
            return Ok(Json::Object((*fields).clone()));
        }
        Value::Map(entries) => {
            for (key, value) in entries.iter() {
                let Value::String(key) = key else {
                    return Err(format!("map key is of type {}, not string", key.type_name()));
                };
                room.take(key.len())?;
                map.insert(key.to_string(), json(value, room)?);
            }
        }
        Value::Made(made) => {
            for (name, value) in made.fields() {
                room.take(name.len())?;
                map.insert(name.to_owned(), json(value, room)?);
            }
        }
        _ => {}
    }
    Ok(Json::Object(map))
}

/// Takes room for JSON that is to be copied.
fn weigh(value: &Json, room: &mut Room) -> Result<(), String> {
    room.take(8)?;
    match value {
        Json::String(text) => room.take(text.len()),
        Json::Array(items) => {
            room.enter()?;
            items.iter().try_for_each(|item| weigh(item, room))?;
            room.depth += 1;
            Ok(())
        }
        Json::Object(fields) => {
            room.enter()?;
            for (name, value) in fields {
                room.take(name.len())?;
                weigh(value, room)?;
            }
            room.depth += 1;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A number as Go writes it: without a fraction where there is none.
#[expect(clippy::cast_possible_truncation, reason = "whole, and within what both hold exactly")]
fn number(n: f64) -> Result<Json, String> {
    if n.fract() == 0.0 && n.abs() <= MAX_WHOLE {
        return Ok((n as i64).into());
    }
    Number::from_f64(n).map(Json::Number).ok_or_else(|| format!("{n} has no JSON"))
}

/// A duration as protobuf's JSON has it.
fn seconds(duration: jiff::SignedDuration) -> String {
    let sign = if duration.is_negative() { "-" } else { "" };
    let mut text = format!("{sign}{}", duration.as_secs().unsigned_abs());
    let nanos = duration.subsec_nanos().unsigned_abs();
    if nanos != 0 {
        let digits = format!("{nanos:09}");
        let _ = write!(text, ".{}", digits.trim_end_matches('0'));
    }
    text.push('s');
    text
}
