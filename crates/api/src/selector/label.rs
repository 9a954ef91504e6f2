//! [`LabelSelector`]: requirements on labels, all of which must hold.

use std::fmt;

use serde_json::Value;

use crate::field::{FieldError, Path};
use crate::{Error, Object, names};

/// How a requirement compares, with upstream's spelling in selector strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

impl Operator {
    /// The spelling in upstream's list of binary operators.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::NotIn => "notin",
            Self::Equals => "=",
            Self::DoubleEquals => "==",
            Self::NotEquals => "!=",
            Self::Exists => "exists",
            Self::DoesNotExist => "!",
            Self::GreaterThan => "gt",
            Self::LessThan => "lt",
        }
    }
}

/// One requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement {
    key: String,
    operator: Operator,
    /// Sorted and without doubles.
    values: Vec<String>,
}

impl Requirement {
    /// A requirement whose key, operator and values are checked.
    ///
    /// # Errors
    /// 400 with upstream's text when the key or a value is no valid label, or the number of values
    /// does not suit the operator.
    pub fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Self, Error> {
        let mut errors = Vec::new();
        let faults = names::qualified_name(key);
        if !faults.is_empty() {
            errors.push(FieldError::invalid(&Path::root("key"), key, faults.join("; ")));
        }
        let path = Path::root("values");
        if let Some(why) = wrong_count(operator, values.len()) {
            errors.push(FieldError::invalid(&path, values.clone(), why));
        }
        for (i, value) in values.iter().enumerate() {
            let item = path.index(i);
            let integral = matches!(operator, Operator::GreaterThan | Operator::LessThan);
            if integral && value.parse::<i64>().is_err() {
                let why = "for 'Gt', 'Lt' operators, the value must be an integer";
                errors.push(FieldError::invalid(&item, value.as_str(), why));
            }
            let faults = names::label_value(value);
            if !faults.is_empty() {
                errors.push(FieldError::invalid(&item.key(key), value.as_str(), faults.join("; ")));
            }
        }
        if errors.is_empty() {
            Ok(Self::unchecked(key, operator, values))
        } else {
            Err(Error::bad_request(crate::field::aggregate(&errors)))
        }
    }

    fn unchecked(key: &str, operator: Operator, mut values: Vec<String>) -> Self {
        values.sort_unstable();
        values.dedup();
        Self { key: key.to_owned(), operator, values }
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The values, sorted and without doubles.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// Whether the requirement holds for a label's value (`None`: the label is absent).
    pub fn matches(&self, label: Option<&str>) -> bool {
        let has = |v: &str| self.values.iter().any(|x| x == v);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => label.is_some_and(has),
            Operator::NotIn | Operator::NotEquals => !label.is_some_and(has),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => self.compares(label, |l, r| l > r),
            Operator::LessThan => self.compares(label, |l, r| l < r),
        }
    }

    fn compares(&self, label: Option<&str>, holds: fn(i64, i64) -> bool) -> bool {
        let (Some(label), [value]) = (label, self.values.as_slice()) else { return false };
        match (label.parse(), value.parse()) {
            (Ok(label), Ok(value)) => holds(label, value),
            _ => false,
        }
    }
}

fn wrong_count(operator: Operator, count: usize) -> Option<&'static str> {
    match operator {
        Operator::In | Operator::NotIn if count == 0 => {
            Some("for 'in', 'notin' operators, values set can't be empty")
        }
        Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if count != 1 => {
            Some("exact-match compatibility requires one single value")
        }
        Operator::Exists | Operator::DoesNotExist if count != 0 => {
            Some("values set must be empty for exists and does not exist")
        }
        Operator::GreaterThan | Operator::LessThan if count != 1 => {
            Some("for 'Gt', 'Lt' operators, exactly one value is required")
        }
        _ => None,
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.join(",");
        match self.operator {
            Operator::Exists => f.write_str(&self.key),
            Operator::DoesNotExist => write!(f, "!{}", self.key),
            Operator::In => write!(f, "{} in ({values})", self.key),
            Operator::NotIn => write!(f, "{} notin ({values})", self.key),
            Operator::Equals => write!(f, "{}={values}", self.key),
            Operator::DoubleEquals => write!(f, "{}=={values}", self.key),
            Operator::NotEquals => write!(f, "{}!={values}", self.key),
            Operator::GreaterThan => write!(f, "{}>{values}", self.key),
            Operator::LessThan => write!(f, "{}<{values}", self.key),
        }
    }
}

/// Requirements on labels, all of which must hold. The default selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LabelSelector {
    /// Sorted by key.
    requirements: Vec<Requirement>,
    /// Selects no object at all, whatever its labels.
    nothing: bool,
}

impl LabelSelector {
    /// Selects every object.
    pub const fn everything() -> Self {
        Self { requirements: Vec::new(), nothing: false }
    }

    /// Selects no object.
    pub const fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Selects what all `requirements` hold for.
    pub fn of(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements, nothing: false }
    }

    /// From a `LabelSelector` object (`matchLabels`, `matchExpressions`): null selects nothing, an
    /// empty object everything.
    ///
    /// # Errors
    /// 400 when it is malformed.
    pub fn from_object(value: &Value) -> Result<Self, Error> {
        let map = match value {
            Value::Null => return Ok(Self::nothing()),
            Value::Object(map) => map,
            other => return Err(Error::bad_request(format!("{other} is not a valid label selector"))),
        };
        let mut requirements = Vec::new();
        for (key, value) in map.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            requirements.push(Requirement::new(key, Operator::Equals, vec![value.to_owned()])?);
        }
        for expression in map.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            requirements.push(expression_requirement(expression)?);
        }
        Ok(Self::of(requirements))
    }

    /// From a plain map of labels, e.g. a service's selector; an empty map selects everything. The
    /// labels are not checked: what is no valid label matches nothing.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let requirement =
            |(k, v): (&str, &str)| Requirement::unchecked(k, Operator::Equals, vec![v.to_owned()]);
        Self::of(labels.into_iter().map(requirement).collect())
    }

    /// Whether it selects everything.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Whether it selects nothing for certain.
    pub fn is_nothing(&self) -> bool {
        self.nothing
    }

    /// The requirements, sorted by key; none for a selector of everything or nothing.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether labels, found by `lookup`, are selected.
    pub fn matches<'a>(&self, lookup: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(lookup(&r.key)))
    }

    /// Whether an object's labels are selected.
    pub fn matches_object(&self, object: &Object) -> bool {
        self.matches(|key| object.label(key))
    }
}

fn expression_requirement(expression: &Value) -> Result<Requirement, Error> {
    let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default();
    let operator = match text("operator") {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        other => {
            return Err(Error::bad_request(format!("{other:?} is not a valid label selector operator")));
        }
    };
    let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
    let values = values.map(|v| v.as_str().unwrap_or_default().to_owned()).collect();
    Requirement::new(text("key"), operator, values)
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}
