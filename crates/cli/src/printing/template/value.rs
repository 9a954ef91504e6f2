//! The values that templates compute with: JSON's, as Go's decoder types them, and `int`s of constants and lengths.

use std::borrow::Cow;

use serde_json::Value;

use crate::printing::go_text::{self, Numeric};

#[derive(Debug, Clone)]
pub enum Val<'a> {
    /// Go's zero `reflect.Value`: a missing key, a null that was taken out of its interface.
    Nothing,
    /// Of type `interface {}`, as the elements of maps and lists are; null is the nil interface.
    Boxed(Cow<'a, Value>),
    /// Of its own type; never null.
    Data(Cow<'a, Value>),
    Int(i64),
    /// A character of a string.
    Byte(u8),
}

/// What kinds of values compare with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basic {
    Bool,
    Int,
    Uint,
    Float,
    String,
}

impl<'a> Val<'a> {
    pub fn text(text: impl Into<String>) -> Self {
        Val::Data(Cow::Owned(Value::String(text.into())))
    }

    pub fn bool(value: bool) -> Self {
        Val::Data(Cow::Owned(Value::Bool(value)))
    }

    /// Without the interface around it.
    pub fn unboxed(self) -> Self {
        match self {
            Val::Boxed(value) if value.is_null() => Val::Nothing,
            Val::Boxed(value) => Val::Data(value),
            other => other,
        }
    }

    pub fn json(&self) -> Option<&Value> {
        match self {
            Val::Boxed(value) | Val::Data(value) => Some(value),
            Val::Nothing | Val::Int(_) | Val::Byte(_) => None,
        }
    }

    pub fn is_nil(&self) -> bool {
        matches!(self, Val::Nothing) || self.json().is_some_and(Value::is_null)
    }

    /// The name of the value's own type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Val::Nothing => "<nil>",
            Val::Boxed(value) | Val::Data(value) => go_text::type_name(value),
            Val::Int(_) => "int",
            Val::Byte(_) => "uint8",
        }
    }

    /// The name of the type by which the value is held.
    pub fn static_type_name(&self) -> &'static str {
        if matches!(self, Val::Boxed(_)) { "interface {}" } else { self.type_name() }
    }

    /// Whether `if` takes the value as true.
    pub fn is_true(&self) -> bool {
        match self {
            Val::Nothing => false,
            Val::Int(value) => *value != 0,
            Val::Byte(value) => *value != 0,
            Val::Boxed(value) | Val::Data(value) => match value.as_ref() {
                Value::Null => false,
                Value::Bool(value) => *value,
                Value::Number(number) => match Numeric::of(number) {
                    Numeric::Int(value) => value != 0,
                    Numeric::Float(value) => value != 0.0,
                },
                Value::String(text) => !text.is_empty(),
                Value::Array(items) => !items.is_empty(),
                Value::Object(fields) => !fields.is_empty(),
            },
        }
    }

    pub fn basic(&self) -> Option<Basic> {
        match self {
            Val::Int(_) => Some(Basic::Int),
            Val::Byte(_) => Some(Basic::Uint),
            Val::Nothing => None,
            Val::Boxed(value) | Val::Data(value) => match value.as_ref() {
                Value::Bool(_) => Some(Basic::Bool),
                Value::String(_) => Some(Basic::String),
                Value::Number(number) => Some(match Numeric::of(number) {
                    Numeric::Int(_) => Basic::Int,
                    Numeric::Float(_) => Basic::Float,
                }),
                Value::Null | Value::Array(_) | Value::Object(_) => None,
            },
        }
    }

    pub fn integer(&self) -> Option<i64> {
        match self {
            Val::Int(value) => Some(*value),
            Val::Byte(value) => Some(i64::from(*value)),
            _ => match self.json() {
                Some(Value::Number(number)) => number.as_i64(),
                _ => None,
            },
        }
    }

    pub fn float(&self) -> Option<f64> {
        match self.json() {
            Some(Value::Number(number)) => match Numeric::of(number) {
                Numeric::Float(value) => Some(value),
                Numeric::Int(_) => None,
            },
            _ => None,
        }
    }

    pub fn string(&self) -> Option<&str> {
        self.json().and_then(Value::as_str)
    }

    /// As `%v` prints it; `nothing` stands for what is not there.
    pub fn plain(&self, nothing: &str) -> String {
        match self {
            Val::Nothing => nothing.to_owned(),
            Val::Int(value) => value.to_string(),
            Val::Byte(value) => value.to_string(),
            Val::Boxed(value) | Val::Data(value) => go_text::plain(value),
        }
    }

    /// A key's value; `None` where `self` is no map.
    pub fn field(&self, name: &str) -> Option<Val<'a>> {
        let (Val::Boxed(value) | Val::Data(value)) = self else { return None };
        match value {
            Cow::Borrowed(value) => {
                Some(value.as_object()?.get(name).map_or(Val::Nothing, |v| Val::Boxed(Cow::Borrowed(v))))
            }
            Cow::Owned(value) => {
                Some(value.as_object()?.get(name).map_or(Val::Nothing, |v| Val::Boxed(Cow::Owned(v.clone()))))
            }
        }
    }

    /// The elements of a list.
    pub fn item(&self, index: usize) -> Option<Val<'a>> {
        let (Val::Boxed(value) | Val::Data(value)) = self else { return None };
        match value {
            Cow::Borrowed(value) => Some(Val::Boxed(Cow::Borrowed(value.as_array()?.get(index)?))),
            Cow::Owned(value) => Some(Val::Boxed(Cow::Owned(value.as_array()?.get(index)?.clone()))),
        }
    }
}
