//! Where a node's agent listens.

use api::{Error, GroupResource, Object};
use serde_json::Value;

use super::forward::{Backend, Peer, Security};
use crate::context::Context;

/// Upstream's default order (`--kubelet-preferred-address-types`), internal addresses first: the
/// certificate names them, and they need no DNS.
const ADDRESS_TYPES: [&str; 5] = ["InternalIP", "Hostname", "InternalDNS", "ExternalIP", "ExternalDNS"];

/// Nodes are kept under their historical name.
const NODES: &str = "minions";

/// The agent of a node, which its object names.
///
/// # Errors
/// 404 for an unknown node; 503 while it has not told its address and port.
pub(crate) fn agent(context: &Context, name: &str) -> Result<Backend, Error> {
    let resource = GroupResource::new("", "nodes");
    let entry = context.deps.cache.resource(NODES).and_then(|cache| cache.get("", name));
    let entry = entry.ok_or_else(|| Error::not_found(&resource, name))?;
    let node: Object = serde_json::from_slice(&entry.json.lean()).map_err(Error::internal)?;
    let unknown = |what: &str| {
        Error::new(api::Reason::ServiceUnavailable, format!("node {name:?} has not told its {what} yet"))
    };
    let addresses =
        node.at(&["status", "addresses"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let host = ADDRESS_TYPES
        .iter()
        .find_map(|kind| addresses.iter().find(|a| a["type"] == **kind))
        .and_then(|a| a["address"].as_str())
        .ok_or_else(|| unknown("address"))?;
    let port = node
        .at(&["status", "daemonEndpoints", "kubeletEndpoint", "Port"])
        .and_then(Value::as_u64)
        .and_then(|p| u16::try_from(p).ok())
        .filter(|p| *p > 0)
        .ok_or_else(|| unknown("port"))?;
    Ok(Backend { host: host.to_owned(), port, security: Security::Agent, peer: Peer::Agent })
}
