//! The parameters that a binding gives to its policy. Upstream: `CollectParams` in
//! `k8s.io/apiserver/pkg/admission/plugin/policy/generic/policy_dispatcher.go`.

use std::sync::Arc;

use api::selector::LabelSelector;
use api::{GroupVersion, Object};
use resources::Resource;
use serde_json::Value;

use super::configured::{ParamKind, ParamRef};
use crate::admission::webhooks::Asking;
use crate::cache::Entry;
use crate::cache::lookup::decode;

/// The row of the kind of parameters.
///
/// # Errors
/// When no such kind is served, in upstream's words.
pub(super) fn row(asking: &Asking, kind: &ParamKind) -> Result<Arc<Resource>, String> {
    let table = asking.kinds.table();
    let version = GroupVersion::parse(&kind.api_version);
    let row = version.and_then(|of| table.by_kind(&of.group, &of.version, &kind.kind).cloned());
    row.ok_or_else(|| {
        let ParamKind { api_version, kind } = kind;
        format!("failed to find resource referenced by paramKind: '{api_version}, Kind={kind}'")
    })
}

/// The parameters, one or many. One that is absent stands for a policy that is evaluated without.
///
/// # Errors
/// Why there are none, in upstream's words.
pub(super) async fn collect(
    asking: &Asking,
    row: Option<&Resource>,
    reference: Option<&ParamRef>,
    namespace: &str,
) -> Result<Vec<Option<Value>>, String> {
    let (Some(row), Some(reference)) = (row, reference) else { return Ok(vec![None]) };
    let mut found = Vec::new();
    for entry in entries(asking, row, reference, namespace)? {
        let Some(mut object) = decode::<Object>(&entry) else { continue };
        if asking.converter.concerns(row) {
            let converted = asking.converter.to_served(row, std::slice::from_mut(&mut object)).await;
            converted.map_err(|error| error.message)?;
        }
        found.push(Some(object.into_value()));
    }
    if found.is_empty() && reference.parameter_not_found_action.as_deref() == Some("Deny") {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(found)
}

fn entries(
    asking: &Asking,
    row: &Resource,
    reference: &ParamRef,
    namespace: &str,
) -> Result<Vec<Arc<Entry>>, String> {
    let place = match (row.namespaced(), reference.namespace.as_str()) {
        (false, "") => "",
        (false, _) => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned());
        }
        (true, "") if namespace.is_empty() => {
            let why =
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
            return Err(why.to_owned());
        }
        (true, "") => namespace,
        (true, given) => given,
    };
    let Some(cache) = asking.lookup.stored(&row.storage_prefix) else { return Ok(Vec::new()) };
    if !reference.name.is_empty() {
        return Ok(cache.get(place, &reference.name).into_iter().collect());
    }
    let selector = reference.selector.as_ref().ok_or("one of name or selector must be provided")?;
    let selector = LabelSelector::from_object(selector).map_err(|error| error.message)?;
    let all = cache.snapshot(row.namespaced().then_some(place)).entries;
    Ok(all.into_iter().filter(|entry| selector.matches(|key| entry.label(key))).collect())
}
