//! Kubernetes' protobuf encoding of objects, read and written by table: the schema says what a field holds, the
//! [`Messages`] which number it has.
//!
//! Start with [`decode`]. The result is what upstream's JSON of the same object would be, so it goes
//! through the same checks as JSON. The other way, [`encode`] makes a message of JSON that the server itself has
//! written, and [`enveloped`] an object of the message; `union` has the fields that JSON writes in one of several forms.
//!
//! Facts: `k8s.io/apimachinery/pkg/runtime/serializer/protobuf`, and <https://protobuf.dev/programming-guides/encoding>.

mod encode;
mod union;
mod wire;

use std::collections::HashMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::zero::zero_says_something;
use super::{Limits, decode_json_value};
use crate::schema::{Field, Shape, Struct, StructId, Types};
use crate::{Error, Object, Reason};
pub use encode::{END, encode, enveloped, field_head, framed, prefixed};
pub use union::Union;
use wire::{Reader, Wire};

/// The prefix of every object in this encoding.
const MAGIC: &[u8] = b"k8s\0";

/// The field numbers of messages, by structure name.
#[derive(Debug, Default)]
pub struct Messages {
    by_name: HashMap<Box<str>, Box<[Member]>>,
    /// By structure and field: what the field is where the schema says no more than that it holds anything.
    unions: HashMap<(Box<str>, Box<str>), Union>,
}

/// A numbered field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub number: u32,
    pub target: Target,
}

/// What a numbered field is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The structure's field of this name.
    Field(Box<str>),
    /// A message whose fields are the structure's own in JSON.
    Embedded(Box<str>),
}

impl Messages {
    pub fn new(messages: impl IntoIterator<Item = (Box<str>, Vec<Member>)>) -> Self {
        let ordered = |mut members: Vec<Member>| {
            members.sort_by_key(|member| member.number);
            members.into_boxed_slice()
        };
        let by_name = messages.into_iter().map(|(name, members)| (name, ordered(members))).collect();
        Self { by_name, unions: HashMap::new() }
    }

    /// The same, with fields of a structure that JSON writes in one of several forms.
    #[must_use]
    pub fn with_unions(mut self, structure: &str, fields: &[(&str, Union)]) -> Self {
        let keyed = fields.iter().map(|(field, union)| ((structure.into(), (*field).into()), *union));
        self.unions.extend(keyed);
        self
    }

    /// Whether there is a message for a structure.
    pub fn has(&self, structure: &str) -> bool {
        self.by_name.contains_key(structure)
    }

    fn members(&self, message: &str) -> Result<&[Member], String> {
        let members = self.by_name.get(message);
        members.map(|members| &**members).ok_or_else(|| format!("the fields of {message} are not known"))
    }

    fn union(&self, structure: &str, field: &str) -> Option<Union> {
        // Most kinds have none.
        if self.unions.is_empty() {
            return None;
        }
        self.unions.get(&(structure.into(), field.into())).copied()
    }
}

/// The message of a structure, which its granular variant shares.
fn message_of(structure: &Struct) -> &str {
    structure.name.split('#').next().unwrap_or_default()
}

/// Decodes an object of structure `id`. Its `apiVersion` and `kind` are the envelope's.
///
/// # Errors
/// 400 for what is no such object, 413 over `limits.bytes`.
pub fn decode(
    types: &Types,
    messages: &Messages,
    id: StructId,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Object, Error> {
    if bytes.len() > limits.bytes {
        let message = format!("Request entity too large: limit is {}", limits.bytes);
        return Err(Error::new(Reason::RequestEntityTooLarge, message));
    }
    object(types, messages, id, bytes, limits)
        .map_err(|why| Error::bad_request(format!("the body is no valid protobuf object: {why}")))
}

fn object(
    types: &Types,
    messages: &Messages,
    id: StructId,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Object, String> {
    let Envelope { api_version, kind, raw } = Envelope::read(bytes)?;
    let walk = Walk { types, messages };
    let structure = types.get(id);
    let mut map = Map::new();
    walk.message(&structure.name, structure, raw, &mut map, limits.depth)?;
    for (key, value) in [("apiVersion", api_version), ("kind", kind)] {
        if !value.is_empty() {
            map.insert(key.to_owned(), value.into());
        }
    }
    Ok(Object(map))
}

/// What is around a message: what it is of.
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let envelope = bytes.strip_prefix(MAGIC).ok_or("it does not begin with k8s\\0")?;
        let mut found = Self { api_version: String::new(), kind: String::new(), raw: &[][..] };
        let mut reader = Reader::new(envelope);
        while let Some((number, value)) = reader.next()? {
            match number {
                1 => {
                    let mut type_meta = Reader::new(value.bytes()?);
                    while let Some((number, value)) = type_meta.next()? {
                        match number {
                            1 => value.text()?.clone_into(&mut found.api_version),
                            2 => value.text()?.clone_into(&mut found.kind),
                            _ => {}
                        }
                    }
                }
                2 => found.raw = value.bytes()?,
                3 if !value.bytes()?.is_empty() => return Err("its content is encoded".to_owned()),
                _ => {}
            }
        }
        Ok(found)
    }
}

/// The `apiVersion` and `kind` that an object in this encoding tells.
///
/// # Errors
/// When it is no such object.
pub fn type_of(bytes: &[u8]) -> Result<(String, String), String> {
    Envelope::read(bytes).map(|envelope| (envelope.api_version, envelope.kind))
}

struct Walk<'a> {
    types: &'a Types,
    messages: &'a Messages,
}

impl Walk<'_> {
    /// Reads a message whose fields are (also when it is embedded) those of `structure`.
    fn message(
        &self,
        message: &str,
        structure: &Struct,
        bytes: &[u8],
        map: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), String> {
        let depth = depth.checked_sub(1).ok_or("it is nested too deep")?;
        // What has no fields needs no message to be known.
        if bytes.is_empty() {
            return Ok(());
        }
        let members = self.messages.members(message)?;
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.next()? {
            match members.iter().find(|m| m.number == number).map(|m| &m.target) {
                // Newer clients may know more fields; upstream's decoder passes them over as well.
                None => {}
                Some(Target::Embedded(inner)) => {
                    self.message(inner, structure, value.bytes()?, map, depth)?;
                }
                Some(Target::Field(name)) => {
                    let Some(field) = structure.field(name) else { continue };
                    match self.messages.union(message, name) {
                        Some(of) => self.union(of, structure, field, value, map, depth)?,
                        None => self.field(field, value, map, depth)?,
                    }
                }
            }
        }
        Ok(())
    }

    fn field(
        &self,
        field: &Field,
        wire: Wire<'_>,
        map: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), String> {
        match &field.shape {
            Shape::List(list) => {
                let items = map.entry(&*field.name).or_insert_with(|| Value::Array(Vec::new()));
                let Value::Array(items) = items else { return Ok(()) };
                if let (Shape::Int32 | Shape::Int64 | Shape::Bool, Wire::Bytes(packed)) = (&list.item, wire) {
                    let mut reader = Reader::new(packed);
                    while let Some(number) = reader.varint_or_end()? {
                        items.push(self.scalar(&list.item, Wire::Varint(number))?);
                    }
                } else {
                    items.push(self.value(&list.item, wire, depth)?);
                }
            }
            Shape::Map(of) => {
                let entries = map.entry(&*field.name).or_insert_with(|| Value::Object(Map::new()));
                let Value::Object(entries) = entries else { return Ok(()) };
                let (mut key, mut value) = (String::new(), None);
                let mut reader = Reader::new(wire.bytes()?);
                while let Some((number, part)) = reader.next()? {
                    match number {
                        1 => part.text()?.clone_into(&mut key),
                        2 => value = Some(self.map_value(&of.value, part, depth)?),
                        _ => {}
                    }
                }
                let absent =
                    || if of.value == Shape::Bytes { "".into() } else { Value::String(String::new()) };
                entries.insert(key, value.unwrap_or_else(absent));
            }
            shape => {
                let value = self.value(shape, wire, depth)?;
                let unset = match &value {
                    Value::Null => true,
                    Value::String(text) => text.is_empty(),
                    Value::Bool(set) => !set,
                    Value::Number(number) => number.as_f64() == Some(0.0),
                    Value::Array(_) | Value::Object(_) => false,
                };
                let says_something = !value.is_null()
                    && (field.required && !value.is_string() || zero_says_something(&field.name));
                if !unset || says_something {
                    map.insert(field.name.to_string(), value);
                }
            }
        }
        Ok(())
    }

    /// A list as a map's value is wrapped in a message of its own.
    fn map_value(&self, shape: &Shape, wire: Wire<'_>, depth: usize) -> Result<Value, String> {
        let Shape::List(list) = shape else { return self.value(shape, wire, depth) };
        let mut items = Vec::new();
        let mut reader = Reader::new(wire.bytes()?);
        while let Some((_, item)) = reader.next()? {
            items.push(self.value(&list.item, item, depth)?);
        }
        Ok(Value::Array(items))
    }

    fn value(&self, shape: &Shape, wire: Wire<'_>, depth: usize) -> Result<Value, String> {
        match shape {
            Shape::Struct(id) => {
                let structure = self.types.get(*id);
                let mut map = Map::new();
                self.message(message_of(structure), structure, wire.bytes()?, &mut map, depth)?;
                Ok(Value::Object(map))
            }
            Shape::List(_) | Shape::Map(_) => Err("it nests lists in a way that no kind does".to_owned()),
            Shape::Any => free_form(wire, depth),
            scalar => self.scalar(scalar, wire),
        }
    }

    fn scalar(&self, shape: &Shape, wire: Wire<'_>) -> Result<Value, String> {
        Ok(match shape {
            Shape::Bool => (wire.number()? != 0).into(),
            Shape::Int32 | Shape::Int64 => (wire.number()?.cast_signed()).into(),
            Shape::Float => wire.float()?.and_then(Number::from_f64).map_or(Value::Null, Value::Number),
            Shape::String => wire.text()?.into(),
            Shape::Bytes => BASE64_STANDARD.encode(wire.bytes()?).into(),
            Shape::Quantity => inner(wire, 1)?.map_or(Ok("0"), Wire::text)?.into(),
            Shape::IntOrString => int_or_string(wire)?,
            Shape::Time => time(wire, "%Y-%m-%dT%H:%M:%SZ")?,
            Shape::MicroTime => time(wire, "%Y-%m-%dT%H:%M:%S%.6fZ")?,
            Shape::Duration => {
                let nanos = inner(wire, 1)?.map_or(Ok(0), Wire::number)?.cast_signed();
                go_duration(nanos).into()
            }
            Shape::Any | Shape::Struct(_) | Shape::List(_) | Shape::Map(_) => Value::Null,
        })
    }
}

/// A duration as Go writes it: `1h0m5.5s`, `5m0s`, `1.5s`. Below a second the unit is the second's all the same, which
/// Go reads alike.
fn go_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (whole, part) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    let digits = format!("{part:09}");
    let fraction = match digits.trim_end_matches('0') {
        "" => String::new(),
        digits => format!(".{digits}"),
    };
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}{fraction}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}{fraction}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

/// A field without a schema holds JSON, which nests no deeper than the object may: a stored object that nobody
/// can read would be there and not there.
fn free_form(wire: Wire<'_>, depth: usize) -> Result<Value, String> {
    let Some(raw) = inner(wire, 1)? else { return Ok(Value::Null) };
    let raw = raw.bytes()?;
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    let limits = Limits { bytes: raw.len(), depth };
    decode_json_value(raw, &limits).map(|(value, _)| value).map_err(|e| e.message)
}

/// The last field of that number in a message.
fn inner(wire: Wire<'_>, wanted: u32) -> Result<Option<Wire<'_>>, String> {
    let mut found = None;
    let mut reader = Reader::new(wire.bytes()?);
    while let Some((number, value)) = reader.next()? {
        if number == wanted {
            found = Some(value);
        }
    }
    Ok(found)
}

fn int_or_string(wire: Wire<'_>) -> Result<Value, String> {
    let is_text = inner(wire, 1)?.map_or(Ok(0), Wire::number)? == 1;
    Ok(if is_text {
        inner(wire, 3)?.map_or(Ok(""), Wire::text)?.into()
    } else {
        inner(wire, 2)?.map_or(Ok(0), Wire::number)?.cast_signed().into()
    })
}

/// An empty message is the zero time, which JSON writes as null.
fn time(wire: Wire<'_>, format: &str) -> Result<Value, String> {
    let seconds = inner(wire, 1)?.map(Wire::number).transpose()?;
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    let nanos = inner(wire, 2)?.map_or(Ok(0), Wire::number)?.cast_signed();
    let nanos = i32::try_from(nanos).map_err(|e| e.to_string())?;
    let time = Timestamp::new(seconds.cast_signed(), nanos).map_err(|e| e.to_string())?;
    Ok(time.strftime(format).to_string().into())
}

#[cfg(test)]
mod tests;
