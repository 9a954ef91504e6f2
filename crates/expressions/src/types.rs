//! [`Type`]: what is known of a value before it is seen.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A type. `Dyn` is any.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List(Arc<Type>),
    Map(Arc<Type>, Arc<Type>),
    Object(Arc<ObjectType>),
    Optional(Arc<Type>),
    /// The type of types.
    Type,
    /// A type of a library, by its name.
    Library(&'static str),
    /// An object that an expression makes, by the name that the expression gives to its type.
    Made(Arc<str>),
}

/// The type of a change of an object, as JSON Patch has it.
pub const JSON_PATCH: &str = "JSONPatch";

/// The type of the objects that may be changed. The types of their fields have names of this one and the fields' path.
pub const OBJECT: &str = "Object";

/// The type of a field of a made object; `None` where it has no such field.
pub(crate) fn made_field(of: &str, field: &str) -> Option<Type> {
    match (of, field) {
        (JSON_PATCH, "op" | "path" | "from") => Some(Type::String),
        (JSON_PATCH, "value") => Some(Type::Dyn),
        (JSON_PATCH, _) => None,
        _ => Some(Type::Dyn),
    }
}

/// Whether the name is that of a type of which expressions make objects.
pub(crate) fn is_made(name: &str) -> bool {
    name == JSON_PATCH
        || name.strip_prefix(OBJECT).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// An object with named fields.
#[derive(Debug, Default, PartialEq)]
pub struct ObjectType {
    /// By the names that expressions have for them ([`ObjectType::escaped`]).
    pub fields: BTreeMap<String, Type>,
}

/// Words of the language, which name no variable or field.
pub const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

impl ObjectType {
    /// The name that expressions have for a field, as upstream escapes it; `None` for names that they cannot reach.
    pub fn escaped(name: &str) -> Option<String> {
        if RESERVED.contains(&name) {
            return Some(format!("__{name}__"));
        }
        let first = name.chars().next()?;
        if !(first.is_ascii_alphabetic() || first == '_') {
            return None;
        }
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | '$'))
            || name.contains('$')
        {
            return None;
        }
        let name = name.replace("__", "__underscores__");
        Some(name.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__"))
    }

    /// The field that an expression names.
    pub fn unescaped(name: &str) -> String {
        if !name.contains("__") {
            return name.to_owned();
        }
        if let Some(word) = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"))
            && RESERVED.contains(&word)
        {
            return word.to_owned();
        }
        let name = name.replace("__dot__", ".").replace("__dash__", "-").replace("__slash__", "/");
        name.replace("__underscores__", "__")
    }
}

impl Type {
    pub fn list(of: Type) -> Self {
        Self::List(Arc::new(of))
    }

    /// A map with strings for keys.
    pub fn map(of: Type) -> Self {
        Self::Map(Arc::new(Self::String), Arc::new(of))
    }

    /// Whether a value of one type may stand where the other is wanted.
    pub(crate) fn fits(&self, wanted: &Type) -> bool {
        match (self, wanted) {
            (Self::Dyn, _) | (_, Self::Dyn) => true,
            (Self::List(a), Self::List(b)) | (Self::Optional(a), Self::Optional(b)) => a.fits(b),
            (Self::Map(ka, va), Self::Map(kb, vb)) => ka.fits(kb) && va.fits(vb),
            (Self::Object(_), Self::Object(_)) => true,
            // Null compares with everything that may be absent.
            (Self::Null, other) | (other, Self::Null) => {
                matches!(
                    other,
                    Self::Null
                        | Self::Object(_)
                        | Self::Made(_)
                        | Self::Timestamp
                        | Self::Duration
                        | Self::Optional(_)
                )
            }
            (a, b) => a == b,
        }
    }

    /// Whether two types are one, as far as both are known.
    pub(crate) fn is_equivalent(&self, other: &Type) -> bool {
        match (self, other) {
            (Self::Dyn, _) | (_, Self::Dyn) => true,
            (Self::List(a), Self::List(b)) | (Self::Optional(a), Self::Optional(b)) => a.is_equivalent(b),
            (Self::Map(ka, va), Self::Map(kb, vb)) => ka.is_equivalent(kb) && va.is_equivalent(vb),
            // A null stands for an object that is not there.
            (Self::Null, Self::Object(_) | Self::Made(_)) | (Self::Object(_) | Self::Made(_), Self::Null) => {
                true
            }
            (Self::Made(_), Self::Made(_)) => true,
            (a, b) => a == b,
        }
    }

    /// The type that both fit.
    pub(crate) fn joined(&self, other: &Type) -> Type {
        match (self, other) {
            (a, b) if a == b => a.clone(),
            // A list without items is of any type.
            (Self::List(a), Self::List(b)) => Self::list(a.joined(b)),
            (Self::Map(ka, va), Self::Map(kb, vb)) => {
                Self::Map(Arc::new(ka.joined(kb)), Arc::new(va.joined(vb)))
            }
            _ => Self::Dyn,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::List(of) => write!(f, "list({of})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Object(_) => f.write_str("object"),
            Self::Optional(of) => write!(f, "optional_type({of})"),
            Self::Type => f.write_str("type"),
            Self::Library(name) => f.write_str(name),
            Self::Made(name) => f.write_str(name),
        }
    }
}
