//! What a description asks for beside its object.

use serde_json::Value;

/// A kind of object as the API's paths name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResourceName<'a> {
    /// Empty for the core group.
    pub group: &'a str,
    pub version: &'a str,
    /// The plural, in lower case.
    pub resource: &'a str,
}

/// Which objects of a kind are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection<'a> {
    /// All namespaces, or a kind without namespaces, where none is named.
    pub namespace: Option<&'a str>,
    /// As in a URL; empty for all.
    pub label_selector: &'a str,
    /// As in a URL; empty for all.
    pub field_selector: &'a str,
}

/// Why a related object could not be had: what the server said, or why it was not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RelatedError {
    /// A `Status`' reason (`NotFound`, `Forbidden`); empty where no server answered.
    pub reason: String,
    pub message: String,
}

/// The objects beside the one that is described.
pub trait Related {
    /// One object.
    ///
    /// # Errors
    /// When there is none (reason `NotFound`), or it cannot be read.
    fn get(
        &self,
        resource: ResourceName<'_>,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Value, RelatedError>;

    /// The objects of a selection, each with `apiVersion` and `kind`, in the server's order.
    ///
    /// # Errors
    /// When they cannot be read.
    fn list(&self, resource: ResourceName<'_>, selection: Selection<'_>) -> Result<Vec<Value>, RelatedError>;
}

/// Why an object was not described.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    #[error("{0}")]
    Related(#[from] RelatedError),
}
