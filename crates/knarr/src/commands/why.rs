//! `knarr why`: why something is as it is, and what would help.

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use scheduler::why::World;

use super::say;
use crate::api_error::words;
use crate::arguments::{OutputForm, Why};
use crate::which::layout_of;
use crate::{admin, why};

/// Prints the account.
///
/// # Errors
/// When there is no such object, when its kind is not known to the command, or when the API cannot be asked.
pub async fn run(asked: &Why) -> Result<()> {
    let (kind, name) = match (&*asked.kind, &asked.object) {
        (kind, Some(name)) => (kind, name.as_str()),
        (both, None) => {
            both.split_once('/').ok_or_else(|| anyhow::anyhow!("the name is missing: knarr why pod NAME"))?
        }
    };
    if !matches!(kind, "pod" | "pods" | "po") {
        bail!("knarr why does not know {kind:?}: it answers for pods");
    }
    let client = client::https(&admin::of(&layout_of(&asked.which)?)?)?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &asked.namespace);
    let pod = pods.get(name).await.map_err(words)?;
    let events: Api<Event> = Api::namespaced(client.clone(), &asked.namespace);
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let of_pod = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
    let events = events.list(&of_pod).await.map_err(words)?.items;
    let world = if pods::node_name(&pod).is_empty() { world(&client).await? } else { World::default() };
    let account = why::of_pod(&pod, &events, || scheduler::why::explain(&pod, &world));
    match asked.output {
        OutputForm::Text => say(&account.text()),
        OutputForm::Json => say(&format!("{}\n", serde_json::to_string_pretty(&account)?)),
    }
}

/// All that decisions depend on.
async fn world(client: &Client) -> Result<World> {
    let (nodes, pods, namespaces, claims, volumes, classes) =
        tokio::try_join!(all(client), all(client), all(client), all(client), all(client), all(client))?;
    Ok(World { nodes, pods, namespaces, claims, volumes, classes })
}

async fn all<K>(client: &Client) -> Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    Ok(Api::<K>::all(client.clone()).list(&ListParams::default()).await.map_err(words)?.items)
}
