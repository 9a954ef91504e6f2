//! Behaviour of some kinds besides the generic verbs. Kinds may be named here, each in its own module.
//!
//! Start with [`answer`] (subresources), [`ask`] (kinds that are only a question) and [`observe`] (kinds that nobody
//! stores).

mod binding;
mod companion;
mod components;
mod condition;
mod connect;
mod eviction;
mod log_options;
mod namespace;
mod observed;
mod parts;
mod proxied;
mod reviews;
mod streams;
mod token;
mod usage;

use std::sync::Arc;

use api::Error;
use resources::{Observed, Part, PartHandler, Question, Resource, Verb};

use crate::context::Context;
use crate::handlers::storage::Target;
use crate::handlers::{patch, put, read, scale};
use crate::request::call::Call;
use crate::respond::Outcome;
use crate::respond::negotiate::Answer;
use connect::Stream;

/// Answers a request for a part of an object: the one place where each of the row's [`PartHandler`]s meets its
/// function.
pub(crate) async fn answer(target: Target, part: Part, call: Call) -> Outcome {
    let verb = call.info.verb;
    // What is connected to speaks HTTP of its own.
    let served = Verb::named(verb).is_some_and(|verb| part.verbs.contains(&verb));
    if !served && !part.handler.connects() {
        return Err(Error::method_not_allowed(&target.group_resource(), verb));
    }
    match part.handler {
        PartHandler::Status => match verb {
            "get" => read::get(&target, &call).await,
            "patch" => patch::patch(target, call).await,
            _ => put::update(target, call).await,
        },
        PartHandler::Scale(paths) => scale::answer(target, &paths, call).await,
        PartHandler::Approval => {
            let form = Answer::negotiate(&call.headers, true)?;
            parts::answer(target, call, form, parts::approval).await
        }
        PartHandler::Binding => binding::create(target, call).await,
        PartHandler::EphemeralContainers => {
            let form = Answer::without_table(&call.headers)?;
            parts::answer(target, call, form, parts::ephemeral_containers).await
        }
        PartHandler::Eviction => eviction::create(target, call).await,
        PartHandler::Finalize => namespace::finalize(target, call).await,
        PartHandler::Log => streams::log(target, call).await,
        PartHandler::Attach => streams::stream(target, call, Stream::Attach).await,
        PartHandler::Exec => streams::stream(target, call, Stream::Exec).await,
        PartHandler::PortForward => streams::stream(target, call, Stream::PortForward).await,
        PartHandler::Proxy(to) => proxied::answer(target, to, call).await,
        PartHandler::Resize => {
            let form = Answer::without_table(&call.headers)?;
            parts::answer(target, call, form, parts::resize).await
        }
        PartHandler::Token => token::create(target, call).await,
    }
}

/// Answers GET and LIST of objects that nobody stores.
pub(crate) async fn observe(
    context: Arc<Context>,
    row: Arc<Resource>,
    observed: Observed,
    call: Call,
) -> Outcome {
    match observed {
        Observed::Components => components::answer(context, row, call).await,
        Observed::NodeUsage => usage::nodes(context, row, call).await,
        Observed::PodUsage => usage::pods(context, row, call).await,
    }
}

/// Answers the creation of an object that is only a question.
pub(crate) async fn ask(
    context: Arc<Context>,
    row: Arc<Resource>,
    question: Question,
    call: Call,
) -> Outcome {
    if question == Question::Binding {
        let table = context.deps.resources.table();
        let pods = table.find("", "v1", "pods").ok_or_else(Error::no_such_path)?;
        return binding::create(Target::new(context, Arc::clone(pods))?, call).await;
    }
    reviews::answer(context, row, question, call).await
}
