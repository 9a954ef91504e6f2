//! `metrics.k8s.io`: what nodes and pods use. Upstream has these objects from another server, metrics-server, whose
//! fields and errors are kept (`pkg/api` there); what differs is that here figures are taken when somebody asks.

mod measure;

use std::collections::BTreeSet;
use std::sync::Arc;

use api::quantity::{Format, Quantity};
use api::{Error, GroupResource, Object};
use jiff::{SignedDuration, Timestamp};
use resources::Resource;
use serde_json::{Map, Value, json};

use super::observed;
use crate::cache::{Entry, ResourceCache};
use crate::context::Context;
use crate::handlers::metadata::seconds;
use crate::handlers::select;
use crate::request::call::Call;
use crate::respond::Outcome;
use crate::respond::negotiate::Answer;
use crate::usage::{History, Measured, Used};

/// Nodes are kept under their historical name.
const NODES: &str = "minions";
const PODS: &str = "pods";

/// Answers GET and LIST of `NodeMetrics`.
pub(super) async fn nodes(context: Arc<Context>, row: Arc<Resource>, call: Call) -> Outcome {
    let answer = Answer::negotiate(&call.headers, row.in_protobuf())?;
    let entries = entries(&context, &row, &call, NODES)?;
    let names: BTreeSet<String> = entries.iter().map(|entry| entry.name().to_owned()).collect();
    let measured = |history: &History| history.measure(|sample| Some(&sample.node));
    let complete = |_: &str, history: &History, _: Timestamp| {
        measured(history).is_some() || history.last().is_some_and(|sample| sample.node.is_empty())
    };
    let histories = measure::measure(&context, names, complete).await;
    warn(&call, histories.iter().filter_map(|(name, seen)| Some((name, seen.as_ref().err()?))));
    let now = context.deps.clock.now();
    let object = |entry: &Arc<Entry>| {
        let measured = measured(histories.get(entry.name())?.as_ref().ok()?)?;
        let usage = measured.used.first().map(|(_, used)| amounts(used))?;
        Some(shown(&row, entry, &measured, now, ("usage", usage)))
    };
    answered(&context, &row, &call, answer, entries.iter().filter_map(object).collect())
}

/// Answers GET and LIST of `PodMetrics`.
pub(super) async fn pods(context: Arc<Context>, row: Arc<Resource>, call: Call) -> Outcome {
    let answer = Answer::negotiate(&call.headers, row.in_protobuf())?;
    if call.info.verb == "get" && call.info.namespace.is_empty() {
        return Err(Error::no_such_path());
    }
    let entries = entries(&context, &row, &call, PODS)?;
    let running: Vec<_> =
        entries.iter().filter(|entry| entry.field("status.phase") == Some("Running")).collect();
    let node = |entry: &Entry| entry.field("spec.nodeName").unwrap_or_default().to_owned();
    let names = running.iter().map(|entry| node(entry)).filter(|name| !name.is_empty()).collect();
    let key = |entry: &Entry| (entry.namespace().to_owned(), entry.name().to_owned());
    let measured = |entry: &Entry, history: &History| {
        let key = key(entry);
        history.measure(|sample| sample.pods.get(&key))
    };
    let complete = |name: &str, history: &History, began: Timestamp| {
        let Some(last) = history.last() else { return true };
        let mut here = running.iter().filter(|entry| entry.field("spec.nodeName") == Some(name));
        here.all(|entry| {
            let is_there = last.pods.get(&key(entry)).is_some_and(|points| !points.is_empty());
            // What is not in a sample of now has no figures.
            if is_there { measured(entry, history).is_some() } else { last.taken >= began }
        })
    };
    let histories = measure::measure(&context, names, complete).await;
    warn(&call, histories.iter().filter_map(|(name, seen)| Some((name, seen.as_ref().err()?))));
    let now = context.deps.clock.now();
    let object = |entry: &&Arc<Entry>| {
        let measured = measured(entry, histories.get(&node(entry))?.as_ref().ok()?)?;
        let container = |(name, used): &(String, Used)| json!({"name": name, "usage": amounts(used)});
        let containers = measured.used.iter().map(container).collect();
        Some(shown(&row, entry, &measured, now, ("containers", containers)))
    };
    answered(&context, &row, &call, answer, running.iter().filter_map(object).collect())
}

/// What is asked about, in the order of names.
///
/// # Errors
/// 404 for a single one that is not there.
fn entries(context: &Context, row: &Resource, call: &Call, prefix: &str) -> Result<Vec<Arc<Entry>>, Error> {
    let scope = select::scope(row, call)?;
    let cache = context.deps.cache.resource(prefix);
    let entries = cache.map(|cache: Arc<ResourceCache>| cache.matching(&scope).entries).unwrap_or_default();
    if call.info.verb == "get" && entries.is_empty() {
        return Err(Error::not_found(&GroupResource::new("", &row.plural), &call.info.name));
    }
    Ok(entries)
}

/// Figures that cannot be had are left out, as upstream's are; here who asks is told why.
fn warn<'a>(call: &Call, failed: impl Iterator<Item = (&'a String, &'a Error)>) {
    for (name, error) in failed {
        tracing::debug!(node = name, %error, "a node's figures cannot be had");
        call.notes.warn(format!("no figures of node {name:?}: {error}"));
    }
}

fn answered(
    context: &Context,
    row: &Resource,
    call: &Call,
    answer: Answer,
    mut objects: Vec<Object>,
) -> Outcome {
    if call.info.verb != "get" {
        return observed::all(context, row, call, answer, objects);
    }
    let Some(object) = objects.pop() else {
        let (namespace, name) = (&call.info.namespace, &call.info.name);
        let name = if row.namespaced() { format!("{namespace}/{name}") } else { name.clone() };
        let resource = GroupResource::new(&row.group, &row.singular);
        return Err(Error::not_found(&resource, &name));
    };
    observed::one(context, row, call, answer, object)
}

fn shown(
    row: &Resource,
    entry: &Entry,
    measured: &Measured,
    now: Timestamp,
    (field, figures): (&str, Value),
) -> Object {
    let mut metadata = json!({"name": entry.name(), "creationTimestamp": seconds(now)});
    if row.namespaced() {
        metadata["namespace"] = entry.namespace().into();
    }
    let labels: Map<String, Value> = entry.labels().map(|(key, value)| (key.into(), value.into())).collect();
    if !labels.is_empty() {
        metadata["labels"] = labels.into();
    }
    let mut object = Object::default();
    object.set_type(&row.gvk());
    object.0.insert("metadata".into(), metadata);
    object.0.insert("timestamp".into(), seconds(measured.timestamp).into());
    object.0.insert("window".into(), go_duration(measured.window).into());
    object.0.insert(field.into(), figures);
    object
}

fn amounts(used: &Used) -> Value {
    let cpu: Quantity = format!("{}n", used.cpu_nanocores).parse().unwrap_or_default();
    let memory = i64::try_from(used.memory_bytes).unwrap_or(i64::MAX);
    json!({"cpu": cpu.to_string(), "memory": Quantity::from_units(memory, Format::BinarySi).to_string()})
}

/// A window the way Go prints it, to the millisecond: `1.002s`, `1m0s`.
fn go_duration(window: SignedDuration) -> String {
    let ms = window.as_millis().max(0);
    let (minutes, ms) = (ms / 60_000, ms % 60_000);
    let fraction = format!(".{:03}", ms % 1000);
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    let minutes = if minutes > 0 { format!("{minutes}m") } else { String::new() };
    format!("{minutes}{}{fraction}s", ms / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_upstream_writes_them() {
        let shown = |cpu_nanocores, memory_bytes| amounts(&Used { cpu_nanocores, memory_bytes });
        assert_eq!(shown(0, 0), json!({"cpu": "0", "memory": "0"}));
        assert_eq!(shown(123_456_789, 12 << 20), json!({"cpu": "123456789n", "memory": "12Mi"}));
        assert_eq!(shown(250_000_000, 4097), json!({"cpu": "250m", "memory": "4097"}));
        let windows = [1002, 15_000, 60_000, 60_050].map(|ms| go_duration(SignedDuration::from_millis(ms)));
        assert_eq!(windows, ["1.002s", "15s", "1m0s", "1m0.05s"]);
    }
}
