//! Whether the node takes a pod on: harmless sysctls, enough resources left, host ports free. Pure.
//!
//! Start at [`admit`]. The scheduler has decided already; this guards against pods bound by hand and against
//! two schedulers' views of one node (upstream `pkg/kubelet/lifecycle/predicate.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use crate::planner::Rejection;
use crate::sandbox_config;

type Amounts = BTreeMap<String, Quantity>;

/// Why the node refuses `pod` beside the `others` that run here; `None` if it takes it on.
pub fn admit(pod: &Pod, others: &[Arc<Pod>], allocatable: &BTreeMap<String, Wire>) -> Option<Rejection> {
    let others: Vec<&Pod> = others.iter().map(Arc::as_ref).filter(|p| is_active(p)).collect();
    forbidden_sysctl(pod)
        .or_else(|| confined(pod))
        .or_else(|| lacking(pod, &others, allocatable))
        .or_else(|| port_clash(pod, &others))
}

/// Nothing here loads AppArmor profiles: a pod that asks to be confined must not run as if it were.
fn confined(pod: &Pod) -> Option<Rejection> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|c| c.app_armor_profile.as_ref());
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let of_containers = containers.filter_map(|c| c.security_context.as_ref()?.app_armor_profile.as_ref());
    let asked = of_pod.into_iter().chain(of_containers).any(|profile| profile.type_ != "Unconfined");
    asked.then(|| Rejection {
        reason: "AppArmor".to_owned(),
        message: "Cannot enforce AppArmor: not implemented on this node".to_owned(),
    })
}

/// A sysctl that is not known to stay within the pod is nothing that waiting would cure.
fn forbidden_sysctl(pod: &Pod) -> Option<Rejection> {
    let error = sandbox_config::sysctls(pod).err()?;
    Some(Rejection { reason: error.reason.to_owned(), message: error.message })
}

fn is_active(pod: &Pod) -> bool {
    !matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Failed" | "Succeeded"))
}

fn lacking(pod: &Pod, others: &[&Pod], allocatable: &BTreeMap<String, Wire>) -> Option<Rejection> {
    let wanted = requests(pod);
    let mut used = Amounts::new();
    for other in others {
        add(&mut used, requests(other));
    }
    let count = i64::try_from(others.len()).unwrap_or(i64::MAX);
    if let Some(capacity) = allocatable.get("pods").map(amount)
        && count >= capacity.value()
    {
        return Some(out_of("pods", 1, count, capacity.value()));
    }
    wanted.iter().filter(|(_, amount)| !amount.is_zero()).find_map(|(name, wanted)| {
        let none = Quantity::ZERO;
        let used = used.get(name).unwrap_or(&none);
        let capacity = allocatable.get(name).map_or(none, amount);
        if used.plus(wanted) <= capacity {
            return None;
        }
        let shown = |q: &Quantity| if name == "cpu" { q.milli_value() } else { q.value() };
        Some(out_of(name, shown(wanted), shown(used), shown(&capacity)))
    })
}

fn out_of(resource: &str, requested: i64, used: i64, capacity: i64) -> Rejection {
    let message = format!(
        "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
    );
    Rejection { reason: format!("OutOf{resource}"), message }
}

fn amount(wire: &Wire) -> Quantity {
    // The API server has refused what is no quantity; anything else counts as nothing.
    wire.0.parse().unwrap_or(Quantity::ZERO)
}

fn add(total: &mut Amounts, more: Amounts) {
    for (name, amount) in more {
        let sum = total.entry(name).or_insert(Quantity::ZERO);
        *sum = sum.plus(&amount);
    }
}

fn raise(total: &mut Amounts, floor: Amounts) {
    for (name, amount) in floor {
        let most = total.entry(name).or_insert(Quantity::ZERO);
        if amount > *most {
            *most = amount;
        }
    }
}

/// What a pod may use at once: its apps and sidecars together, or an init container beside the sidecars
/// started before it, whichever is more (KEP-753), and its overhead.
fn requests(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::new() };
    let mut running = Amounts::new();
    let mut peak = Amounts::new();
    for container in spec.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut running, of_container(container));
            raise(&mut peak, running.clone());
        } else {
            let mut beside = running.clone();
            add(&mut beside, of_container(container));
            raise(&mut peak, beside);
        }
    }
    spec.containers.iter().for_each(|c| add(&mut running, of_container(c)));
    raise(&mut running, peak);
    if let Some(whole) = spec.resources.as_ref().and_then(|r| r.requests.as_ref()) {
        running.extend(whole.iter().map(|(name, q)| (name.clone(), amount(q))));
    }
    add(&mut running, spec.overhead.iter().flatten().map(|(name, q)| (name.clone(), amount(q))).collect());
    running
}

fn of_container(container: &Container) -> Amounts {
    let requests = container.resources.as_ref().and_then(|r| r.requests.as_ref());
    requests.into_iter().flatten().map(|(name, q)| (name.clone(), amount(q))).collect()
}

/// Protocol, address and number of every port the pod takes on the host.
fn host_ports(spec: &PodSpec) -> Vec<(String, String, i32)> {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let ports = containers.flat_map(|c| c.ports.iter().flatten());
    ports
        .filter_map(|p| {
            let protocol = p.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            let address =
                p.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned());
            p.host_port.filter(|n| *n > 0).map(|number| (protocol, address, number))
        })
        .collect()
}

fn port_clash(pod: &Pod, others: &[&Pod]) -> Option<Rejection> {
    let wanted = host_ports(pod.spec.as_ref()?);
    let taken: Vec<_> = others.iter().filter_map(|p| p.spec.as_ref()).flat_map(host_ports).collect();
    let anywhere = |ip: &str| matches!(ip, "0.0.0.0" | "::");
    let clash = wanted.iter().any(|(protocol, ip, number)| {
        taken.iter().any(|(p, i, n)| p == protocol && n == number && (i == ip || anywhere(i) || anywhere(ip)))
    });
    clash.then(|| Rejection {
        reason: "NodePorts".to_owned(),
        message: "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"spec": spec})).expect("a pod")
    }

    fn asks(cpu: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu}}})
    }

    fn node() -> BTreeMap<String, Wire> {
        [("cpu", "2"), ("memory", "1Gi"), ("pods", "2")]
            .into_iter()
            .map(|(name, q)| (name.to_owned(), Wire(q.to_owned())))
            .collect()
    }

    #[test]
    fn what_the_node_cannot_or_must_not_do_is_refused_at_once() {
        let sysctl = |name: &str| {
            let context = json!({"sysctls": [{"name": name, "value": "1"}]});
            admit(&pod(json!({"containers": [], "securityContext": context})), &[], &node())
        };
        let refusal = sysctl("kernel.msgmax").expect("it reaches beyond the pod");
        assert_eq!(refusal.reason, "SysctlForbidden");
        assert_eq!(refusal.message, "forbidden sysctl: \"kernel.msgmax\" not allowlisted");
        assert_eq!(sysctl("net.ipv4.tcp_syncookies"), None);
        let confined = |kind: &str| {
            let context = json!({"appArmorProfile": {"type": kind}});
            admit(&pod(json!({"containers": [{"name": "c", "securityContext": context}]})), &[], &node())
        };
        assert_eq!(confined("RuntimeDefault").expect("nobody would enforce it").reason, "AppArmor");
        assert_eq!(confined("Unconfined"), None);
    }

    #[test]
    fn what_does_not_fit_is_refused_in_upstreams_words() {
        let running = Arc::new(pod(json!({"containers": [asks("1500m")]})));
        let refusal =
            admit(&pod(json!({"containers": [asks("1")]})), std::slice::from_ref(&running), &node());
        let refusal = refusal.expect("it does not fit");
        assert_eq!(refusal.reason, "OutOfcpu");
        assert_eq!(
            refusal.message,
            "Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000"
        );
        let small = pod(json!({"containers": [asks("500m")]}));
        assert_eq!(admit(&small, std::slice::from_ref(&running), &node()), None);
        let refusal = admit(&small, &[running.clone(), running], &node()).expect("the node is full");
        assert_eq!(refusal.reason, "OutOfpods");
    }

    #[test]
    fn init_containers_count_as_their_peak() {
        let sidecar =
            json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}});
        let spec = json!({"initContainers": [sidecar, asks("1")], "containers": [asks("200m")]});
        assert_eq!(requests(&pod(spec))["cpu"].milli_value(), 1500);
    }

    #[test]
    fn a_host_port_is_taken_once() {
        let with_port = |ip: &str| {
            pod(
                json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080, "hostIP": ip}]}]}),
            )
        };
        let taken = [Arc::new(with_port("192.0.2.1"))];
        assert_eq!(admit(&with_port(""), &taken, &node()).expect("it clashes").reason, "NodePorts");
        assert_eq!(admit(&with_port("192.0.2.2"), &taken, &node()), None);
    }
}
