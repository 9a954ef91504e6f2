//! A scenario's file.

use std::path::Path;

use cli::printing::OutputFormat;
use serde_json::Value;

pub struct Scenario {
    pub objects: Vec<Value>,
    pub lines: Vec<Line>,
}

/// One object, to be described or printed.
pub struct Line {
    /// As on the command line, such as `pod` or `widgets.example.com`.
    pub kind: String,
    pub name: String,
    pub namespace: Option<String>,
    /// What stands behind `-o`; empty to describe.
    pub output: String,
    pub strict: bool,
}

impl Scenario {
    pub fn read(text: &str) -> Self {
        let value: Value = serde_json::from_str(text).expect("the scenario is JSON");
        let objects = value["objects"].as_array().expect("objects").clone();
        let mut lines = Vec::new();
        for group in value["lines"].as_array().expect("lines") {
            let text = |key: &str| group[key].as_str().map(str::to_owned);
            let outputs = match &group["outputs"] {
                Value::Array(outputs) => {
                    outputs.iter().map(|o| o.as_str().expect("a text").to_owned()).collect()
                }
                _ => vec![String::new()],
            };
            lines.extend(outputs.into_iter().map(|output| Line {
                kind: text("kind").expect("a kind"),
                name: text("name").expect("a name"),
                namespace: text("namespace"),
                output,
                strict: group["strict"] == true,
            }));
        }
        Self { objects, lines }
    }
}

impl Line {
    pub fn arguments(&self) -> Vec<String> {
        let verb = if self.output.is_empty() { "describe" } else { "get" };
        let mut arguments = vec![verb.to_owned(), self.kind.clone(), self.name.clone()];
        if let Some(namespace) = &self.namespace {
            arguments.extend(["-n".to_owned(), namespace.clone()]);
        }
        if !self.output.is_empty() {
            arguments.push(format!("-o={}", self.output));
        }
        if self.strict {
            arguments.push("--allow-missing-template-keys=false".to_owned());
        }
        arguments
    }

    pub fn shown(&self) -> String {
        self.arguments().join(" ").replace('\n', "\\n")
    }

    /// Files are named from `folder`.
    pub fn format(&self, folder: &Path) -> OutputFormat {
        let (name, given) = self.output.split_once('=').unwrap_or((&self.output, ""));
        let text = given.to_owned();
        let path = folder.join(given);
        let allow_missing_keys = !self.strict;
        match name {
            "json" => OutputFormat::Json,
            "yaml" => OutputFormat::Yaml,
            "name" => OutputFormat::Name,
            "jsonpath" => OutputFormat::JsonPath { template: text, allow_missing_keys },
            "jsonpath-as-json" => OutputFormat::JsonPathAsJson { template: text, allow_missing_keys },
            "jsonpath-file" => OutputFormat::JsonPathFile { path, allow_missing_keys },
            "go-template" => OutputFormat::GoTemplate { template: text, allow_missing_keys },
            "go-template-file" => OutputFormat::GoTemplateFile { path, allow_missing_keys },
            "custom-columns" => OutputFormat::CustomColumns { columns: text, headers: true },
            "custom-columns-file" => OutputFormat::CustomColumnsFile { path, headers: true },
            _ => panic!("unknown output {name}"),
        }
    }
}

/// The text with a line break at its end; one that it lacked is marked.
pub fn closed(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\\\n") }
}
