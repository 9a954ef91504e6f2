//! The treatment of fields that are unknown or given twice: the `fieldValidation` parameter.

use super::places;
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

/// Fields of a request that strict decoding would refuse, in the order in which upstream names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strictness {
    found: Vec<Finding>,
}

/// One such field, by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Finding {
    /// Given more than once.
    Duplicate(String),
    /// Keys that YAML gives again, as [`super::repeated_keys`] says.
    Lines(Vec<String>),
    /// The schema does not know the field.
    Unknown(String),
}

impl Finding {
    /// As part of a refusal.
    fn message(&self) -> String {
        match self {
            Self::Duplicate(path) => format!("duplicate field \"{path}\""),
            Self::Lines(lines) => format!("yaml: unmarshal errors:\n  {}", lines.join("\n  ")),
            Self::Unknown(path) => format!("unknown field \"{path}\""),
        }
    }

    fn warnings(&self) -> Vec<String> {
        match self {
            Self::Lines(lines) => lines.clone(),
            other => vec![other.message()],
        }
    }
}

impl Strictness {
    /// What was found in a document of which upstream reads the values before it holds them against a type: fields given
    /// twice come first. So it is with YAML, patches and custom objects.
    pub fn new(duplicates: Vec<String>, unknown: Vec<String>) -> Self {
        let duplicates = duplicates.into_iter().map(Finding::Duplicate);
        Self { found: duplicates.chain(unknown.into_iter().map(Finding::Unknown)).collect() }
    }

    /// What was found in YAML, of whose keys `lines` are given again.
    pub fn of_yaml(lines: Vec<String>, unknown: Vec<String>) -> Self {
        let lines = (!lines.is_empty()).then_some(Finding::Lines(lines));
        Self { found: lines.into_iter().chain(unknown.into_iter().map(Finding::Unknown)).collect() }
    }

    /// What was found in JSON that upstream decodes into a type of its own: in the order of the text, and of what is
    /// unknown or below it nothing is said twice (`sigs.k8s.io/json`).
    pub fn of_typed_json(duplicates: Vec<String>, unknown: Vec<String>, json: &[u8]) -> Self {
        if unknown.is_empty() || (duplicates.is_empty() && unknown.len() == 1) {
            return Self::new(duplicates, unknown);
        }
        let below = |path: &str, above: &str| {
            path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let duplicates =
            duplicates.into_iter().filter(|path| !unknown.iter().any(|above| below(path, above)));
        let mut found = Self::new(duplicates.collect(), unknown.clone()).found;
        let places = places::of(
            json,
            found.iter().map(|f| match f {
                Finding::Duplicate(path) | Finding::Unknown(path) => path.as_str(),
                Finding::Lines(_) => "",
            }),
        );
        found.sort_by_key(|finding| match finding {
            Finding::Duplicate(path) => places.get(path).and_then(|met| met.again),
            Finding::Unknown(path) => places.get(path).map(|met| met.first),
            Finding::Lines(_) => None,
        });
        Self { found }
    }

    /// The texts for `Warning` headers, or the refusal of `object`, as `validation` demands.
    ///
    /// # Errors
    /// 400 in upstream's words when `validation` is strict and there is anything to report.
    pub fn judge(&self, validation: FieldValidation, object: &Object) -> Result<Vec<String>, Error> {
        match validation {
            _ if self.found.is_empty() => Ok(Vec::new()),
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Warn => Ok(self.found.iter().flat_map(Finding::warnings).collect()),
            FieldValidation::Strict => {
                let messages: Vec<String> = self.found.iter().map(Finding::message).collect();
                let cause = format!("strict decoding error: {}", messages.join(", "));
                Err(super::structure::cannot_be_handled(object, &cause))
            }
        }
    }
}
