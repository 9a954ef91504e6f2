//! [`Value`]: what expressions work with. Objects and lists of JSON are not copied: what an expression looks at is
//! read as its declared type when it is looked at. [`Made`] is an object that an expression makes.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

use api::quantity::Quantity;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use semver::Version;
use serde_json::{Map, Value as Json};

use crate::foreign::Foreign;
use crate::types::{JSON_PATCH, ObjectType, Type, made_field};

static ANY: Type = Type::Dyn;

/// A value.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
    Timestamp(Timestamp),
    Duration(SignedDuration),
    List(Arc<Vec<Value<'a>>>),
    Map(Arc<Vec<(Value<'a>, Value<'a>)>>),
    /// A list of JSON, and the type of its items.
    Array(&'a [Json], &'a Type),
    /// An object of JSON and its type.
    Object(&'a Map<String, Json>, &'a Type),
    Optional(Option<Arc<Value<'a>>>),
    Type(Arc<str>),
    Quantity(Arc<Quantity>),
    Version(Arc<Version>),
    /// A named format of texts.
    Format(&'static str),
    Address(IpAddr),
    Range(IpAddr, u8),
    /// The parts of an absolute URL: scheme, host with port, path, query.
    Url(Arc<[String; 4]>),
    Foreign(Arc<dyn Foreign>),
    Made(Arc<Made<'a>>),
}

impl<'a> Value<'a> {
    /// A value of JSON, read as of a type. What is not of the type is read as it is.
    pub fn read(json: &'a Json, of: &'a Type) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Bool(*flag),
            Json::Number(number) if *of == Type::Double => Self::Double(number.as_f64().unwrap_or_default()),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Self::Int(whole),
                None => Self::Double(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => Self::text(text, of),
            Json::Array(items) => match of {
                Type::List(of) => Self::Array(items, of),
                _ => Self::Array(items, &ANY),
            },
            Json::Object(fields) => Self::Object(fields, of),
        }
    }

    fn text(text: &str, of: &Type) -> Self {
        let read = match of {
            Type::Timestamp => text.parse().ok().map(Self::Timestamp),
            Type::Duration => duration(text).map(Self::Duration),
            Type::Bytes => STANDARD.decode(text).ok().map(|bytes| Self::Bytes(bytes.into())),
            _ => None,
        };
        read.unwrap_or_else(|| Self::String(text.into()))
    }

    pub(crate) fn string(text: impl Into<Arc<str>>) -> Self {
        Self::String(text.into())
    }

    /// A field of an object, or the value of a key that is a string; `None` where there is none.
    pub(crate) fn field(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Self::Object(fields, Type::Object(of)) => {
                let value = fields.get(&ObjectType::unescaped(name))?;
                Some(Self::read(value, of.fields.get(name).unwrap_or(&ANY)))
            }
            Self::Object(fields, Type::Map(_, of)) => Some(Self::read(fields.get(name)?, of)),
            Self::Object(fields, _) => Some(Self::read(fields.get(name)?, &ANY)),
            Self::Map(entries) => entries
                .iter()
                .find(|(key, _)| matches!(key, Self::String(key) if **key == *name))
                .map(|(_, v)| v.clone()),
            Self::Made(made) => made.field(name),
            _ => None,
        }
    }

    /// Whether there is a field; of changes, a text that is not empty.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Made(made) => made.has(name),
            other => other.field(name).is_some(),
        }
    }

    /// How many items, entries, characters or bytes there are; `None` of what has no size.
    pub(crate) fn size(&self) -> Option<usize> {
        Some(match self {
            Self::String(text) => text.chars().count(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(items) => items.len(),
            Self::Map(entries) => entries.len(),
            Self::Array(items, _) => items.len(),
            Self::Object(fields, _) => fields.len(),
            _ => return None,
        })
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Option<Vec<Value<'a>>> {
        match self {
            Self::List(items) => Some(items.to_vec()),
            Self::Array(items, of) => Some(items.iter().map(|item| Self::read(item, of)).collect()),
            _ => None,
        }
    }

    /// The keys and values of a map.
    pub(crate) fn entries(&self) -> Option<Vec<(Value<'a>, Value<'a>)>> {
        match self {
            Self::Map(entries) => Some(entries.to_vec()),
            Self::Object(fields, _) => {
                let names = fields.keys().map(|name| (name.clone(), Self::string(name.as_str())));
                Some(names.filter_map(|(name, key)| Some((key, self.by_name(&name)?))).collect())
            }
            _ => None,
        }
    }

    /// A field by the name that it has in JSON.
    pub(crate) fn by_name(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Self::Object(_, Type::Object(_)) => self.field(&ObjectType::escaped(name)?),
            _ => self.field(name),
        }
    }

    /// The name of the value's type.
    pub fn type_name(&self) -> &'a str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::List(_) | Self::Array(..) => "list",
            Self::Map(_) | Self::Object(..) => "map",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Version(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Address(_) => "net.IP",
            Self::Range(..) => "net.CIDR",
            Self::Url(_) => "kubernetes.URL",
            Self::Foreign(of) => of.type_name(),
            Self::Made(made) => made.type_name(),
        }
    }

    /// How a comparison of two values costs.
    pub(crate) fn weight(&self) -> u64 {
        match self {
            Self::String(text) => text.len() as u64 / 10 + 1,
            Self::Bytes(bytes) => bytes.len() as u64 / 10 + 1,
            Self::List(items) => items.iter().map(Self::weight).sum::<u64>() + 1,
            Self::Map(entries) => {
                entries.iter().map(|(key, value)| key.weight() + value.weight()).sum::<u64>() + 1
            }
            Self::Array(items, _) => items.iter().map(weight_of).sum::<u64>() + 1,
            Self::Object(fields, _) => fields.values().map(|value| weight_of(value) + 1).sum::<u64>() + 1,
            Self::Made(made) => made.fields().map(|(_, value)| value.weight() + 1).sum::<u64>() + 1,
            _ => 1,
        }
    }

    /// Which of two values comes first; `None` where they do not compare.
    pub(crate) fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Self::String(a), Value::String(b)) => Some(a.cmp(b)),
            (Self::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
            (Self::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
            (Self::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            (Self::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Self::Quantity(a), Value::Quantity(b)) => Some(a.as_ref().cmp(b.as_ref())),
            _ => match (self.whole(), other.whole()) {
                (Some(a), Some(b)) => Some(a.cmp(&b)),
                _ => self.number()?.partial_cmp(&other.number()?),
            },
        }
    }

    fn whole(&self) -> Option<i128> {
        match self {
            Self::Int(n) => Some(i128::from(*n)),
            Self::Uint(n) => Some(i128::from(*n)),
            _ => None,
        }
    }

    fn number(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "as CEL compares whole numbers with others")]
        match self {
            Self::Int(n) => Some(*n as f64),
            Self::Uint(n) => Some(*n as f64),
            Self::Double(n) => Some(*n),
            _ => None,
        }
    }

    pub(crate) fn equals(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Self::Null, Value::Null) => true,
            (Self::Type(a), Value::Type(b)) => a == b,
            (Self::Address(a), Value::Address(b)) => a == b,
            (Self::Range(a, n), Value::Range(b, m)) => a == b && n == m,
            (Self::Url(a), Value::Url(b)) => a == b,
            (Self::Version(a), Value::Version(b)) => a.cmp_precedence(b).is_eq(),
            (Self::Format(a), Value::Format(b)) => a == b,
            (Self::Made(a), Value::Made(b)) => a.equals(b),
            (Self::Optional(a), Value::Optional(b)) => match (a, b) {
                (Some(a), Some(b)) => a.equals(b),
                (None, None) => true,
                _ => false,
            },
            _ => self.parts_equal(other).unwrap_or_else(|| self.order(other) == Some(Ordering::Equal)),
        }
    }

    /// Of lists and maps: whether all their parts are equal.
    fn parts_equal(&self, other: &Value<'_>) -> Option<bool> {
        if let (Some(a), Some(b)) = (self.items(), other.items()) {
            return Some(a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.equals(b)));
        }
        let (a, b) = (self.entries()?, other.entries()?);
        let has =
            |key: &Value<'_>, value: &Value<'_>| b.iter().any(|(k, v)| k.equals(key) && v.equals(value));
        Some(a.len() == b.len() && a.iter().all(|(key, value)| has(key, value)))
    }
}

/// An object of a type that has no more than a name.
#[derive(Debug, Clone)]
pub struct Made<'a> {
    of: &'a str,
    fields: Vec<(&'a str, Value<'a>)>,
}

impl<'a> Made<'a> {
    pub(crate) fn new(of: &'a str, fields: Vec<(&'a str, Value<'a>)>) -> Self {
        Self { of, fields }
    }

    /// The name of the type.
    pub fn type_name(&self) -> &'a str {
        self.of
    }

    /// The value of a field that was given.
    pub fn given(&self, name: &str) -> Option<&Value<'a>> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The fields that were given.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'a str, &Value<'a>)> {
        self.fields.iter().map(|(name, value)| (*name, value))
    }

    /// The value that an expression reads of a field; texts of changes are empty where none was given.
    pub(crate) fn field(&self, name: &str) -> Option<Value<'a>> {
        let empty = || {
            let is_text = self.of == JSON_PATCH && made_field(self.of, name) == Some(Type::String);
            is_text.then(|| Value::string(""))
        };
        self.given(name).cloned().or_else(empty)
    }

    /// Whether a field was given, and of changes, a text that is not empty.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self.given(name) {
            Some(Value::String(text)) if self.of == JSON_PATCH && name != "value" => !text.is_empty(),
            given => given.is_some(),
        }
    }

    pub(crate) fn equals(&self, other: &Made<'_>) -> bool {
        self.of == other.of
            && self.fields.len() == other.fields.len()
            && self.fields().all(|(name, value)| other.given(name).is_some_and(|other| value.equals(other)))
    }

    /// Whether the types of the objects inside are named for the fields that hold them.
    ///
    /// # Errors
    /// Every name that is another, in upstream's words.
    pub fn check_type_names(&self) -> Result<(), String> {
        let mut wrong = Vec::new();
        self.check_names(self.of.to_owned(), &mut wrong);
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    fn check_names(&self, wanted: String, wrong: &mut Vec<String>) {
        if self.of != wanted {
            wrong.push(format!(
                "unexpected type name {:?}, expected {wanted:?}, which matches field name path from root Object type",
                self.of
            ));
        }
        for (name, value) in self.fields() {
            check_names(value, &format!("{wanted}.{name}"), wrong);
        }
    }
}

/// Items of lists and values of maps are of the type of the field that holds the list or map.
fn check_names(value: &Value<'_>, wanted: &str, wrong: &mut Vec<String>) {
    crate::depth::deep(|| match value {
        Value::Made(made) => made.check_names(wanted.to_owned(), wrong),
        Value::List(items) => items.iter().for_each(|item| check_names(item, wanted, wrong)),
        Value::Map(entries) => entries.iter().for_each(|(_, value)| check_names(value, wanted, wrong)),
        _ => {}
    });
}

fn weight_of(json: &Json) -> u64 {
    match json {
        Json::String(text) => text.len() as u64 / 10 + 1,
        Json::Array(items) => items.iter().map(weight_of).sum::<u64>() + 1,
        Json::Object(fields) => fields.values().map(|value| weight_of(value) + 1).sum::<u64>() + 1,
        _ => 1,
    }
}

/// A duration as Go writes it: signed decimal numbers, each with a unit.
pub(crate) fn duration(text: &str) -> Option<SignedDuration> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let units =
            [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let (unit, factor) = units
            .into_iter()
            .filter(|(unit, _)| rest[end..].starts_with(unit))
            .max_by_key(|(unit, _)| unit.len())?;
        seconds += number * factor;
        rest = &rest[end + unit.len()..];
    }
    SignedDuration::try_from_secs_f64(sign * seconds).ok()
}
