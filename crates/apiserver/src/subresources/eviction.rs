//! Eviction: a delete that disruption budgets may refuse.
//!
//! The disruption controller says in a budget's status how many pods may go. An eviction takes one from that number,
//! with a write that is bound to the status it was read from, before it deletes: of two at once for the last place, one
//! is refused, whichever server they came to.

use api::selector::LabelSelector;
use api::{Error, GroupVersionKind, Object, Reason};
use http::StatusCode;
use serde_json::{Value, json};

use super::{companion, condition};
use crate::admission::Operation;
use crate::handlers::decode;
use crate::handlers::delete::{Asked, delete};
use crate::handlers::deletion::check_preconditions;
use crate::handlers::exchange::read_body;
use crate::handlers::metadata::seconds;
use crate::handlers::options::{DeleteOptions, WriteOptions};
use crate::handlers::storage::{Stored, Target};
use crate::handlers::write::{Change, Part, Write};
use crate::request::Attributes;
use crate::request::call::Call;
use crate::request::query::Query;
use crate::respond::negotiate::Answer;
use crate::respond::{self, Outcome};

/// How often an eviction that is bound to no state of the pod begins anew when the pod changes meanwhile, as upstream.
const ATTEMPTS: usize = 20;
/// Above so many evictions that the disruption controller has not seen yet, a budget lets none pass, as upstream.
const UNCONFIRMED_MAX: usize = 2000;
const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// POST of an Eviction.
pub(super) async fn create(target: Target, mut call: Call) -> Outcome {
    let answer = Answer::without_table(&call.headers)?;
    let mut write = WriteOptions::parse("CreateOptions", &call.query, &call.headers, false)?;
    let bytes = read_body(&target, &mut call).await?;
    let mut body = decode::companion(&call, &bytes, &GroupVersionKind::new("policy", "v1", "Eviction"))?;
    if body.name() != call.info.name {
        return Err(Error::bad_request("name in URL does not match name in Eviction object"));
    }
    let options = body.at(&["deleteOptions"]).cloned().and_then(Object::from_value).unwrap_or_default();
    let mut options = DeleteOptions::parse(&Query::default(), Some(&options))?;
    options.dry_run |= write.dry_run;
    write.dry_run = options.dry_run;
    let attributes = call.attributes();
    companion::admit(&target, &attributes, Operation::Create, &mut body, Some(&write)).await?;
    Eviction { target: &target, attributes: &attributes, options, write }.carry_out().await?;
    let done =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    respond::value(StatusCode::CREATED, answer, &done)
}

/// An eviction that admission has let pass.
struct Eviction<'a> {
    target: &'a Target,
    attributes: &'a Attributes,
    options: DeleteOptions,
    write: WriteOptions,
}

/// What budgets say about a pod's going.
enum Leave {
    /// Whatever happens to the pod meanwhile.
    Granted,
    /// As long as the pod is as it was; the budget that says so.
    AsLongAsUnready(String),
}

impl Eviction<'_> {
    async fn carry_out(&self) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let pod = self.target.read_existing(&self.attributes.namespace, &self.attributes.name).await?;
            if !goes_without_asking(&pod.object) {
                return self.as_budgets_allow(pod).await;
            }
            let mut options = self.options.clone();
            if !is_ended(&pod.object) && options.resource_version.is_none() {
                // It may become ready meanwhile, and then a budget counts it.
                options.resource_version = Some(pod.object.resource_version().to_owned());
            }
            match self.remove(pod, options).await {
                Err(error) if error.is(Reason::Conflict) && self.options.resource_version.is_none() => {}
                done => return done,
            }
        }
        Err(Error::modified(&self.target.group_resource(), &self.attributes.name))
    }

    async fn as_budgets_allow(&self, pod: Stored) -> Result<(), Error> {
        let mut options = self.options.clone();
        let Leave::AsLongAsUnready(budget) = self.ask(&pod.object).await? else {
            return self.remove(pod, options).await;
        };
        options.resource_version.get_or_insert_with(|| pod.object.resource_version().to_owned());
        match self.remove(pod, options).await {
            Err(error) if error.is(Reason::Conflict) && self.options.resource_version.is_none() => {
                Err(still_processed(&budget))
            }
            done => done,
        }
    }

    /// Asks the budget that covers the pod, and takes one from what it allows.
    async fn ask(&self, pod: &Object) -> Result<Leave, Error> {
        let context = &self.target.context;
        let table = context.deps.resources.table();
        let row = table.find("policy", "v1", "poddisruptionbudgets").ok_or_else(Error::no_such_path)?;
        let budgets = Target::new(context.clone(), row.clone())?;
        let mut covering = covering(&budgets, pod)?;
        let Some(name) = covering.pop() else { return Ok(Leave::Granted) };
        if !covering.is_empty() {
            return Err(Error::new(
                Reason::InternalError,
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
        let budget = budgets.read_existing(pod.namespace(), &name).await?;
        if !condition::is_true(pod, "Ready") && lets_unready_go(&budget.object) {
            return Ok(Leave::AsLongAsUnready(name));
        }
        let attributes = Attributes {
            group: "policy".to_owned(),
            resource: "poddisruptionbudgets".to_owned(),
            subresource: "status".to_owned(),
            name,
            ..self.attributes.clone()
        };
        let now = seconds(context.deps.clock.now());
        self.writing(&budgets, &attributes)
            .update(budget, |_, budget| {
                let mut object = budget.clone();
                take_one(&budgets, &mut object, pod.name(), &now)?;
                Ok(Change { object, managed: true })
            })
            .await?;
        Ok(Leave::Granted)
    }

    /// Says on the pod why it goes, and deletes it.
    async fn remove(&self, pod: Stored, mut options: DeleteOptions) -> Result<(), Error> {
        let target = self.target;
        let now = seconds(target.context.deps.clock.now());
        let json = self
            .writing(target, self.attributes)
            .update(pod, |_, pod| {
                check_preconditions(&target.row, pod, &options)?;
                let mut object = pod.clone();
                let mut why = json!({
                    "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                    "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": now,
                });
                if pod.generation() > 0 {
                    why["observedGeneration"] = pod.generation().into();
                }
                condition::set(&mut object, why);
                Ok(Change { object, managed: true })
            })
            .await?;
        if options.dry_run {
            return Ok(());
        }
        let told: Object = serde_json::from_slice(&json).map_err(Error::internal)?;
        if let Some(version) = &mut options.resource_version {
            told.resource_version().clone_into(version);
        }
        let current = target.read_existing(&self.attributes.namespace, &self.attributes.name).await?;
        if current.object.uid() != told.uid() {
            return Err(target.not_found(told.name()));
        }
        delete(target, self.attributes, Asked::Already, &options, current).await?;
        Ok(())
    }

    fn writing<'w>(&self, target: &'w Target, attributes: &'w Attributes) -> Write<'w> {
        Write {
            target,
            attributes,
            part: Part::Admitted,
            options: self.write.clone(),
            warnings: Vec::new(),
            view: None,
        }
    }
}

fn is_ended(pod: &Object) -> bool {
    pod.deletion_timestamp().is_some() || matches!(phase(pod), Some("Succeeded" | "Failed"))
}

/// Pods that do not run (yet, or any more) are in no budget's count.
fn goes_without_asking(pod: &Object) -> bool {
    is_ended(pod) || phase(pod) == Some("Pending")
}

fn phase(pod: &Object) -> Option<&str> {
    pod.str_at(&["status", "phase"])
}

/// The names of the budgets whose selector matches the pod. A budget without one matches none.
fn covering(budgets: &Target, pod: &Object) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in budgets.cache.snapshot(Some(pod.namespace())).entries {
        let budget: Object = serde_json::from_slice(&entry.json.lean()).map_err(Error::internal)?;
        let selector = budget.at(&["spec", "selector"]).map(LabelSelector::from_object);
        // One that says nothing (an invalid one of old) covers no pod, as upstream.
        if let Some(Ok(selector)) = selector
            && selector.matches_object(pod)
        {
            names.push(budget.name().to_owned());
        }
    }
    Ok(names)
}

fn figure(budget: &Object, name: &str) -> i64 {
    budget.at(&["status", name]).and_then(Value::as_i64).unwrap_or(0)
}

/// Whether a pod that is not ready may go whatever the budget's number says, because it counts for nothing.
fn lets_unready_go(budget: &Object) -> bool {
    let desired = figure(budget, "desiredHealthy");
    budget.str_at(&["spec", "unhealthyPodEvictionPolicy"]) == Some("AlwaysAllow")
        || (figure(budget, "currentHealthy") >= desired && desired > 0)
}

/// Takes one from what the budget allows and notes whom for.
fn take_one(budgets: &Target, budget: &mut Object, pod: &str, now: &str) -> Result<(), Error> {
    let forbidden = |why: &str| Err(Error::forbidden(&budgets.group_resource(), budget.name(), why));
    if figure(budget, "observedGeneration") < budget.generation() {
        return Err(still_processed(budget.name()));
    }
    let allowed = figure(budget, "disruptionsAllowed");
    if allowed < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    let unconfirmed = budget.at(&["status", "disruptedPods"]).and_then(Value::as_object);
    if unconfirmed.is_some_and(|pods| pods.len() > UNCONFIRMED_MAX) {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if allowed == 0 {
        let why = format!(
            "The disruption budget {} needs {} healthy pods and has {} currently",
            budget.name(),
            figure(budget, "desiredHealthy"),
            figure(budget, "currentHealthy")
        );
        return Err(refused(&why, 0));
    }
    budget.set_at(&["status", "disruptionsAllowed"], (allowed - 1).into());
    if allowed == 1 {
        let none_left = json!({
            "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
            "observedGeneration": figure(budget, "observedGeneration"), "lastTransitionTime": now,
        });
        condition::set(budget, none_left);
    }
    budget.set_at(&["status", "disruptedPods", pod], now.into());
    Ok(())
}

fn still_processed(budget: &str) -> Error {
    refused(&format!("The disruption budget {budget} is still being processed by the server."), 10)
}

fn refused(why: &str, retry_after_s: u32) -> Error {
    let mut error = Error::new(Reason::TooManyRequests, REFUSED)
        .with_detail("causes", json!([{"reason": "DisruptionBudget", "message": why}]));
    if retry_after_s > 0 {
        error = error.with_detail("retryAfterSeconds", retry_after_s);
    }
    error
}
