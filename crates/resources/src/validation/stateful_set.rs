//! Stateful sets, as upstream's `pkg/apis/apps/validation/validation.go`.
//!
//! The controller completes the template before it makes a pod: it adds a volume for each claim template and
//! sets the host name and the subdomain. The template is therefore checked with those volumes and without those
//! names.

use std::borrow::Cow;
use std::collections::BTreeSet;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use serde_json::{Value, json};

use super::claim_spec::claim_spec;
use super::{check, pod, read, workload};

pub(crate) fn create(object: &Object) -> ErrorList {
    spec_errors(read::top(object, "spec"), Names::Checked, Template::Checked)
}

/// Whether the spec of the pod template is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Template {
    Checked,
    Unchecked,
}

/// Whether what cannot change is looked at: claims and the name of the service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Checked,
    Unchecked,
}

/// What creations and updates have in common.
fn spec_errors(spec: &Value, names: Names, template: Template) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let policy = read::text(spec, "podManagementPolicy");
    let at = path.child("podManagementPolicy");
    if check::required(&mut errors, &at, policy) && !matches!(policy, "OrderedReady" | "Parallel") {
        errors.push(FieldError::invalid(&at, policy, "must be 'OrderedReady' or 'Parallel'"));
    }
    strategy(&mut errors, &path.child("updateStrategy"), spec);
    if let Some(retention) = read::get(spec, "persistentVolumeClaimRetentionPolicy") {
        let at = path.child("persistentVolumeClaimRetentionPolicy");
        for key in ["whenDeleted", "whenScaled"] {
            let value = read::text(retention, key);
            if !matches!(value, "Retain" | "Delete") {
                errors.push(FieldError::not_supported(&at.child(key), value, &["Retain", "Delete"]));
            }
        }
    }
    if names == Names::Checked {
        let claims = path.child("volumeClaimTemplates");
        for (i, claim) in read::list(spec, "volumeClaimTemplates").iter().enumerate() {
            claim_spec(&mut errors, &claims.index(i).child("spec"), read::of(claim, "spec"));
        }
    }
    workload::counts(&mut errors, &path, spec);
    if let Some(ordinals) = read::get(spec, "ordinals") {
        let at = path.child("ordinals");
        check::nonnegative(&mut errors, &at.child("start"), read::int(ordinals, "start"));
    }
    let service = read::text(spec, "serviceName");
    if names == Names::Checked && !service.is_empty() {
        let faults = api::names::dns1123_label(service);
        check::faults(&mut errors, &path.child("serviceName"), service, faults);
    }
    let at = path.child("template");
    let found = read::of(spec, "template");
    if workload::selected_template(&mut errors, &path, spec, "statefulset", "") {
        match template {
            Template::Checked => pod::template(&mut errors, &at, &completed(spec, found)),
            Template::Unchecked => pod::template_metadata(&mut errors, &at, found),
        }
    }
    workload::runs_always(&mut errors, &at, found, "StatefulSet");
    errors
}

/// The template as the controller makes pods of it.
fn completed<'a>(spec: &Value, template: &'a Value) -> Cow<'a, Value> {
    let claims = read::list(spec, "volumeClaimTemplates");
    let pod = read::of(template, "spec");
    if claims.is_empty() && read::text(pod, "subdomain").is_empty() && read::text(pod, "hostname").is_empty()
    {
        return Cow::Borrowed(template);
    }
    let claimed = |name: &str| claims.iter().any(|claim| claim_name(claim) == name);
    let names: BTreeSet<&str> = claims.iter().map(claim_name).collect();
    let of_claims =
        names.iter().map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
    let own =
        read::list(pod, "volumes").iter().filter(|volume| !claimed(read::text(volume, "name"))).cloned();
    let volumes: Vec<Value> = of_claims.chain(own).collect();
    let mut completed = template.clone();
    if let Some(pod) = completed.get_mut("spec").and_then(Value::as_object_mut) {
        pod.remove("subdomain");
        pod.remove("hostname");
        pod.insert("volumes".to_owned(), volumes.into());
    }
    Cow::Owned(completed)
}

fn claim_name(claim: &Value) -> &str {
    read::text(read::of(claim, "metadata"), "name")
}

fn strategy(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let strategy = read::of(spec, "updateStrategy");
    let rolling = read::get(strategy, "rollingUpdate");
    let at = path.child("rollingUpdate");
    match (read::text(strategy, "type"), rolling) {
        ("", _) => errors.push(FieldError::required(path, "")),
        ("OnDelete", Some(rolling)) => {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            errors.push(FieldError::invalid(&at, rolling.clone(), detail));
        }
        ("RollingUpdate", Some(rolling)) => {
            check::nonnegative(errors, &at.child("partition"), read::int(rolling, "partition"));
            let at = at.child("maxUnavailable");
            let Some(unavailable) = read::get(rolling, "maxUnavailable") else { return };
            workload::int_or_percent(errors, &at, Some(unavailable));
            if workload::figure(Some(unavailable)) == 0 {
                errors.push(FieldError::invalid(&at, unavailable.clone(), "cannot be 0"));
            }
            workload::at_most_all(errors, &at, Some(unavailable));
        }
        ("OnDelete" | "RollingUpdate", None) => {}
        _ => {
            let detail = "must be 'RollingUpdate' or 'OnDelete'";
            errors.push(FieldError::invalid(path, strategy.clone(), detail));
        }
    }
}

/// What a stateful set lets change.
const MUTABLE: [&str; 7] = [
    "replicas",
    "template",
    "updateStrategy",
    "minReadySeconds",
    "ordinals",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
];

/// Names and claim templates are not looked at again, because they cannot change; nor is the template of a set
/// that was already stored with a fault.
pub(crate) fn update(new: &Object, old: &Object) -> ErrorList {
    let (after, before) = (read::top(new, "spec"), read::top(old, "spec"));
    let sound = spec_errors(before, Names::Unchecked, Template::Checked).is_empty();
    let mut errors =
        spec_errors(after, Names::Unchecked, if sound { Template::Checked } else { Template::Unchecked });
    let fixed = |spec: &Value| -> Vec<(String, Value)> {
        let fields = spec.as_object().into_iter().flatten().filter(|(k, _)| !MUTABLE.contains(&k.as_str()));
        let mut fixed: Vec<_> = fields.map(|(k, v)| (k.clone(), v.clone())).collect();
        fixed.sort_by(|a, b| a.0.cmp(&b.0));
        fixed
    };
    if fixed(after) != fixed(before) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        errors.push(FieldError::forbidden(&Path::root("spec"), detail));
    }
    errors
}
