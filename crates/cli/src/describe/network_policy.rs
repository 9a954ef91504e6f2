//! NetworkPolicy.

use serde_json::Value;

use super::fields::{Fields as _, or};
use super::metadata;
use super::related::DescribeError;
use super::selectors;
use super::text::{Text, put};
use super::view::View;

const INDENT: &str = "    ";

/// The words of a direction.
struct Direction {
    name: &'static str,
    rules: &'static str,
    peers: &'static str,
    /// Before peers.
    title: &'static str,
    other_end: &'static str,
}

const INGRESS: Direction =
    Direction { name: "ingress", rules: "spec.ingress", peers: "from", title: "From", other_end: "source" };
const EGRESS: Direction =
    Direction { name: "egress", rules: "spec.egress", peers: "to", title: "To", other_end: "destination" };

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let policy = view.object;
    metadata::names(text, policy);
    put!(text, 0, "Created on:\t{}", view.go_time(policy.at("metadata.creationTimestamp")));
    metadata::labels_and_annotations(text, policy);
    put!(text, 0, "Spec:");
    text.write(1, "PodSelector: ");
    let selects = ["spec.podSelector.matchLabels", "spec.podSelector.matchExpressions"];
    let all = policy.entries(selects[0]).is_empty() && policy.items(selects[1]).is_empty();
    if all {
        put!(text, 2, "<none> (Allowing the specific traffic to all pods in this namespace)");
    } else {
        put!(text, 2, "{}", selectors::shown(policy, "spec.podSelector"));
    }
    let types = policy.texts("spec.policyTypes");
    for (kind, direction) in [("Ingress", INGRESS), ("Egress", EGRESS)] {
        if types.contains(&kind) {
            put!(text, 1, "Allowing {} traffic:", direction.name);
            rules(text, policy.items(direction.rules), &direction);
        } else {
            put!(text, 1, "Not affecting {} traffic", direction.name);
        }
    }
    put!(text, 1, "Policy Types: {}", or(&types.join(", "), "<none>"));
    Ok(())
}

fn rules(text: &mut Text, rules: &[Value], direction: &Direction) {
    if rules.is_empty() {
        put!(text, 0, "{INDENT}<none> (Selected pods are isolated for {} connectivity)", direction.name);
    }
    for (index, rule) in rules.iter().enumerate() {
        if index > 0 {
            put!(text, 0, "{INDENT}----------");
        }
        let ports = rule.items("ports");
        if ports.is_empty() {
            put!(text, 0, "{INDENT}To Port: <any> (traffic allowed to all ports)");
        }
        for port in ports {
            put!(text, 0, "{INDENT}{}", self::port(port));
        }
        let peers = rule.items(direction.peers);
        if peers.is_empty() {
            let (title, other_end) = (direction.title, direction.other_end);
            put!(text, 0, "{INDENT}{title}: <any> (traffic not restricted by {other_end})");
        }
        for peer in peers {
            put!(text, 0, "{INDENT}{}:", direction.title);
            self::peer(text, peer);
        }
    }
}

fn port(port: &Value) -> String {
    let protocol = or(port.text("protocol"), "TCP");
    // A missing port is a nil pointer in upstream, which prints so.
    let number = if port.has("port") { port.number_or_text("port") } else { "<nil>".to_owned() };
    if port.has("endPort") {
        format!("To Port Range: {number}-{}/{protocol}", port.number("endPort"))
    } else {
        format!("To Port: {number}/{protocol}")
    }
}

fn peer(text: &mut Text, peer: &Value) {
    let mut selects = false;
    for (title, field) in [("NamespaceSelector", "namespaceSelector"), ("PodSelector", "podSelector")] {
        if peer.has(field) {
            selects = true;
            put!(text, 1, "{INDENT}{title}: {}", selectors::shown(peer, field));
        }
    }
    if let Some(block) = peer.at("ipBlock").filter(|_| !selects) {
        put!(text, 1, "{INDENT}IPBlock:");
        put!(text, 2, "{INDENT}CIDR: {}", block.text("cidr"));
        put!(text, 2, "{INDENT}Except: {}", block.texts("except").join(", "));
    }
}
