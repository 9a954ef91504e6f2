//! What an object uses.

use api::quantity::{Format, Quantity};
use api::{GroupResource, Object};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::names::{devices_of, in_class, object_count, plain};
use super::{Amounts, Traits, add, pod};

/// Annotation with a claim's storage class, of old.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// The most devices that a claim can get for a request (upstream: `AllocationResultsMaxSize`).
const MAX_DEVICES: i64 = 32;

/// What an object uses, and what it is like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measure {
    /// What it uses as long as it is stored.
    pub stored: Amounts,
    /// What it uses beside that, until [`Measure::until`].
    pub active: Amounts,
    pub until: Option<Timestamp>,
    pub traits: Traits,
}

impl Measure {
    /// Measures an object of the resource. One that cannot be read counts as an object and nothing more.
    pub fn of(resource: &GroupResource, object: &Object) -> Self {
        let mut measure = Self { stored: counted(resource), ..Self::default() };
        match (resource.group.as_str(), resource.resource.as_str()) {
            ("", "pods") => {
                if let Ok(pod) = object.typed::<Pod>() {
                    (measure.active, measure.until) = pod::usage(&pod);
                    measure.traits = pod::traits(&pod);
                }
            }
            ("", "persistentvolumeclaims") => {
                add(&mut measure.stored, &claim(object));
                let class = object.str_at(&["spec", "volumeAttributesClassName"]).unwrap_or_default();
                class.clone_into(&mut measure.traits.volume_attributes_class);
            }
            ("resource.k8s.io", "resourceclaims") => add(&mut measure.stored, &device_claim(object)),
            ("", "services") => add(&mut measure.stored, &service(object)),
            _ => {}
        }
        measure
    }

    /// All that it uses at a time.
    pub fn at(&self, now: Timestamp) -> Amounts {
        let mut used = self.stored.clone();
        if self.until.is_none_or(|until| now <= until) {
            add(&mut used, &self.active);
        }
        used
    }
}

fn units(count: usize) -> Quantity {
    Quantity::from_units(i64::try_from(count).unwrap_or(i64::MAX), Format::DecimalSi)
}

fn counted(resource: &GroupResource) -> Amounts {
    let mut amounts = Amounts::from([(object_count(resource), units(1))]);
    if let Some(name) = plain(resource) {
        amounts.insert(name.to_owned(), units(1));
    }
    amounts
}

fn claim(object: &Object) -> Amounts {
    let mut amounts = Amounts::from([("persistentvolumeclaims".to_owned(), units(1))]);
    let asked = object.str_at(&["spec", "resources", "requests", "storage"]);
    let storage: Option<Quantity> = asked.and_then(|text| text.parse().ok());
    if let Some(storage) = storage {
        amounts.insert("requests.storage".to_owned(), storage);
    }
    let class = object.annotation(CLASS_ANNOTATION).or_else(|| object.str_at(&["spec", "storageClassName"]));
    if let Some(class) = class.filter(|class| !class.is_empty()) {
        amounts.insert(in_class(class, "persistentvolumeclaims"), units(1));
        if let Some(storage) = storage {
            amounts.insert(in_class(class, "requests.storage"), storage);
        }
    }
    amounts
}

/// The most devices of each class that a claim can get. All devices count as many as a claim can have, and of
/// alternatives the greediest counts for each class.
fn device_claim(object: &Object) -> Amounts {
    let list =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let devices = |request: &Value| -> (String, i64) {
        let class = request.get("deviceClassName").and_then(Value::as_str).unwrap_or_default();
        let count = match request.get("allocationMode").and_then(Value::as_str) {
            Some("All") => MAX_DEVICES,
            _ => request.get("count").and_then(Value::as_i64).unwrap_or(1),
        };
        (devices_of(class), count)
    };
    let mut amounts = Amounts::new();
    for request in
        object.at(&["spec", "devices"]).map(|devices| list(devices, "requests")).unwrap_or_default()
    {
        let mut most = std::collections::BTreeMap::<String, i64>::new();
        let alternatives = list(&request, "firstAvailable");
        for (name, count) in request.get("exactly").into_iter().chain(&alternatives).map(devices) {
            let held = most.entry(name).or_default();
            *held = count.max(*held);
        }
        for (name, count) in most {
            add(&mut amounts, &Amounts::from([(name, Quantity::from_units(count, Format::DecimalSi))]));
        }
    }
    amounts
}

fn service(object: &Object) -> Amounts {
    let ports = object.at(&["spec", "ports"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let with_node_port =
        ports.iter().filter(|port| port.get("nodePort").and_then(Value::as_i64).is_some_and(|p| p != 0));
    let allocates = object.at(&["spec", "allocateLoadBalancerNodePorts"]).and_then(Value::as_bool);
    let (node_ports, balancers) = match object.str_at(&["spec", "type"]).unwrap_or_default() {
        "NodePort" => (ports.len(), 0),
        // Without node ports of its own accord, a balancer uses those that it names.
        "LoadBalancer" if allocates == Some(false) => (with_node_port.count(), 1),
        "LoadBalancer" => (ports.len(), 1),
        _ => (0, 0),
    };
    Amounts::from([
        ("services".to_owned(), units(1)),
        ("services.nodeports".to_owned(), units(node_ports)),
        ("services.loadbalancers".to_owned(), units(balancers)),
    ])
}
