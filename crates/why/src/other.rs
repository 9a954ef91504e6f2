//! Objects of any other kind: who deletes them, what their conditions and events say.

use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::DynamicObject;
use kube::discovery::{self, ApiResource, Scope};
use serde_json::Value;

use crate::account::Account;
use crate::reader::Reader;
use crate::unknown::UnknownSubject;
use crate::{deletion, warnings};

/// Conditions that are well when they are False.
const ABNORMAL: [&str; 6] =
    ["Degraded", "Failed", "Failure", "Stalled", "NamesConflict", "NonStructuralSchema"];

/// The kind that the API server knows by a word: its plural, singular or kind, with the group where there are several.
/// Groups that cannot be listed, because their server is down for example, are passed over.
///
/// # Errors
/// When the groups cannot be read, or no kind goes by the word; then a group that could not be listed is the error.
pub async fn resolve(reader: &Reader, word: &str) -> Result<(ApiResource, bool), UnknownSubject> {
    let (name, group) = word.split_once('.').map_or((word, None), |(name, group)| (name, Some(group)));
    let listed = reader.client.list_api_groups().await?;
    let groups = std::iter::once(String::new()).chain(listed.groups.into_iter().map(|group| group.name));
    let mut failed = None;
    for wanted in groups.filter(|found| group.is_none_or(|group| found == group)) {
        let found = match discovery::group(&reader.client, &wanted).await {
            Ok(found) => found,
            Err(error) => {
                failed = failed.or(Some(error));
                continue;
            }
        };
        for (resource, capabilities) in found.recommended_resources() {
            if resource.plural == name || resource.kind.to_lowercase() == name {
                return Ok((resource, matches!(capabilities.scope, Scope::Namespaced)));
            }
        }
    }
    Err(failed.map_or_else(|| UnknownSubject::NoSuchKind(word.to_owned()), UnknownSubject::Api))
}

/// # Errors
/// When there is no such object, or its events cannot be read.
pub async fn tell(
    reader: &Reader,
    kind: &ApiResource,
    namespace: Option<&str>,
    name: &str,
) -> kube::Result<Account> {
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(reader.client.clone(), namespace, kind),
        None => Api::all_with(reader.client.clone(), kind),
    };
    let object = api.get(name).await?;
    let events = reader.events(namespace, object.metadata.uid.as_deref()).await?;
    Ok(account(&kind.kind.to_lowercase(), &object, &events))
}

pub fn account(kind: &str, object: &DynamicObject, events: &[Event]) -> Account {
    let meta = &object.metadata;
    let mut account = deletion::account(meta).unwrap_or_else(|| state(&object.data));
    account.causes.extend(warnings::lines(events));
    account.of(kind, meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
}

fn state(object: &Value) -> Account {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let bad = |condition: &&Value| {
        let abnormal = ABNORMAL.contains(&text(condition, "type").as_str());
        text(condition, "status") != if abnormal { "False" } else { "True" }
    };
    let causes: Vec<String> = conditions
        .into_iter()
        .flatten()
        .filter(bad)
        .map(|c| {
            format!(
                "{} is {}: {}: {}",
                text(c, "type"),
                text(c, "status"),
                text(c, "reason"),
                text(c, "message")
            )
        })
        .collect();
    let phase = object.pointer("/status/phase").and_then(Value::as_str);
    let summary = phase.map_or_else(|| "exists".to_owned(), |phase| format!("is {phase}"));
    match causes.is_empty() {
        true => Account::well(summary),
        false => Account { causes, ..Account::unwell(summary) },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_that_do_not_hold_are_the_causes() {
        let object = json!({"metadata": {"name": "w"}, "apiVersion": "x.io/v1", "kind": "Widget", "status": {
            "phase": "Building", "conditions": [
                {"type": "Ready", "status": "False", "reason": "Slow", "message": "not yet"},
                {"type": "Degraded", "status": "False"}, {"type": "Synced", "status": "True"}]}});
        let object: DynamicObject = serde_json::from_value(object).expect("an object");
        assert_eq!(
            account("widget", &object, &[]).text(),
            "widget w is Building\n  Ready is False: Slow: not yet\n"
        );
    }

    #[test]
    fn finalizers_that_nobody_knows_are_whosever_set_them() {
        let object = json!({"metadata": {"name": "w", "deletionTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": ["foregroundDeletion", "x.io/f"]}, "apiVersion": "x.io/v1", "kind": "Widget"});
        let object: DynamicObject = serde_json::from_value(object).expect("an object");
        assert_eq!(
            account("widget", &object, &[]).text(),
            "widget w is being deleted; its time to end is 2026-01-01T00:00:00Z\n  \
             the finalizer foregroundDeletion is still there; it is removed by the garbage collector, once the objects \
             that it owns are gone\n  the finalizer x.io/f is still there\n\
             What would help: whoever set the finalizer x.io/f has to remove it; is that controller gone, remove the \
             finalizer by hand.\n"
        );
    }
}
