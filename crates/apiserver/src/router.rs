//! From an authorized request to who answers it: a row of the kind table and a generic verb, a
//! subresource's module, or one of the paths that are no resource.

use std::sync::Arc;

use api::Error;

use crate::context::Context;
use crate::pipeline::Call;
use crate::respond::Outcome;

pub(crate) async fn route(context: Arc<Context>, call: Call) -> Outcome {
    if !call.info.is_resource {
        return crate::paths::answer(&context, &call);
    }
    let table = context.deps.resources.table();
    let info = &call.info;
    let row = table.find(&info.group, &info.version, &info.resource).ok_or_else(Error::no_such_path)?;
    let _ = row;
    Err(Error::not_implemented("this verb"))
}
