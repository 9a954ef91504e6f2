//! Admission of the object that a request to a subresource carries or is made into: a Binding, an Eviction, a
//! TokenRequest, the options of a connection.

use api::{Error, Object};

use crate::admission::{self, Operation, RequestOptions, Review, Rounds};
use crate::handlers::options::WriteOptions;
use crate::handlers::storage::Target;
use crate::request::Attributes;

/// Asks every plugin about the companion, which plugins may change.
///
/// # Errors
/// The first refusal.
pub(super) async fn admit(
    target: &Target,
    attributes: &Attributes,
    operation: Operation,
    companion: &mut Object,
    options: Option<&WriteOptions>,
) -> Result<(), Error> {
    let review = Review {
        attributes,
        resource: &target.row,
        operation,
        old: None,
        dry_run: options.is_some_and(|options| options.dry_run),
        options: options.map(|options| options as &dyn RequestOptions),
        rounds: Rounds::default(),
    };
    let panel = target.context.panel();
    admission::admit(&panel, &review, Some(&mut *companion)).await?;
    admission::validate(&panel, &review, Some(&*companion)).await
}
