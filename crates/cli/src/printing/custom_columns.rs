//! `-o custom-columns`: a header and a JSONPath for each column.

use serde_json::Value;

use super::columns::{self, Layout};
use super::{go_text, jsonpath};

const NO_HEADER: &str = "missing header line";
const NO_SPECS: &str = "missing spec line";

#[derive(Debug)]
struct Column {
    header: String,
    /// Read when there is something to print: stock kubectl prints the headers before it complains.
    path: String,
}

/// The columns of a specification.
#[derive(Debug)]
pub struct Columns {
    columns: Vec<Column>,
    headers: bool,
}

impl Columns {
    /// Reads `HEADER:PATH,…`.
    ///
    /// # Errors
    /// When it is no such list, in stock kubectl's words.
    pub fn parse(spec: &str, headers: bool) -> Result<Self, String> {
        if spec.is_empty() {
            return Err("custom-columns format specified but no custom columns given".to_owned());
        }
        let mut columns = Vec::new();
        for part in spec.split(',') {
            let (header, path) = part.split_once(':').ok_or_else(|| {
                format!("unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>")
            })?;
            columns.push(Column { header: header.to_owned(), path: relaxed(path)? });
        }
        Ok(Self { columns, headers })
    }

    /// Reads a file's text: a line of headers, a line of paths.
    ///
    /// # Errors
    /// When a line is missing or the lines do not match, in stock kubectl's words.
    pub fn parse_file(text: &str, headers: bool) -> Result<Self, String> {
        let mut lines = text.lines();
        let names: Vec<&str> =
            lines.next().ok_or_else(|| incomplete(NO_HEADER))?.split_whitespace().collect();
        let specs: Vec<&str> = lines.next().ok_or_else(|| incomplete(NO_SPECS))?.split_whitespace().collect();
        if names.len() != specs.len() {
            return Err(format!(
                "number of headers ({}) and field specifications ({}) don't match",
                names.len(),
                specs.len()
            ));
        }
        let columns = names
            .iter()
            .zip(&specs)
            .map(|(header, spec)| Ok(Column { header: (*header).to_owned(), path: relaxed(spec)? }))
            .collect::<Result<_, String>>()?;
        Ok(Self { columns, headers })
    }

    /// The aligned lines of an object, or of a list's items.
    ///
    /// # Errors
    /// When a path cannot be followed; what was printed before it comes with the error, as stock kubectl prints it.
    pub fn print(&self, object: &Value) -> Result<String, (String, String)> {
        let mut lines = String::new();
        if self.headers {
            let headers: Vec<&str> = self.columns.iter().map(|column| column.header.as_str()).collect();
            lines.push_str(&headers.join("\t"));
            lines.push('\n');
        }
        let failed =
            |lines: &str, error: jsonpath::Error| (columns::align(lines, Layout::TABLE), error.to_string());
        let read = self.columns.iter().map(|column| jsonpath::Template::parse(&column.path));
        let templates = read.collect::<Result<Vec<_>, _>>().map_err(|error| failed(&lines, error))?;
        let items = match object.get("items") {
            Some(Value::Array(items)) => items.as_slice(),
            _ => std::slice::from_ref(object),
        };
        for item in items {
            match line(&templates, item) {
                Ok(line) => lines.push_str(&line),
                Err(error) => return Err(failed(&lines, error)),
            }
        }
        Ok(columns::align(&lines, Layout::TABLE))
    }
}

fn line(templates: &[jsonpath::Template], object: &Value) -> Result<String, jsonpath::Error> {
    let mut cells = Vec::with_capacity(templates.len());
    for template in templates {
        let found = template.find(object, true)?;
        let mut values = Vec::new();
        if found.first().is_none_or(Vec::is_empty) {
            values.push("<none>".to_owned());
        }
        values.extend(found.iter().flatten().map(|value| for_terminal(&go_text::plain(value))));
        cells.push(values.join(","));
    }
    Ok(cells.join("\t") + "\n")
}

fn incomplete(what: &str) -> String {
    format!(
        "invalid template, {what}. Expected format is one line of space separated headers, one line of space \
         separated column specs."
    )
}

/// What a terminal would take as a command, shown.
pub fn for_terminal(text: &str) -> String {
    text.replace('\u{1b}', "^[").replace('\r', "\\r")
}

/// A path that may lack its braces and its first point.
fn relaxed(path: &str) -> Result<String, String> {
    if path.is_empty() {
        return Ok(String::new());
    }
    let inside = path.strip_prefix('{').and_then(|path| path.strip_suffix('}')).unwrap_or(path);
    let field = inside.strip_prefix('.').filter(|rest| !rest.is_empty()).unwrap_or(inside);
    if field.is_empty() || field.contains(['{', '}']) {
        return Err(
            "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or \
                    '{.name1.name2}'"
                .to_owned(),
        );
    }
    Ok(format!("{{.{field}}}"))
}
