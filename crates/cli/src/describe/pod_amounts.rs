//! What a pod requests and is limited to, all its containers together (upstream: `k8s.io/component-helpers/resource`).

use std::collections::BTreeMap;

use api::quantity::Quantity;
use serde_json::Value;

use super::fields::{self, Fields as _};

/// By resource.
pub type Amounts = BTreeMap<String, Quantity>;

/// `list` is `requests` or `limits`; those of the pod as a whole do not count, as in kubectl 1.35. With `by_status`, what is in force counts where it is more than what is wanted.
pub fn of(pod: &Value, list: &str, by_status: bool) -> Amounts {
    let container = |container: &Value, statuses: &str| {
        let mut amounts = read(container, &["resources", list]);
        if by_status {
            let name = container.text("name");
            let status = pod.items(statuses).iter().find(|status| status.text("name") == name);
            let actual = status.map(|status| read(status, &["resources", list])).unwrap_or_default();
            raise(&mut amounts, &actual);
        }
        amounts
    };
    let mut total = Amounts::new();
    for one in pod.items("spec.containers") {
        add(&mut total, &container(one, "status.containerStatuses"));
    }
    let (mut sidecars, mut most) = (Amounts::new(), Amounts::new());
    for one in pod.items("spec.initContainers") {
        let mut amounts = container(one, "status.initContainerStatuses");
        if one.text("restartPolicy") == "Always" {
            // Runs on beside the containers.
            add(&mut total, &amounts);
            add(&mut sidecars, &amounts);
            amounts.clone_from(&sidecars);
        } else {
            add(&mut amounts, &sidecars);
        }
        raise(&mut most, &amounts);
    }
    raise(&mut total, &most);
    for (name, amount) in read(pod, &["spec", "overhead"]) {
        match total.get_mut(&name) {
            Some(known) if list == "requests" || !known.is_zero() => *known = known.plus(&amount),
            Some(_) => {}
            None if list == "requests" => {
                total.insert(name, amount);
            }
            None => {}
        }
    }
    total
}

pub fn read(holder: &Value, path: &[&str]) -> Amounts {
    let entries = holder.entries(&path.join("."));
    entries.into_iter().map(|(name, amount)| (name.to_owned(), fields::quantity(Some(amount)))).collect()
}

pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let known = sum.entry(name.clone()).or_insert(Quantity::from_units(0, amount.format()));
        *known = known.plus(amount);
    }
}

fn raise(amounts: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let known = amounts.entry(name.clone()).or_insert(*amount);
        if *amount > *known {
            *known = *amount;
        }
    }
}
