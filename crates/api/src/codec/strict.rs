//! The treatment of fields that are unknown or given twice: the `fieldValidation` parameter.

use crate::field::{FieldError, Path};
use crate::{Error, Object};

/// The `fieldValidation` parameter of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

impl FieldValidation {
    /// Parses the parameter; empty means [`FieldValidation::Warn`], as upstream.
    ///
    /// # Errors
    /// What is wrong with any other text.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        match text {
            "" | "Warn" => Ok(Self::Warn),
            "Ignore" => Ok(Self::Ignore),
            "Strict" => Ok(Self::Strict),
            other => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                Err(FieldError::not_supported(&Path::root("fieldValidation"), other, &supported))
            }
        }
    }
}

/// Fields of a request that strict decoding would refuse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strictness {
    /// Paths of fields given more than once.
    pub duplicates: Vec<String>,
    /// Paths of fields the schema does not know.
    pub unknown: Vec<String>,
}

impl Strictness {
    fn messages(&self) -> Vec<String> {
        let duplicates = self.duplicates.iter().map(|p| format!("duplicate field \"{p}\""));
        duplicates.chain(self.unknown.iter().map(|p| format!("unknown field \"{p}\""))).collect()
    }

    /// The texts for `Warning` headers, or the refusal of `object`, as `validation` demands.
    ///
    /// # Errors
    /// 400 in upstream's words when `validation` is strict and there is anything to report.
    pub fn judge(&self, validation: FieldValidation, object: &Object) -> Result<Vec<String>, Error> {
        let messages = self.messages();
        match validation {
            _ if messages.is_empty() => Ok(messages),
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Warn => Ok(messages),
            FieldValidation::Strict => {
                let cause = format!("strict decoding error: {}", messages.join(", "));
                Err(super::structure::cannot_be_handled(object, &cause))
            }
        }
    }
}
