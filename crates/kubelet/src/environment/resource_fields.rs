//! Resource requests and limits as text (`limits.cpu` with a divisor), for the downward API. Pure.

use std::collections::BTreeMap;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

use super::EnvironmentError;

/// What the node can give to pods, by resource name: the limit of a container that has none.
pub type Allocatable = BTreeMap<String, ApiQuantity>;

/// The value of `selector` in the container it names, or in `own` when it names none.
///
/// # Errors
/// When there is no such container or resource.
pub fn value(
    pod: &Pod,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
    allocatable: &Allocatable,
) -> Result<String, EnvironmentError> {
    let named = selector.container_name.as_deref().filter(|n| !n.is_empty());
    let container = match named {
        Some(name) => find(pod, name).ok_or_else(|| EnvironmentError::ContainerMissing(name.to_owned()))?,
        None => own.ok_or_else(|| EnvironmentError::ContainerMissing(String::new()))?,
    };
    let (kind, resource) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| EnvironmentError::ResourceUnsupported(selector.resource.clone()))?;
    if !matches!(resource, "cpu" | "memory" | "ephemeral-storage") && !resource.starts_with("hugepages-") {
        return Err(EnvironmentError::ResourceUnsupported(selector.resource.clone()));
    }
    let requirements = container.resources.as_ref();
    let amount = match kind {
        "limits" => amount(requirements.and_then(|r| r.limits.as_ref()), resource)?
            .filter(|q| q.milli_value() != 0)
            .map_or_else(|| amount_of(allocatable, resource), |q| Ok(Some(q)))?,
        "requests" => request(requirements, resource)?,
        _ => return Err(EnvironmentError::ResourceUnsupported(selector.resource.clone())),
    };
    let divisor = match &selector.divisor {
        Some(q) if !q.0.is_empty() && q.0 != "0" => parse(q)?,
        _ => parse(&ApiQuantity("1".into()))?,
    };
    Ok(divide(amount, &divisor, resource).to_string())
}

fn find<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|c| c.name == name)
}

fn request(r: Option<&ResourceRequirements>, resource: &str) -> Result<Option<Quantity>, EnvironmentError> {
    amount(r.and_then(|r| r.requests.as_ref()), resource)
}

fn amount(
    map: Option<&BTreeMap<String, ApiQuantity>>,
    resource: &str,
) -> Result<Option<Quantity>, EnvironmentError> {
    map.and_then(|m| m.get(resource)).map(parse).transpose()
}

fn amount_of(map: &Allocatable, resource: &str) -> Result<Option<Quantity>, EnvironmentError> {
    amount(Some(map), resource)
}

fn parse(text: &ApiQuantity) -> Result<Quantity, EnvironmentError> {
    text.0.parse::<Quantity>().map_err(|_| EnvironmentError::Quantity(text.0.clone()))
}

/// Rounded up, as upstream: a part of a unit counts as one.
fn divide(amount: Option<Quantity>, divisor: &Quantity, resource: &str) -> i64 {
    let Some(amount) = amount else { return 0 };
    let (value, by) = if resource == "cpu" {
        (amount.milli_value(), divisor.milli_value())
    } else {
        (amount.value(), divisor.value())
    };
    if by <= 0 {
        return value;
    }
    value / by + i64::from(value % by > 0)
}
