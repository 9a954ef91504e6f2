//! Which objects a list or watch selects.

use std::borrow::Cow;
use std::sync::Arc;

use super::Entry;

/// Which objects selectors want, besides the values that [`Scope::exact`] names.
pub type Filter = Arc<dyn Fn(&Entry) -> bool + Send + Sync>;

/// Which objects a list or watch is about. Those in it fulfil all that is said.
#[derive(Clone, Default)]
pub struct Scope {
    /// `None` for all.
    pub namespace: Option<String>,
    /// Selectable fields, `metadata.name` among them, and the one value each must have. What is found by key or by
    /// a trigger field is looked up rather than searched for.
    pub exact: Vec<(Cow<'static, str>, String)>,
    pub filter: Option<Filter>,
}

impl Scope {
    /// Everything in a namespace.
    pub fn namespace(namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..Self::default() }
    }

    /// Those whose field has the value.
    #[must_use]
    pub fn with(mut self, field: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.exact.push((field.into(), value.into()));
        self
    }

    /// The value that a field must have.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.exact.iter().find(|(name, _)| name == field).map(|(_, value)| value.as_str())
    }

    pub fn matches(&self, entry: &Entry) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| entry.namespace() == namespace)
            && self.selects(entry)
    }

    /// Whether an object of the namespace is in it.
    pub fn selects(&self, entry: &Entry) -> bool {
        self.exact.iter().all(|(field, value)| entry.field(field).unwrap_or_default() == value)
            && self.filter.as_ref().is_none_or(|filter| filter(entry))
    }

    /// Whether it takes in everything of its namespace.
    pub fn selects_all(&self) -> bool {
        self.exact.is_empty() && self.filter.is_none()
    }
}
