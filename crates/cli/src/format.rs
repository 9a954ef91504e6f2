//! `-o`: which form of output is asked for, and printing in it.

use serde_json::Value;

use crate::failure::{Failure, quoted};
use crate::flags::Parsed;
use crate::printing::{self, OutputFormat};

/// The flags of commands that print objects.
pub const FLAGS: &str =
    "o output text, template text, allow-missing-template-keys bool=true, show-managed-fields bool=false";

/// What `--output` and `--template` ask for; `None` for the command's own words.
///
/// # Errors
/// When there is no such format. `more` are the formats that the command has beside the common ones.
pub fn asked(flags: &Parsed, more: &[&str]) -> Result<Option<OutputFormat>, Failure> {
    let output = flags.text("output");
    let template = flags.text("template");
    let (name, argument) = output.split_once('=').unwrap_or((output, ""));
    let argument = if argument.is_empty() { template } else { argument };
    let allow_missing_keys = flags.bool("allow-missing-template-keys");
    let headers = !flags.bool("no-headers");
    let needed = |what: &str| match argument {
        "" => Err(Failure::message(format!("{what} format specified but no template given"))),
        text => Ok(text.to_owned()),
    };
    Ok(Some(match name {
        "" if template.is_empty() => return Ok(None),
        name if more.contains(&name) => return Ok(None),
        "json" => OutputFormat::Json,
        "yaml" => OutputFormat::Yaml,
        "name" => OutputFormat::Name,
        "jsonpath" => OutputFormat::JsonPath { template: needed("template")?, allow_missing_keys },
        "jsonpath-as-json" => {
            OutputFormat::JsonPathAsJson { template: needed("template")?, allow_missing_keys }
        }
        "jsonpath-file" => {
            OutputFormat::JsonPathFile { path: needed("template")?.into(), allow_missing_keys }
        }
        "go-template" | "template" | "" => {
            OutputFormat::GoTemplate { template: needed("template")?, allow_missing_keys }
        }
        "go-template-file" | "templatefile" => {
            OutputFormat::GoTemplateFile { path: needed("template")?.into(), allow_missing_keys }
        }
        "custom-columns" if argument.is_empty() => {
            return Err(Failure::message("custom-columns format specified but no custom columns given"));
        }
        "custom-columns" => OutputFormat::CustomColumns { columns: argument.to_owned(), headers },
        "custom-columns-file" if argument.is_empty() => {
            return Err(Failure::message("custom-columns format specified but no custom columns given"));
        }
        "custom-columns-file" => OutputFormat::CustomColumnsFile { path: argument.into(), headers },
        "kyaml" => OutputFormat::KYaml,
        _ => return Err(unknown(output, more)),
    }))
}

fn unknown(output: &str, more: &[&str]) -> Failure {
    let mut allowed = vec![
        "go-template",
        "go-template-file",
        "json",
        "jsonpath",
        "jsonpath-as-json",
        "jsonpath-file",
        "kyaml",
        "name",
        "template",
        "templatefile",
        "yaml",
    ];
    if more.contains(&"wide") {
        allowed.extend(["custom-columns", "custom-columns-file", "wide"]);
    }
    allowed.sort_unstable();
    Failure::message(format!(
        "unable to match a printer suitable for the output format {}, allowed formats are: {}",
        quoted(output),
        allowed.join(",")
    ))
}

/// Prints an object; managed fields only where they are asked for.
///
/// # Errors
/// When it cannot be printed so.
pub fn print(format: &OutputFormat, mut object: Value, flags: &Parsed) -> Result<(), Failure> {
    if !flags.bool("show-managed-fields") {
        without_managed_fields(&mut object);
    }
    let mut bytes = Vec::new();
    let printed = printing::print(format, &object, &mut bytes);
    crate::output::bytes(&bytes)?;
    printed.map_err(|e| Failure::message(e.to_string()))
}

pub fn without_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    for item in object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        without_managed_fields(item);
    }
}
