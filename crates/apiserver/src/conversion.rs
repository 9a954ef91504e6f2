//! Conversion between a row's served version and the version of its stored objects.
//!
//! [`Converter`] is the trait; [`ByRow`] calls the pure functions of the kind table, [`ByWebhook`] before that the
//! webhooks of custom kinds (`review` has what is said to them).

mod by_webhook;
mod review;

use api::{Error, Object};
use resources::Resource;

pub use by_webhook::ByWebhook;

use crate::eventual::Eventual;

/// Converts objects on their way to and from the store.
pub trait Converter: Send + Sync + 'static {
    /// Whether the row serves another version than the stored one. Rows that do not hand out the stored bytes as
    /// they are, and are asked for no conversion.
    fn concerns(&self, row: &Resource) -> bool;

    /// From the row's version to the stored one.
    ///
    /// # Errors
    /// When the object cannot be converted; the request fails with the error.
    fn to_stored<'a>(&'a self, row: &'a Resource, object: &'a mut Object) -> Eventual<'a, Result<(), Error>>;

    /// From the stored version to the row's: all objects of an answer together, so that a list asks a webhook once.
    ///
    /// # Errors
    /// When one of the objects cannot be converted; the request fails with the error.
    fn to_served<'a>(
        &'a self,
        row: &'a Resource,
        objects: &'a mut [Object],
    ) -> Eventual<'a, Result<(), Error>>;
}

/// Converts by the functions of the row.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByRow;

impl Converter for ByRow {
    fn concerns(&self, row: &Resource) -> bool {
        row.convert.is_some()
    }

    fn to_stored<'a>(&'a self, row: &'a Resource, object: &'a mut Object) -> Eventual<'a, Result<(), Error>> {
        if let Some(convert) = &row.convert {
            convert.to_stored(object);
        }
        Ok(()).into()
    }

    fn to_served<'a>(
        &'a self,
        row: &'a Resource,
        objects: &'a mut [Object],
    ) -> Eventual<'a, Result<(), Error>> {
        if let Some(convert) = &row.convert {
            objects.iter_mut().for_each(|object| convert.to_served(object));
        }
        Ok(()).into()
    }
}
