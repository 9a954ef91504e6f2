//! Why a node is not ready, or takes no pods.

use jiff::{SpanRound, Timestamp, Unit};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node, NodeCondition};

use crate::account::{self, Account};
use crate::reader::Reader;
use crate::{deletion, warnings};

/// Where nodes' leases are.
const LEASES: &str = "kube-node-lease";
/// Conditions that are bad when they are True.
const PRESSURES: [&str; 4] = ["MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"];

/// What an account of a node is made of.
#[derive(Debug, Default)]
pub struct Facts {
    pub node: Node,
    pub events: Vec<Event>,
    /// When the node's agent renewed its lease.
    pub renewed: Option<Timestamp>,
    pub now: Timestamp,
}

/// # Errors
/// When there is no such node, or its lease or events cannot be read.
pub async fn tell(reader: &Reader, name: &str) -> kube::Result<Account> {
    let node = reader.get_global(name).await?;
    tell_of(reader, node).await
}

/// What stands behind a pod that is on a node: the node, where it is gone or not ready.
///
/// # Errors
/// When the node, its lease or its events cannot be read.
pub async fn tell_fault(reader: &Reader, name: &str) -> kube::Result<Option<Account>> {
    let Some(node) = reader.find_global::<Node>(name).await? else {
        let mut missing = Account::unwell("does not exist").of("node", None, name);
        missing.help = Some(format!("delete what is to run there, or bring the node {name} back"));
        return Ok(Some(missing));
    };
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_ready =
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    if is_ready {
        return Ok(None);
    }
    Ok(Some(tell_of(reader, node).await?))
}

async fn tell_of(reader: &Reader, node: Node) -> kube::Result<Account> {
    let name = node.metadata.name.clone().unwrap_or_default();
    let name = name.as_str();
    let lease: Option<Lease> = reader.find(LEASES, name).await?;
    let renewed = lease.and_then(|lease| lease.spec?.renew_time).map(|time| time.0);
    // Events name nodes by their name instead of their uid.
    let mut events = reader.events(None, node.metadata.uid.as_deref()).await?;
    events.extend(reader.events(None, Some(name)).await?);
    Ok(account(&Facts { node, events, renewed, now: reader.now }))
}

pub fn account(facts: &Facts) -> Account {
    let meta = &facts.node.metadata;
    let mut account = deletion::account(meta).unwrap_or_else(|| state(facts));
    if !account.well {
        account.causes.extend(warnings::lines(&facts.events));
    }
    account.of("node", None, meta.name.as_deref().unwrap_or_default())
}

fn said(condition: &NodeCondition) -> String {
    let text = |text: &'_ Option<String>| text.clone().unwrap_or_default();
    account::said(&condition.type_, &condition.status, [&text(&condition.reason), &text(&condition.message)])
}

fn state(facts: &Facts) -> Account {
    let (spec, status) =
        (facts.node.spec.clone().unwrap_or_default(), facts.node.status.clone().unwrap_or_default());
    let conditions = status.conditions.unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    let name = facts.node.metadata.name.as_deref().unwrap_or_default();
    let mut account = match ready {
        Some(ready) if ready.status == "True" => Account::well("is ready"),
        Some(ready) => Account { causes: vec![said(ready)], ..Account::unwell("is not ready") },
        None => Account::unwell("is not ready: its agent has never reported"),
    };
    if ready.is_none_or(|ready| ready.status == "Unknown") {
        account.causes.push(match facts.renewed.map(|renewed| ago(renewed, facts.now)) {
            Some(ago) => format!("its agent renewed its lease {ago} ago, and nothing since"),
            None => "its agent has never renewed its lease".to_owned(),
        });
        account.help = Some(format!("see that the agent of {name} runs and reaches the API server"));
    }
    let pressed = conditions.iter().filter(|c| PRESSURES.contains(&c.type_.as_str()) && c.status == "True");
    for condition in pressed {
        account.well = false;
        account.causes.push(said(condition));
    }
    if spec.unschedulable == Some(true) {
        account.well = false;
        account.causes.push("it is cordoned: no pod is placed on it".to_owned());
        account.help = account.help.or_else(|| Some(format!("kubectl uncordon {name}")));
    }
    for taint in spec.taints.iter().flatten().filter(|taint| taint.key != "node.kubernetes.io/unschedulable")
    {
        let value = taint.value.as_deref().filter(|value| !value.is_empty());
        let value = value.map(|value| format!("={value}")).unwrap_or_default();
        account.causes.push(format!("it has the taint {}{value}:{}", taint.key, taint.effect));
    }
    if account.well && !account.causes.is_empty() {
        account.summary = "is ready, for pods that tolerate its taints".to_owned();
    } else if !account.well && account.summary == "is ready" {
        account.summary = "is ready, and not as it should be".to_owned();
    }
    account
}

/// `5m 3s`.
fn ago(then: Timestamp, now: Timestamp) -> String {
    let span = now
        .since(then)
        .and_then(|span| span.round(SpanRound::new().smallest(Unit::Second).largest(Unit::Hour)));
    span.map_or_else(|_| "some time".to_owned(), |span| format!("{span:#}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(spec: serde_json::Value, ready: &str) -> Node {
        let conditions = json!([{"type": "Ready", "status": ready, "reason": "R", "message": "m"}]);
        let node = json!({"metadata": {"name": "n"}, "spec": spec, "status": {"conditions": conditions}});
        serde_json::from_value(node).expect("a node")
    }

    #[test]
    fn a_silent_node_says_since_when() {
        let facts = Facts {
            node: node(json!({}), "Unknown"),
            renewed: Some("2026-01-01T00:00:00Z".parse().expect("a time")),
            now: "2026-01-01T00:05:03.2Z".parse().expect("a time"),
            ..Facts::default()
        };
        assert_eq!(
            account(&facts).text(),
            "node n is not ready\n  Ready is Unknown: R: m\n  \
             its agent renewed its lease 5m 3s ago, and nothing since\n\
             What would help: see that the agent of n runs and reaches the API server.\n"
        );
    }

    #[test]
    fn a_cordoned_node_is_uncordoned() {
        let facts = Facts { node: node(json!({"unschedulable": true}), "True"), ..Facts::default() };
        assert_eq!(
            account(&facts).text(),
            "node n is ready, and not as it should be\n  it is cordoned: no pod is placed on it\n\
             What would help: kubectl uncordon n.\n"
        );
        let taint = json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]});
        let facts = Facts { node: node(taint, "True"), ..Facts::default() };
        assert_eq!(
            account(&facts).text(),
            "node n is ready, for pods that tolerate its taints\n  it has the taint k=v:NoSchedule\n"
        );
    }
}
