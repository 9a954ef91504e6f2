//! Whether containers, pods and claims keep to what a limit range bounds. Upstream's words.

use std::collections::BTreeMap;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, LimitRange, LimitRangeItem, PersistentVolumeClaimSpec, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use pods::Side;

/// Up to here amounts are compared by the thousandth (upstream: `resource.MaxMilliValue`).
const MAX_MILLI_VALUE: i64 = i64::MAX / 1000;

/// Exact amounts by resource.
type Amounts = BTreeMap<String, Quantity>;

/// All faults of a pod, container by container.
pub(super) fn pod(range: &LimitRange, spec: &PodSpec) -> Vec<String> {
    let mut faults = Vec::new();
    for item in items(range) {
        match item.type_.as_str() {
            "Container" => {
                let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
                all.for_each(|container| item.judge(&Asked::of(container), &mut faults));
            }
            "Pod" => {
                let side = |side| pods::quantities_of_spec(spec, side);
                let asked = Asked { requests: side(Side::Requests), limits: side(Side::Limits) };
                item.judge(&asked, &mut faults);
            }
            _ => {}
        }
    }
    faults
}

/// All faults of a claim, of which only requests count.
pub(super) fn claim(range: &LimitRange, spec: &PersistentVolumeClaimSpec) -> Vec<String> {
    let requests = amounts(spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()));
    let asked = Asked { requests, limits: Amounts::new() };
    let mut faults = Vec::new();
    for item in items(range).filter(|item| item.type_ == "PersistentVolumeClaim") {
        let bound = |list| Bound { of: &item.type_, list: amounts(list) };
        let min = bound(item.min.as_ref());
        faults.extend(min.each(|name, limit| min.min(name, limit, &asked)));
        let max = bound(item.max.as_ref());
        faults.extend(max.each(|name, limit| max.max_request(name, limit, &asked)));
    }
    faults
}

/// Faults as one message: upstream's `utilerrors.Aggregate`, which says each once.
pub(super) fn aggregate(faults: &[String]) -> String {
    let mut said: Vec<&str> = Vec::new();
    for fault in faults {
        if !said.contains(&fault.as_str()) {
            said.push(fault);
        }
    }
    match said.as_slice() {
        [one] => (*one).to_owned(),
        many => format!("[{}]", many.join(", ")),
    }
}

fn items(range: &LimitRange) -> impl Iterator<Item = &LimitRangeItem> {
    range.spec.iter().flat_map(|spec| &spec.limits)
}

fn amounts(list: Option<&BTreeMap<String, ApiQuantity>>) -> Amounts {
    list.into_iter().flatten().filter_map(|(name, text)| Some((name.clone(), text.0.parse().ok()?))).collect()
}

/// What something asks for.
struct Asked {
    requests: Amounts,
    limits: Amounts,
}

impl Asked {
    fn of(container: &Container) -> Self {
        let side = |side: Side| amounts(side.of(container));
        Self { requests: side(Side::Requests), limits: side(Side::Limits) }
    }
}

trait Judge {
    fn judge(&self, asked: &Asked, faults: &mut Vec<String>);
}

impl Judge for LimitRangeItem {
    fn judge(&self, asked: &Asked, faults: &mut Vec<String>) {
        let bound = |list| Bound { of: &self.type_, list: amounts(list) };
        let min = bound(self.min.as_ref());
        faults.extend(min.each(|name, limit| min.min(name, limit, asked)));
        let max = bound(self.max.as_ref());
        faults.extend(max.each(|name, limit| max.max(name, limit, asked)));
        let ratio = bound(self.max_limit_request_ratio.as_ref());
        faults.extend(ratio.each(|name, limit| ratio.ratio(name, limit, asked)));
    }
}

/// One list of bounds, and of what they are (`Container`, `Pod`, …).
struct Bound<'a> {
    of: &'a str,
    list: Amounts,
}

impl Bound<'_> {
    fn each(&self, judge: impl Fn(&str, &Quantity) -> Option<String>) -> Vec<String> {
        self.list.iter().filter_map(|(name, bound)| judge(name, bound)).collect()
    }

    fn min(&self, name: &str, bound: &Quantity, asked: &Asked) -> Option<String> {
        let rule = format!("minimum {name} usage per {} is {bound}", self.of);
        let Some(request) = asked.requests.get(name) else {
            return Some(format!("{rule}.  No request is specified"));
        };
        let limit = asked.limits.get(name);
        let [requested, limited, least] = comparable([Some(request), limit, Some(bound)]);
        if requested < least {
            return Some(format!("{rule}, but request is {request}"));
        }
        limit.filter(|_| limited < least).map(|limit| format!("{rule}, but limit is {limit}"))
    }

    fn max(&self, name: &str, bound: &Quantity, asked: &Asked) -> Option<String> {
        let rule = format!("maximum {name} usage per {} is {bound}", self.of);
        let Some(limit) = asked.limits.get(name) else {
            return Some(format!("{rule}.  No limit is specified"));
        };
        let request = asked.requests.get(name);
        let [requested, limited, most] = comparable([request, Some(limit), Some(bound)]);
        if limited > most {
            return Some(format!("{rule}, but limit is {limit}"));
        }
        request.filter(|_| requested > most).map(|request| format!("{rule}, but request is {request}"))
    }

    fn max_request(&self, name: &str, bound: &Quantity, asked: &Asked) -> Option<String> {
        let rule = format!("maximum {name} usage per {} is {bound}", self.of);
        let Some(request) = asked.requests.get(name) else {
            return Some(format!("{rule}.  No request is specified"));
        };
        let [requested, _, most] = comparable([Some(request), None, Some(bound)]);
        (requested > most).then(|| format!("{rule}, but request is {request}"))
    }

    #[expect(clippy::cast_precision_loss, reason = "upstream compares ratios as floating point numbers")]
    fn ratio(&self, name: &str, bound: &Quantity, asked: &Asked) -> Option<String> {
        let rule = format!("{name} max limit to request ratio per {} is {bound}", self.of);
        let (request, limit) = (asked.requests.get(name), asked.limits.get(name));
        let [requested, limited, _] = comparable([request, limit, Some(bound)]);
        if requested == 0 {
            return Some(format!("{rule}, but no request is specified or request is 0"));
        }
        if limited == 0 {
            return Some(format!("{rule}, but no limit is specified or limit is 0"));
        }
        let ratio = limited as f64 / requested as f64;
        let exceeds = if bound.value() <= MAX_MILLI_VALUE {
            ratio * 1000.0 > bound.milli_value() as f64
        } else {
            ratio > bound.value() as f64
        };
        exceeds.then(|| format!("{rule}, but provided ratio is {ratio:.6}"))
    }
}

/// The amounts at one precision: thousandths, where none of them is too large for that.
fn comparable(amounts: [Option<&Quantity>; 3]) -> [i64; 3] {
    let whole = amounts.map(|amount| amount.map_or(0, Quantity::value));
    if whole.iter().all(|value| *value <= MAX_MILLI_VALUE) {
        return amounts.map(|amount| amount.map_or(0, Quantity::milli_value));
    }
    whole
}
