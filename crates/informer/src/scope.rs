//! [`Scope`]: which objects of a kind a cache follows.

/// Which objects of a kind a cache follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    pub label_selector: Option<String>,
    pub field_selector: Option<String>,
}

impl Scope {
    /// Objects a field selector picks, e.g. `spec.nodeName=n1`.
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { field_selector: Some(selector.into()), ..Self::default() }
    }

    /// Objects a label selector picks.
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { label_selector: Some(selector.into()), ..Self::default() }
    }
}
