//! What some kinds have besides the generic verbs. Kinds may be named here, each in its own module.
//!
//! Start with [`answer`] (special subresources) and [`create_virtual`] (kinds that are only a question).

pub(crate) mod namespace;

use std::sync::Arc;

use api::Error;
use resources::Resource;

use crate::context::Context;
use crate::handlers::storage::Target;
use crate::pipeline::Call;
use crate::respond::Outcome;

/// Answers a request for one of [`resources::Subresources::special`].
pub(crate) async fn answer(context: Arc<Context>, row: Arc<Resource>, call: Call) -> Outcome {
    if (&*row.group, &*row.plural, call.info.subresource.as_str()) == ("", "namespaces", "finalize") {
        return namespace::finalize(Target::new(context, row)?, call).await;
    }
    Err(Error::not_implemented(&format!(
        "the {} subresource of {}",
        call.info.subresource,
        row.group_resource()
    )))
}

/// Answers the creation of an object that is never stored.
pub(crate) async fn create_virtual(_context: Arc<Context>, row: Arc<Resource>, _call: Call) -> Outcome {
    Err(Error::not_implemented(&row.kind))
}
