//! What is registered: [`Registered`] is one group and version, [`Registry`] all of them. Pure.

use std::sync::Arc;

use api::{GroupVersion, Object};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use resources::Priority;
use serde_json::Value;

use crate::webhook::ServiceRef;

/// The group that this server always serves itself: it says who serves what.
const OWN: &str = "apiregistration.k8s.io";

/// Who serves a group and version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    pub name: String,
    pub gv: GroupVersion,
    pub priority: Priority,
    /// `None` where that is this server.
    pub remote: Option<Remote>,
}

/// Another server, and whether it serves now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub server: Arc<Server>,
    pub available: bool,
}

/// A server behind a Service, and by what it is known. Equal ones share connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub service: ServiceRef,
    /// In PEM; the machine's own authorities are trusted where it is empty.
    pub ca_bundle: Vec<u8>,
    /// Whether it may show any certificate.
    pub insecure: bool,
}

impl Server {
    /// The name that its certificate is for.
    pub fn host(&self) -> String {
        format!("{}.{}.svc", self.service.name, self.service.namespace)
    }
}

impl Registered {
    /// Reads a stored registration, which is valid.
    pub fn read(object: &Object) -> Self {
        let text = |path: &[&str]| object.str_at(path).unwrap_or_default().to_owned();
        let number = |key: &str| object.at(&["spec", key]).and_then(Value::as_i64).unwrap_or_default();
        let service = object.at(&["spec", "service"]).filter(|service| service.is_object());
        let gv = GroupVersion::new(&text(&["spec", "group"]), &text(&["spec", "version"]));
        let remote = service.filter(|_| gv.group != OWN).map(|service| {
            let port = service["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
            let service = ServiceRef {
                namespace: text(&["spec", "service", "namespace"]),
                name: text(&["spec", "service", "name"]),
                port,
            };
            // The API takes nothing but base64.
            let ca_bundle = STANDARD.decode(text(&["spec", "caBundle"])).unwrap_or_default();
            let insecure = object.at(&["spec", "insecureSkipTLSVerify"]).and_then(Value::as_bool);
            let server = Server { service, ca_bundle, insecure: insecure.unwrap_or(false) };
            Remote { server: Arc::new(server), available: is_available(object) }
        });
        let priority = Priority { group: number("groupPriorityMinimum"), version: number("versionPriority") };
        Self { name: object.name().to_owned(), gv, priority, remote }
    }
}

fn is_available(object: &Object) -> bool {
    let conditions = object.at(&["status", "conditions"]).and_then(Value::as_array);
    let available = conditions.into_iter().flatten().find(|condition| condition["type"] == "Available");
    available.is_some_and(|condition| condition["status"] == "True")
}

/// All that is registered.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    all: Vec<Arc<Registered>>,
    /// Those that other servers serve: mostly none, and never many.
    remotes: Vec<Arc<Registered>>,
}

impl Registry {
    pub fn new(all: impl Iterator<Item = Arc<Registered>>) -> Self {
        let all: Vec<_> = all.collect();
        let remotes = all.iter().filter(|registered| registered.remote.is_some()).cloned().collect();
        Self { all, remotes }
    }

    /// What another server serves, if it is that.
    pub fn remote(&self, group: &str, version: &str) -> Option<&Arc<Registered>> {
        self.remotes.iter().find(|remote| remote.gv.version == version && remote.gv.group == group)
    }

    /// All that other servers serve.
    pub fn remotes(&self) -> &[Arc<Registered>] {
        &self.remotes
    }

    /// All, in the order of their names.
    pub fn all(&self) -> &[Arc<Registered>] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn registered(group: &str, more: Value) -> Arc<Registered> {
        let mut object = json!({"metadata": {"name": format!("v1.{group}")}, "spec": {"group": group,
            "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15}});
        for (key, value) in more.as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        object["status"]["conditions"] = json!([{"type": "Available", "status": "True"}]);
        Arc::new(Registered::read(&Object::from_value(object).unwrap()))
    }

    #[test]
    fn a_service_makes_another_server() {
        let service = json!({"service": {"namespace": "ns", "name": "s", "port": 8443}, "caBundle": "YQ=="});
        let remote = registered("a.example.com", service.clone());
        let own = registered(OWN, service);
        let local = registered("b.example.com", json!({"service": null}));
        let registry = Registry::new([remote.clone(), own, local].into_iter());
        assert_eq!((registry.all().len(), registry.remotes().len()), (3, 1));
        let found = registry.remote("a.example.com", "v1").expect("another server's");
        let Some(Remote { server, available: true }) = &found.remote else { panic!("{found:?}") };
        assert_eq!((server.host().as_str(), server.service.port), ("s.ns.svc", 8443));
        assert_eq!((server.ca_bundle.as_slice(), server.insecure), (&b"a"[..], false));
        assert!(registry.remote("a.example.com", "v2").is_none());
        assert!(registry.remote("b.example.com", "v1").is_none());
    }
}
