//! [`JsonPath`]: the paths of a definition (columns, scale, selectable fields): fields, indexes, `[*]`, and
//! conditions on items (`[?(@.type=="Ready")]`). Source: upstream's `client-go/util/jsonpath`, of which a definition
//! may use these parts.

use std::borrow::Cow;

use serde_json::{Map, Value};

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    /// Items whose value at a path compares so with another.
    Where {
        path: JsonPath,
        equal: bool,
        value: Value,
    },
    /// Items that have a value at a path.
    Having(JsonPath),
}

/// A path that was read.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct JsonPath(Vec<Step>);

impl JsonPath {
    /// Reads a path such as `.spec.names[0]`.
    ///
    /// # Errors
    /// What is wrong with the path.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { rest: text };
        let path = reader.path()?;
        if reader.rest.is_empty() {
            Ok(path)
        } else {
            Err(format!("unrecognized character in action: {:?}", reader.rest))
        }
    }

    /// The field names of a path that has nothing else.
    pub(crate) fn fields(&self) -> Option<Vec<Cow<'static, str>>> {
        let names = self.0.iter().map(|step| match step {
            Step::Field(name) => Some(Cow::Owned(name.clone())),
            _ => None,
        });
        names.collect()
    }

    /// The first value at the path in an object.
    pub(crate) fn first_of<'v>(&self, object: &'v Map<String, Value>) -> Option<&'v Value> {
        let (first, rest) = self.0.split_first()?;
        let Step::Field(name) = first else { return None };
        follow(rest, object.get(name)?).into_iter().next()
    }

    /// The first value at the path.
    fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        follow(&self.0, value).into_iter().next()
    }
}

/// All values at the end of some steps.
fn follow<'v>(steps: &[Step], value: &'v Value) -> Vec<&'v Value> {
    let mut found = vec![value];
    for step in steps {
        let mut next = Vec::new();
        for value in found {
            step.of(value, &mut next);
        }
        found = next;
    }
    found
}

impl Step {
    fn of<'v>(&self, value: &'v Value, out: &mut Vec<&'v Value>) {
        match self {
            Self::Field(name) => out.extend(value.get(name.as_str())),
            Self::Index(index) => {
                let Some(items) = value.as_array() else { return };
                let place =
                    if *index < 0 { *index + i64::try_from(items.len()).unwrap_or(i64::MAX) } else { *index };
                out.extend(usize::try_from(place).ok().and_then(|place| items.get(place)));
            }
            Self::All => match value {
                Value::Array(items) => out.extend(items),
                Value::Object(entries) => out.extend(entries.values()),
                _ => {}
            },
            Self::Where { path, equal, value: wanted } => {
                let fits = |item: &&Value| path.first(item).is_some_and(|found| (found == wanted) == *equal);
                out.extend(value.as_array().into_iter().flatten().filter(fits));
            }
            Self::Having(path) => {
                out.extend(value.as_array().into_iter().flatten().filter(|item| path.first(item).is_some()));
            }
        }
    }
}

struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn path(&mut self) -> Result<JsonPath, String> {
        let mut steps = Vec::new();
        self.rest = self.rest.strip_prefix('$').unwrap_or(self.rest);
        loop {
            if let Some(after) = self.rest.strip_prefix('.') {
                self.rest = after;
                if after.starts_with('[') {
                    continue;
                }
                if let Some(after) = after.strip_prefix('*') {
                    self.rest = after;
                    steps.push(Step::All);
                    continue;
                }
                steps.extend(self.name()?.map(Step::Field));
            } else if let Some(after) = self.rest.strip_prefix('[') {
                self.rest = after;
                steps.push(self.bracket()?);
            } else {
                return Ok(JsonPath(steps));
            }
        }
    }

    /// A name, in which a backslash takes away the meaning of what follows.
    fn name(&mut self) -> Result<Option<String>, String> {
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        let end = loop {
            match chars.next() {
                None => break self.rest.len(),
                Some((at, '.' | '[' | ']' | ')' | '=' | '!' | '<' | '>' | ' ' | '{' | '}')) => break at,
                Some((_, '\\')) => match chars.next() {
                    Some((_, escaped)) => name.push(escaped),
                    None => return Err("unterminated path".to_owned()),
                },
                Some((_, c)) => name.push(c),
            }
        };
        self.rest = &self.rest[end..];
        Ok((!name.is_empty()).then_some(name))
    }

    /// What stands in brackets, of which the first has been read.
    fn bracket(&mut self) -> Result<Step, String> {
        if let Some(after) = self.rest.strip_prefix("?(") {
            self.rest = after;
            return self.condition();
        }
        let end = self.rest.find(']').ok_or_else(|| "unterminated array".to_owned())?;
        let (inside, after) = (self.rest[..end].trim(), &self.rest[end + 1..]);
        self.rest = after;
        if inside == "*" {
            return Ok(Step::All);
        }
        if let Some(name) = unquoted(inside) {
            return Ok(Step::Field(name.to_owned()));
        }
        inside.parse().map(Step::Index).map_err(|_| format!("invalid array index {inside}"))
    }

    fn condition(&mut self) -> Result<Step, String> {
        self.rest = self.rest.trim_start();
        self.rest = self.rest.strip_prefix('@').ok_or_else(|| "unterminated filter".to_owned())?;
        let path = self.path()?;
        self.rest = self.rest.trim_start();
        if let Some(after) = self.rest.strip_prefix(")]") {
            self.rest = after;
            return Ok(Step::Having(path));
        }
        let (equal, after) = match self.rest.split_at_checked(2) {
            Some(("==", after)) => (true, after),
            Some(("!=", after)) => (false, after),
            _ => return Err("unrecognized filter operator".to_owned()),
        };
        let end = after.find(")]").ok_or_else(|| "unterminated filter".to_owned())?;
        self.rest = &after[end + 2..];
        let text = after[..end].trim();
        let value = match unquoted(text) {
            Some(text) => Value::String(text.to_owned()),
            None => serde_json::from_str(text).map_err(|_| format!("unrecognized value {text}"))?,
        };
        Ok(Step::Where { path, equal, value })
    }
}

fn unquoted(text: &str) -> Option<&str> {
    ['"', '\''].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_values() {
        let object = json!({"metadata": {"labels": {"a.b/c": "x"}}, "spec": {"list": [{"n": 1}, {"n": 2}]},
            "status": {"conditions": [{"type": "A", "status": "False"}, {"type": "Ready", "status": "True"}]}});
        let at = |path: &str| JsonPath::parse(path).unwrap().first_of(object.as_object().unwrap()).cloned();
        assert_eq!(at(".spec.list[1].n"), Some(json!(2)));
        assert_eq!(at(".spec.list[-1].n"), Some(json!(2)));
        assert_eq!(at(".spec.list[*].n"), Some(json!(1)));
        assert_eq!(at(r#".status.conditions[?(@.type=="Ready")].status"#), Some(json!("True")));
        assert_eq!(at(".status.conditions[?(@.type != 'A')].status"), Some(json!("True")));
        assert_eq!(at(r".metadata.labels.a\.b/c"), Some(json!("x")));
        assert_eq!(at(".metadata.labels['a.b/c']"), Some(json!("x")));
        assert_eq!(at(".spec.none.n"), None);
        for wrong in [".spec.list[", ".a[x]", ".a[?(@.b=1)]", ".a{"] {
            assert!(JsonPath::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(JsonPath::parse(".spec.a").unwrap().fields(), Some(vec!["spec".into(), "a".into()]));
    }
}
