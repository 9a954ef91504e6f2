//! Descriptions of structures and fields, read from the generated `data/docs.txt` when a document
//! is made, and dropped again: they are only needed for OpenAPI.

use std::collections::HashMap;

use crate::embedded;

/// All descriptions.
pub struct Docs {
    /// (structure, field; empty for the structure itself) → description.
    by_name: HashMap<(Box<str>, Box<str>), Box<str>>,
}

impl Docs {
    /// Decompresses and indexes the descriptions (about a megabyte).
    pub fn load() -> Self {
        let mut by_name = HashMap::new();
        let mut structure = "";
        let text = embedded::docs();
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let (field, rest) = match line.strip_prefix(' ') {
                Some(line) => line.split_once(' ').unwrap_or((line, "")),
                None => {
                    let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
                    structure = name;
                    ("", rest)
                }
            };
            by_name.insert((structure.into(), field.into()), unescape(rest).into());
        }
        Self { by_name }
    }

    /// A structure's description.
    pub fn structure(&self, name: &str) -> Option<&str> {
        self.field(name, "")
    }

    /// A field's description.
    pub fn field(&self, structure: &str, field: &str) -> Option<&str> {
        let text = self.by_name.get(&(structure.into(), field.into()))?;
        (!text.is_empty()).then_some(text)
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => {}
            },
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_and_fields_are_described() {
        let docs = Docs::load();
        assert_eq!(
            docs.structure("io.k8s.api.core.v1.ServicePort"),
            Some("ServicePort contains information on service's port.")
        );
        let field = docs.field("io.k8s.api.core.v1.ServicePort", "nodePort").expect("described");
        assert!(field.starts_with("The port on each node on which this service is exposed"));
        assert!(
            docs.field("io.k8s.api.core.v1.ServicePort", "appProtocol").is_some_and(|d| d.contains("\n\n*"))
        );
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape(r"a\nb\\n"), "a\nb\\n");
    }
}
