//! Where a webhook behind a Service is reached. Upstream: `k8s.io/apiserver/pkg/util/proxy`.

use api::Object;
use serde_json::Value;

use super::callee::ServiceRef;
use crate::cache::Cache;
use crate::cache::lookup::{Lookup, decode};
use crate::service_addresses;

/// Finds the address that stands for a Service's port.
pub trait Resolve: Send + Sync + 'static {
    /// Host and port to connect to.
    ///
    /// # Errors
    /// Why there is none, in upstream's words.
    fn resolve(&self, namespace: &str, name: &str, port: u16) -> Result<(String, u16), String>;
}

/// Finds it by the Services and endpoints that are stored.
pub struct Services {
    cache: Cache,
    lookup: Lookup,
}

impl Services {
    pub fn new(cache: Cache) -> Self {
        Self { lookup: Lookup::new(cache.clone()), cache }
    }
}

impl Resolve for Services {
    fn resolve(&self, namespace: &str, name: &str, port: u16) -> Result<(String, u16), String> {
        let entry = self.lookup.entry("", "services", namespace, name);
        let service: Object =
            entry.and_then(|entry| decode(&entry)).ok_or_else(|| format!("service {name:?} not found"))?;
        if service.str_at(&["spec", "type"]) == Some("ExternalName") {
            let host = service.str_at(&["spec", "externalName"]).unwrap_or_default();
            return Ok((host.to_owned(), port));
        }
        let ports = service.at(&["spec", "ports"]).and_then(Value::as_array);
        let found = ports.into_iter().flatten().find(|p| p["port"].as_u64() == Some(u64::from(port)));
        let found = found.ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
        let port_name = found["name"].as_str().unwrap_or("");
        service_addresses::choose(&self.cache, namespace, name, port_name)
            .ok_or_else(|| format!("no endpoints available for service {name:?}"))
    }
}

impl ServiceRef {
    pub(crate) fn resolved(&self, resolve: &dyn Resolve) -> Result<(String, u16), String> {
        resolve.resolve(&self.namespace, &self.name, self.port)
    }
}
