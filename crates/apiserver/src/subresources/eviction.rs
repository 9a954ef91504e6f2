//! Eviction: a delete that disruption budgets may refuse.

use api::selector::LabelSelector;
use api::{Error, GroupVersionKind, Object};
use http::StatusCode;
use serde_json::json;

use super::companion;
use crate::admission::Operation;
use crate::handlers::decode;
use crate::handlers::delete::{Asked, delete};
use crate::handlers::exchange::read_body;
use crate::handlers::options::{DeleteOptions, WriteOptions};
use crate::handlers::storage::Target;
use crate::request::call::Call;
use crate::request::query::Query;
use crate::respond::negotiate::Answer;
use crate::respond::{self, Outcome};

/// POST of an Eviction.
pub(super) async fn create(target: Target, mut call: Call) -> Outcome {
    let answer = Answer::without_table(&call.headers)?;
    let create = WriteOptions::parse("CreateOptions", &call.query, &call.headers, false)?;
    let bytes = read_body(&target, &mut call).await?;
    let mut eviction =
        decode::companion(&call.headers, &bytes, &GroupVersionKind::new("policy", "v1", "Eviction"))?;
    if eviction.name() != call.info.name {
        return Err(Error::bad_request("name in URL does not match name in Eviction object"));
    }
    let body = eviction.at(&["deleteOptions"]).cloned().and_then(Object::from_value).unwrap_or_default();
    let mut options = DeleteOptions::parse(&Query::default(), Some(&body))?;
    options.dry_run |= create.dry_run;
    let attributes = call.attributes();
    companion::admit(&target, &attributes, Operation::Create, &mut eviction, options.dry_run).await?;
    let current = target.read_existing(&call.info.namespace, &call.info.name).await?;
    if !finished(&current.object) {
        check_budgets(&target, &current.object)?;
    }
    delete(&target, &attributes, Asked::Already, &options, current).await?;
    let done =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    respond::value(StatusCode::CREATED, answer, &done)
}

/// Pods that do not run (any more) may always go.
fn finished(pod: &Object) -> bool {
    pod.deletion_timestamp().is_some()
        || matches!(pod.str_at(&["status", "phase"]), Some("Succeeded" | "Failed" | "Pending"))
}

/// Budgets are not evaluated yet: a pod that one covers is not evicted rather than evicted wrongly.
fn check_budgets(target: &Target, pod: &Object) -> Result<(), Error> {
    let Some(budgets) = target.context.deps.cache.resource("poddisruptionbudgets") else { return Ok(()) };
    for entry in budgets.snapshot(Some(pod.namespace())).entries {
        let budget: Object = serde_json::from_slice(&entry.json.lean()).map_err(Error::internal)?;
        let Some(selector) = budget.at(&["spec", "selector"]) else { continue };
        if LabelSelector::from_object(selector)?.matches_object(pod) {
            return Err(Error::not_implemented("evicting pods that a disruption budget covers"));
        }
    }
    Ok(())
}
