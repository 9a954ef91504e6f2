//! The loop: which changes concern which Service, and what is read before deciding.

use informer::{Cache, Controller, Delta, Plan, Round, Sources};
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use kube::Api;

use super::plan::{self, MANAGED_BY, MANAGER, Observed, Served};
use crate::replicas::pod::Replica;
use crate::service_endpoints::member;
use crate::service_endpoints::selected::Selected;
use crate::service_endpoints::services::Services;

/// See the module's documentation. Keys are Services, and Endpoints of the same name.
pub struct EndpointsController {
    services: Cache<Service>,
    pods: Selected,
    endpoints: Cache<Endpoints>,
}

impl Controller for EndpointsController {
    const NAME: &'static str = "endpoints-controller";
    const ACCOUNT: &'static str = "endpoint-controller";
    const EVENT_SOURCE: &'static str = "endpoint-controller";
    const QUEUE: &'static str = "endpoint";
    const WORKERS: usize = 5;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let services: Cache<Service> = sources.primary();
        let selecting = Services::new(&services);
        let pods: Cache<Pod> = sources.mapped(move |delta| selecting.concerned(delta));
        let known = services.clone();
        let endpoints = sources.mapped(move |delta: &Delta<Endpoints>| {
            let object = delta.object();
            // What is deleted is made again; what a deleted Service left behind goes. Others' stay: their Service may
            // come later.
            let concerns = match delta {
                Delta::Deleted(_) => known.has(&object.key),
                Delta::Applied { .. } => object.label(MANAGED_BY) == Some(MANAGER) && !known.has(&object.key),
            };
            if concerns { vec![object.key.clone()] } else { Vec::new() }
        });
        Self { services, pods: Selected::new(&pods), endpoints }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let current = self.endpoints.get_key(round.key);
        let Some(service) = self.services.get_key(round.key) else {
            let Some(leftover) = current else { return Ok(None) };
            // The caches of the two kinds do not move together.
            let services: Api<Service> = Api::namespaced(round.client.clone(), &round.key.namespace);
            let is_gone = services.get_opt(&round.key.name).await?.is_none();
            return Ok(is_gone.then_some(Observed::Leftover(leftover)));
        };
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let Some(selector) = selector.filter(|_| member::is_served_by_pods(&service)) else {
            return Ok(None);
        };
        let pods = self.pods.by(&round.key.namespace, selector).into_iter().map(Replica::of);
        let pods = pods.filter(member::may_answer).collect();
        Ok(Some(Observed::Served(Served { pods, current, failure: round.failure.cloned(), service })))
    }

    fn reconcile(observed: &Observed, _: jiff::Timestamp) -> Plan {
        plan::plan(observed)
    }
}
