//! Tells of Services whose node ports cannot be right: two have the same one, or one lies outside the range. The API
//! server gives out neither, but a store may hold what another version wrote. Upstream:
//! `pkg/registry/core/service/portallocator/controller`.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use client::EventType;
use informer::{Action, Cache, Cached, Controller, Index, Plan, Round, Sources};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;

/// All node ports.
const RANGE: RangeInclusive<i32> = 30_000..=32_767;

/// See the module's documentation. Keys are Services.
pub struct NodePortRepairController {
    services: Cache<Service>,
    by_port: Index<Service>,
}

/// A Service, and which of its ports an older Service has too.
pub struct Observed {
    service: Arc<Service>,
    doubled: Vec<i32>,
}

/// The node ports of a Service, each once; its ports of two protocols may share one.
fn node_ports(service: &Service) -> BTreeSet<i32> {
    let Some(spec) = &service.spec else { return BTreeSet::new() };
    let ports = spec.ports.iter().flatten().filter_map(|port| port.node_port);
    ports.chain(spec.health_check_node_port).filter(|port| *port != 0).collect()
}

/// The order in which Services have a right to a port.
fn seniority(service: &Service) -> (Option<Timestamp>, Option<&str>, Option<&str>) {
    let metadata = &service.metadata;
    let made = metadata.creation_timestamp.as_ref().map(|made| made.0);
    (made, metadata.namespace.as_deref(), metadata.name.as_deref())
}

impl Controller for NodePortRepairController {
    const NAME: &'static str = "portallocator-repair-controller";
    const WORKERS: usize = 1;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let services: Cache<Service> = sources.primary();
        let by_port = by_port(&services);
        Self { services, by_port }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        Ok(self.services.get_key(round.key).map(|service| self.look(service)))
    }

    fn reconcile(Observed { service, doubled }: &Observed, _: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let (first, last) = (RANGE.start(), RANGE.end());
        for port in node_ports(service) {
            let (reason, message) = if doubled.contains(&port) {
                let why = "was assigned to multiple services; please recreate service";
                ("PortAlreadyAllocated", format!("Port {port} {why}"))
            } else if !RANGE.contains(&port) {
                let why = format!("is not within the port range {first}-{last}; please recreate service");
                ("PortOutOfRange", format!("Port {port} {why}"))
            } else {
                continue;
            };
            let about = client::reference(&**service);
            plan.then(Action::Event { about, event_type: EventType::Warning, reason, message });
        }
        plan
    }
}

fn by_port(services: &Cache<Service>) -> Index<Service> {
    services.index("node-ports", |service: &Cached<Service>, found| {
        for port in service.typed().map(|service| node_ports(service)).into_iter().flatten() {
            found(&port.to_string());
        }
    })
}

impl NodePortRepairController {
    fn look(&self, service: Arc<Service>) -> Observed {
        let is_older = |other: &Cached<Service>| {
            let other = other.typed();
            other.is_some_and(|other| seniority(other) < seniority(&service))
        };
        let ports = node_ports(&service).into_iter();
        let doubled = ports.filter(|port| self.by_port.get(&port.to_string()).iter().any(is_older)).collect();
        Observed { service, doubled }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(name: &str, made: &str, ports: &[i32]) -> Service {
        let ports: Vec<_> = ports.iter().map(|port| json!({"port": 80, "nodePort": port})).collect();
        serde_json::from_value(json!({
            "metadata": {"namespace": "d", "name": name, "creationTimestamp": made}, "spec": {"ports": ports},
        }))
        .expect("a service")
    }

    #[test]
    fn the_younger_service_is_told() {
        let services = Cache::new();
        let by_port = by_port(&services);
        let controller = NodePortRepairController { services: services.clone(), by_port };
        let old = service("z", "2026-01-01T00:00:00Z", &[30_080, 30_080]);
        let young = service("a", "2026-01-01T00:00:01Z", &[30_080, 30_081, 80]);
        services.apply(old.clone());
        services.apply(young.clone());
        let told = |service: &Service| -> Vec<String> {
            let observed = controller.look(Arc::new(service.clone()));
            let plan = NodePortRepairController::reconcile(&observed, Timestamp::UNIX_EPOCH);
            let line = |action: &Action| match action {
                Action::Event { reason, message, .. } => format!("{reason}: {message}"),
                other => format!("{other:?}"),
            };
            plan.actions.iter().map(line).collect()
        };
        assert_eq!(told(&old), <[&str; 0]>::default());
        assert_eq!(
            told(&young),
            [
                "PortOutOfRange: Port 80 is not within the port range 30000-32767; please recreate service",
                "PortAlreadyAllocated: Port 30080 was assigned to multiple services; please recreate service",
            ]
        );
    }
}
