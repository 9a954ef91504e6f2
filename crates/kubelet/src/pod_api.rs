//! The pod workers' requests to the API server: the pod's status, its deletion, its pull secrets, the node.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Client, Error};

/// Why a call to the API server failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PodApiError {
    /// The object is gone, or another one has its name now.
    #[error("the object is gone")]
    Gone,
    #[error("{0}")]
    Failed(String),
}

/// The API server, as far as pod workers need it.
#[async_trait]
pub trait PodApi: Send + Sync {
    /// Patches the status of the pod with exactly this uid (strategic merge); answers the object.
    ///
    /// # Errors
    /// [`PodApiError::Gone`] when no pod of this name has this uid any more.
    async fn patch_status(&self, pod: &Pod, patch: serde_json::Value) -> Result<Arc<Pod>, PodApiError>;

    /// Deletes the pod with exactly this uid at once. A pod that is gone already counts as deleted.
    ///
    /// # Errors
    /// When the API server refuses or cannot be reached.
    async fn delete(&self, pod: &Pod) -> Result<(), PodApiError>;

    /// # Errors
    /// When the secret does not exist or may not be read.
    async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, PodApiError>;

    /// # Errors
    /// When the node does not exist or the API server cannot be reached.
    async fn node(&self, name: &str) -> Result<Node, PodApiError>;
}

/// The API server behind a client.
#[derive(Clone)]
pub struct KubePodApi {
    client: Client,
}

impl KubePodApi {
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    fn pods(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default())
    }
}

fn failed(error: Error) -> PodApiError {
    match &error {
        Error::Api(status) if status.code == 404 => PodApiError::Gone,
        _ => PodApiError::Failed(client::message(&error)),
    }
}

#[async_trait]
impl PodApi for KubePodApi {
    async fn patch_status(&self, pod: &Pod, patch: serde_json::Value) -> Result<Arc<Pod>, PodApiError> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let params = PatchParams::default();
        match self.pods(pod).patch_status(name, &params, &Patch::Strategic(patch)).await {
            Ok(patched) => Ok(Arc::new(patched)),
            // The uid in the patch is a precondition: a conflict may mean that another pod took the name.
            Err(Error::Api(status)) if status.code == 409 => {
                let current = self.pods(pod).get(name).await.map_err(failed)?;
                if current.metadata.uid == pod.metadata.uid {
                    return Err(PodApiError::Failed(status.message.clone()));
                }
                Err(PodApiError::Gone)
            }
            Err(error) => Err(failed(error)),
        }
    }

    async fn delete(&self, pod: &Pod) -> Result<(), PodApiError> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        match self.pods(pod).delete(name, &params).await.map_err(failed) {
            Ok(_) | Err(PodApiError::Gone) => Ok(()),
            Err(other) => Err(other),
        }
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, PodApiError> {
        Api::namespaced(self.client.clone(), namespace).get(name).await.map_err(failed)
    }

    async fn node(&self, name: &str) -> Result<Node, PodApiError> {
        Api::all(self.client.clone()).get(name).await.map_err(failed)
    }
}
