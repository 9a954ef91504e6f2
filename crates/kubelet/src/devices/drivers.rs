//! The drivers of devices that this node knows now, and whether they can be reached.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::backoff::Policy;
use csi::devices::{DevicesClient, Service};
use csi::registration_v1::PluginInfo;
use tokio::sync::Notify;

use crate::pod_dirs::PodDirs;

/// How plugins of such drivers name their type.
pub const TYPE: &str = "DRAPlugin";
/// gRPC's own, in upstream's client.
const RECONNECT: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(120));

/// One of a driver's plugins: while a driver is replaced there may be two.
struct Plugin {
    endpoint: PathBuf,
    service: Service,
    registration: u64,
    /// While it is connected.
    client: Option<DevicesClient>,
}

#[derive(Default)]
struct State {
    /// By the driver's name, the newest last.
    plugins: Mutex<BTreeMap<String, Vec<Plugin>>>,
    changed: Notify,
}

/// See the module's documentation.
#[derive(Clone)]
pub struct Drivers {
    dirs: PodDirs,
    state: Arc<State>,
}

impl Drivers {
    pub fn new(dirs: PodDirs) -> Self {
        Self { dirs, state: Arc::default() }
    }

    fn plugins(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Plugin>>> {
        self.state.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a plugin that registers.
    ///
    /// # Errors
    /// What the plugin is told.
    pub fn register(&self, info: &PluginInfo, registration: u64) -> Result<(), String> {
        let (name, endpoint) = (&info.name, &info.endpoint);
        let service = service_of(info).map_err(|why| {
            format!(
                "RegisterPlugin error -- plugin validation failed with err: invalid supported gRPC versions of DRA \
                 driver plugin {name} at endpoint {endpoint}: {why}"
            )
        })?;
        let mut known = self.plugins();
        let plugins = known.entry(name.clone()).or_default();
        plugins.retain(|plugin| plugin.registration != registration);
        if plugins.iter().any(|plugin| plugin.endpoint == Path::new(endpoint)) {
            return Err(format!(
                "RegisterPlugin error -- plugin registration failed with err: endpoint {endpoint} already registered \
                 for DRA driver plugin {name}"
            ));
        }
        plugins.push(Plugin { endpoint: endpoint.into(), service, registration, client: None });
        tracing::info!(
            driver = name,
            endpoint,
            service = service.name(),
            "a driver of devices has registered"
        );
        Ok(())
    }

    /// Forgets the plugin that came by this registration.
    pub fn remove(&self, name: &str, registration: u64) {
        let mut known = self.plugins();
        let Some(plugins) = known.get_mut(name) else { return };
        // The name stays: its slices are to go.
        plugins.retain(|plugin| plugin.registration != registration);
        drop(known);
        self.state.changed.notify_one();
        tracing::info!(driver = name, "a driver of devices is gone");
    }

    /// Keeps the plugin connected that came by this registration, so that its end is seen. Never ends.
    pub async fn keep_connected(&self, name: &str, registration: u64) {
        let mut failures = 0;
        loop {
            let find = |plugin: &&Plugin| plugin.registration == registration;
            let found = self.plugins().get(name).and_then(|plugins| {
                plugins.iter().find(find).map(|p| (self.dirs.on_node(&p.endpoint), p.service))
            });
            let Some((path, service)) = found else { return std::future::pending().await };
            match csi::devices::connect(&path, service).await {
                Ok((client, ended)) => {
                    failures = 0;
                    self.set_client(name, registration, Some(client));
                    let _ = ended.await;
                    self.set_client(name, registration, None);
                    tracing::debug!(driver = name, "the connection to a driver of devices has ended");
                }
                Err(error) => tracing::debug!(driver = name, %error, "a driver of devices cannot be reached"),
            }
            failures += 1;
            tokio::time::sleep(RECONNECT.delay(failures)).await;
        }
    }

    fn set_client(&self, name: &str, registration: u64, client: Option<DevicesClient>) {
        let mut known = self.plugins();
        let plugin =
            known.get_mut(name).and_then(|all| all.iter_mut().find(|p| p.registration == registration));
        if let Some(plugin) = plugin {
            plugin.client = client;
        }
        drop(known);
        self.state.changed.notify_one();
    }

    /// A way to a driver: its newest plugin that is connected, or else its newest one.
    ///
    /// # Errors
    /// In upstream's words, when the driver has not registered or cannot be reached.
    pub async fn call(&self, name: &str) -> Result<DevicesClient, String> {
        if name.is_empty() {
            return Err("DRA driver name is empty".to_owned());
        }
        let (path, service) = {
            let known = self.plugins();
            let plugins = known.get(name).map(Vec::as_slice).unwrap_or_default();
            if let Some(client) = plugins.iter().rev().find_map(|plugin| plugin.client.clone()) {
                return Ok(client);
            }
            let newest = plugins.last().ok_or_else(|| format!("DRA driver {name} is not registered"))?;
            (self.dirs.on_node(&newest.endpoint), newest.service)
        };
        let connected = csi::devices::connect(&path, service).await;
        connected.map(|(client, _)| client).map_err(|error| error.to_string())
    }

    /// Whether a driver has registered.
    ///
    /// # Errors
    /// In upstream's words, when it has not.
    pub fn check(&self, name: &str) -> Result<(), String> {
        match self.plugins().get(name) {
            Some(plugins) if !plugins.is_empty() => Ok(()),
            _ if name.is_empty() => Err("DRA driver name is empty".to_owned()),
            _ => Err(format!("DRA driver {name} is not registered")),
        }
    }

    /// The drivers that have ever registered, and whether each can be reached.
    pub fn reachable(&self) -> BTreeMap<String, bool> {
        let known = self.plugins();
        known.iter().map(|(name, all)| (name.clone(), all.iter().any(|p| p.client.is_some()))).collect()
    }

    /// Waits until [`Drivers::reachable`] may have changed. Cancellation safe.
    pub async fn changed(&self) {
        self.state.changed.notified().await;
    }
}

/// The newest service that both sides speak.
fn service_of(info: &PluginInfo) -> Result<Service, String> {
    if info.supported_versions.is_empty() {
        return Err("empty list of supported gRPC services (aka supported versions)".to_owned());
    }
    let spoken = |text: &String| Service::ALL.into_iter().find(|service| service.name() == text);
    info.supported_versions.iter().find_map(spoken).ok_or_else(|| {
        let quoted =
            |texts: Vec<&str>| texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(" ");
        let theirs = quoted(info.supported_versions.iter().map(String::as_str).collect());
        let ours = quoted(Service::ALL.into_iter().map(Service::name).collect());
        format!(
            "none of services supported by the plugin ([{theirs}]) are supported by the kubelet ([{ours}])"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(endpoint: &str, versions: &[&str]) -> PluginInfo {
        PluginInfo {
            r#type: TYPE.into(),
            name: "d.example.com".into(),
            endpoint: endpoint.into(),
            supported_versions: versions.iter().map(|v| (*v).to_owned()).collect(),
        }
    }

    #[test]
    fn drivers_that_speak_a_known_service_are_taken_once_an_endpoint() {
        let drivers = Drivers::new(PodDirs::new("/r"));
        assert_eq!(
            drivers.check("d.example.com"),
            Err("DRA driver d.example.com is not registered".to_owned())
        );
        assert_eq!(drivers.register(&info("/a", &["x", "v1beta1.DRAPlugin", "v1.DRAPlugin"]), 1), Ok(()));
        assert_eq!(drivers.check("d.example.com"), Ok(()));
        assert_eq!(drivers.register(&info("/a", &["v1.DRAPlugin"]), 1), Ok(()), "the same again");
        let twice = drivers.register(&info("/a", &["v1.DRAPlugin"]), 2).expect_err("refused");
        assert!(
            twice.ends_with("endpoint /a already registered for DRA driver plugin d.example.com"),
            "{twice}"
        );
        assert_eq!(drivers.register(&info("/b", &["v1.DRAPlugin"]), 2), Ok(()), "a second one of a driver");
        drivers.remove("d.example.com", 1);
        assert_eq!(drivers.check("d.example.com"), Ok(()));
        drivers.remove("d.example.com", 2);
        assert!(drivers.check("d.example.com").is_err());
        assert_eq!(drivers.reachable(), [("d.example.com".to_owned(), false)].into());
    }

    #[test]
    fn others_are_told_why_not() {
        let drivers = Drivers::new(PodDirs::new("/r"));
        let refused = drivers.register(&info("/a", &["1.0.0"]), 1).expect_err("refused");
        assert_eq!(
            refused,
            "RegisterPlugin error -- plugin validation failed with err: invalid supported gRPC versions of DRA driver \
             plugin d.example.com at endpoint /a: none of services supported by the plugin ([\"1.0.0\"]) are supported \
             by the kubelet ([\"v1.DRAPlugin\" \"v1beta1.DRAPlugin\"])"
        );
        let refused = drivers.register(&info("/a", &[]), 1).expect_err("refused");
        assert!(
            refused.ends_with("empty list of supported gRPC services (aka supported versions)"),
            "{refused}"
        );
    }
}
