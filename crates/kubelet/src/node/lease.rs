//! The node's lease: the sign of life the control plane looks at.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

/// Upstream's `nodeLeaseDurationSeconds`.
pub const DURATION_S: i32 = 40;
/// A quarter of the duration.
pub const RENEW_EVERY: Duration = Duration::from_secs(10);
const NAMESPACE: &str = "kube-node-lease";

/// Renews the lease of one node.
pub struct NodeLease {
    api: Api<Lease>,
    node: String,
}

impl NodeLease {
    pub fn new(client: Client, node: &str) -> Self {
        Self { api: Api::namespaced(client, NAMESPACE), node: node.to_owned() }
    }

    /// Renews the lease, making it if it is not there.
    ///
    /// # Errors
    /// When the API refuses or cannot be reached.
    pub async fn renew(&self, node_uid: &str, now: Timestamp) -> Result<(), kube::Error> {
        let patch = json!({"spec": {"renewTime": MicroTime(now)}});
        match self.api.patch(&self.node, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => Ok(()),
            Err(error) if client::is_not_found(&error) => self.create(node_uid, now).await,
            Err(error) => Err(error),
        }
    }

    async fn create(&self, node_uid: &str, now: Timestamp) -> Result<(), kube::Error> {
        let owner = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: self.node.clone(),
            uid: node_uid.to_owned(),
            ..OwnerReference::default()
        };
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.node.clone()),
                namespace: Some(NAMESPACE.to_owned()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.node.clone()),
                lease_duration_seconds: Some(DURATION_S),
                renew_time: Some(MicroTime(now)),
                ..LeaseSpec::default()
            }),
        };
        match self.api.create(&PostParams::default(), &lease).await {
            Err(error) if !client::is_already_exists(&error) => Err(error),
            _ => Ok(()),
        }
    }
}
