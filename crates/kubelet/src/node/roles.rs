//! Labels that the control plane gives a node, its roles above all: a node may not give itself any.

use std::collections::BTreeMap;
use std::time::Duration;

use base::backoff::Policy;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

/// The node registers itself soon after it is started.
const RETRY: Policy = Policy::new(Duration::from_millis(20), Duration::from_secs(2));

/// Sets `labels` on the node `name`, as soon as there is one. `client` must be the control plane's, not
/// the node's. Cancellation safe.
///
/// # Errors
/// When the API refuses.
pub async fn set(client: Client, name: &str, labels: &BTreeMap<String, String>) -> Result<(), kube::Error> {
    let api: Api<Node> = Api::all(client);
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    let mut failures = 0;
    loop {
        match api.patch(name, &PatchParams::default(), &patch).await {
            Ok(_) => return Ok(()),
            Err(error) if client::is_not_found(&error) => {
                failures += 1;
                tokio::time::sleep(RETRY.delay(failures)).await;
            }
            Err(error) => return Err(error),
        }
    }
}
