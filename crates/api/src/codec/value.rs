//! JSON and YAML text into dynamic values, within limits, noting fields given twice.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::syntax;
use crate::field::Path;
use crate::{Error, Object, Reason};

/// At most so many duplicate fields are reported, as upstream.
pub(super) const MAX_REPORTED: usize = 100;

/// Stack that must be left to read one level more, and what is added where it is not: a level of
/// YAML takes tens of kilobytes, and a thread has two megabytes.
const STACK_NEEDED_BYTES: usize = 256 * 1024;
const STACK_ADDED_BYTES: usize = 2 * 1024 * 1024;

/// The limits of input from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Length of the text.
    pub bytes: usize,
    /// Levels of objects and lists inside each other; at most 120 are possible.
    pub depth: usize,
}

impl Default for Limits {
    /// 3 MiB, as upstream, and 100 levels.
    fn default() -> Self {
        Self { bytes: 3 * 1024 * 1024, depth: 100 }
    }
}

/// A decoded object. Of fields given twice the last value stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    pub object: Object,
    /// Paths of fields given more than once, at most 100.
    pub duplicates: Vec<String>,
}

/// Decodes a JSON object.
///
/// # Errors
/// 413 over `limits.bytes`; 400 when it is no JSON, no object, or nested too deep.
pub fn decode_json(bytes: &[u8], limits: &Limits) -> Result<Decoded, Error> {
    let (value, duplicates) = decode_json_value(bytes, limits).map_err(unrecognized)?;
    object(value, duplicates)
}

/// Decodes a YAML document that is an object. Aliases expand within a budget.
///
/// # Errors
/// As [`decode_json`], and 400 when aliases expand too far or there is more than one document.
pub fn decode_yaml(bytes: &[u8], limits: &Limits) -> Result<Decoded, Error> {
    let (value, duplicates) = decode_yaml_value(bytes, limits).map_err(unrecognized)?;
    object(value, duplicates)
}

/// Decodes any JSON value, with the paths of fields given twice.
///
/// # Errors
/// As [`decode_json`].
pub fn decode_json_value(bytes: &[u8], limits: &Limits) -> Result<(Value, Vec<String>), Error> {
    check_length(bytes, limits)?;
    let notes = RefCell::new(Notes::default());
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let result = root(&notes, limits).deserialize(&mut deserializer).and_then(|value| {
        deserializer.end()?;
        Ok(value)
    });
    let result = result.map_err(|error| syntax::fault(bytes).unwrap_or_else(|| error.to_string()));
    finish(result, notes)
}

/// Decodes any YAML document, with the paths of fields given twice. JSON is taken as it is: clients
/// send it under YAML's name, and it may hold characters YAML refuses.
///
/// # Errors
/// As [`decode_yaml`].
pub fn decode_yaml_value(bytes: &[u8], limits: &Limits) -> Result<(Value, Vec<String>), Error> {
    check_length(bytes, limits)?;
    if bytes.trim_ascii_start().starts_with(b"{")
        && let Ok(decoded) = decode_json_value(bytes, limits)
    {
        return Ok(decoded);
    }
    let notes = RefCell::new(Notes::default());
    let options = yaml_options(limits);
    let result = serde_saphyr::with_deserializer_from_slice_with_options(bytes, options, |deserializer| {
        root(&notes, limits).deserialize(deserializer)
    });
    finish(result, notes)
}

/// How YAML is read.
pub(super) fn yaml_options(limits: &Limits) -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(limits.bytes),
            max_depth: limits.depth.saturating_add(1),
            max_documents: 2,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_total_scalar_bytes: limits.bytes,
            max_merge_keys: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 50_000,
            max_replay_stack_depth: 16,
        },
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::PassThrough,
        legacy_octal_numbers: true,
        with_snippet: false,
    }
}

/// Reads one level more, on more stack where there is little left.
pub(super) fn with_stack<T>(read: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_NEEDED_BYTES, STACK_ADDED_BYTES, read)
}

fn check_length(bytes: &[u8], limits: &Limits) -> Result<(), Error> {
    if bytes.len() <= limits.bytes {
        return Ok(());
    }
    let message = format!("Request entity too large: limit is {}", limits.bytes);
    Err(Error::new(Reason::RequestEntityTooLarge, message))
}

fn unrecognized(error: Error) -> Error {
    if error.is(Reason::BadRequest) {
        return Error::bad_request(format!("couldn't get version/kind; json parse error: {}", error.message));
    }
    error
}

fn object(value: Value, duplicates: Vec<String>) -> Result<Decoded, Error> {
    // Go takes null for what says nothing.
    let value = if value.is_null() { Value::Object(Map::new()) } else { value };
    let kind = type_word(&value);
    let object = Object::from_value(value).ok_or_else(|| {
        unrecognized(Error::bad_request(format!("json: cannot unmarshal {kind} into an API object")))
    })?;
    Ok(Decoded { object, duplicates })
}

/// The name that Go's JSON decoder uses for a value's type.
pub fn type_word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What is noted on the way besides the value.
#[derive(Default)]
struct Notes {
    duplicates: Vec<String>,
}

fn finish<E: fmt::Display>(
    result: Result<Value, E>,
    notes: RefCell<Notes>,
) -> Result<(Value, Vec<String>), Error> {
    match result {
        Ok(value) => Ok((value, notes.into_inner().duplicates)),
        Err(e) => Err(Error::bad_request(e.to_string())),
    }
}

const ROOT: Path<'static> = Path::root("");

const fn root<'p>(notes: &'p RefCell<Notes>, limits: &Limits) -> Any<'p> {
    let depth = if limits.depth < 120 { limits.depth } else { 120 };
    Any { path: &ROOT, depth_left: depth, notes }
}

/// Reads any value at a path.
struct Any<'p> {
    path: &'p Path<'p>,
    depth_left: usize,
    notes: &'p RefCell<Notes>,
}

impl Any<'_> {
    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        self.depth_left
            .checked_sub(1)
            .ok_or_else(|| E::custom("exceeded max depth of nested objects and lists"))
    }
}

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        with_stack(|| deserializer.deserialize_any(self))
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
        Number::from_f64(v).map(Value::Number).ok_or_else(|| E::custom("number is not finite"))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let depth_left = self.deeper()?;
        let mut out = Vec::new();
        loop {
            let path = self.path.index(out.len());
            match items.next_element_seed(Any { path: &path, depth_left, notes: self.notes })? {
                Some(value) => out.push(value),
                None => return Ok(Value::Array(out)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let depth_left = self.deeper()?;
        let mut out = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = self.path.child(&key);
            let value = entries.next_value_seed(Any { path: &path, depth_left, notes: self.notes })?;
            if out.contains_key(&key) {
                let mut notes = self.notes.borrow_mut();
                if notes.duplicates.len() < MAX_REPORTED {
                    notes.duplicates.push(path.to_string());
                }
            }
            out.insert(key, value);
        }
        Ok(Value::Object(out))
    }
}
