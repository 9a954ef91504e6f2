//! Resources that a pod asks for as a whole: they cover what its containers ask for.

use api::field::{ErrorList, FieldError, Path};
use k8s_openapi::api::core::v1::PodSpec;
use pods::{Side, quantities_of_spec};
use serde_json::Value;

use crate::validation::{amounts, read};

pub(super) fn resources(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let Some(resources) = read::get(spec, "resources") else { return };
    if read::get(spec, "os").is_some_and(|os| read::text(os, "name") == "windows") {
        errors.push(FieldError::forbidden(path, "may not be set for a windows pod"));
        return;
    }
    amounts::of_pod(errors, path, resources);
    covered(errors, path, spec, resources, Side::Requests);
    covered(errors, path, spec, resources, Side::Limits);
    let containers = path.child("containers");
    let whole = read::of(resources, "limits");
    for (i, container) in read::list(spec, "containers").iter().enumerate() {
        let Some(own) = read::get(container, "resources") else { continue };
        for (name, amount) in read::entries(own, "limits") {
            let (Some(own), Some(whole)) =
                (amounts::parse(amount), read::raw(whole, name).and_then(amounts::parse))
            else {
                continue;
            };
            if own > whole {
                let at = containers.index(i);
                let at = at.key(name);
                let detail = format!("must be less than or equal to pod limits of {whole}");
                errors.push(FieldError::invalid(&at.child("limits"), own.to_string(), detail));
            }
        }
    }
}

/// The sum over the containers is within the pod's amount, where the pod has one; of limits, that of huge pages alone.
fn covered(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, resources: &Value, side: Side) {
    let list = match side {
        Side::Requests => "requests",
        Side::Limits => "limits",
    };
    let mut own = spec.clone();
    if let Some(fields) = own.as_object_mut() {
        fields.remove("resources");
    }
    // Structure is judged before: a specification that is none has its errors.
    let Ok(own) = serde_json::from_value::<PodSpec>(own) else { return };
    let at = path.child(list);
    let whole = read::of(resources, list);
    for (name, sum) in quantities_of_spec(&own, side) {
        let is_judged = side == Side::Requests || name.starts_with("hugepages-");
        let Some(amount) = read::raw(whole, &name).and_then(amounts::parse).filter(|_| is_judged) else {
            continue;
        };
        if sum > amount {
            let detail = format!("must be greater than or equal to aggregate container {list} of {sum}");
            errors.push(FieldError::invalid(&at.key(&name), amount.to_string(), detail));
        }
    }
}
