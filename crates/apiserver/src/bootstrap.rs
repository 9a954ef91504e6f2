//! The objects of a new cluster: namespaces, RBAC's default roles and bindings, priority classes, flow schemas and
//! priority levels, and the service by which pods reach the API server.
//!
//! Start with [`run`]. `policy` reads RBAC's defaults from a table, `objects` has the other objects, `reconcile` decides
//! which are missing or different. Objects are written through the API like any other; correct objects are not
//! written.

mod objects;
mod policy;
mod reconcile;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::{GroupVersion, Object};
use futures::stream::{self, StreamExt, TryStreamExt};
use http::{Method, Request};
use kube::Client;
use reconcile::{Action, plan, plan_missing};
use serde_json::Value;

pub use policy::{controller_identity, node_rules};

/// How many objects are written at a time: enough for the store to put many into one commit.
const CONCURRENCY: usize = 32;
/// How often everything is looked at again when somebody else has changed something meanwhile.
const ATTEMPTS: usize = 4;

/// What is known of the cluster from outside.
#[derive(Debug, Clone)]
pub struct BootstrapConfig {
    pub cluster_name: String,
    /// What the names of Services end with, as `cluster.local`.
    pub cluster_domain: String,
    /// The addresses of pods, as `10.244.0.0/16`.
    pub pod_cidr: String,
    /// The addresses of services, as `10.96.0.0/12`.
    pub service_cidr: String,
    /// The address of the service `kubernetes`: the first of `service_cidr`.
    pub service_ip: IpAddr,
    /// The address cluster DNS answers on, within `service_cidr`.
    pub dns_ip: IpAddr,
    /// The first rules of cluster DNS.
    pub corefile: String,
    /// Where pods and nodes reach the API server.
    pub advertise_ip: IpAddr,
    pub secure_port: u16,
    /// The CA of client certificates, in PEM, for API servers that extend this one.
    pub client_ca_pem: String,
    /// The CA of the front proxy, in PEM: by it such servers know that the users in requests' headers are true.
    pub front_proxy_ca_pem: String,
    /// The common name of the front proxy.
    pub front_proxy_name: String,
}

/// Why the cluster could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("cannot {verb} {path}: {error}")]
    Request { verb: Method, path: String, error: Box<kube::Error> },
    /// The table or an object of ours is wrong.
    #[error("the default object {0} has no kind that is served")]
    Kind(String),
}

impl BootstrapError {
    /// Whether somebody else has changed something meanwhile.
    fn is_of_another_writer(&self) -> bool {
        matches!(self, Self::Request { error, .. } if client::is_conflict(error) || client::is_already_exists(error))
    }
}

/// How much was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub created: usize,
    pub updated: usize,
}

/// The Service by which pods reach the API server, its Endpoints and its slice, for who keeps them.
pub fn api_service(config: &BootstrapConfig) -> [Object; 3] {
    objects::api_service(config)
}

/// What servers that extend this one need to know its users, for who keeps it.
pub fn extension_authentication(config: &BootstrapConfig) -> Object {
    objects::extension_authentication(config)
}

/// Makes what is missing and corrects what is different. `client` must be allowed everything. Idempotent;
/// when cancelled, the next run does the rest.
///
/// # Errors
/// The first request that failed for a reason other than somebody else's change.
pub async fn run(client: &Client, config: &BootstrapConfig) -> Result<Summary, BootstrapError> {
    let mut summary = Summary::default();
    // Namespaces first: nothing can be made in one that is not there; nor can Services without a range of addresses.
    for objects in
        [objects::grounds(config), policy::objects().into_iter().chain(objects::others(config)).collect()]
    {
        persist(client, &objects, plan, &mut summary).await?;
    }
    persist(client, &objects::firsts(), plan_missing, &mut summary).await?;
    Ok(summary)
}

/// Corrects what anybody may know of the cluster, when the server's address has changed. `client` as for [`run`].
///
/// # Errors
/// As [`run`].
pub async fn publish_cluster_info(client: &Client, config: &BootstrapConfig) -> Result<(), BootstrapError> {
    let wanted = objects::cluster_info(config);
    let path = collection(&wanted)?;
    for attempt in 1..=ATTEMPTS {
        let found = by_name(request(client, Method::GET, &path, None).await?);
        let Some(action) = plan(&wanted, found.get(wanted.name())) else { break };
        match execute(client, &path, action).await {
            Err(error) if attempt < ATTEMPTS && error.is_of_another_writer() => {}
            result => return result.map(drop),
        }
    }
    Ok(())
}

/// What makes an object that is found, if any, into the wanted one.
type Planner = fn(&Object, Option<&Object>) -> Option<Action>;

async fn persist(
    client: &Client,
    wanted: &[Object],
    plan: Planner,
    summary: &mut Summary,
) -> Result<(), BootstrapError> {
    for _ in 1..ATTEMPTS {
        match reconcile(client, wanted, plan, summary).await {
            Err(error) if error.is_of_another_writer() => {}
            result => return result,
        }
    }
    reconcile(client, wanted, plan, summary).await
}

async fn reconcile(
    client: &Client,
    wanted: &[Object],
    plan: Planner,
    summary: &mut Summary,
) -> Result<(), BootstrapError> {
    let mut collections: BTreeMap<String, Vec<&Object>> = BTreeMap::new();
    for object in wanted {
        collections.entry(collection(object)?).or_default().push(object);
    }
    let found: Vec<(String, Vec<&Object>, BTreeMap<String, Object>)> = stream::iter(collections)
        .map(|(path, wanted)| async move {
            let list = request(client, Method::GET, &path, None).await?;
            Ok((path, wanted, by_name(list)))
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;
    let actions = found.iter().flat_map(|(path, wanted, found)| {
        wanted.iter().flat_map(move |object| {
            plan(object, found.get(object.name())).into_iter().map(move |a| (path, a))
        })
    });
    // All of them end, also when one fails: one that nobody waits for any more may be on its way to the store, and would
    // get in the way of the next attempt.
    let done: Vec<Result<Summary, BootstrapError>> = stream::iter(actions.collect::<Vec<_>>())
        .map(|(path, action)| execute(client, path, action))
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;
    for one in done {
        let one = one?;
        summary.created += one.created;
        summary.updated += one.updated;
    }
    Ok(())
}

async fn execute(client: &Client, path: &str, action: Action) -> Result<Summary, BootstrapError> {
    match action {
        Action::Create(object) => {
            request(client, Method::POST, path, Some(&object)).await?;
            Ok(Summary { created: 1, updated: 0 })
        }
        Action::Update(object) => {
            request(client, Method::PUT, &format!("{path}/{}", object.name()), Some(&object)).await?;
            Ok(Summary { created: 0, updated: 1 })
        }
        // What a binding binds cannot be changed.
        Action::Replace(object) => {
            request(client, Method::DELETE, &format!("{path}/{}", object.name()), None).await?;
            request(client, Method::POST, path, Some(&object)).await?;
            Ok(Summary { created: 0, updated: 1 })
        }
    }
}

async fn request(
    client: &Client,
    verb: Method,
    path: &str,
    object: Option<&Object>,
) -> Result<Value, BootstrapError> {
    let failed =
        |error| BootstrapError::Request { verb: verb.clone(), path: path.to_owned(), error: Box::new(error) };
    let body = match object {
        Some(object) => serde_json::to_vec(object).map_err(|error| failed(kube::Error::SerdeError(error)))?,
        None => Vec::new(),
    };
    let request = Request::builder()
        .method(&verb)
        .uri(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|error| failed(kube::Error::HttpError(error)))?;
    client.request(request).await.map_err(failed)
}

fn by_name(list: Value) -> BTreeMap<String, Object> {
    let items = match list {
        Value::Object(mut list) => list.remove("items"),
        _ => None,
    };
    let Some(Value::Array(items)) = items else { return BTreeMap::new() };
    items
        .into_iter()
        .filter_map(Object::from_value)
        .map(|object| (object.name().to_owned(), object))
        .collect()
}

/// The path of the collection an object belongs to.
fn collection(object: &Object) -> Result<String, BootstrapError> {
    let unknown = || BootstrapError::Kind(format!("{} {}", object.kind(), object.name()));
    let gv = GroupVersion::parse(object.api_version()).ok_or_else(unknown)?;
    let row = resources::builtin().by_kind(&gv.group, &gv.version, object.kind()).ok_or_else(unknown)?;
    let root = if gv.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", gv.group) };
    let namespace =
        if row.namespaced() { format!("namespaces/{}/", object.namespace()) } else { String::new() };
    // Names with colons and slashes do not occur in namespaces and plurals.
    Ok(format!("{root}/{}/{namespace}{}", gv.version, row.plural))
}
