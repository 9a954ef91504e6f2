//! Node, with its lease, its pods and what they ask for.

use std::collections::BTreeSet;

use api::quantity::Quantity;
use serde_json::Value;

use super::events::{self, About};
use super::fields::{self, Fields as _, or};
use super::metadata;
use super::pod_amounts::{self, Amounts};
use super::related::{DescribeError, ResourceName, Selection};
use super::text::{Text, put};
use super::view::{View, core};

const LEASES: ResourceName<'_> =
    ResourceName { group: "coordination.k8s.io", version: "v1", resource: "leases" };
const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE: &str = "kubernetes.io/role";

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let node = view.object;
    let fields = format!("spec.nodeName={},status.phase!=Failed,status.phase!=Succeeded", view.name());
    let selection = Selection { namespace: None, label_selector: "", field_selector: &fields };
    let pods = match view.related.list(core("pods"), selection) {
        Ok(pods) => Some(pods),
        Err(error) if error.reason == "Forbidden" => None,
        Err(error) => return Err(error.into()),
    };
    put!(text, 0, "Name:\t{}", view.name());
    put!(text, 0, "Roles:\t{}", roles(node));
    metadata::labels_and_annotations(text, node);
    put!(text, 0, "CreationTimestamp:\t{}", view.time(node.at("metadata.creationTimestamp")));
    taints(text, node);
    put!(text, 0, "Unschedulable:\t{}", node.flag("spec.unschedulable"));
    lease(view, text);
    conditions(view, text);
    put!(text, 0, "Addresses:");
    for address in node.items("status.addresses") {
        put!(text, 1, "{}:\t{}", address.text("type"), address.text("address"));
    }
    for (title, path) in [("Capacity", "status.capacity"), ("Allocatable", "status.allocatable")] {
        let amounts = node.entries(path);
        if !amounts.is_empty() {
            put!(text, 0, "{title}:");
        }
        for (name, amount) in amounts {
            put!(text, 1, "{name}:\t{}", fields::quantity(Some(amount)));
        }
    }
    system(text, node);
    match &pods {
        Some(pods) => self::pods(view, text, pods),
        None => put!(text, 0, "Pods:\tnot authorized"),
    }
    if view.show_events {
        // The node agent names the node where others give its UID.
        let mut found = events::search(view, About::of(node)).unwrap_or_default();
        let by_name = About { uid: view.name(), ..About::of(node) };
        found.extend(events::search(view, by_name).unwrap_or_default());
        events::table(view, text, found);
    }
    Ok(())
}

fn roles(node: &Value) -> String {
    let mut roles = BTreeSet::new();
    for (key, value) in node.entries("metadata.labels") {
        match key.strip_prefix(ROLE_PREFIX) {
            Some(role) => roles.insert(role),
            None if key == ROLE => roles.insert(value.as_str().unwrap_or_default()),
            None => false,
        };
    }
    roles.remove("");
    let roles: Vec<&str> = roles.into_iter().collect();
    or(&roles.join(","), "<none>").to_owned()
}

fn taints(text: &mut Text, node: &Value) {
    let mut taints: Vec<&Value> = node.items("spec.taints").iter().collect();
    taints.sort_by_key(|taint| format!("{},{}", taint.text("effect"), taint.text("key")));
    let shown = |taint: &Value| {
        let (key, value, effect) = (taint.text("key"), taint.text("value"), taint.text("effect"));
        match (value, effect) {
            ("", "") => key.to_owned(),
            (_, "") => format!("{key}={value}:"),
            ("", _) => format!("{key}:{effect}"),
            _ => format!("{key}={value}:{effect}"),
        }
    };
    let lines: Vec<String> = taints.into_iter().map(shown).collect();
    metadata::listed(text, 0, "", "Taints", &lines);
}

fn lease(view: &View<'_>, text: &mut Text) {
    let lease = match view.related.get(LEASES, Some("kube-node-lease"), view.name()) {
        Ok(lease) => lease,
        Err(error) => {
            put!(text, 0, "Lease:\tFailed to get lease: {error}");
            return;
        }
    };
    put!(text, 0, "Lease:");
    let holder = lease.at("spec.holderIdentity").and_then(Value::as_str).unwrap_or("<unset>");
    put!(text, 1, "HolderIdentity:\t{holder}");
    for (title, path) in [("AcquireTime", "spec.acquireTime"), ("RenewTime", "spec.renewTime")] {
        let time = lease.at(path).map_or_else(|| "<unset>".to_owned(), |time| view.time(Some(time)));
        put!(text, 1, "{title}:\t{time}");
    }
}

fn conditions(view: &View<'_>, text: &mut Text) {
    let conditions = view.object.items("status.conditions");
    if conditions.is_empty() {
        return;
    }
    put!(text, 0, "Conditions:\n  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage");
    put!(text, 1, "----\t------\t-----------------\t------------------\t------\t-------");
    for condition in conditions {
        let (kind, status) = (condition.text("type"), condition.text("status"));
        let beat = view.time(condition.at("lastHeartbeatTime"));
        let change = view.time(condition.at("lastTransitionTime"));
        let (reason, message) = (condition.text("reason"), condition.text("message"));
        put!(text, 1, "{kind} \t{status} \t{beat} \t{change} \t{reason} \t{message}");
    }
}

fn system(text: &mut Text, node: &Value) {
    put!(text, 0, "System Info:");
    for (title, field) in [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ] {
        put!(text, 1, "{title}:\t{}", node.text(&format!("status.nodeInfo.{field}")));
    }
    // kubectl 1.35 still prints the version that no node sets any more.
    put!(text, 1, "Kube-Proxy Version:\t{}", node.text("status.nodeInfo.kubeProxyVersion"));
    if !node.text("spec.podCIDR").is_empty() {
        put!(text, 0, "PodCIDR:\t{}", node.text("spec.podCIDR"));
    }
    if !node.items("spec.podCIDRs").is_empty() {
        put!(text, 0, "PodCIDRs:\t{}", node.texts("spec.podCIDRs").join(","));
    }
    if !node.text("spec.providerID").is_empty() {
        put!(text, 0, "ProviderID:\t{}", node.text("spec.providerID"));
    }
}

fn pods(view: &View<'_>, text: &mut Text, pods: &[Value]) {
    let node = view.object;
    put!(text, 0, "Non-terminated Pods:\t({} in total)", pods.len());
    let titles =
        ["Namespace\tName\t", "CPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge"].join("\t");
    put!(text, 1, "{titles}");
    put!(text, 1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---");
    let path = if node.entries("status.allocatable").is_empty() { "capacity" } else { "allocatable" };
    let allocatable = pod_amounts::read(node, &["status", path]);
    let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
    for pod in pods {
        let (asks, may) = (pod_amounts::of(pod, "requests", true), pod_amounts::of(pod, "limits", true));
        let mut cells = vec![pod.text("metadata.namespace").to_owned(), pod.text("metadata.name").to_owned()];
        cells.push(String::new());
        for resource in ["cpu", "memory"] {
            for amounts in [&asks, &may] {
                cells.push(share(amounts, &allocatable, resource, i64::MIN));
            }
        }
        cells.push(view.since(pod.at("metadata.creationTimestamp")));
        put!(text, 1, "{}", cells.join("\t"));
        pod_amounts::add(&mut requests, &pod_amounts::of(pod, "requests", false));
        pod_amounts::add(&mut limits, &pod_amounts::of(pod, "limits", false));
    }
    totals(text, &requests, &limits, &allocatable);
}

fn totals(text: &mut Text, requests: &Amounts, limits: &Amounts, allocatable: &Amounts) {
    put!(text, 0, "Allocated resources:\n  (Total limits may be over 100 percent, i.e., overcommitted.)");
    put!(text, 1, "Resource\tRequests\tLimits");
    put!(text, 1, "--------\t--------\t------");
    let huge = allocatable.keys().filter(|name| name.starts_with("hugepages-"));
    let huge: Vec<&str> = huge.map(String::as_str).collect();
    for resource in ["cpu", "memory", "ephemeral-storage"].into_iter().chain(huge) {
        let (asks, may) =
            (share(requests, allocatable, resource, 0), share(limits, allocatable, resource, 0));
        put!(text, 1, "{resource}\t{asks}\t{may}");
    }
    let standard = ["cpu", "memory", "ephemeral-storage", "pods"];
    for resource in allocatable.keys() {
        if !standard.contains(&resource.as_str()) && !resource.starts_with("hugepages-") {
            let amount = |amounts: &Amounts| amounts.get(resource).copied().unwrap_or(Quantity::ZERO);
            put!(text, 1, "{resource}\t{}\t{}", amount(requests), amount(limits));
        }
    }
}

/// An amount and which percentage of the node's it is; `none` where the node has nothing.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a percentage for people")]
fn share(amounts: &Amounts, allocatable: &Amounts, resource: &str, none: i64) -> String {
    let amount = amounts.get(resource).copied().unwrap_or(Quantity::ZERO);
    let whole = allocatable.get(resource).copied().unwrap_or(Quantity::ZERO);
    let number =
        |quantity: &Quantity| if resource == "cpu" { quantity.milli_value() } else { quantity.value() };
    let percent = match number(&whole) {
        0 => none,
        whole => (number(&amount) as f64 / whole as f64 * 100.0) as i64,
    };
    format!("{amount} ({percent}%)")
}
