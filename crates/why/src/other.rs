//! Objects of any other kind: who deletes them, what their conditions and events say.

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::Api;
use kube::api::DynamicObject;
use kube::discovery::ApiResource;
use serde_json::Value;

use crate::account::{Account, said};
use crate::reader::Reader;
use crate::unknown::UnknownSubject;
use crate::{deletion, warnings};

/// Conditions that are well when they are False.
const ABNORMAL: [&str; 6] =
    ["Degraded", "Failed", "Failure", "Stalled", "NamesConflict", "NonStructuralSchema"];

/// The kind that the API server knows by a word: its plural, singular or short name, or the kind, with the group where
/// there are several. Groups that cannot be listed, because their server is down for example, are passed over.
///
/// # Errors
/// When the groups cannot be read, or no kind goes by the word; then a group that could not be listed is the error.
pub async fn resolve(reader: &Reader, word: &str) -> Result<(ApiResource, bool), UnknownSubject> {
    let (name, group) = word.split_once('.').map_or((word, None), |(name, group)| (name, Some(group)));
    let mut failed = None;
    for version in versions(reader).await? {
        let own = version.rsplit_once('/').map_or("", |(group, _)| group);
        if group.is_some_and(|group| group != own) {
            continue;
        }
        let listed = match version.contains('/') {
            true => reader.client.list_api_group_resources(&version).await,
            false => reader.client.list_core_api_resources(&version).await,
        };
        match listed {
            Ok(listed) => {
                if let Some(found) = listed.resources.iter().find(|resource| is_called(resource, name)) {
                    return Ok((described(found, own, &version), found.namespaced));
                }
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    Err(failed.map_or_else(|| UnknownSubject::NoSuchKind(word.to_owned()), UnknownSubject::Api))
}

/// The versions that the server prefers, one of each group.
async fn versions(reader: &Reader) -> kube::Result<Vec<String>> {
    let mut versions = reader.client.list_core_api_versions().await?.versions;
    versions.truncate(1);
    for group in reader.client.list_api_groups().await?.groups {
        versions.extend(
            group.preferred_version.or_else(|| group.versions.into_iter().next()).map(|v| v.group_version),
        );
    }
    Ok(versions)
}

fn is_called(resource: &APIResource, name: &str) -> bool {
    let short = resource.short_names.iter().flatten();
    !resource.name.contains('/')
        && (resource.name == name
            || resource.singular_name == name
            || resource.kind.to_lowercase() == name
            || short.into_iter().any(|short| short == name))
}

fn described(resource: &APIResource, group: &str, version: &str) -> ApiResource {
    ApiResource {
        group: group.to_owned(),
        version: version.rsplit('/').next().unwrap_or_default().to_owned(),
        api_version: version.to_owned(),
        kind: resource.kind.clone(),
        plural: resource.name.clone(),
    }
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
        .map(|c| said(&text(c, "type"), &text(c, "status"), [&text(c, "reason"), &text(c, "message")]))
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
