//! [`Structural`]: the structural schema of a custom kind's version (`openAPIV3Schema`), read once.
//!
//! Source: upstream's `apiextensions-apiserver/pkg/apiserver/schema`. Descriptions are left out: they are needed for
//! documents alone.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use regex::Regex;
use serde_json::{Map, Value};

use super::rule_set::RuleSet;

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Type {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    /// The name in a schema.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// What an object may have besides its properties.
#[derive(Debug, Clone, Default)]
pub enum Additional {
    /// Nothing is said.
    #[default]
    Unsaid,
    /// `additionalProperties: true` or `false`.
    Allowed(bool),
    Of(Box<Structural>),
}

/// How the items of a list are identified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListType {
    #[default]
    Atomic,
    Set,
    Map,
}

/// A pattern, compiled when it is first needed.
#[derive(Debug, Clone)]
pub struct Pattern {
    pub text: Box<str>,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    fn new(text: &str) -> Self {
        Self { text: text.into(), compiled: OnceLock::new() }
    }

    /// `None` where the text is no pattern that can be matched, which a definition is refused for.
    pub fn regex(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| Regex::new(&self.text).ok()).as_ref()
    }
}

/// The keywords that only judge a value.
#[derive(Debug, Clone, Default)]
pub struct Keywords {
    pub format: Box<str>,
    pub pattern: Option<Pattern>,
    pub maximum: Option<serde_json::Number>,
    pub exclusive_maximum: bool,
    pub minimum: Option<serde_json::Number>,
    pub exclusive_minimum: bool,
    pub multiple_of: Option<serde_json::Number>,
    pub max_length: Option<u64>,
    pub min_length: Option<u64>,
    pub max_items: Option<u64>,
    pub min_items: Option<u64>,
    pub max_properties: Option<u64>,
    pub min_properties: Option<u64>,
    pub required: Box<[Box<str>]>,
    pub values: Box<[Value]>,
    pub all_of: Box<[Structural]>,
    pub any_of: Box<[Structural]>,
    pub one_of: Box<[Structural]>,
    pub not: Option<Box<Structural>>,
}

/// A schema of a value, or (inside `allOf` and the like) a judgement of it.
#[derive(Debug, Clone, Default)]
pub struct Structural {
    /// `None` where nothing is said.
    pub of_type: Option<Type>,
    pub nullable: bool,
    pub int_or_string: bool,
    pub preserve_unknown: bool,
    pub embedded: bool,
    pub list_type: ListType,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic: bool,
    pub keys: Box<[Box<str>]>,
    pub default: Option<Box<Value>>,
    pub properties: BTreeMap<Box<str>, Structural>,
    pub additional: Additional,
    pub items: Option<Box<Structural>>,
    /// Boxed, since most schemas have none.
    pub keywords: Option<Box<Keywords>>,
    /// `x-kubernetes-validations`.
    pub rules: Option<Arc<RuleSet>>,
    /// Whether the schema or a part of it has rules.
    pub has_rules: bool,
    /// Whether one of these is about a change.
    pub has_transitions: bool,
    /// Whether the schema or a part of it is of an object with a type of its own (`embedded`).
    pub has_embedded: bool,
}

impl Structural {
    /// Reads a schema. What cannot be read is left out: a definition with such a schema is refused before.
    pub fn read(schema: &Value) -> Self {
        let Some(map) = schema.as_object() else { return Self::default() };
        let flag = |key: &str| map.get(key).and_then(Value::as_bool).unwrap_or(false);
        let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or("");
        let properties = map.get("properties").and_then(Value::as_object).into_iter().flatten();
        let mut schema = Self {
            of_type: Type::named(text("type")),
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            list_type: match text("x-kubernetes-list-type") {
                "set" => ListType::Set,
                "map" => ListType::Map,
                _ => ListType::Atomic,
            },
            atomic: text("x-kubernetes-map-type") == "atomic",
            keys: texts(map, "x-kubernetes-list-map-keys"),
            default: map.get("default").filter(|value| !value.is_null()).cloned().map(Box::new),
            properties: properties.map(|(name, schema)| (name.as_str().into(), Self::read(schema))).collect(),
            additional: match map.get("additionalProperties") {
                Some(Value::Bool(allowed)) => Additional::Allowed(*allowed),
                Some(schema @ Value::Object(_)) => Additional::Of(Box::new(Self::read(schema))),
                _ => Additional::Unsaid,
            },
            items: map
                .get("items")
                .filter(|items| items.is_object())
                .map(|items| Box::new(Self::read(items))),
            keywords: Keywords::read(map),
            rules: map.get("x-kubernetes-validations").and_then(RuleSet::read),
            has_rules: false,
            has_transitions: false,
            has_embedded: false,
        };
        schema.has_rules = schema.any(&|part| part.rules.is_some());
        schema.has_transitions =
            schema.any(&|part| part.rules.as_ref().is_some_and(|rules| rules.may_mention_old()));
        schema.has_embedded = schema.any(&|part| part.embedded);
        schema
    }

    /// The schema of a key of an object.
    pub fn below(&self, key: &str) -> Option<&Structural> {
        self.properties.get(key).or(match &self.additional {
            Additional::Of(schema) => Some(schema),
            _ => None,
        })
    }

    /// Whether any part of the schema has a default.
    pub fn has_defaults(&self) -> bool {
        self.any(&|schema| schema.default.is_some())
    }

    /// Whether any part of the schema is as asked, judgements inside `allOf` and the like left out.
    pub fn any(&self, asked: &dyn Fn(&Structural) -> bool) -> bool {
        let additional = match &self.additional {
            Additional::Of(schema) => Some(&**schema),
            _ => None,
        };
        asked(self)
            || self.properties.values().chain(self.items.as_deref()).chain(additional).any(|s| s.any(asked))
    }
}

impl Keywords {
    /// `None` where the schema has none of them.
    fn read(map: &Map<String, Value>) -> Option<Box<Self>> {
        const NAMES: [&str; 19] = [
            "format",
            "pattern",
            "maximum",
            "exclusiveMaximum",
            "minimum",
            "exclusiveMinimum",
            "multipleOf",
            "maxLength",
            "minLength",
            "maxItems",
            "minItems",
            "maxProperties",
            "minProperties",
            "required",
            "enum",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
        ];
        if !NAMES.iter().any(|name| map.contains_key(*name)) {
            return None;
        }
        let flag = |key: &str| map.get(key).and_then(Value::as_bool).unwrap_or(false);
        let count = |key: &str| map.get(key).and_then(Value::as_u64);
        let number = |key: &str| map.get(key).and_then(Value::as_number).cloned();
        let schemas = |key: &str| {
            let schemas = map.get(key).and_then(Value::as_array).into_iter().flatten();
            schemas.map(Structural::read).collect::<Box<[_]>>()
        };
        Some(Box::new(Self {
            format: map.get("format").and_then(Value::as_str).unwrap_or("").into(),
            pattern: map.get("pattern").and_then(Value::as_str).filter(|p| !p.is_empty()).map(Pattern::new),
            maximum: number("maximum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            minimum: number("minimum"),
            exclusive_minimum: flag("exclusiveMinimum"),
            multiple_of: number("multipleOf"),
            max_length: count("maxLength"),
            min_length: count("minLength"),
            max_items: count("maxItems"),
            min_items: count("minItems"),
            max_properties: count("maxProperties"),
            min_properties: count("minProperties"),
            required: texts(map, "required"),
            values: map.get("enum").and_then(Value::as_array).into_iter().flatten().cloned().collect(),
            all_of: schemas("allOf"),
            any_of: schemas("anyOf"),
            one_of: schemas("oneOf"),
            not: map.get("not").filter(|not| not.is_object()).map(|not| Box::new(Structural::read(not))),
        }))
    }
}

fn texts(map: &Map<String, Value>, key: &str) -> Box<[Box<str>]> {
    map.get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(Into::into)
        .collect()
}
