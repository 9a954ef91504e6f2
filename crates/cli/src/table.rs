//! The server's tables as text: `get` and its columns.

use serde_json::Value;

use crate::discovery::Resource;

/// Which columns are shown.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub wide: bool,
    pub headers: bool,
    pub with_kind: bool,
    pub with_namespace: bool,
    pub label_columns: Vec<String>,
    pub show_labels: bool,
    /// A first column for the type of a watch's event.
    pub with_events: bool,
}

/// Aligned text: cells of a column are as wide as the widest one and three blanks, six at least; the last cell of a line
/// is as wide as itself. Widths only grow from print to print, as on a watch.
#[derive(Debug, Default)]
pub struct Aligned {
    widths: Vec<usize>,
}

const PADDING: usize = 3;
const LEAST: usize = 6;

impl Aligned {
    /// Lines of cells as text.
    pub fn text(&mut self, lines: &[Vec<String>]) -> String {
        for line in lines {
            let cells = line.len().saturating_sub(1);
            for (index, cell) in line.iter().take(cells).enumerate() {
                let width = (cell.chars().count() + PADDING).max(LEAST);
                match self.widths.get_mut(index) {
                    Some(known) => *known = width.max(*known),
                    None => self.widths.push(width),
                }
            }
        }
        let mut text = String::new();
        for line in lines {
            for (index, cell) in line.iter().enumerate() {
                text.push_str(cell);
                if index + 1 < line.len() {
                    let fill = self.widths[index].saturating_sub(cell.chars().count());
                    text.extend(std::iter::repeat_n(' ', fill));
                }
            }
            text.push('\n');
        }
        text
    }
}

/// Rows with the columns they have, as one kind's table grows.
#[derive(Debug, Default)]
pub struct Printer {
    aligned: Aligned,
    columns: Vec<Value>,
    headed: bool,
}

impl Printer {
    /// The rows of one table of the server, behind the headers if these are new. `event` is what a watch told of them.
    pub fn lines(
        &mut self,
        table: &Value,
        resource: &Resource,
        options: &Options,
        event: Option<&str>,
    ) -> String {
        let columns = table["columnDefinitions"].as_array().filter(|columns| !columns.is_empty());
        let fresh = columns.is_some_and(|columns| *columns != self.columns);
        if let Some(columns) = columns {
            self.columns.clone_from(columns);
        }
        let rows = table["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
        if rows.is_empty() {
            return String::new();
        }
        let shown: Vec<usize> = (0..self.columns.len())
            .filter(|index| options.wide || self.columns[*index]["priority"].as_i64().unwrap_or(0) == 0)
            .collect();
        let mut lines = Vec::new();
        if options.headers && (!self.headed || fresh) {
            lines.push(self.header(&shown, options));
        }
        self.headed = true;
        lines.extend(rows.iter().map(|row| self.row(row, &shown, resource, options, event)));
        self.aligned.text(&lines)
    }

    fn header(&self, shown: &[usize], options: &Options) -> Vec<String> {
        let mut cells = Vec::new();
        if options.with_events {
            cells.push("EVENT".to_owned());
        }
        if options.with_namespace {
            cells.push("NAMESPACE".to_owned());
        }
        let name = |index: &usize| self.columns[*index]["name"].as_str().unwrap_or_default().to_uppercase();
        cells.extend(shown.iter().map(name));
        let label = |label: &String| label.rsplit('/').next().unwrap_or_default().to_uppercase();
        cells.extend(options.label_columns.iter().map(label));
        if options.show_labels {
            cells.push("LABELS".to_owned());
        }
        cells
    }

    fn row(
        &self,
        row: &Value,
        shown: &[usize],
        resource: &Resource,
        options: &Options,
        event: Option<&str>,
    ) -> Vec<String> {
        let metadata = &row["object"]["metadata"];
        let mut cells = Vec::new();
        if options.with_events {
            // As wide as the longest type of an event.
            cells.push(format!("{:<8}", event.unwrap_or_default()));
        }
        if options.with_namespace {
            cells.push(metadata["namespace"].as_str().unwrap_or_default().to_owned());
        }
        let named = |column: &Value| column["format"] == "name" && column["type"] == "string";
        let name_column = self.columns.iter().position(named).filter(|_| options.with_kind);
        for index in shown {
            let mut cell = cell(&row["cells"][*index]);
            if name_column == Some(*index) {
                cell = format!("{}/{cell}", resource.printed());
            }
            cells.push(cell);
        }
        let label = |key: &String| cell(&metadata["labels"][key.as_str()]);
        cells.extend(options.label_columns.iter().map(label));
        if options.show_labels {
            cells.push(labels(&metadata["labels"]));
        }
        cells
    }
}

/// `a=b,c=d`, or `<none>`.
pub fn labels(labels: &Value) -> String {
    let Some(map) = labels.as_object().filter(|map| !map.is_empty()) else { return "<none>".into() };
    let mut pairs: Vec<String> =
        map.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    pairs.sort();
    pairs.join(",")
}

/// A cell's text: its first line, control characters made visible.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.as_str(),
        other => return escaped(&other.to_string()),
    };
    match text.find(['\n', '\r', '\x0c']) {
        Some(end) => format!("{}...", escaped(&text[..end])),
        None => escaped(text),
    }
}

/// What a terminal could take for a command is written as text.
fn escaped(text: &str) -> String {
    text.replace('\x1b', "^[").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resource() -> Resource {
        Resource {
            group: "apps".into(),
            version: "v1".into(),
            plural: "deployments".into(),
            singular: "deployment".into(),
            kind: "Deployment".into(),
            namespaced: true,
            verbs: Vec::new(),
            short_names: Vec::new(),
            categories: Vec::new(),
        }
    }

    fn table() -> Value {
        json!({"columnDefinitions": [
            {"name": "Name", "type": "string", "format": "name", "priority": 0},
            {"name": "Message", "type": "string", "priority": 0},
            {"name": "More", "type": "string", "priority": 1}],
            "rows": [{"cells": ["web", "one\ntwo", 3],
                "object": {"metadata": {"namespace": "shop", "labels": {"b": "2", "a": "1"}}}}]})
    }

    #[test]
    fn columns_are_those_asked_for() {
        let options = |change: fn(&mut Options)| {
            let mut options = Options { headers: true, ..Options::default() };
            change(&mut options);
            Printer::default().lines(&table(), &resource(), &options, None)
        };
        assert_eq!(options(|_| ()), "NAME   MESSAGE\nweb    one...\n");
        assert_eq!(options(|o| o.headers = false), "web   one...\n");
        assert_eq!(options(|o| o.wide = true), "NAME   MESSAGE   MORE\nweb    one...    3\n");
        assert_eq!(
            options(|o| (o.with_kind, o.with_namespace) = (true, true)),
            "NAMESPACE   NAME                  MESSAGE\nshop        deployment.apps/web   one...\n"
        );
        assert_eq!(
            options(|o| (o.label_columns, o.show_labels) = (vec!["x/a".into(), "b".into()], true)),
            "NAME   MESSAGE   A     B     LABELS\nweb    one...          2     a=1,b=2\n"
        );
    }

    #[test]
    fn headers_come_once_and_widths_stay() {
        let options = Options { headers: true, ..Options::default() };
        let mut printer = Printer::default();
        printer.lines(&table(), &resource(), &options, None);
        let mut short = table();
        short["rows"][0]["cells"][0] = "w".into();
        assert_eq!(printer.lines(&short, &resource(), &options, None), "w      one...\n");
    }
}
