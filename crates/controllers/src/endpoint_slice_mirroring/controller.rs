//! The loop: which changes concern which Endpoints, and whether they are mirrored.

use std::sync::Arc;

use informer::{Cache, Controller, Delta, Key, Plan, Round, Sources};
use k8s_openapi::api::core::v1::{Endpoints, Service};

use super::desired::MANAGER;
use super::plan::{self, Observed};
use crate::service_endpoints::services::selects_pods;
use crate::service_endpoints::slices::{self, Slices};

const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints by which somebody elects a leader are no Service's.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

/// See the module's documentation. Keys are Endpoints, and Services of the same name.
pub struct EndpointSliceMirroringController {
    services: Cache<Service>,
    endpoints: Cache<Endpoints>,
    slices: Slices,
}

impl Controller for EndpointSliceMirroringController {
    const NAME: &'static str = "endpointslice-mirroring-controller";
    const ACCOUNT: &'static str = "endpointslicemirroring-controller";
    const EVENT_SOURCE: &'static str = "endpoint-slice-mirroring-controller";
    const QUEUE: &'static str = "endpoint_slice_mirroring";
    const WORKERS: usize = 5;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        Self {
            services: sources.mapped(of_service),
            endpoints: sources.mapped(of_endpoints),
            slices: Slices::new(&sources.mapped(|delta| slices::concerned(delta, MANAGER))),
        }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let slices = self.slices.of(round.key, MANAGER);
        let service = self.services.find(round.key);
        let has_none = service.is_some_and(|service| !selects_pods(&service));
        let endpoints = has_none.then(|| self.endpoints.get_key(round.key)).flatten().filter(is_mirrored);
        let nothing = endpoints.is_none() && slices.is_empty();
        Ok((!nothing).then_some(Observed { endpoints, slices }))
    }

    fn reconcile(observed: &Observed, _: jiff::Timestamp) -> Plan {
        plan::plan(observed)
    }
}

fn is_mirrored(endpoints: &Arc<Endpoints>) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    let annotations = endpoints.metadata.annotations.as_ref();
    labels.and_then(|labels| labels.get(SKIP_MIRROR)).is_none_or(|value| value != "true")
        && annotations.is_none_or(|annotations| !annotations.contains_key(LEADER))
}

/// A Service concerns its Endpoints where it has no selector, or had none.
fn of_service(delta: &Delta<Service>) -> Vec<Key> {
    let (new, old) = (delta.object(), delta.old());
    let concerns = match old {
        Some(old) => selects_pods(old) != selects_pods(new),
        None => !selects_pods(new),
    };
    if concerns { vec![new.key.clone()] } else { Vec::new() }
}

fn of_endpoints(delta: &Delta<Endpoints>) -> Vec<Key> {
    let (new, old) = (delta.object(), delta.old());
    let skipped = std::iter::once(new).chain(old).all(|state| state.label(SKIP_MIRROR) == Some("true"));
    if skipped { Vec::new() } else { vec![new.key.clone()] }
}
