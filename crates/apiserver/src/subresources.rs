//! What some kinds have besides the generic verbs. Kinds may be named here, each in its own module.
//!
//! Start with [`answer`] (special subresources) and [`create_virtual`] (kinds that are only a question).

mod binding;
mod eviction;
mod log_options;
pub(crate) mod namespace;
mod pod_parts;
mod proxied;
mod reviews;
mod streams;
mod token;

use std::sync::Arc;

use api::Error;
use resources::Resource;

use crate::context::Context;
use crate::handlers::storage::Target;
use crate::pipeline::Call;
use crate::respond::Outcome;

/// Answers a request for one of [`resources::Subresources::special`].
pub(crate) async fn answer(context: Arc<Context>, row: Arc<Resource>, call: Call) -> Outcome {
    let subresource = call.info.subresource.clone();
    let target = Target::new(context, Arc::clone(&row))?;
    match (&*row.group, &*row.plural, subresource.as_str()) {
        ("", "namespaces", "finalize") => namespace::finalize(target, call).await,
        ("", "pods", "binding") => binding::create(target, posted(call)?).await,
        ("", "pods", "eviction") => eviction::create(target, posted(call)?).await,
        ("", "pods", "log") => streams::log(target, call).await,
        ("", "pods", "exec" | "attach" | "portforward") => streams::stream(target, call).await,
        ("", "pods", "ephemeralcontainers") => {
            pod_parts::answer(target, call, pod_parts::ephemeral_containers).await
        }
        ("", "pods", "resize") => pod_parts::answer(target, call, pod_parts::resize).await,
        ("", "pods" | "nodes" | "services", "proxy") => proxied::answer(target, call).await,
        ("", "serviceaccounts", "token") => token::create(target, posted(call)?).await,
        ("certificates.k8s.io", "certificatesigningrequests", "approval") => {
            pod_parts::answer(target, call, pod_parts::approval).await
        }
        _ => {
            Err(Error::not_implemented(&format!("the {subresource} subresource of {}", row.group_resource())))
        }
    }
}

/// Refuses anything but POST.
fn posted(call: Call) -> Result<Call, Error> {
    if call.info.verb == "create" {
        return Ok(call);
    }
    let resource = api::GroupResource::new(&call.info.group, &call.info.resource);
    Err(Error::method_not_allowed(&resource, call.info.verb))
}

/// Answers the creation of an object that is never stored.
pub(crate) async fn create_virtual(context: Arc<Context>, row: Arc<Resource>, call: Call) -> Outcome {
    if row.group.is_empty() && row.kind == "Binding" {
        let table = context.deps.resources.table();
        let pods = table.find("", "v1", "pods").ok_or_else(Error::no_such_path)?;
        return binding::create(Target::new(context, Arc::clone(pods))?, call).await;
    }
    reviews::answer(context, row, call).await
}
