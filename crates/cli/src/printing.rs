//! Objects as `-o` wants them. Pure, but for reading the files of templates.

use std::io::Write;
use std::path::PathBuf;

use serde_json::Value;

/// A form of output other than kubectl's own tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputFormat {
    Json,
    Yaml,
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
    let _ = (object, out);
    Err(PrintError::Refused(format!("the output format {format:?} is not known yet")))
}
