//! Pod.

use serde_json::Value;

use super::containers::{self, Known};
use super::events::{self, About};
use super::fields::Fields as _;
use super::metadata;
use super::pod_template;
use super::related::DescribeError;
use super::text::{Text, put};
use super::view::View;
use super::volumes;

const MIRROR: &str = "kubernetes.io/config.mirror";

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let pod = view.object;
    metadata::names(text, pod);
    placement(view, text);
    metadata::labels_and_annotations(text, pod);
    state(view, text);
    if pod.has("spec.resources") {
        put!(text, 0, "Resources:");
        containers::resources(text, pod.at("spec.resources").unwrap_or(&Value::Null), 1);
    }
    for (label, field, statuses, needed) in [
        ("Init Containers", "spec.initContainers", "status.initContainerStatuses", false),
        ("Containers", "spec.containers", "status.containerStatuses", true),
        ("Ephemeral Containers", "spec.ephemeralContainers", "status.ephemeralContainerStatuses", false),
    ] {
        let found = pod.items(field);
        if needed || !found.is_empty() {
            containers::write(text, label, found, Known { view, pod: Some(pod), statuses, space: "" });
        }
    }
    conditions(text, pod);
    let spec = pod.at("spec").unwrap_or(&Value::Null);
    volumes::of_pod(text, spec, "");
    put!(text, 0, "QoS Class:\t{}", quality(pod));
    metadata::labels(text, "Node-Selectors", spec, "nodeSelector");
    pod_template::tolerations(text, "Tolerations", spec);
    pod_template::spreading(text, spec, "");
    if view.show_events {
        let mirror = pod.at("metadata.annotations").and_then(|annotations| annotations.get(MIRROR));
        let uid = mirror.and_then(Value::as_str).unwrap_or_else(|| pod.text("metadata.uid"));
        let found = events::search(view, About { kind: "", uid, ..About::of(pod) }).unwrap_or_default();
        events::table(view, text, found);
    }
    Ok(())
}

fn placement(view: &View<'_>, text: &mut Text) {
    let pod = view.object;
    if pod.has("spec.priority") {
        put!(text, 0, "Priority:\t{}", pod.number("spec.priority"));
    }
    for (title, path) in [
        ("Priority Class Name", "spec.priorityClassName"),
        ("Runtime Class Name", "spec.runtimeClassName"),
        ("Service Account", "spec.serviceAccountName"),
    ] {
        if !pod.text(path).is_empty() {
            put!(text, 0, "{title}:\t{}", pod.text(path));
        }
    }
    match pod.text("spec.nodeName") {
        "" => put!(text, 0, "Node:\t<none>"),
        node => put!(text, 0, "Node:\t{node}/{}", pod.text("status.hostIP")),
    }
    if pod.has("status.startTime") {
        put!(text, 0, "Start Time:\t{}", view.time(pod.at("status.startTime")));
    }
}

fn state(view: &View<'_>, text: &mut Text) {
    let pod = view.object;
    let phase = pod.text("status.phase");
    if pod.has("metadata.deletionTimestamp") && !matches!(phase, "Failed" | "Succeeded") {
        put!(text, 0, "Status:\tTerminating (lasts {})", view.since(pod.at("metadata.deletionTimestamp")));
        put!(text, 0, "Termination Grace Period:\t{}s", pod.number("metadata.deletionGracePeriodSeconds"));
    } else {
        put!(text, 0, "Status:\t{phase}");
    }
    for (title, path) in [("Reason", "status.reason"), ("Message", "status.message")] {
        if !pod.text(path).is_empty() {
            put!(text, 0, "{title}:\t{}", pod.text(path));
        }
    }
    containers::seccomp(text, pod.at("spec").unwrap_or(&Value::Null), 0, 0);
    put!(text, 0, "IP:\t{}", pod.text("status.podIP"));
    let addresses = pod.items("status.podIPs");
    put!(text, 0, "IPs:{}", if addresses.is_empty() { "\t<none>" } else { "" });
    for address in addresses {
        put!(text, 1, "IP:\t{}", address.text("ip"));
    }
    metadata::controlled_by(text, pod);
    if !pod.text("status.nominatedNodeName").is_empty() {
        put!(text, 0, "NominatedNodeName:\t{}", pod.text("status.nominatedNodeName"));
    }
}

fn conditions(text: &mut Text, pod: &Value) {
    let conditions = pod.items("status.conditions");
    let gates = pod.items("spec.readinessGates");
    if !gates.is_empty() {
        put!(text, 0, "Readiness Gates:\n  Type\tStatus");
        for gate in gates {
            let kind = gate.text("conditionType");
            let found = conditions.iter().find(|condition| condition.text("type") == kind);
            put!(text, 1, "{kind} \t{} ", found.map_or("<none>", |condition| condition.text("status")));
        }
    }
    if !conditions.is_empty() {
        put!(text, 0, "Conditions:\n  Type\tStatus");
        for condition in conditions {
            put!(text, 1, "{} \t{} ", condition.text("type"), condition.text("status"));
        }
    }
}

/// The class of service: as the server says, else by the containers' resources.
fn quality(pod: &Value) -> &str {
    let given = pod.text("status.qosClass");
    if !given.is_empty() {
        return given;
    }
    // What is said of the pod as a whole counts in place of its containers.
    let all: Vec<&Value> = match pod.at("spec").filter(|spec| spec.has("resources")) {
        Some(spec) => vec![spec],
        None => pod.items("spec.containers").iter().chain(pod.items("spec.initContainers")).collect(),
    };
    let amount = |holder: &Value, list: &str, name: &str| {
        holder.at("resources").and_then(|r| r.at(list)).map_or_else(Default::default, |l| l.quantity(name))
    };
    let mut any = false;
    let mut guaranteed = !all.is_empty();
    for holder in all {
        for name in ["cpu", "memory"] {
            let (request, limit) = (amount(holder, "requests", name), amount(holder, "limits", name));
            any |= !request.is_zero() || !limit.is_zero();
            guaranteed &= !limit.is_zero() && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
