//! An OpenAPI v2 document in protobuf, as the `openapi.v2.Document` of google/gnostic
//! (`openapiv2/OpenAPIv2.proto`, whose field numbers the code names).
//!
//! Only what [`super::v2`] writes is encoded; extensions travel as YAML, for which JSON will do.

use serde_json::{Map, Value};

/// Encodes a document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut w = Writer::default();
    w.field_text(1, &document["swagger"]);
    w.message(2, |w| {
        w.field_text(1, &document["info"]["title"]);
        w.field_text(2, &document["info"]["version"]);
    });
    w.message(8, |w| w.named(2, &document["paths"], path_item));
    w.message(9, |w| w.named(1, &document["definitions"], schema));
    w.message(10, |w| w.named(1, &document["parameters"], parameter));
    for requirement in list(&document["security"]) {
        w.message(12, |w| w.named(1, requirement, |_, _| {}));
    }
    w.message(13, |w| w.named(1, &document["securityDefinitions"], |w, v| w.message(2, |w| api_key(w, v))));
    w.bytes
}

fn api_key(w: &mut Writer, value: &Value) {
    for (number, key) in [(1, "type"), (2, "name"), (3, "in"), (4, "description")] {
        w.field_text(number, &value[key]);
    }
}

fn path_item(w: &mut Writer, value: &Value) {
    let methods =
        [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (6, "options"), (7, "head"), (8, "patch")];
    for (number, method) in methods {
        if let Some(value) = value.get(method) {
            w.message(number, |w| operation(w, value));
        }
    }
    for value in list(&value["parameters"]) {
        w.message(9, |w| parameters_item(w, value));
    }
}

fn operation(w: &mut Writer, value: &Value) {
    w.texts(1, &value["tags"]);
    w.field_text(3, &value["description"]);
    w.field_text(5, &value["operationId"]);
    w.texts(6, &value["produces"]);
    w.texts(7, &value["consumes"]);
    for value in list(&value["parameters"]) {
        w.message(8, |w| parameters_item(w, value));
    }
    w.message(9, |w| w.named(1, &value["responses"], |w, v| w.message(1, |w| response(w, v))));
    w.texts(10, &value["schemes"]);
    extensions(w, 13, value);
}

fn response(w: &mut Writer, value: &Value) {
    w.field_text(1, &value["description"]);
    if let Some(value) = value.get("schema") {
        w.message(2, |w| w.message(1, |w| schema(w, value)));
    }
}

fn parameters_item(w: &mut Writer, value: &Value) {
    match value.get("$ref") {
        Some(reference) => w.message(2, |w| w.field_text(1, reference)),
        None => w.message(1, |w| parameter(w, value)),
    }
}

fn parameter(w: &mut Writer, value: &Value) {
    match value["in"].as_str() {
        Some("body") => w.message(1, |w| {
            w.field_text(1, &value["description"]);
            w.field_text(2, &value["name"]);
            w.field_text(3, &value["in"]);
            w.flag(4, &value["required"]);
            w.message(5, |w| schema(w, &value["schema"]));
        }),
        place => {
            // The two messages differ from the sixth field on: a query may be allowed to be empty.
            let (message, kind, unique) = if place == Some("path") { (4, 5, 19) } else { (3, 6, 20) };
            w.message(2, |w| {
                w.message(message, |w| {
                    w.flag(1, &value["required"]);
                    w.field_text(2, &value["in"]);
                    w.field_text(3, &value["description"]);
                    w.field_text(4, &value["name"]);
                    w.field_text(kind, &value["type"]);
                    w.flag(unique, &value["uniqueItems"]);
                });
            });
        }
    }
}

fn schema(w: &mut Writer, value: &Value) {
    w.field_text(1, &value["$ref"]);
    w.field_text(2, &value["format"]);
    w.field_text(4, &value["description"]);
    w.texts(19, &value["required"]);
    if let Some(values) = value.get("additionalProperties") {
        w.message(21, |w| w.message(1, |w| schema(w, values)));
    }
    if let Some(kind) = value.get("type") {
        w.message(22, |w| w.field_text(1, kind));
    }
    if let Some(items) = value.get("items") {
        w.message(23, |w| w.message(1, |w| schema(w, items)));
    }
    if let Some(properties) = value.get("properties") {
        w.message(25, |w| w.named(1, properties, schema));
    }
    extensions(w, 31, value);
}

/// `x-…` fields, each a `NamedAny` whose value is YAML.
fn extensions(w: &mut Writer, number: u32, value: &Value) {
    let fields = value.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| name.starts_with("x-")) {
        w.message(number, |w| {
            w.text(1, name);
            w.message(2, |w| w.text(2, &value.to_string()));
        });
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Writes protobuf's wire format.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn delimited(&mut self, number: u32, bytes: &[u8]) {
        self.varint(u64::from(number) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    fn text(&mut self, number: u32, text: &str) {
        self.delimited(number, text.as_bytes());
    }

    /// A string field; left out when the value is no string.
    fn field_text(&mut self, number: u32, value: &Value) {
        if let Some(text) = value.as_str() {
            self.text(number, text);
        }
    }

    fn texts(&mut self, number: u32, values: &Value) {
        for text in list(values).iter().filter_map(Value::as_str) {
            self.text(number, text);
        }
    }

    fn flag(&mut self, number: u32, value: &Value) {
        if value == &Value::Bool(true) {
            self.varint(u64::from(number) << 3);
            self.varint(1);
        }
    }

    fn message(&mut self, number: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.delimited(number, &inner.bytes);
    }

    /// The entries of an object as `NamedX { name = 1, value = 2 }` messages.
    fn named(&mut self, number: u32, object: &Value, write: impl Fn(&mut Self, &Value)) {
        let empty = Map::new();
        for (name, value) in object.as_object().unwrap_or(&empty) {
            self.message(number, |w| {
                w.text(1, name);
                w.message(2, |w| write(w, value));
            });
        }
    }
}
