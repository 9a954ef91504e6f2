//! Why a pod is as it is.

mod containers;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use scheduler::why::{Explanation, Refusal};

use crate::account::Account;
use crate::reader::Reader;
use crate::{claim, deletion, node, refusals, warnings};

/// The scheduler that knarr runs.
const OWN_SCHEDULER: &str = "default-scheduler";

/// What an account of a pod is made of.
#[derive(Debug, Default)]
pub struct Facts {
    pub pod: Pod,
    pub events: Vec<Event>,
    /// What the nodes say, of a pod that waits for one.
    pub placement: Option<Explanation>,
    /// The pod's claims that are not bound, or are missing.
    pub claims: Vec<Account>,
    /// The pod's node, where it is gone or not ready.
    pub node: Option<Account>,
    /// The last lines of containers that ended, by container, or why they cannot be read.
    pub last_lines: BTreeMap<String, Result<Vec<String>, String>>,
}

/// # Errors
/// When there is no such pod, or what it depends on cannot be read.
pub async fn tell(reader: &Reader, namespace: &str, name: &str) -> kube::Result<Account> {
    let pod: Pod = reader.get(namespace, name).await?;
    tell_of(reader, pod).await
}

/// The account of a pod that has been read already.
///
/// # Errors
/// When what the pod depends on cannot be read.
pub async fn tell_of(reader: &Reader, pod: Pod) -> kube::Result<Account> {
    Ok(account(&look(reader, pod).await?))
}

async fn look(reader: &Reader, pod: Pod) -> kube::Result<Facts> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let mut facts = Facts::default();
    if pods::is_ready(&pod) || pods::is_terminal(&pod) {
        facts.pod = pod;
        return Ok(facts);
    }
    facts.events = reader.events(Some(&namespace), pod.metadata.uid.as_deref()).await?;
    if pods::node_name(&pod).is_empty() {
        facts.claims = unbound(reader, &namespace, &pod).await?;
        facts.placement = Some(scheduler::why::explain(&pod, reader.world().await?));
    } else {
        facts.node = node::tell_fault(reader, pods::node_name(&pod)).await?;
    }
    for name in containers::crashed(&pod) {
        let lines =
            reader.last_lines(&namespace, pod.metadata.name.as_deref().unwrap_or_default(), name).await;
        facts.last_lines.insert(name.to_owned(), lines);
    }
    facts.pod = pod;
    Ok(facts)
}

/// The claims of a pod that keep it from having a node. A claim that waits for its first pod is none of them.
async fn unbound(reader: &Reader, namespace: &str, pod: &Pod) -> kube::Result<Vec<Account>> {
    let mut accounts = Vec::new();
    for used in pods::volumes::claims_of(pod) {
        match reader.find::<PersistentVolumeClaim>(namespace, &used.name).await? {
            Some(claim) => accounts.push(claim::tell_of(reader, claim, Some(pod)).await?),
            None => {
                let mut missing = Account::unwell("does not exist").of("pvc", Some(namespace), &used.name);
                missing.help = Some(match used.is_ephemeral {
                    true => format!("wait for the controller that makes the pod's own claim {}", used.name),
                    false => format!("create the claim {}", used.name),
                });
                accounts.push(missing);
            }
        }
    }
    accounts.retain(|account| !account.well);
    Ok(accounts)
}

/// The account of a pod.
pub fn account(facts: &Facts) -> Account {
    let pod = &facts.pod;
    let placed = !pods::node_name(pod).is_empty();
    let mut account = if let Some(account) = deletion::account(&pod.metadata) {
        deleted(pod, account)
    } else if pods::is_terminal(pod) {
        ended(pod)
    } else if placed {
        on_its_node(facts)
    } else {
        waiting(facts)
    };
    if !pods::is_ready(pod) && placed {
        account.causes.extend(warnings::lines(&facts.events));
        if let Some(node) = &facts.node {
            account.help = node.remedy().map(str::to_owned).or(account.help);
            account.behind.push(node.clone());
        }
    }
    let meta = &pod.metadata;
    account.of("pod", meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
}

fn deleted(pod: &Pod, mut account: Account) -> Account {
    let running = containers::statuses(pod).filter(|s| s.state.as_ref().is_some_and(|s| s.running.is_some()));
    account.causes.extend(running.map(|s| format!("container {} has not ended yet", s.name)));
    account
}

fn ended(pod: &Pod) -> Account {
    let status = pod.status.clone().unwrap_or_default();
    let why = [status.reason, status.message].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let phase = pods::phase(pod);
    let summary = match why.is_empty() {
        true => format!("has ended: {phase}"),
        false => format!("has ended: {phase}, {why}"),
    };
    let mut account = match phase {
        "Succeeded" => Account::well(summary),
        _ => Account::unwell(summary),
    };
    account.causes.extend(containers::statuses(pod).filter_map(|status| {
        let ended = status.state.as_ref()?.terminated.as_ref()?;
        Some(format!("container {} ended {}", status.name, containers::exit(ended)))
    }));
    account
}

fn waiting(facts: &Facts) -> Account {
    let spec = facts.pod.spec.clone().unwrap_or_default();
    let gates = spec.scheduling_gates.unwrap_or_default();
    if let Some(first) = gates.first() {
        let mut account = Account::unwell("waits: it is held back by scheduling gates");
        account.causes = gates.iter().map(|gate| format!("gate {}", gate.name)).collect();
        account.help = Some(format!("whoever set the gate {} has to remove it", first.name));
        return account;
    }
    if let Some(other) = spec.scheduler_name.filter(|name| name != OWN_SCHEDULER) {
        let mut account =
            Account::unwell(format!("waits for the scheduler {other:?}, which is not knarr's default"));
        account.help = Some(format!("run a scheduler of that name, or set schedulerName to {OWN_SCHEDULER}"));
        return account;
    }
    let none = Explanation::default();
    let found = facts.placement.as_ref().unwrap_or(&none);
    let mut account = placement(found);
    // What a claim waits for comes before what the nodes say of the claim.
    if let Some(help) = facts.claims.iter().find_map(Account::remedy) {
        account.help = Some(help.to_owned());
    }
    account.stand_behind(facts.claims.iter().cloned());
    account
}

/// What the nodes say.
fn placement(found: &Explanation) -> Account {
    if let Some(why) = &found.nowhere {
        return Account { causes: vec![why.clone()], ..Account::unwell("waits: no node is looked at") };
    }
    if !found.takers.is_empty() {
        let mut account =
            Account::unwell("waits, and there is a node for it: it is bound as soon as it is its turn");
        account.causes = found.takers.iter().map(|node| format!("node {node} takes it")).collect();
        return account;
    }
    let mut account = Account::unwell(format!("waits: none of {} nodes takes it", found.refusals.len()));
    account.causes = found.refusals.iter().map(refusal).collect();
    account.help = match (found.best(), &found.size) {
        (Some(best), _) => Some(remedy(best)),
        (None, Some(size)) => Some(format!("a node with this much free: {size}")),
        (None, None) => None,
    };
    account
}

fn refusal(refusal: &Refusal) -> String {
    let detail = match refusal.detail.is_empty() {
        true => String::new(),
        false => format!(" ({})", refusal.detail),
    };
    format!("node {}: {}{detail}", refusal.node, refusal.reasons.join(", "))
}

fn remedy(best: &Refusal) -> String {
    let changes = best.remedy.iter().flatten().map(ToString::to_string);
    format!("{}; then node {} takes it", changes.collect::<Vec<_>>().join(", and "), best.node)
}

fn on_its_node(facts: &Facts) -> Account {
    let pod = &facts.pod;
    let (node, phase) = (pods::node_name(pod), pods::phase(pod));
    if pods::is_ready(pod) {
        return Account::well(format!("runs on node {node} and is ready"));
    }
    let mut account = Account::unwell(format!("is on node {node}, {phase} and not ready"));
    for status in containers::statuses(pod) {
        account.causes.extend(containers::causes(status, &facts.last_lines));
        account.help = account.help.or_else(|| containers::remedy(pod, status, &facts.events));
    }
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    for gate in gates {
        let holds = conditions.clone().any(|c| c.type_ == gate.condition_type && c.status == "True");
        if !holds {
            account.causes.push(format!("the readiness gate {} is not True", gate.condition_type));
        }
    }
    let mount = warnings::message(&facts.events, "FailedMount");
    account.help = account.help.or_else(|| mount.and_then(refusals::missing));
    account
}

#[cfg(test)]
mod tests;
