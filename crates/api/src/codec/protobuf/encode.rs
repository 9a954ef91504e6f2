//! Writes: the fields of JSON as a message, the envelope of an object, the frames of a watch.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Number, Value};

use super::{MAGIC, Messages, Target, message_of};
use crate::schema::{Field, Shape, Struct, StructId, Types};

/// The message of a structure whose fields are JSON. What JSON leaves out is not written, and neither is what the
/// message has no number for.
///
/// # Errors
/// When a value is not what the schema says, or the structure has no message.
pub fn encode(
    types: &Types,
    messages: &Messages,
    id: StructId,
    fields: &Map<String, Value>,
) -> Result<Vec<u8>, String> {
    let (encoder, structure) = (Encoder { types, messages }, types.get(id));
    let mut out = Vec::new();
    encoder.message(message_of(structure), structure, fields, &mut out)?;
    Ok(out)
}

/// What stands before a message of this length to make it an object; see [`enveloped`].
pub fn prefixed(api_version: &str, kind: &str, length: usize) -> Vec<u8> {
    let mut type_meta = Vec::with_capacity(api_version.len() + kind.len() + 4);
    put_bytes(&mut type_meta, 1, api_version.as_bytes());
    put_bytes(&mut type_meta, 2, kind.as_bytes());
    let mut out = Vec::with_capacity(MAGIC.len() + type_meta.len() + 16);
    out.extend_from_slice(MAGIC);
    put_bytes(&mut out, 1, &type_meta);
    put_length(&mut out, 2, length);
    out
}

/// What ends an object: the message is neither encoded nor of a type of its own.
pub const END: &[u8] = &[3 << 3 | 2, 0, 4 << 3 | 2, 0];

/// An object: its message in an envelope that says of which kind it is.
pub fn enveloped(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let mut out = prefixed(api_version, kind, message.len());
    out.extend_from_slice(message);
    out.extend_from_slice(END);
    out
}

/// The frame of a watch's event: its length in four bytes, then the event, of which the object is in its envelope.
pub fn framed(event: &str, object: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(object.len() + 8);
    put_bytes(&mut raw, 1, object);
    let mut out = vec![0; 4];
    put_bytes(&mut out, 1, event.as_bytes());
    put_bytes(&mut out, 2, &raw);
    // No object is as long as that.
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

pub(super) struct Encoder<'a> {
    pub types: &'a Types,
    pub messages: &'a Messages,
}

impl Encoder<'_> {
    /// Writes a message whose fields are (also when it is embedded) those of `structure`.
    pub(super) fn message(
        &self,
        message: &str,
        structure: &Struct,
        fields: &Map<String, Value>,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        // What has no fields needs no message to be known.
        if fields.is_empty() {
            return Ok(());
        }
        for member in self.messages.members(message)? {
            match &member.target {
                Target::Embedded(inner) => {
                    let mut part = Vec::new();
                    self.message(inner, structure, fields, &mut part)?;
                    if !part.is_empty() {
                        put_bytes(out, member.number, &part);
                    }
                }
                Target::Field(name) => {
                    let (Some(value), Some(field)) = (fields.get(&**name), structure.field(name)) else {
                        continue;
                    };
                    match self.messages.union(message, name) {
                        Some(of) => self.union(of, structure, member.number, value, out),
                        None => self.field(field, member.number, value, out),
                    }
                    .map_err(|why| if why.starts_with('.') { why } else { format!(".{name}: {why}") })?;
                }
            }
        }
        Ok(())
    }

    fn field(&self, field: &Field, number: u32, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
        match (&field.shape, value) {
            (_, Value::Null) => Ok(()),
            (Shape::List(list), Value::Array(items)) => {
                items.iter().try_for_each(|item| self.value(&list.item, number, item, out))
            }
            (Shape::Map(of), Value::Object(entries)) => {
                for (key, value) in entries {
                    let mut entry = Vec::new();
                    put_bytes(&mut entry, 1, key.as_bytes());
                    self.map_value(&of.value, value, &mut entry)?;
                    put_bytes(out, number, &entry);
                }
                Ok(())
            }
            (shape, value) => self.value(shape, number, value, out),
        }
    }

    /// A list as a map's value is wrapped in a message of its own.
    fn map_value(&self, shape: &Shape, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
        let (Shape::List(list), Value::Array(items)) = (shape, value) else {
            return self.value(shape, 2, value, out);
        };
        let mut part = Vec::new();
        items.iter().try_for_each(|item| self.value(&list.item, 1, item, &mut part))?;
        put_bytes(out, 2, &part);
        Ok(())
    }

    fn value(&self, shape: &Shape, number: u32, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
        match (shape, value) {
            (Shape::Struct(id), Value::Object(fields)) => {
                let structure = self.types.get(*id);
                let mut part = Vec::new();
                self.message(message_of(structure), structure, fields, &mut part)?;
                put_bytes(out, number, &part);
                Ok(())
            }
            (Shape::Any, value) => {
                let json = serde_json::to_vec(value).map_err(|error| error.to_string())?;
                put_bytes(out, number, &wrapped(1, &json));
                Ok(())
            }
            (shape, value) => {
                let written = match value {
                    Value::Bool(flag) if *shape == Shape::Bool => {
                        put_varint(out, number, u64::from(*flag));
                        true
                    }
                    Value::Number(n) => put_number(shape, number, n, out),
                    Value::String(text) => put_text(shape, number, text, out)?,
                    _ => false,
                };
                if written { Ok(()) } else { Err(format!("{value} is not what the field holds")) }
            }
        }
    }
}

/// Whether the number is a value of the shape.
fn put_number(shape: &Shape, number: u32, value: &Number, out: &mut Vec<u8>) -> bool {
    match (shape, value.as_i64()) {
        (Shape::Int32 | Shape::Int64, Some(n)) => put_varint(out, number, n.cast_unsigned()),
        (Shape::IntOrString, Some(n)) => put_int_or_string(out, number, n, None),
        (Shape::Quantity, _) => put_bytes(out, number, &wrapped(1, value.to_string().as_bytes())),
        (Shape::Float, _) => {
            let Some(n) = value.as_f64() else { return false };
            put_key(out, number, 1);
            out.extend_from_slice(&n.to_bits().to_le_bytes());
        }
        _ => return false,
    }
    true
}

/// Whether the text is a value of the shape.
fn put_text(shape: &Shape, number: u32, text: &str, out: &mut Vec<u8>) -> Result<bool, String> {
    match shape {
        Shape::String => put_bytes(out, number, text.as_bytes()),
        Shape::Bytes => {
            let bytes = BASE64_STANDARD.decode(text).map_err(|error| error.to_string())?;
            put_bytes(out, number, &bytes);
        }
        Shape::Quantity => put_bytes(out, number, &wrapped(1, text.as_bytes())),
        Shape::IntOrString => put_int_or_string(out, number, 0, Some(text)),
        Shape::Time | Shape::MicroTime => {
            let time: Timestamp = text.parse().map_err(|error: jiff::Error| error.to_string())?;
            let nanos = if *shape == Shape::Time { 0 } else { time.subsec_nanosecond() / 1000 * 1000 };
            // Nanoseconds count from the second before, also of times before the epoch.
            let (seconds, nanos) = match nanos {
                below if below < 0 => (time.as_second() - 1, below + 1_000_000_000),
                nanos => (time.as_second(), nanos),
            };
            let mut part = Vec::new();
            put_varint(&mut part, 1, seconds.cast_unsigned());
            put_varint(&mut part, 2, i64::from(nanos).cast_unsigned());
            put_bytes(out, number, &part);
        }
        Shape::Duration => {
            let duration: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
            let nanos = i64::try_from(duration.as_nanos()).map_err(|error| error.to_string())?;
            let mut part = Vec::new();
            put_varint(&mut part, 1, nanos.cast_unsigned());
            put_bytes(out, number, &part);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn put_int_or_string(out: &mut Vec<u8>, number: u32, whole: i64, text: Option<&str>) {
    let mut part = Vec::new();
    put_varint(&mut part, 1, u64::from(text.is_some()));
    put_varint(&mut part, 2, whole.cast_unsigned());
    put_bytes(&mut part, 3, text.unwrap_or_default().as_bytes());
    put_bytes(out, number, &part);
}

/// A message of one field.
fn wrapped(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 8);
    put_bytes(&mut out, number, bytes);
    out
}

fn put_key(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_plain(out, u64::from(number) << 3 | u64::from(wire_type));
}

pub(super) fn put_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    put_key(out, number, 0);
    put_plain(out, value);
}

fn put_length(out: &mut Vec<u8>, number: u32, length: usize) {
    put_key(out, number, 2);
    put_plain(out, length as u64);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_length(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

/// What stands before a field of so many bytes.
pub fn field_head(number: u32, length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(8);
    put_length(&mut out, number, length);
    out
}

fn put_plain(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}
