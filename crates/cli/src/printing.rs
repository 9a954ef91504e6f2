//! Objects as `-o` wants them. Pure, but for reading the files of templates.

pub mod columns;
mod custom_columns;
pub mod go_text;
mod json;
pub mod jsonpath;
mod kyaml;
mod quoted;
mod template;
mod yaml;

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Templates in files are read up to this size.
const MAX_FILE_BYTES: u64 = 16 << 20;
const NO_TEMPLATE: &str = "template format specified but no template given";

/// A form of output other than kubectl's own tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputFormat {
    Json,
    Yaml,
    KYaml,
    Name,
    JsonPath { template: String, allow_missing_keys: bool },
    JsonPathAsJson { template: String, allow_missing_keys: bool },
    JsonPathFile { path: PathBuf, allow_missing_keys: bool },
    GoTemplate { template: String, allow_missing_keys: bool },
    GoTemplateFile { path: PathBuf, allow_missing_keys: bool },
    CustomColumns { columns: String, headers: bool },
    CustomColumnsFile { path: PathBuf, headers: bool },
}

/// Why an object could not be printed; said as stock kubectl says it, without `error: `.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    #[error("{0}")]
    Write(#[from] std::io::Error),
    /// The template, its file or the object does not allow it.
    #[error("{0}")]
    Refused(String),
}

/// Prints an object, or a list of objects (`kind: List`), to `out`. Managed fields are printed where the object has them:
/// who does not want them takes them out before.
///
/// # Errors
/// When the format cannot be used for the object, or `out` takes no more.
pub fn print(format: &OutputFormat, object: &Value, out: &mut dyn Write) -> Result<(), PrintError> {
    match format {
        OutputFormat::Json => writeln!(out, "{}", json::indented(object))?,
        OutputFormat::Yaml => out.write_all(yaml::document(object).as_bytes())?,
        OutputFormat::KYaml => out.write_all(kyaml::document(object).as_bytes())?,
        OutputFormat::Name => names(object, out)?,
        OutputFormat::JsonPath { template, allow_missing_keys } => {
            print_jsonpath(template, *allow_missing_keys, false, object, out)?;
        }
        OutputFormat::JsonPathAsJson { template, allow_missing_keys } => {
            print_jsonpath(template, *allow_missing_keys, true, object, out)?;
        }
        OutputFormat::JsonPathFile { path, allow_missing_keys } => {
            print_jsonpath(&template_file(path)?, *allow_missing_keys, false, object, out)?;
        }
        OutputFormat::GoTemplate { template, allow_missing_keys } => {
            print_template(template, *allow_missing_keys, object, out)?;
        }
        OutputFormat::GoTemplateFile { path, allow_missing_keys } => {
            print_template(&template_file(path)?, *allow_missing_keys, object, out)?;
        }
        OutputFormat::CustomColumns { columns, headers } => {
            print_columns(custom_columns::Columns::parse(columns, *headers), object, out)?;
        }
        OutputFormat::CustomColumnsFile { path, headers } => {
            let text = read(path).map_err(|error| {
                PrintError::Refused(format!("error reading template {}, {error}", path.display()))
            })?;
            print_columns(custom_columns::Columns::parse_file(&text, *headers), object, out)?;
        }
    }
    Ok(())
}

/// Reads a file that the user named. What is no UTF-8 is replaced.
fn read(path: &Path) -> Result<String, String> {
    let open = |error: std::io::Error| {
        let reason = error.raw_os_error().map_or_else(|| error.to_string(), os_message);
        format!("open {}: {reason}", path.display())
    };
    let mut bytes = Vec::new();
    File::open(path).map_err(open)?.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(|error| {
        let reason = error.raw_os_error().map_or_else(|| error.to_string(), os_message);
        format!("read {}: {reason}", path.display())
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The system's words as Go prints them: in lower case, without the number.
fn os_message(code: i32) -> String {
    let text = std::io::Error::from_raw_os_error(code).to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn template_file(path: &Path) -> Result<String, PrintError> {
    read(path)
        .map_err(|error| PrintError::Refused(format!("error reading --template {}, {error}", path.display())))
}

/// `KIND.GROUP/NAME`, a line an object.
fn names(object: &Value, out: &mut dyn Write) -> Result<(), PrintError> {
    if let Some(items) = object["items"].as_array() {
        return items.iter().try_for_each(|item| names(item, out));
    }
    let name = object["metadata"]["name"].as_str().filter(|name| !name.is_empty()).unwrap_or("<unknown>");
    let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
    if kind.is_empty() {
        return Err(PrintError::Refused(format!("missing kind for resource with name {name}")));
    }
    match object["apiVersion"].as_str().and_then(|version| version.split_once('/')) {
        Some((group, _)) if !group.is_empty() => writeln!(out, "{kind}.{group}/{name}")?,
        _ => writeln!(out, "{kind}/{name}")?,
    }
    Ok(())
}

fn print_jsonpath(
    text: &str,
    allow_missing: bool,
    as_json: bool,
    object: &Value,
    out: &mut dyn Write,
) -> Result<(), PrintError> {
    if text.is_empty() {
        return Err(PrintError::Refused(NO_TEMPLATE.to_owned()));
    }
    let template = jsonpath::Template::parse(text)
        .map_err(|error| PrintError::Refused(format!("error parsing jsonpath {text}, {error}\n")))?;
    let found = template.find(object, allow_missing).map_err(|error| {
        let mut given = String::new();
        go_text::push_syntax(&mut given, object);
        PrintError::Refused(format!(
            "error executing jsonpath {}: Error executing template: {error}. Printing more information for debugging \
             the template:\n\ttemplate was:\n\t\t{text}\n\tobject given to jsonpath engine was:\n\t\t{given}\n\n\n",
            go_text::quote(text)
        ))
    })?;
    let mut printed = String::new();
    for results in &found {
        if as_json {
            let results = results.iter().map(|result| result.as_ref().clone()).collect();
            printed.push_str(&json::indented(&Value::Array(results)));
            printed.push('\n');
        } else {
            jsonpath::print(results, &mut printed);
        }
    }
    out.write_all(printed.as_bytes())?;
    Ok(())
}

fn print_template(
    text: &str,
    allow_missing: bool,
    object: &Value,
    out: &mut dyn Write,
) -> Result<(), PrintError> {
    if text.is_empty() {
        return Err(PrintError::Refused(NO_TEMPLATE.to_owned()));
    }
    let template = template::Template::parse(text)
        .map_err(|error| PrintError::Refused(format!("error parsing template {text}, {error}")))?;
    let data = template::data(object);
    let mut printed = String::new();
    let done = template.execute(&data, allow_missing, &mut printed);
    out.write_all(printed.as_bytes())?;
    let Err(error) = done else { return Ok(()) };
    // The explanation goes where the output goes, the error itself to the caller.
    let raw = json::compact(object);
    let given = go_text::plain(&data);
    write!(
        out,
        "Error executing template: {error}. Printing more information for debugging the template:\n\ttemplate \
         was:\n\t\t{text}\n\traw data was:\n\t\t{raw}\n\tobject given to template engine was:\n\t\t{given}\n\n"
    )?;
    Err(PrintError::Refused(format!("error executing template {}: {error}", go_text::quote(text))))
}

fn print_columns(
    columns: Result<custom_columns::Columns, String>,
    object: &Value,
    out: &mut dyn Write,
) -> Result<(), PrintError> {
    match columns.map_err(PrintError::Refused)?.print(object) {
        Ok(text) => out.write_all(text.as_bytes())?,
        Err((before, error)) => {
            out.write_all(before.as_bytes())?;
            return Err(PrintError::Refused(error));
        }
    }
    Ok(())
}
