//! Finds the handler of an authorized request: a row of the kind table and a generic verb, a part of a row
//! ([`subresources`]), or a path that is no resource; or the other server that serves the group and version
//! ([`aggregated`]).

use std::sync::Arc;

use api::{Error, Reason};
use futures::future::BoxFuture;
use http::Method;
use resources::{Resource, Verb};

use super::paths;
use crate::context::Context;
use crate::handlers::storage::Target;
use crate::handlers::{delete, freshness, list, past, patch, post, put, read, watch};
use crate::proxy::aggregated;
use crate::request::call::Call;
use crate::respond::{self, Outcome};
use crate::subresources;
use crate::websocket::{self, Framing};

/// Finds and runs the handler.
///
/// Boxed: the handlers' futures are large, and few bytes should move with each layer above.
pub(crate) fn route(context: Arc<Context>, call: Call) -> BoxFuture<'static, Outcome> {
    Box::pin(find(context, call))
}

async fn find(context: Arc<Context>, call: Call) -> Outcome {
    if let Some((aggregator, registered)) = aggregated::server(&context, &call.info) {
        return aggregated::forward(&context, aggregator, &registered, call).await;
    }
    if !call.info.is_resource {
        return paths::answer(&context, &call).await;
    }
    let row = row(&context, &call).await?;
    let deprecated = row.deprecated.clone();
    if deprecated.is_some() {
        context.metrics.used_deprecated(&row, &call.info.subresource);
    }
    let mut response = resource(context, row, call).await?;
    if let Some(warning) = deprecated {
        respond::add_warnings(&mut response, &[warning.into_owned()]);
    }
    Ok(response)
}

/// The row of a request, as of every definition that was acknowledged before.
async fn row(context: &Context, call: &Call) -> Result<Arc<Resource>, Error> {
    let (kinds, info) = (&context.deps.resources, &call.info);
    let sought = || kinds.table().find(&info.group, &info.version, &info.resource).cloned();
    // Built-in rows do not change.
    if let Some(row) = sought().filter(|row| row.schema.custom().is_none()) {
        return Ok(row);
    }
    kinds.settled().await;
    sought().ok_or_else(Error::no_such_path)
}

async fn resource(context: Arc<Context>, row: Arc<Resource>, call: Call) -> Outcome {
    // Only what is proxied takes it: there the method is part of what is passed on.
    if call.method == Method::HEAD && call.info.subresource != "proxy" {
        return Err(no_such_method());
    }
    freshness::wait(&context, &row, &call).await?;
    if call.info.subresource.is_empty() {
        return verb(context, row, call).await;
    }
    let part = row.part(&call.info.subresource).cloned().ok_or_else(Error::no_such_path)?;
    subresources::answer(Target::new(context, row)?, part, call).await
}

/// What is said of a method that there is not at a path, whatever the path is of.
fn no_such_method() -> Error {
    let message = "the server does not allow this method on the requested resource";
    Error { details: Some(Box::default()), ..Error::new(Reason::MethodNotAllowed, message) }
}

async fn verb(context: Arc<Context>, row: Arc<Resource>, call: Call) -> Outcome {
    let verb = Verb::named(call.info.verb).filter(|v| row.supports(*v)).ok_or_else(no_such_method)?;
    let named = !call.info.name.is_empty();
    if verb == Verb::Create && named {
        return Err(no_such_method());
    }
    if matches!(verb, Verb::Update | Verb::Patch) && !named {
        return Err(no_such_method());
    }
    if let Some(question) = row.question {
        return subresources::ask(context, row, question, call).await;
    }
    if let Some(observed) = row.observed {
        return subresources::observe(context, row, observed, call).await;
    }
    let all_namespaces = row.namespaced() && call.info.namespace.is_empty();
    if all_namespaces && matches!(verb, Verb::Get | Verb::Update | Verb::Patch | Verb::Delete) {
        return Err(Error::no_such_path());
    }
    // All namespaces together can only be read.
    if all_namespaces && matches!(verb, Verb::Create | Verb::DeleteCollection) {
        return Err(no_such_method());
    }
    if !matches!(verb, Verb::Get | Verb::List) {
        past::refuse(&call.query)?;
    }
    let target = Target::new(context, row)?;
    match verb {
        Verb::Get => read::get(&target, &call).await,
        Verb::List => list::list(target, &call).await,
        Verb::Watch => {
            let context = Arc::clone(&target.context);
            let response = watch::watch(target, &call).await?;
            if !websocket::wanted(&call.headers) {
                return Ok(response);
            }
            let protocol = websocket::watch_protocol(&call.headers);
            let mut call = call;
            websocket::answer(&context, &mut call, response, Framing::Lines, protocol)
        }
        Verb::Create => post::create(target, call).await,
        Verb::Update => put::update(target, call).await,
        Verb::Patch => patch::patch(target, call).await,
        Verb::Delete => delete::one(target, call).await,
        Verb::DeleteCollection => delete::collection(target, call).await,
    }
}
