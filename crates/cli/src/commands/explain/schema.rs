//! Schemas as text: types, descriptions, fields. References that lead back to themselves are followed once.

use serde_json::Value;

use super::wrap::{indented, wrapped};

/// How deep schemas are followed.
const DEEPEST: usize = 64;

/// Longest text of a recursive listing, in bytes.
const LONGEST_BYTES: usize = 64 << 20;

pub struct Explainer<'a> {
    document: &'a Value,
    recursive: bool,
}

/// Whether a schema says what a map's values are, rather than whether there may be more fields.
fn values(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|more| more.is_object())
}

fn parts<'a>(schema: &'a Value, key: &str) -> &'a [Value] {
    schema[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema[key].as_str().unwrap_or_default()
}

impl<'a> Explainer<'a> {
    pub fn new(document: &'a Value, recursive: bool) -> Self {
        Self { document, recursive }
    }

    fn resolved(&self, schema: &'a Value) -> &'a Value {
        self.target(schema).unwrap_or(schema)
    }

    fn target(&self, schema: &'a Value) -> Option<&'a Value> {
        let name = text(schema, "$ref").strip_prefix("#/components/schemas/")?;
        self.document["components"]["schemas"].get(name)
    }

    /// What is said of the field at the end of the path; `None` where there is no such field.
    pub fn text(&self, schema: &'a Value, path: &[String]) -> Option<String> {
        self.at(schema, path, &mut Vec::new())
    }

    fn at(&self, schema: &'a Value, path: &[String], seen: &mut Vec<&'a str>) -> Option<String> {
        let reference = text(schema, "$ref");
        let resolved = self.resolved(schema);
        let Some((first, rest)) = path.split_first() else { return Some(self.described(schema)) };
        if !reference.is_empty() && seen.contains(&reference) || seen.len() > DEEPEST {
            return None;
        }
        seen.push(reference);
        if let Some(field) = resolved["properties"].get(first) {
            let mut head = String::new();
            if rest.is_empty() {
                head.push_str(&format!("FIELD: {first} <{}>\n", self.guess(field, 0)));
                head.push_str(&long_enum(field));
                head.push_str("\n\n");
            }
            return Some(head + &self.at(field, rest, &mut Vec::new())?);
        }
        if let Some(items) = resolved.get("items") {
            return self.at(items, path, seen);
        }
        if let Some(values) = values(resolved) {
            return self.at(values, path, seen);
        }
        parts(resolved, "allOf").iter().find_map(|part| self.at(part, path, seen))
    }

    fn described(&self, schema: &'a Value) -> String {
        let resolved = self.resolved(schema);
        let mut description = self.description(resolved, 0);
        if description.is_empty() {
            description.push_str("<empty>");
        }
        let mut said = format!("DESCRIPTION:\n{}\n", indented(&wrapped(&description, 76), 4));
        if let Some(documents) = external(resolved, 0) {
            said.push('\n');
            said.push_str(&documents);
        }
        let mut fields = String::new();
        self.fields(resolved, 1, &mut Vec::new(), &mut fields);
        if !fields.is_empty() {
            said.push_str("FIELDS:\n");
            said.push_str(&fields);
        }
        said
    }

    fn description(&self, schema: &'a Value, depth: usize) -> String {
        let schema = self.resolved(schema);
        if depth > DEEPEST {
            return String::new();
        }
        let mut said = text(schema, "description").to_owned();
        if !said.is_empty() {
            said.push('\n');
        }
        for part in parts(schema, "allOf").iter().chain(schema.get("items")).chain(values(schema)) {
            said.push_str(&self.description(part, depth + 1));
        }
        said
    }

    /// The name of a type.
    fn guess(&self, schema: &'a Value, depth: usize) -> String {
        let kind = |schema: &Value| match text(schema, "type") {
            "" | "object" => "Object".to_owned(),
            other => other.to_owned(),
        };
        if depth > DEEPEST {
            return kind(schema);
        }
        if let Some(items) = schema.get("items") {
            return format!("[]{}", self.guess(items, depth + 1));
        }
        if let Some(values) = values(schema) {
            return format!("map[string]{}", self.guess(values, depth + 1));
        }
        if let ([one], None) = (parts(schema, "allOf"), schema.get("properties")) {
            return self.guess(one, depth + 1);
        }
        let reference = text(schema, "$ref");
        if reference.is_empty() {
            return kind(schema);
        }
        match self.target(schema).map(|target| text(target, "type")) {
            None | Some("" | "object") => {
                let name = reference.rsplit('/').next().unwrap_or_default();
                name.rsplit('.').next().filter(|name| !name.is_empty()).unwrap_or("Object").to_owned()
            }
            Some(primitive) => primitive.to_owned(),
        }
    }

    fn fields(&self, schema: &'a Value, level: usize, seen: &mut Vec<&'a str>, out: &mut String) {
        let reference = text(schema, "$ref");
        if !reference.is_empty() && seen.contains(&reference) || level > DEEPEST || out.len() > LONGEST_BYTES
        {
            return;
        }
        seen.push(reference);
        let resolved = self.resolved(schema);
        let mut fields: Vec<(&String, &'a Value)> =
            resolved["properties"].as_object().into_iter().flatten().collect();
        fields.sort_by_key(|(name, _)| name.as_str());
        for (name, field) in fields {
            self.field(resolved, name, field, level, out);
            if self.recursive {
                self.fields(field, level + 1, seen, out);
            }
        }
        for part in parts(resolved, "allOf").iter().chain(resolved.get("items")).chain(values(resolved)) {
            self.fields(part, level, seen, out);
        }
        seen.pop();
    }

    fn field(&self, schema: &Value, name: &str, field: &'a Value, level: usize, out: &mut String) {
        let blanks = level * 2;
        out.push_str(&format!("{}\t<{}>", indented(name, blanks), self.guess(field, 0)));
        if parts(schema, "required").iter().any(|required| required == name) {
            out.push_str(" -required-");
        }
        out.push_str(&short_enum(field, blanks));
        out.push('\n');
        if self.recursive {
            return;
        }
        let description = match text(field, "description") {
            "" => "<no description>",
            description => description,
        };
        out.push_str(&indented(&wrapped(description, 78 - blanks.min(70)), blanks + 2));
        out.push('\n');
        if let Some(documents) = external(field, blanks) {
            out.push('\n');
            out.push_str(&indented(documents.trim_end_matches('\n'), 2));
            out.push('\n');
        }
        out.push('\n');
    }
}

fn choice(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The choices of a field, each on a line.
fn long_enum(schema: &Value) -> String {
    let choices = parts(schema, "enum");
    if choices.is_empty() {
        return String::new();
    }
    let lines: String = choices.iter().map(|value| format!("\n    {}", choice(value))).collect();
    format!("ENUM:{lines}")
}

/// The first choices of a field, on a line of their own.
fn short_enum(schema: &Value, blanks: usize) -> String {
    const SHOWN: usize = 4;
    let choices = parts(schema, "enum");
    if choices.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = choices.iter().take(SHOWN).map(choice).collect();
    let more = if choices.len() > SHOWN { ", ...." } else { "" };
    format!("\n{}enum: {}{more}", " ".repeat(blanks), shown.join(", "))
}

/// Where more is written.
fn external(schema: &Value, blanks: usize) -> Option<String> {
    let documents = schema.get("externalDocs").filter(|documents| documents.is_object())?;
    let mut said = format!("{}\n", indented("EXTERNAL DOCS:", blanks));
    if !text(documents, "description").is_empty() {
        let wrapped = wrapped(text(documents, "description"), 76 - blanks.min(70));
        said.push_str(&format!("{}\n", indented(&wrapped, blanks + 4)));
    }
    if !text(documents, "url").is_empty() {
        said.push_str(&format!("{}\n", indented(&format!("URL: {}", text(documents, "url")), blanks + 4)));
    }
    Some(said)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({"components": {"schemas": {"a.Kind": {"description": "A kind.", "required": ["name"], "properties": {
            "name": {"type": "string", "description": "Its name.", "enum": ["", "b"]},
            "child": {"allOf": [{"$ref": "#/components/schemas/a.Kind"}], "description": "Below."},
            "many": {"type": "array", "items": {"$ref": "#/components/schemas/a.Kind"}},
            "by": {"type": "object", "additionalProperties": {"type": "integer"}}}}}}})
    }

    #[test]
    fn types_have_names() {
        let document = document();
        let kind = &document["components"]["schemas"]["a.Kind"];
        let explainer = Explainer::new(&document, true);
        let guess = |field: &str| explainer.guess(&kind["properties"][field], 0);
        assert_eq!(
            ["name", "child", "many", "by"].map(guess),
            ["string", "Kind", "[]Kind", "map[string]integer"]
        );
        let said = explainer.text(kind, &[]).expect("the kind");
        assert!(said.contains("  name\t<string> -required-\n  enum: \"\", b\n"), "{said}");
    }

    #[test]
    fn circles_end_and_paths_lead_through_them() {
        let document = document();
        let kind = &document["components"]["schemas"]["a.Kind"];
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let explainer = Explainer::new(&document, false);
        assert!(explainer.text(kind, &path("child.many.child.name")).is_some());
        assert!(explainer.text(kind, &path("child.nope")).is_none());
    }
}
