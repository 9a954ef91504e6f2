//! Why a workload does not have the pods that were asked for: Deployment, ReplicaSet, ReplicationController, StatefulSet,
//! DaemonSet.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Event, Pod, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Serialize;
use serde_json::Value;

use crate::account::{Account, SHOWN, number};
use crate::pod;
use crate::reader::Reader;
use crate::{deletion, refusals, warnings};

/// A workload, whatever its kind.
#[derive(Debug, Default)]
pub struct Workload {
    /// The kind as accounts name it.
    pub kind: &'static str,
    pub meta: ObjectMeta,
    pub wanted: i64,
    pub ready: i64,
    /// The pods of the present revision, where the kind has revisions.
    pub updated: Option<i64>,
    pub paused: bool,
    /// Pods come one after the other.
    pub ordered: bool,
    /// The generation that the controller has acted on.
    pub observed: Option<i64>,
    /// Type, status, reason and message of each condition.
    pub conditions: Vec<[String; 4]>,
    selector: String,
}

/// What an account of a workload is made of.
#[derive(Debug, Default)]
pub struct Facts {
    pub workload: Workload,
    /// Of the workload, and of the ReplicaSets that make its pods.
    pub events: Vec<Event>,
    /// The pods that are there.
    pub pods: Vec<String>,
    /// The accounts of the pods that are not well.
    pub unwell: Vec<Account>,
}

pub async fn deployment(reader: &Reader, namespace: &str, name: &str) -> kube::Result<Account> {
    let deployment: Deployment = reader.get(namespace, name).await?;
    let workload = read("deployment", &deployment, &deployment.metadata);
    let sets: Vec<ReplicaSet> = reader.list(namespace, &workload.selector).await?;
    let mut owners = Vec::new();
    let mut events = Vec::new();
    for set in sets.iter().filter(|set| is_owned(&set.metadata, &deployment.metadata)) {
        owners.extend(set.metadata.uid.clone());
        events.extend(reader.events(Some(namespace), set.metadata.uid.as_deref()).await?);
    }
    tell(reader, namespace, workload, owners, events).await
}

pub async fn replica_set(reader: &Reader, namespace: &str, name: &str) -> kube::Result<Account> {
    let set: ReplicaSet = reader.get(namespace, name).await?;
    tell_own(reader, namespace, read("replicaset", &set, &set.metadata)).await
}

pub async fn replication_controller(reader: &Reader, namespace: &str, name: &str) -> kube::Result<Account> {
    let controller: ReplicationController = reader.get(namespace, name).await?;
    tell_own(reader, namespace, read("replicationcontroller", &controller, &controller.metadata)).await
}

pub async fn stateful_set(reader: &Reader, namespace: &str, name: &str) -> kube::Result<Account> {
    let set: StatefulSet = reader.get(namespace, name).await?;
    let mut workload = read("statefulset", &set, &set.metadata);
    let policy = set.spec.as_ref().and_then(|spec| spec.pod_management_policy.as_deref());
    workload.ordered = policy != Some("Parallel");
    tell_own(reader, namespace, workload).await
}

pub async fn daemon_set(reader: &Reader, namespace: &str, name: &str) -> kube::Result<Account> {
    let set: DaemonSet = reader.get(namespace, name).await?;
    let mut workload = read("daemonset", &set, &set.metadata);
    let status = set.status.unwrap_or_default();
    workload.wanted = status.desired_number_scheduled.into();
    workload.ready = status.number_ready.into();
    workload.updated = status.updated_number_scheduled.map(i64::from);
    tell_own(reader, namespace, workload).await
}

/// Reads what workloads have in common by its name.
fn read(kind: &'static str, object: &impl Serialize, meta: &ObjectMeta) -> Workload {
    let object = serde_json::to_value(object).unwrap_or_default();
    let number = |path: &str| object.pointer(path).and_then(Value::as_i64);
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let condition = |condition: &Value| {
        ["type", "status", "reason", "message"]
            .map(|field| condition[field].as_str().unwrap_or_default().to_owned())
    };
    let selector = match object.pointer("/spec/selector") {
        Some(plain) if kind == "replicationcontroller" => written(&LabelSelector {
            match_labels: serde_json::from_value(plain.clone()).ok(),
            ..LabelSelector::default()
        }),
        Some(selector) => written(&serde_json::from_value(selector.clone()).unwrap_or_default()),
        None => String::new(),
    };
    Workload {
        kind,
        meta: meta.clone(),
        wanted: number("/spec/replicas").unwrap_or(1),
        ready: number("/status/readyReplicas").unwrap_or(0),
        updated: matches!(kind, "deployment" | "statefulset")
            .then(|| number("/status/updatedReplicas").unwrap_or(0)),
        paused: object.pointer("/spec/paused").and_then(Value::as_bool).unwrap_or(false),
        ordered: false,
        observed: number("/status/observedGeneration"),
        conditions: conditions.into_iter().flatten().map(condition).collect(),
        selector,
    }
}

/// A selector in the form of the API's `labelSelector` parameter.
pub fn written(selector: &LabelSelector) -> String {
    let equal = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let others = selector.match_expressions.iter().flatten().map(|wanted| {
        let (key, values) = (&wanted.key, wanted.values.clone().unwrap_or_default().join(","));
        match wanted.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        }
    });
    equal.chain(others).collect::<Vec<_>>().join(",")
}

fn is_owned(meta: &ObjectMeta, owner: &ObjectMeta) -> bool {
    meta.owner_references.iter().flatten().any(|reference| Some(&reference.uid) == owner.uid.as_ref())
}

async fn tell_own(reader: &Reader, namespace: &str, workload: Workload) -> kube::Result<Account> {
    let owners = workload.meta.uid.clone().into_iter().collect();
    tell(reader, namespace, workload, owners, Vec::new()).await
}

async fn tell(
    reader: &Reader,
    namespace: &str,
    workload: Workload,
    owners: Vec<String>,
    mut events: Vec<Event>,
) -> kube::Result<Account> {
    events.extend(reader.events(Some(namespace), workload.meta.uid.as_deref()).await?);
    let pods: Vec<Pod> = reader.list(namespace, &workload.selector).await?;
    let owned =
        |pod: &Pod| pod.metadata.owner_references.iter().flatten().any(|owner| owners.contains(&owner.uid));
    let pods: Vec<Pod> = pods.into_iter().filter(|pod| owned(pod)).collect();
    let names =
        pods.iter().filter(|pod| pods::is_active(pod)).filter_map(|pod| pod.metadata.name.clone()).collect();
    let unwell = unwell(reader, pods).await?;
    Ok(account(&Facts { workload, events, pods: names, unwell }))
}

/// The accounts of the pods that are not ready: the first in full, the others by name.
pub async fn unwell(reader: &Reader, pods: Vec<Pod>) -> kube::Result<Vec<Account>> {
    let mut accounts = Vec::new();
    for pod in pods.into_iter().filter(|pod| !pods::is_ready(pod)) {
        if accounts.len() < SHOWN {
            accounts.push(pod::tell_of(reader, pod).await?);
        } else {
            accounts.push(Account::unwell("is not ready"));
        }
    }
    accounts.retain(|account| !account.well);
    Ok(accounts)
}

pub fn account(facts: &Facts) -> Account {
    let workload = &facts.workload;
    let mut account = deletion::account(&workload.meta).unwrap_or_else(|| state(facts));
    if !account.well {
        account.stand_behind(facts.unwell.iter().cloned());
        if account.help.is_none() && account.remedy().is_none() && account.behind.is_empty() {
            account.causes.extend(warnings::lines(&facts.events));
        }
    }
    let meta = &workload.meta;
    account.of(workload.kind, meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
}

fn state(facts: &Facts) -> Account {
    let Workload { wanted, ready, .. } = facts.workload;
    if facts.workload.kind == "daemonset" && wanted == 0 {
        let mut account = Account::unwell("asks for no pods: no node matches it");
        account.help =
            Some("label a node as its nodeSelector and node affinity ask, or change them".to_owned());
        return account;
    }
    let behind = facts.workload.observed.zip(facts.workload.meta.generation).filter(|(seen, now)| seen < now);
    let updated = facts.workload.updated.unwrap_or(wanted);
    if ready >= wanted && updated >= wanted && behind.is_none() {
        return Account::well(match wanted {
            0 => "asks for no pods and has none".to_owned(),
            1 => "has its pod, which is ready".to_owned(),
            _ => format!("has its {wanted} pods, all ready"),
        });
    }
    let mut account = Account::unwell(format!("has {ready} of {} ready", number(wanted, "pod")));
    if behind.is_some() {
        account.causes.push("its controller has not acted on its last change yet".to_owned());
    }
    if facts.workload.paused {
        account.causes.push("its rollout is paused".to_owned());
        let name = facts.workload.meta.name.as_deref().unwrap_or_default();
        account.help = Some(format!("kubectl rollout resume {}/{name}", facts.workload.kind));
    }
    if updated < wanted {
        account.causes.push(format!("{updated} of {} of the present revision", number(wanted, "pod")));
    }
    refused(facts, &mut account);
    let there = i64::try_from(facts.pods.len()).unwrap_or(i64::MAX);
    if there < wanted {
        account.causes.push(format!("{there} of {} made", number(wanted, "pod")));
        if facts.workload.ordered && !facts.unwell.is_empty() {
            account.causes.push(
                "its pods come in order: the next one waits until those before it are ready".to_owned(),
            );
        }
    }
    account
}

/// Pods that could not be made, and a rollout that takes too long.
fn refused(facts: &Facts, account: &mut Account) {
    let condition = |kind: &str, status: &str| {
        facts.workload.conditions.iter().find(|condition| condition[0] == kind && condition[1] == status)
    };
    if let Some([_, _, _, message]) = condition("Progressing", "False") {
        account.causes.push(format!("its rollout does not go on: {message}"));
    }
    let failure = condition("ReplicaFailure", "True").map(|condition| condition[3].as_str());
    if let Some(message) = failure.or_else(|| warnings::message(&facts.events, "FailedCreate")) {
        account.causes.push(format!("a pod cannot be made: {message}"));
        account.help = account.help.take().or_else(|| refusals::help(message));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::samples::{object, warning};

    fn web(status: Value) -> Workload {
        let spec = json!({"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": {}});
        let web: Deployment = object("web", spec, status);
        read("deployment", &web, &web.metadata)
    }

    #[test]
    fn a_deployment_whose_pods_are_refused_names_the_quota() {
        let message = "pods \"web-1\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1";
        let status = json!({"readyReplicas": 1, "updatedReplicas": 1, "conditions": [
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}]});
        let facts = Facts { workload: web(status), pods: vec!["web-0".to_owned()], ..Facts::default() };
        assert_eq!(
            account(&facts).text(),
            format!(
                "deployment ns/web has 1 of 3 pods ready\n  1 of 3 pods of the present revision\n  \
                 a pod cannot be made: {message}\n  1 of 3 pods made\n\
                 What would help: raise the quota q, or ask for less (requested: pods=1, used: pods=1, limited: pods=1).\n"
            )
        );
    }

    #[test]
    fn pods_that_are_not_ready_stand_behind_and_their_remedy_counts() {
        let mut pod = Account::unwell("waits").of("pod", Some("ns"), "web-0");
        pod.help = Some("label a node".to_owned());
        let status = json!({"readyReplicas": 0, "updatedReplicas": 3});
        let pods = (0..3).map(|n| format!("web-{n}")).collect();
        let facts = Facts { workload: web(status), pods, unwell: vec![pod], ..Facts::default() };
        let told = account(&facts);
        assert_eq!(told.remedy(), Some("label a node"));
        assert!(told.text().contains("\n  pod ns/web-0 waits\n"), "{}", told.text());
    }

    #[test]
    fn a_workload_with_all_its_pods_is_well() {
        let status = json!({"readyReplicas": 3, "updatedReplicas": 3});
        let facts = Facts {
            workload: web(status),
            events: vec![warning("FailedCreate", "old trouble")],
            ..Facts::default()
        };
        assert_eq!(account(&facts).text(), "deployment ns/web has its 3 pods, all ready\n");
    }

    #[test]
    fn selectors_are_written_as_the_api_takes_them() {
        let selector = serde_json::from_value(json!({"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "t", "operator": "In", "values": ["x", "y"]}, {"key": "u", "operator": "DoesNotExist"},
            {"key": "v", "operator": "Exists"}, {"key": "w", "operator": "NotIn", "values": ["z"]}]}));
        assert_eq!(written(&selector.expect("a selector")), "a=b,t in (x,y),!u,v,w notin (z)");
    }
}
