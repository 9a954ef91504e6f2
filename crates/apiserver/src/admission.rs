//! Admission: in-tree plugins that change or refuse objects on their way in.

use api::{Error, Object};
use resources::Resource;

use crate::request::Attributes;

/// The operation, with upstream's spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// A request as admission sees it.
pub struct Review<'a> {
    pub attributes: &'a Attributes,
    pub resource: &'a Resource,
    pub operation: Operation,
    /// The stored object (update, delete).
    pub old: Option<&'a Object>,
}

/// One plugin. Plugins answer from memory (the watch caches): no IO.
pub trait Admission: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// May change the object. `object` is `None` on delete.
    fn admit(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        let _ = (review, object);
        Ok(())
    }

    /// Sees the final object.
    fn validate(&self, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let _ = (review, object);
        Ok(())
    }
}
