//! [`Reader`]: the API, asked with the rights of whoever asks why.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{ListParams, LogParams};
use kube::{Api, Client, Resource};
use scheduler::why::World;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

/// How long a connection to a pod may take.
const KNOCK: Duration = Duration::from_secs(1);
/// How many last lines of a container are shown, and how many bytes at most.
const LAST_LINES: i64 = 5;
const LAST_BYTES: i64 = 4096;

/// Reads what accounts are made of.
pub struct Reader {
    pub(crate) client: Client,
    pub(crate) now: Timestamp,
    world: OnceCell<World>,
}

/// What a connection to an address shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knock {
    Listens,
    Refused,
    /// The address cannot be reached from this machine: nothing is known.
    Unreachable,
}

impl Reader {
    pub fn new(client: Client, now: Timestamp) -> Self {
        Self { client, now, world: OnceCell::new() }
    }

    pub(crate) async fn get<K>(&self, namespace: &str, name: &str) -> kube::Result<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        Api::namespaced(self.client.clone(), namespace).get(name).await
    }

    pub(crate) async fn find<K>(&self, namespace: &str, name: &str) -> kube::Result<Option<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        Api::namespaced(self.client.clone(), namespace).get_opt(name).await
    }

    pub(crate) async fn get_global<K>(&self, name: &str) -> kube::Result<K>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        Api::all(self.client.clone()).get(name).await
    }

    pub(crate) async fn find_global<K>(&self, name: &str) -> kube::Result<Option<K>>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        Api::all(self.client.clone()).get_opt(name).await
    }

    /// The objects of a namespace whose labels a selector in its written form matches; `""` matches all.
    pub(crate) async fn list<K>(&self, namespace: &str, labels: &str) -> kube::Result<Vec<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        Ok(api.list(&ListParams::default().labels(labels)).await?.items)
    }

    pub(crate) async fn all<K>(&self) -> kube::Result<Vec<K>>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        Ok(Api::<K>::all(self.client.clone()).list(&ListParams::default()).await?.items)
    }

    /// The events about an object. Those of objects without a namespace are in `default`.
    pub(crate) async fn events(
        &self,
        namespace: Option<&str>,
        uid: Option<&str>,
    ) -> kube::Result<Vec<Event>> {
        let Some(uid) = uid else { return Ok(Vec::new()) };
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace.unwrap_or("default"));
        Ok(api.list(&ListParams::default().fields(&format!("involvedObject.uid={uid}"))).await?.items)
    }

    /// All that decisions about nodes depend on; read once.
    pub(crate) async fn world(&self) -> kube::Result<&World> {
        let read = || async {
            let (nodes, pods, namespaces, claims, volumes, classes) =
                tokio::try_join!(self.all(), self.all(), self.all(), self.all(), self.all(), self.all())?;
            Ok(World { nodes, pods, namespaces, claims, volumes, classes })
        };
        self.world.get_or_try_init(read).await
    }

    /// The last lines that a container wrote before it was started again; none where its log is gone.
    ///
    /// # Errors
    /// What the server says when the log cannot be read, because the node is away for example.
    pub(crate) async fn last_lines(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Result<Vec<String>, String> {
        let api: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(self.client.clone(), namespace);
        for previous in [true, false] {
            let asked = LogParams {
                container: Some(container.to_owned()),
                previous,
                tail_lines: Some(LAST_LINES),
                limit_bytes: Some(LAST_BYTES),
                ..LogParams::default()
            };
            match api.logs(pod, &asked).await {
                Ok(log) => return Ok(log.lines().map(str::to_owned).collect()),
                // No container of that name ended before this one, or none has run.
                Err(kube::Error::Api(status)) if status.code == 400 => {}
                Err(error) => return Err(client::message(&error)),
            }
        }
        Ok(Vec::new())
    }

    /// Whether somebody listens there, by opening a connection and closing it.
    pub(crate) async fn knock(address: IpAddr, port: u16) -> Knock {
        let connected = TcpStream::connect(SocketAddr::new(address, port));
        match tokio::time::timeout(KNOCK, connected).await {
            Ok(Ok(_)) => Knock::Listens,
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Knock::Refused,
            Ok(Err(_)) | Err(_) => Knock::Unreachable,
        }
    }
}
