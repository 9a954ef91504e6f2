//! The columns of a custom kind's Tables (`additionalPrinterColumns`). Source: upstream's
//! `apiextensions-apiserver/pkg/registry/customresource/tableconvertor`.

use api::Object;
use jiff::Timestamp;
use serde_json::Value;

use super::path::JsonPath;
use crate::columns::{Head, Printer, since};

const NAME: Head<'static> = Head {
    name: "Name",
    kind: "string",
    format: "name",
    description: "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names",
    priority: 0,
};
const CREATED: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

#[derive(Debug)]
struct Column {
    name: String,
    of_type: String,
    format: String,
    description: String,
    priority: i32,
    path: JsonPath,
}

/// The columns of a version.
#[derive(Debug)]
pub(super) struct CustomColumns(Vec<Column>);

impl CustomColumns {
    /// Reads the columns of a version; without any, the age is shown.
    pub(super) fn read(version: &Value) -> Self {
        let columns = version.get("additionalPrinterColumns").and_then(Value::as_array);
        let columns: Vec<Column> = columns.into_iter().flatten().filter_map(Column::read).collect();
        if columns.is_empty() {
            let path = JsonPath::parse(".metadata.creationTimestamp").unwrap_or_default();
            return Self(vec![Column {
                name: "Age".to_owned(),
                of_type: "date".to_owned(),
                format: String::new(),
                description: CREATED.to_owned(),
                priority: 0,
                path,
            }]);
        }
        Self(columns)
    }
}

impl Column {
    fn read(column: &Value) -> Option<Self> {
        let text = |key: &str| column.get(key).and_then(Value::as_str).unwrap_or("");
        let description = match text("description") {
            "" => format!("Custom resource definition column (in JSONPath format): {}", text("jsonPath")),
            given => given.to_owned(),
        };
        let priority = column.get("priority").and_then(Value::as_i64).unwrap_or(0);
        Some(Self {
            name: text("name").to_owned(),
            of_type: text("type").to_owned(),
            format: text("format").to_owned(),
            description,
            priority: i32::try_from(priority).unwrap_or(0),
            path: JsonPath::parse(text("jsonPath")).ok()?,
        })
    }

    fn cell(&self, object: &Object, now: Timestamp) -> Value {
        let Some(value) = self.path.first_of(&object.0) else { return Value::Null };
        match (self.of_type.as_str(), value) {
            ("string", Value::String(_)) | ("boolean", Value::Bool(_)) => value.clone(),
            ("string", Value::Null) => Value::Null,
            ("string", other) => other.to_string().into(),
            ("integer", Value::Number(number)) if number.is_f64() => {
                #[expect(clippy::cast_possible_truncation, reason = "upstream cuts off as well")]
                let whole = number.as_f64().unwrap_or_default() as i64;
                whole.into()
            }
            ("integer" | "number", Value::Number(_)) => value.clone(),
            ("date", Value::String(text)) => since(text, now).into(),
            _ => Value::Null,
        }
    }
}

impl Printer for CustomColumns {
    fn heads(&self) -> Vec<Head<'_>> {
        let own = self.0.iter().map(|column| Head {
            name: &column.name,
            kind: &column.of_type,
            format: &column.format,
            description: &column.description,
            priority: column.priority,
        });
        std::iter::once(NAME).chain(own).collect()
    }

    fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let name = Value::from(object.name());
        std::iter::once(name).chain(self.0.iter().map(|column| column.cell(object, now))).collect()
    }
}
