//! [`Value`]: what expressions work with. Objects and lists of JSON are not copied: what an expression looks at is
//! read as its declared type when it is looked at. [`Made`] is an object that an expression makes.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use api::quantity::Quantity;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use semver::Version;
use serde_json::{Map, Value as Json};

use crate::foreign::Foreign;
use crate::text::Text;
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
    String(Text<'a>),
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

    fn text(text: &'a str, of: &Type) -> Self {
        let read = match of {
            Type::Timestamp => text.parse().ok().map(Self::Timestamp),
            Type::Duration => duration(text).map(Self::Duration),
            Type::Bytes => STANDARD.decode(text).ok().map(|bytes| Self::Bytes(bytes.into())),
            _ => None,
        };
        read.unwrap_or(Self::String(Text::Borrowed(text)))
    }

    pub(crate) fn string(text: impl Into<Text<'a>>) -> Self {
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

    /// The items of a list, each made when it is asked for.
    pub(crate) fn each_item(&self) -> Option<Box<dyn Iterator<Item = Value<'a>> + '_>> {
        match self {
            Self::List(items) => Some(Box::new(items.iter().cloned())),
            Self::Array(items, of) => {
                let of = *of;
                Some(Box::new(items.iter().map(move |item| Self::read(item, of))))
            }
            _ => None,
        }
    }

    /// The items of a list: as many values as there are items.
    pub(crate) fn items(&self) -> Option<Vec<Value<'a>>> {
        self.each_item().map(Iterator::collect)
    }

    /// The keys and values of a map, each made when it is asked for.
    pub(crate) fn each_entry(&self) -> Option<Box<dyn Iterator<Item = (Value<'a>, Value<'a>)> + '_>> {
        match self {
            Self::Map(entries) => Some(Box::new(entries.iter().cloned())),
            Self::Object(fields, _) => {
                let entry =
                    |name: &'a String| Some((Self::String(Text::Borrowed(name)), self.by_name(name)?));
                Some(Box::new(fields.keys().filter_map(entry)))
            }
            _ => None,
        }
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self, Self::List(_) | Self::Array(..))
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

    /// What looking through the value costs. No more is looked at than the limit; the answer is larger then.
    pub(crate) fn weight(&self, limit: u64) -> u64 {
        let mut left = limit;
        if self.weigh(&mut left) { limit - left } else { limit.saturating_add(1) }
    }

    /// Takes the value's weight from what is left; whether it was enough.
    fn weigh(&self, left: &mut u64) -> bool {
        crate::depth::deep(|| match self {
            Self::String(text) => take(left, text.len() as u64 / 10 + 1),
            Self::Bytes(bytes) => take(left, bytes.len() as u64 / 10 + 1),
            Self::List(items) => take(left, 1) && items.iter().all(|item| item.weigh(left)),
            Self::Map(entries) => {
                take(left, 1) && entries.iter().all(|(key, value)| key.weigh(left) && value.weigh(left))
            }
            Self::Array(items, _) => take(left, 1) && items.iter().all(|item| weigh_json(item, left)),
            Self::Object(fields, _) => {
                take(left, 1) && fields.values().all(|value| take(left, 1) && weigh_json(value, left))
            }
            Self::Made(made) => {
                take(left, 1) && made.fields().all(|(_, value)| take(left, 1) && value.weigh(left))
            }
            Self::Optional(Some(inner)) => take(left, 1) && inner.weigh(left),
            Self::Url(parts) => take(left, parts.iter().map(String::len).sum::<usize>() as u64 / 10 + 1),
            _ => take(left, 1),
        })
    }

    /// What comparing two values costs: it ends where the lighter one does, and so does weighing them.
    pub(crate) fn lighter(&self, other: &Value<'_>, limit: u64) -> u64 {
        let mut upto = limit.min(64);
        loop {
            let lighter = self.weight(upto).min(other.weight(upto));
            if lighter <= upto || upto >= limit {
                return lighter;
            }
            upto = upto.saturating_mul(4).min(limit);
        }
    }

    /// The bytes that were taken for this value alone, without those of the values inside. None are counted that others
    /// hold too.
    pub(crate) fn shell_bytes(&self) -> usize {
        match self {
            Self::String(text) => text.own_bytes(),
            Self::Bytes(bytes) if Arc::strong_count(bytes) == 1 => bytes.len(),
            Self::List(items) if Arc::strong_count(items) == 1 => items.len() * size_of::<Self>(),
            Self::Map(entries) if Arc::strong_count(entries) == 1 => {
                entries.len() * size_of::<(Self, Self)>()
            }
            Self::Url(parts) if Arc::strong_count(parts) == 1 => parts.iter().map(String::len).sum(),
            _ => 0,
        }
    }

    /// The bytes that were taken for this value alone and what is inside.
    pub(crate) fn own_bytes(&self) -> usize {
        let inside = match self {
            Self::List(items) if Arc::strong_count(items) == 1 => items.iter().map(Self::own_bytes).sum(),
            Self::Map(entries) if Arc::strong_count(entries) == 1 => {
                entries.iter().map(|(key, value)| key.own_bytes() + value.own_bytes()).sum()
            }
            _ => 0,
        };
        self.shell_bytes() + inside
    }

    /// Which of two values comes first; `None` where they do not compare.
    pub(crate) fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Self::String(a), Value::String(b)) => Some(str::cmp(a, b)),
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
        if let (Some(a), Some(b)) = (self.each_item(), other.each_item()) {
            return Some(self.size() == other.size() && a.zip(b).all(|(a, b)| a.equals(&b)));
        }
        let (mut a, b) = (self.each_entry()?, other.each_entry()?);
        if self.size() != other.size() {
            return Some(false);
        }
        // What keys mostly are is found at once.
        let (mut texts, mut numbers, mut others) = (HashMap::new(), HashMap::new(), Vec::new());
        for (key, value) in b {
            match (key.whole(), key) {
                (Some(number), _) => drop(numbers.insert(number, value)),
                (_, Value::String(key)) => drop(texts.insert(key, value)),
                (_, key) => others.push((key, value)),
            }
        }
        Some(a.all(|(key, value)| {
            let found = match (key.whole(), &key) {
                (Some(number), _) => numbers.get(&number),
                (_, Self::String(key)) => texts.get(&**key),
                (_, key) => others.iter().find(|(known, _)| known.equals(key)).map(|(_, value)| value),
            };
            found.is_some_and(|found| value.equals(found))
        }))
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
        let (mut wrong, mut left) = (Vec::new(), MAX_PARTS);
        self.check_names(self.of, &mut wrong, &mut left);
        match (left, wrong.is_empty()) {
            (0, _) => Err("the value is too large".to_owned()),
            (_, true) => Ok(()),
            (_, false) => Err(wrong.join("\n")),
        }
    }

    fn check_names(&self, wanted: &str, wrong: &mut Vec<String>, left: &mut u32) {
        if self.of != wanted {
            wrong.push(format!(
                "unexpected type name {:?}, expected {wanted:?}, which matches field name path from root Object type",
                self.of
            ));
        }
        for (name, value) in self.fields() {
            check_names(value, &format!("{wanted}.{name}"), wrong, left);
        }
    }
}

/// The most parts of a value whose names are looked at. Its parts may be the same ones again and again.
const MAX_PARTS: u32 = 100_000;

/// Items of lists and values of maps are of the type of the field that holds the list or map.
fn check_names(value: &Value<'_>, wanted: &str, wrong: &mut Vec<String>, left: &mut u32) {
    *left = left.saturating_sub(1);
    if *left == 0 {
        return;
    }
    crate::depth::deep(|| match value {
        Value::Made(made) => made.check_names(wanted, wrong, left),
        Value::List(items) => items.iter().for_each(|item| check_names(item, wanted, wrong, left)),
        Value::Map(entries) => {
            entries.iter().for_each(|(_, value)| check_names(value, wanted, wrong, left));
        }
        _ => {}
    });
}

fn weigh_json(json: &Json, left: &mut u64) -> bool {
    match json {
        Json::String(text) => take(left, text.len() as u64 / 10 + 1),
        Json::Array(items) => take(left, 1) && items.iter().all(|item| weigh_json(item, left)),
        Json::Object(fields) => {
            take(left, 1) && fields.values().all(|value| take(left, 1) && weigh_json(value, left))
        }
        _ => take(left, 1),
    }
}

fn take(left: &mut u64, weight: u64) -> bool {
    let enough = *left >= weight;
    *left = left.saturating_sub(weight);
    enough
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
