//! What is asked about, and who gives the account.

use crate::account::Account;
use crate::reader::Reader;
use crate::unknown::UnknownSubject;
use crate::{autoscaler, claim, ingress, job, namespace, node, other, pod, service, workload};

/// The kinds that have an account of their own, by the words that kubectl takes for them.
const WORDS: [(&[&str], Kind); 14] = [
    (&["pod", "pods", "po"], Kind::Pod),
    (&["deployment", "deployments", "deploy", "deployments.apps"], Kind::Deployment),
    (&["replicaset", "replicasets", "rs", "replicasets.apps"], Kind::ReplicaSet),
    (&["replicationcontroller", "replicationcontrollers", "rc"], Kind::ReplicationController),
    (&["statefulset", "statefulsets", "sts", "statefulsets.apps"], Kind::StatefulSet),
    (&["daemonset", "daemonsets", "ds", "daemonsets.apps"], Kind::DaemonSet),
    (&["job", "jobs", "jobs.batch"], Kind::Job),
    (&["cronjob", "cronjobs", "cj", "cronjobs.batch"], Kind::CronJob),
    (&["service", "services", "svc"], Kind::Service),
    (&["persistentvolumeclaim", "persistentvolumeclaims", "pvc"], Kind::Claim),
    (&["ingress", "ingresses", "ing", "ingresses.networking.k8s.io"], Kind::Ingress),
    (&["node", "nodes", "no"], Kind::Node),
    (&["namespace", "namespaces", "ns"], Kind::Namespace),
    (
        &[
            "horizontalpodautoscaler",
            "horizontalpodautoscalers",
            "hpa",
            "horizontalpodautoscalers.autoscaling",
        ],
        Kind::Autoscaler,
    ),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pod,
    Deployment,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
    DaemonSet,
    Job,
    CronJob,
    Service,
    Claim,
    Ingress,
    Node,
    Namespace,
    Autoscaler,
    Other,
}

/// The object that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The kind as a user writes it: `pod`, `deploy`, `widgets.example.com`.
    pub kind: String,
    pub name: String,
    /// Of no meaning for objects that are in no namespace.
    pub namespace: String,
}

/// The account of an object.
///
/// # Errors
/// When there is no such kind or object, or what it depends on cannot be read.
pub async fn tell(reader: &Reader, subject: &Subject) -> Result<Account, UnknownSubject> {
    let word = subject.kind.to_lowercase();
    let found = WORDS.iter().find(|(words, _)| words.contains(&word.as_str()));
    let (namespace, name) = (subject.namespace.as_str(), subject.name.as_str());
    let account = match found.map_or(Kind::Other, |(_, kind)| *kind) {
        Kind::Pod => pod::tell(reader, namespace, name).await,
        Kind::Deployment => workload::deployment(reader, namespace, name).await,
        Kind::ReplicaSet => workload::replica_set(reader, namespace, name).await,
        Kind::ReplicationController => workload::replication_controller(reader, namespace, name).await,
        Kind::StatefulSet => workload::stateful_set(reader, namespace, name).await,
        Kind::DaemonSet => workload::daemon_set(reader, namespace, name).await,
        Kind::Job => job::tell(reader, namespace, name).await,
        Kind::CronJob => job::tell_cron(reader, namespace, name).await,
        Kind::Service => service::tell(reader, namespace, name).await,
        Kind::Claim => claim::tell(reader, namespace, name).await,
        Kind::Ingress => ingress::tell(reader, namespace, name).await,
        Kind::Node => node::tell(reader, name).await,
        Kind::Namespace => namespace::tell(reader, name).await,
        Kind::Autoscaler => autoscaler::tell(reader, namespace, name).await,
        Kind::Other => {
            let (kind, namespaced) = other::resolve(reader, &word).await?;
            other::tell(reader, &kind, namespaced.then_some(namespace), name).await
        }
    };
    account.map_err(UnknownSubject::Api)
}
