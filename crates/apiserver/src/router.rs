//! From an authorized request to who answers it: a row of the kind table and a generic verb, a
//! subresource's module, or one of the paths that are no resource.

use std::sync::Arc;

use api::Error;
use futures::future::BoxFuture;
use resources::{Resource, Verb};

use crate::context::Context;
use crate::handlers::storage::Target;
use crate::handlers::{delete, freshness, list, patch, put, read, scale, watch};
use crate::paths;
use crate::pipeline::Call;
use crate::respond::{self, Outcome};
use crate::subresources;

/// Finds and runs the handler.
///
/// Boxed: the handlers' futures are large, and few bytes should move with each layer above.
pub(crate) fn route(context: Arc<Context>, call: Call) -> BoxFuture<'static, Outcome> {
    Box::pin(find(context, call))
}

async fn find(context: Arc<Context>, call: Call) -> Outcome {
    if !call.info.is_resource {
        return paths::answer(&context, &call).await;
    }
    let table = context.deps.resources.table();
    let info = &call.info;
    let row = table.find(&info.group, &info.version, &info.resource).ok_or_else(Error::no_such_path)?;
    let row = Arc::clone(row);
    let deprecated = row.deprecated.clone();
    let mut response = resource(context, row, call).await?;
    if let Some(warning) = deprecated {
        respond::add_warnings(&mut response, &[warning.into_owned()]);
    }
    Ok(response)
}

async fn resource(context: Arc<Context>, row: Arc<Resource>, call: Call) -> Outcome {
    freshness::wait(&context, &row, &call).await?;
    match call.info.subresource.as_str() {
        "" => verb(context, row, call).await,
        "status" if row.subresources.status => status(context, row, call).await,
        "scale" if row.subresources.scale.is_some() => {
            let target = Target::new(context, row)?;
            match call.info.verb {
                "get" => scale::get(&target, &call).await,
                "update" | "patch" => scale::change(target, call).await,
                other => Err(Error::method_not_allowed(&target.group_resource(), other)),
            }
        }
        name if row.subresources.special.contains(&name) => subresources::answer(context, row, call).await,
        _ => Err(Error::no_such_path()),
    }
}

fn verb_of(name: &str) -> Option<Verb> {
    Verb::ALL.into_iter().find(|v| v.as_str() == name)
}

async fn verb(context: Arc<Context>, row: Arc<Resource>, call: Call) -> Outcome {
    let refused = || Error::method_not_allowed(&row.group_resource(), call.info.verb);
    let verb = verb_of(call.info.verb).filter(|v| row.supports(*v)).ok_or_else(refused)?;
    let named = !call.info.name.is_empty();
    if verb == Verb::Create && named {
        return Err(refused());
    }
    if matches!(verb, Verb::Update | Verb::Patch) && !named {
        return Err(refused());
    }
    if row.virtual_kind {
        return subresources::create_virtual(context, row, call).await;
    }
    let all_namespaces = row.namespaced() && call.info.namespace.is_empty();
    if all_namespaces && matches!(verb, Verb::Get | Verb::Update | Verb::Patch | Verb::Delete) {
        return Err(Error::no_such_path());
    }
    // All namespaces together can only be read.
    if all_namespaces && matches!(verb, Verb::Create | Verb::DeleteCollection) {
        return Err(refused());
    }
    let target = Target::new(context, row)?;
    match verb {
        Verb::Get => read::get(&target, &call).await,
        Verb::List => list::list(target, &call).await,
        Verb::Watch => watch::watch(target, &call).await,
        Verb::Create => put::create(target, call).await,
        Verb::Update => put::update(target, call).await,
        Verb::Patch => patch::patch(target, call).await,
        Verb::Delete => delete::one(target, call).await,
        Verb::DeleteCollection => delete::collection(target, call).await,
    }
}

async fn status(context: Arc<Context>, row: Arc<Resource>, call: Call) -> Outcome {
    let target = Target::new(context, row)?;
    match call.info.verb {
        "get" => read::get(&target, &call).await,
        "update" => put::update(target, call).await,
        "patch" => patch::patch(target, call).await,
        other => Err(Error::method_not_allowed(&target.group_resource(), other)),
    }
}
