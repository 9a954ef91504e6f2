//! Reading fields of an object, with Go's zero values for what is missing or of another type.

use api::quantity::Quantity;
use serde_json::Value;

/// Fields by their path, whose steps are separated by points (no field's name has one).
pub trait Fields {
    /// Nothing for null too.
    fn at(&self, path: &str) -> Option<&Value>;

    fn text(&self, path: &str) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, path: &str) -> i64 {
        self.at(path).and_then(Value::as_i64).unwrap_or_default()
    }

    fn flag(&self, path: &str) -> bool {
        self.at(path).and_then(Value::as_bool).unwrap_or_default()
    }

    fn has(&self, path: &str) -> bool {
        self.at(path).is_some()
    }

    fn items(&self, path: &str) -> &[Value] {
        self.at(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// A map's entries in order.
    fn entries(&self, path: &str) -> Vec<(&str, &Value)> {
        let fields = self.at(path).and_then(Value::as_object);
        fields
            .map(|fields| fields.iter().map(|(key, value)| (key.as_str(), value)).collect())
            .unwrap_or_default()
    }

    /// The texts of a list.
    fn texts(&self, path: &str) -> Vec<&str> {
        self.items(path).iter().map(|item| item.as_str().unwrap_or_default()).collect()
    }

    /// A number or a text, as Go's `IntOrString` prints.
    fn number_or_text(&self, path: &str) -> String {
        number_or_text(self.at(path))
    }

    fn quantity(&self, path: &str) -> Quantity {
        quantity(self.at(path))
    }

    /// A list of texts as `%v` prints it.
    fn bracketed(&self, path: &str) -> String {
        format!("[{}]", self.texts(path).join(" "))
    }
}

impl Fields for Value {
    fn at(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(self, |value, name| value.get(name)).filter(|value| !value.is_null())
    }
}

pub fn number_or_text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.as_i64().unwrap_or_default().to_string(),
        None => "0".to_owned(),
    }
}

/// Zero where it is none.
pub fn quantity(value: Option<&Value>) -> Quantity {
    let text = match value {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return Quantity::ZERO,
    };
    text.parse().unwrap_or(Quantity::ZERO)
}

/// Another text in place of none.
pub fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}
