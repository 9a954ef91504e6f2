//! The server's settings file: strict YAML; an unknown key is an error with its line and column.

use std::num::NonZeroU16;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use controllers::load_balancer::Pool;
use network::services::NodePorts;
use serde::Deserialize;

use crate::arguments::{Agent, ApiServer, NodeSettings, SchedulerFlags, Server, StoreFlags};

/// What can stand in the file given by `--config`. Every key is optional; a flag wins over the file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// The node's name.
    pub node_name: Option<String>,
    /// Nodes to run on this machine.
    pub nodes: Option<u8>,
    /// A CRI v1 endpoint instead of the built-in runtime.
    pub container_runtime_endpoint: Option<String>,
    /// What of this machine's own node can be set.
    pub node: NodeSettings,
    /// What keeps the cluster's objects.
    pub store: StoreFlags,
    /// What of the API server can be set.
    pub api_server: ApiServer,
    /// What of the scheduler can be set.
    pub scheduler: SchedulerFlags,
    /// Another name for `apiServer.auditLogPath`.
    pub audit_log: Option<std::path::PathBuf>,
    /// Registries spoken to over plain HTTP (`host:port`), beside those on localhost.
    pub insecure_registries: Vec<String>,
    /// Registry mirrors: image host → hosts (`host[:port]`) asked before it, in order.
    pub registry_mirrors: std::collections::BTreeMap<String, Vec<String>>,
    /// Where Services of type LoadBalancer have their addresses from.
    pub load_balancer: LoadBalancer,
    /// Addresses for Services of type LoadBalancer, one each, in place of the nodes': CIDRs, ranges and addresses of IPv4.
    pub load_balancer_pool: Vec<String>,
    /// On which addresses of the machine node ports are reached: CIDRs, or `primary` alone; all where nothing is said.
    pub node_port_addresses: Vec<String>,
    /// How pods reach pods of other machines.
    pub overlay: Overlay,
    /// The built-in Ingress controller.
    pub ingress: Ingress,
    /// The addresses of this machine's further nodes (`192.168.49.0/24`), the first of which is the machine's own.
    pub node_subnet: Option<String>,
}

/// The built-in Ingress controller and its ports, which are open only while there is an Ingress of its class.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Ingress {
    /// Without it Ingresses are left to controllers of the cluster's users.
    pub enabled: bool,
    pub http_port: NonZeroU16,
    pub https_port: NonZeroU16,
}

impl Default for Ingress {
    fn default() -> Self {
        const HTTP: NonZeroU16 = NonZeroU16::new(80).expect("80 is not 0");
        const HTTPS: NonZeroU16 = NonZeroU16::new(443).expect("443 is not 0");
        Self { enabled: true, http_port: HTTP, https_port: HTTPS }
    }
}

/// How pods reach pods of other machines. All nodes of a cluster are to be set alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Overlay {
    /// Through a tunnel between the machines.
    #[default]
    Vxlan,
    /// By routes to machines on the same link, and through the tunnel to others.
    Direct,
    /// By what the cluster's users have set up themselves.
    None,
}

/// Where Services of type LoadBalancer have their addresses from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LoadBalancer {
    /// They get the nodes' own.
    #[default]
    Nodes,
    /// A controller of the cluster's users gives them.
    None,
}

impl Settings {
    /// Parses settings from YAML.
    ///
    /// # Errors
    /// Names the place and the key that is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(text).map_err(|e| anyhow!("{e}"))
    }

    /// The file's settings, with the command line's laid over them.
    ///
    /// # Errors
    /// When the file cannot be read or says something wrong.
    pub fn load(server: &Server) -> Result<Self> {
        let mut settings = Self::file(server.config.as_deref())?;
        if server.node_name.is_some() {
            settings.node_name.clone_from(&server.node_name);
        }
        if server.container_runtime_endpoint.is_some() {
            settings.container_runtime_endpoint.clone_from(&server.container_runtime_endpoint);
        }
        if !server.load_balancer_pool.is_empty() {
            settings.load_balancer_pool.clone_from(&server.load_balancer_pool);
        }
        settings.take_node_ports(&server.nodeport_addresses);
        settings.node = server.node.over(&settings.node)?;
        let named = ApiServer { audit_log_path: settings.audit_log.take(), ..ApiServer::default() };
        settings.api_server = server.api_server.over(&settings.api_server.over(&named)?)?;
        settings.store = server.store.over(&settings.store);
        settings.scheduler = server.scheduler.over(&settings.scheduler);
        settings.nodes = match server.disable_agent {
            true => Some(0),
            false => server.nodes.or(settings.nodes),
        };
        settings.check()
    }

    /// The same for a node without a server beside it.
    ///
    /// # Errors
    /// When the file cannot be read or says something wrong.
    pub fn of_agent(agent: &Agent) -> Result<Self> {
        let mut settings = Self::file(agent.config.as_deref())?;
        if agent.node_name.is_some() {
            settings.node_name.clone_from(&agent.node_name);
        }
        settings.take_node_ports(&agent.nodeport_addresses);
        settings.node = agent.node.over(&settings.node)?;
        settings.check()
    }

    fn take_node_ports(&mut self, flag: &[String]) {
        if !flag.is_empty() {
            self.node_port_addresses = flag.to_vec();
        }
    }

    /// Whether what is only used later can be used.
    fn check(self) -> Result<Self> {
        self.api_server.check()?;
        self.scheduler.configuration()?;
        self.node.check()?;
        NodePorts::parse(&self.node_port_addresses)?;
        self.store.choice()?;
        self.store.history_bytes()?;
        if !self.load_balancer_pool.is_empty() {
            Pool::parse(&self.load_balancer_pool)?;
        }
        Ok(self)
    }

    fn file(path: Option<&Path>) -> Result<Self> {
        path.map_or_else(|| Ok(Self::default()), Self::read)
    }

    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named_with_its_place() {
        let error = Settings::parse("nodeName: a\nnodeNmae: b\n").expect_err("refused").to_string();
        assert!(error.contains("nodeNmae"), "{error}");
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn the_nodes_are_the_load_balancer_unless_told_otherwise() {
        let told = |text: &str| Settings::parse(text).map(|settings| settings.load_balancer).ok();
        assert_eq!(told("nodeName: a"), Some(LoadBalancer::Nodes));
        assert_eq!(told("loadBalancer: none"), Some(LoadBalancer::None));
        assert_eq!(told("loadBalancer: cloud"), None);
    }

    #[test]
    fn a_pool_is_a_list() {
        let told = |text: &str| Settings::parse(text).map(|settings| settings.load_balancer_pool).ok();
        assert_eq!(
            told("loadBalancerPool: [192.0.2.8/29, 192.0.2.20-192.0.2.29]").map(|pool| pool.len()),
            Some(2)
        );
        assert_eq!(told("nodeName: a"), Some(vec![]));
        assert_eq!(told("loadBalancerPool: {a: b}"), None);
    }

    #[test]
    fn what_is_used_later_is_checked_at_once() {
        let checked =
            |text: &str| Settings::parse(text).and_then(Settings::check).map_err(|error| error.to_string());
        assert!(checked("loadBalancerPool: [192.0.2.8/29]\nnodePortAddresses: [primary]").is_ok());
        let error = checked("nodePortAddresses: [primary, 192.0.2.0/24]").expect_err("refused");
        assert_eq!(error, "node port addresses: \"primary\" stands alone or not at all");
        assert!(checked("loadBalancerPool: [x]").expect_err("refused").starts_with("\"x\" is no address"));
    }

    #[test]
    fn machines_are_connected_by_a_tunnel_unless_told_otherwise() {
        let told = |text: &str| Settings::parse(text).map(|settings| settings.overlay).ok();
        assert_eq!(told("nodeName: a"), Some(Overlay::Vxlan));
        assert_eq!(told("overlay: direct"), Some(Overlay::Direct));
        assert_eq!(told("overlay: none"), Some(Overlay::None));
        assert_eq!(told("overlay: gre"), None);
    }

    #[test]
    fn ingress_is_on_at_the_usual_ports_unless_told_otherwise() {
        let told = |text: &str| Settings::parse(text).map(|settings| settings.ingress).ok();
        let ports = |ingress: &Ingress| (ingress.enabled, ingress.http_port.get(), ingress.https_port.get());
        assert_eq!(told("nodeName: a").as_ref().map(ports), Some((true, 80, 443)));
        let some = told("ingress: {enabled: false, httpPort: 8080}");
        assert_eq!(some.as_ref().map(ports), Some((false, 8080, 443)));
        for wrong in ["{httpPort: 0}", "{httpsPort: 70000}", "{port: 80}"] {
            assert_eq!(told(&format!("ingress: {wrong}")), None, "{wrong}");
        }
    }

    #[test]
    fn an_empty_file_changes_nothing() {
        assert!(Settings::parse("\n").expect("taken").node_name.is_none());
    }
}
